/*
 * The API objects that one pod needs on its node: config maps, secrets, service-account tokens, and volume claims with
 * the volumes that they are bound to.
 *
 * objset_collect finds the references in the spec; a fetch (pod-worker.c) fills them in; volumes.c and env.c read them.
 * A set is filled once and then only read; a refresh makes a new one.
 */
#ifndef KUBELET_OBJECTS_H
#define KUBELET_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "proto/core.pb-c.h"

enum obj_kind { OBJ_CONFIG_MAP, OBJ_SECRET, OBJ_TOKEN, OBJ_CLAIM };

#define TOKEN_DEFAULT_SECONDS 3600

struct obj_ref {
	enum obj_kind kind;
	const char *name;    /* of the object; for a token its audience */
	int64_t seconds;     /* tokens: how long it shall be valid */
	bool volume;         /* a volume needs it: nothing starts without */
	bool required;       /* some user of it is not optional */
	/* Filled in by the fetch. */
	bool done;
	struct err err;      /* ERR_NOT_FOUND and the like */
	const Core__ConfigMap *config_map;
	const Core__Secret *secret;
	const Core__PersistentVolumeClaim *claim;
	const Core__PersistentVolume *pv; /* what the claim is bound to */
	const char *token;
	int64_t token_expires_s, token_made_s;
};

struct objset {
	struct arena arena;
	struct obj_ref *refs;
	size_t n_refs;
};

/* Fills refs from the spec; the strings are borrowed from the pod. */
void objset_collect(struct objset *, const Core__Pod *);
void objset_fini(struct objset *);
/* The claim that a volume of the pod means (also an ephemeral volume's own); NULL for volumes of other types. */
const char *objset_claim_name(struct arena *, const Core__Pod *, const Core__Volume *);
/* Whether a claim that was fetched can be used by this pod: bound, and an ephemeral volume's own made for it. */
int objset_claim_ok(const Core__Pod *, const struct obj_ref *, struct err *e);
/* Found or NULL; a NULL set has nothing. */
const struct obj_ref *objset_find(const struct objset *, enum obj_kind, const char *name, int64_t seconds);
/* The first required object of volumes (or of the rest) that is missing; 0 when none is. */
int objset_check(const struct objset *, bool volumes, const char *ns, struct err *e);
/* When a token is due for renewal (80 % of its life, at most 24 h), in unix seconds; 0: no tokens. */
int64_t objset_renew_at(const struct objset *);

#endif
