/* What webhooks.c and webhook_review.c share. */
#ifndef ORCHESTRATOR_APISERVER_WEBHOOKS_PRIV_H
#define ORCHESTRATOR_APISERVER_WEBHOOKS_PRIV_H

#include "orchestrator/apiserver/admit_match.h"
#include "orchestrator/apiserver/webhook.h"

/* The body of the call. */
struct str webhook__review(struct api_request *, const struct webhook *, const struct admit_question *, const char *uid);

#endif
