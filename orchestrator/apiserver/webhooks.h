/*
 * Asking admission webhooks about a write: the waiting part around webhook.h.
 *
 * Mutating ones are asked one after the other, in order of their names; each sees what those before it made. Validating ones are
 * asked all at once. A request that none concerns pays for a look at the loop's index.
 *
 * Both are parts of the steps prepare and decide, which run again when an answer has come: `webhooks_begun` tells them that the
 * object has been made in this try already and must stay as it is. A lost race asks again about the new object.
 */
#ifndef ORCHESTRATOR_APISERVER_WEBHOOKS_H
#define ORCHESTRATOR_APISERVER_WEBHOOKS_H

#include "orchestrator/apiserver/admission.h"

struct webhook_index;
struct policy_progress;
/* What this try of the request goes by; see webhook_state.h. */
struct webhook_index *webhooks_index_of(struct api_request *);
/* What is remembered of policies in this try; make: also when there is nothing yet, else NULL. */
struct policy_progress *webhooks_policies(struct api_request *, bool make);

bool webhooks_begun(const struct api_request *);
/* *ret_view: what the client's view of the object became by a patch (call again when it is in place), or NULL: nothing is left to ask. */
enum step_result webhooks_mutate(struct api_request *, enum admission_op, struct json **ret_view);
/* Something else changed the object behind them. */
void webhooks_changed(struct api_request *);
/*
 * All mutating policies and webhooks have had their say. True: some want to see what others changed behind them, and are asked once more,
 * in the same order.
 */
bool webhooks_again(struct api_request *);
enum step_result webhooks_validate(struct api_request *, enum admission_op);

#endif
