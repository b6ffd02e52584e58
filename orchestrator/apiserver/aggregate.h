/*
 * API aggregation, the part that only decides: what an APIService says, which requests are another server's, in what order groups and
 * versions are shown, and whether such a server counts as available. "Kubernetes API Aggregation Layer" is the source.
 *
 * An APIService is called VERSION.GROUP. With spec.service, requests below /apis/GROUP/VERSION are that Service's; without, the group
 * version is served here, by the tables or by custom resources.
 */
#ifndef ORCHESTRATOR_APISERVER_AGGREGATE_H
#define ORCHESTRATOR_APISERVER_AGGREGATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct json;

struct aggregate_condition {
	const char *status, *reason;
	struct str message;
};

/* Of those that are made for what is served here: "onstart" (the tables), "true" (custom resources). */
#define AGGREGATE_MANAGED "kube-aggregator.kubernetes.io/automanaged"

struct api_service {
	struct str name, group, version;
	bool remote;
	struct str service_ns, service; /* of a remote one */
	int64_t port;
	struct str ca_pem;
	bool insecure;
	int64_t group_priority, version_priority;
	bool available; /* the condition Available is True */
	struct aggregate_condition condition; /* it; status NULL: none */
	struct str managed;
};
/* Borrows from doc and the arena. */
void api_service_parse(struct arena *, const struct json *doc, struct api_service *ret);

/* The group and version that a path is below; false: it is not below any. */
bool aggregate_path(struct str path, struct str *ret_group, struct str *ret_version);
/* Those which are never another server's: without them nobody could take a registration back. */
bool aggregate_is_ours(struct str group);

/* The priorities of a group version that is served here, as upstream sets them; custom: of custom resources. */
void aggregate_priorities(struct str group, struct str version, bool custom, int64_t *ret_group, int64_t *ret_version);

/* A group version as discovery shows it. */
struct aggregate_gv {
	const char *group, *version;
	int64_t group_priority, version_priority;
	const void *what; /* the caller's */
};
/* Groups by the highest priority of their versions, then by name; versions by priority, then v2 before v1 before v1beta1. */
void aggregate_sort(struct aggregate_gv *, size_t n);

/*
 * An entry of aggregated discovery, APIVersionDiscovery, made of the APIResourceList that a remote server answers. Without one (NULL)
 * the version is marked as stale, and clients leave it out.
 */
struct json *aggregate_version(struct arena *, const char *group, const char *version, const struct json *list);

/* What is known of a remote server. */
struct aggregate_facts {
	const struct json *service;   /* NULL: there is none */
	const struct json *slices;    /* array of its EndpointSlices */
	const struct json *endpoints; /* its Endpoints, or NULL */
	bool asked;                   /* its discovery was asked for */
	struct str failure;           /* why that failed; empty: it did not */
};
/* The condition Available. False: it takes an answer of the server to tell (facts->asked). */
bool aggregate_judge(struct arena *, const struct api_service *, const struct aggregate_facts *, struct aggregate_condition *ret);
/* Its status with that condition; `now` is a time as JSON. */
struct json *aggregate_status(struct arena *, const struct json *doc, const struct aggregate_condition *, struct json *now);

/* --- Registrations of what is served here ---- */

struct aggregate_want {
	const char *group, *version;
	bool custom;
};
enum aggregate_action { AGGREGATE_LEAVE, AGGREGATE_CREATE, AGGREGATE_UPDATE, AGGREGATE_DELETE };
/*
 * What to do about a registration: have and want may each be NULL. Those of custom resources are always kept as they should be, those of
 * the tables only by a leader that has just begun (starting); what users made or made their own is left alone.
 */
enum aggregate_action aggregate_decide(const struct api_service *have, const struct aggregate_want *want, bool starting);
/* The object, made of the stored one (NULL: new). */
struct json *aggregate_local(struct arena *, const struct aggregate_want *, const struct json *old);

#endif
