/*
 * Admission: what is checked and filled in after an object is complete and before it is stored. A table of steps (admission.c),
 * each for some kinds and some operations, run in the table's order: first those that may change the object, then, behind the
 * schema's validation, those that only say no. Further mechanisms (webhooks, policies) are further rows.
 *
 * A step's run takes req->obj and req->old (NULL on create; on delete obj is the object that goes) and returns STEP_NEXT, STEP_FAIL
 * (after api_fail_forbidden and the like) or STEP_WAIT (after api_refresh or api_nap: it runs again). It changes nothing but the
 * request: the object, its warnings, and req->txn, so that what it books is committed with the object or not at all.
 * What a step decides is a pure function in a file of its own where it is more than a few lines (podsecurity.h, amounts.h, limits.h).
 */
#ifndef ORCHESTRATOR_APISERVER_ADMISSION_H
#define ORCHESTRATOR_APISERVER_ADMISSION_H

#include "orchestrator/apiserver/request.h"

enum admission_op {
	ADMIT_CREATE = 1,
	ADMIT_UPDATE = 2,
	ADMIT_DELETE = 4, /* asked for; the object may stay for a while */
	ADMIT_CONNECT = 16, /* exec and the like: the "object" is their options */
	ADMIT_REMOVE = 8, /* the object goes for good: nobody is asked any more, but books are kept */
};
enum admission_phase { ADMIT_MUTATE, ADMIT_VALIDATE };

enum step_result admission_run(struct api_request *, enum admission_op, enum admission_phase);
/* ADMIT_CREATE or ADMIT_UPDATE, by what the request is. */
enum admission_op admission_op_of(const struct api_request *);

/*
 * What others want to say: policies, then webhooks. *ret_view: what the client's view of the object became (call again when it is in place),
 * or NULL: nobody wants to change it any more. May wait.
 */
enum step_result admission_mutate(struct api_request *, enum admission_op, struct json **ret_view);
enum step_result admission_validate(struct api_request *, enum admission_op);
/*
 * They are asked about req->sent, which is of that type and no object that is written: what a subresource or a review
 * is created with, or the options of a connection. They may change it.
 */
struct schema_type;
enum step_result admission_special(struct api_request *, enum admission_op, const struct schema_type *);
/* Steps of programs: the body of a review, decoded, and the options of a connection (admit_special.c). */
enum step_result admit_review(struct api_request *), admit_connect(struct api_request *);

/* All stored objects of a kind (in a namespace), as documents; in the local state. */
struct admission_list {
	struct json **v;
	uint64_t *rv; /* versions */
	size_t n;
};
enum step_result admission_objects(struct api_request *, const struct resource *, struct str ns, struct admission_list *ret);
/* Only those whose bytes `want` likes, so that the others need not be decoded; and of the same moment the version of `key` (0: there
 * is none), if key is not empty. */
enum step_result admission_objects_if(struct api_request *, const struct resource *, struct str ns, bool (*want)(struct str raw),
		struct str key, uint64_t *ret_rv, struct admission_list *ret);
/* One object by name: NULL when there is none (in fresh state). want as above; NULL also for one that it does not like. */
enum step_result admission_object_if(struct api_request *, const char *group, const char *plural, struct str ns, struct str name,
		bool (*want)(struct str raw), struct json **ret);
enum step_result admission_object(struct api_request *, const char *group, const char *plural, struct str ns, struct str name,
		struct json **ret);
/* metadata.labels or annotations: "" when absent. */
struct str admission_label(const struct json *obj, const char *key);
struct str admission_annotation(const struct json *obj, const char *key);

/* The steps. Each file's name says which. */
enum step_result admit_limits(struct api_request *), admit_limits_check(struct api_request *); /* admit_limits.c */
enum step_result admit_quota(struct api_request *), admit_quota_release(struct api_request *); /* admit_quota.c */
enum step_result admit_quota_object(struct api_request *);
enum step_result admit_pod_security(struct api_request *), admit_pod_security_template(struct api_request *),
		admit_pod_security_namespace(struct api_request *); /* admit_podsecurity.c */
enum step_result admit_node_taint(struct api_request *), admit_node_self(struct api_request *),
		admit_node_pod(struct api_request *), admit_node_lease(struct api_request *); /* admit_node.c */
/* A token asked for by a node: only bound to one of its pods. `pod` is the bound pod or NULL. */
enum step_result admit_node_token(struct api_request *, const struct json *pod);
enum step_result admit_csr_approval(struct api_request *), admit_csr_signing(struct api_request *),
		admit_csr_subject(struct api_request *), admit_csr_approve(struct api_request *); /* admit_csr.c */
enum step_result admit_service_account(struct api_request *), admit_priority(struct api_request *),
		admit_tolerations(struct api_request *), admit_qos(struct api_request *); /* strategy_pod.c */

#endif
