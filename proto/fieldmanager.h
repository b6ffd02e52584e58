/*
 * Field managers: who last set which field of an object, in metadata.managedFields, and server-side apply on top of it.
 *
 * Each manager has one entry an operation: what it set by writing whole objects or patches (Update), and what it
 * claimed by applying (Apply). An Update takes the fields that it changes from everybody else. An Apply claims just what its
 * configuration names: what somebody else owns with another value is a conflict, what only this manager owned
 * and no longer names is removed. See "Server-Side Apply" in the public documentation.
 *
 * Pure: time and names come in, documents come out. Inputs other than `obj` are not changed; results share nodes with them.
 */
#ifndef PROTO_FIELDMANAGER_H
#define PROTO_FIELDMANAGER_H

#include "base/arena.h"
#include "base/err.h"
#include "proto/json.h"

struct schema_type;

/* Entries of updates; older ones are put together beyond that. */
#define FIELDMANAGER_MAX_UPDATES 10
/* The manager of what was there before the first apply. */
#define FIELDMANAGER_BEFORE_APPLY "before-first-apply"
#define FIELDMANAGER_LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

struct fieldmanager {
	struct arena *a;
	const struct schema_type *type;
	const char *api_version; /* of the object */
	struct str manager;
	struct str subresource;  /* "" for the object itself; scale's fields are those of the object */
	struct str now;          /* RFC 3339 */
	bool without_status;     /* the write cannot set the status */
};

/*
 * obj is about to replace live (NULL: it is new): sets obj's managedFields. What obj brings as managedFields counts if it
 * is in order: the client may edit them, [{}] drops them all. For a subresource only live's count.
 */
void fieldmanager_update(const struct fieldmanager *, const struct json *live, struct json *obj);

/* One manager that stands in the way. */
struct fieldmanager_conflict {
	struct str manager; /* as shown: "x" using apps/v1 */
	struct str field;   /* .spec.replicas */
};
struct fieldmanager_conflicts {
	struct fieldmanager_conflict *v;
	size_t n;
};
/* "Apply failed with 1 conflict: conflict with ...: .spec.replicas" */
struct str fieldmanager_conflict_text(struct arena *, const struct fieldmanager_conflicts *);

/*
 * *ret := live with config applied, not yet defaulted. live NULL: there is no such object.
 * ERR_CONFLICT with `conflicts` filled when not forced; ERR_BAD_REQUEST; ERR_INTERNAL when the config does not fit the
 * schema (with upstream's words in *ret_why, which may be longer than an err).
 */
int fieldmanager_apply(const struct fieldmanager *, struct json *live, struct json *config, bool force, struct json **ret,
		struct fieldmanager_conflicts *conflicts, struct str *ret_why, struct err *);

/* Both say the same but for the times. */
bool fieldmanager_same_but_time(const struct json *managed_a, const struct json *managed_b);

#endif
