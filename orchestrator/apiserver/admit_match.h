/*
 * Whom a webhook or a policy concerns, and what it is told of a request: the part that both have in common.
 */
#ifndef ORCHESTRATOR_APISERVER_ADMIT_MATCH_H
#define ORCHESTRATOR_APISERVER_ADMIT_MATCH_H

#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/webhook.h"

/* What somebody is asked about; the documents are in the version of `res`, which may be another than the request's. */
struct admit_question {
	enum webhook_op op;
	const struct resource *res; /* NULL: it does not concern him */
	struct json *obj, *old;     /* NULL: none */
	const char *api_version, *kind; /* of these documents */
	const char *unconverted; /* NULL; else why there are no documents: the webhook of the definition did not give them in this version */
};

/* Configurations and policies are not asked about themselves: nobody may lock himself out of taking one back. */
bool admit_exempt(const struct api_request *);
/* Reviews of who may do what, about which policies are not asked. */
bool admit_is_review(const struct api_request *);
/* STEP_WAIT: fresher state is needed. `full`: with the documents; else only ret->res is set. */
enum step_result admit_question(struct api_request *, enum admission_op, const struct webhook_match *, bool full, struct admit_question *ret);
/*
 * A document that a webhook or policy made of ret->obj, in the version of the request and as its type says: *ret. STEP_FAIL: req->fail says
 * what is wrong with it.
 */
enum step_result admit_answer(struct api_request *, const struct admit_question *, struct json *doc, struct json **ret);

/* The request's namespace; a namespace is in itself. */
struct str admit_namespace(const struct api_request *);
/* AdmissionRequest without uid, object and oldObject. */
struct json *admit_request_json(struct api_request *, const struct admit_question *);

#endif
