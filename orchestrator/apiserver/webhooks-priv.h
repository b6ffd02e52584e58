/* What webhooks.c and webhook_review.c share. */
#ifndef ORCHESTRATOR_APISERVER_WEBHOOKS_PRIV_H
#define ORCHESTRATOR_APISERVER_WEBHOOKS_PRIV_H

#include "orchestrator/apiserver/request.h"
#include "orchestrator/apiserver/webhook.h"

/* What one webhook is asked about; the documents are in the version of `res`, which may be another than the request's. */
struct webhook__question {
	enum webhook_op op;
	const struct resource *res;
	struct json *obj, *old; /* NULL: none */
	const char *api_version, *kind; /* of these documents */
};
/* The body of the call. */
struct str webhook__review(struct api_request *, const struct webhook *, const struct webhook__question *, const char *uid);
/* The request's namespace; a namespace is in itself. */
struct str webhook__namespace(const struct api_request *);

#endif
