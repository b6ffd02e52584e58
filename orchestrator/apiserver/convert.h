/*
 * Custom objects in other versions, converted by a definition's webhook: the waiting part around conversion.h.
 *
 * Reading and writing is synchronous code that runs again when it had to wait, and so is this: storage_* look for a conversion in the
 * request's struct convert and give ERR_PENDING when it is not there; the step then returns api_convert(req), which asks the webhook about
 * all that was wanted and lets the step run again. What has been converted stays with the request: each request gets what the
 * webhook says now. Requests of one loop that want the same at the same moment (watchers of one event) share a call.
 *
 * A definition that does not convert by a webhook has none of this: req->conv is NULL.
 */
#ifndef ORCHESTRATOR_APISERVER_CONVERT_H
#define ORCHESTRATOR_APISERVER_CONVERT_H

#include "orchestrator/apiserver/request.h"
#include "proto/custom.h"

struct api_loop;
struct convert;
struct convert_pool;

/* For requests of this definition; NULL when it has no webhook. Lives as long as the request. */
struct convert *convert_new(struct api_request *);
/* With which this request reads and writes its own objects. */
struct custom_conversions *convert_conversions(struct api_request *);

/*
 * Other objects that are looked at on the way, and the request's own in versions for others to see: admission. After ERR_PENDING
 * convert_aside gives STEP_WAIT, and the step runs again, or STEP_NEXT with the reason why it cannot be had. Each is asked for once.
 */
struct custom_conversions *convert_asides(struct api_request *);
enum step_result convert_aside(struct api_request *, const char **ret_why);

/* Ask about what is wanted; the request's step runs again then. STEP_FAIL (500) when the webhook did not answer as it should. */
enum step_result api_convert(struct api_request *);
/*
 * The same for streams, which are no steps: `done` runs on the loop when the answers are there; *ret_why is what it says then, or NULL. It
 * does not run any more once the request is over.
 */
void convert_start(struct api_request *, void (*done)(struct api_request *, const char *why));
bool convert_wants(const struct convert *);
/* A stream has told what it had converted. */
void convert_forget(struct convert *);
/* The same, and asks for more now: what is wanted stays. */
void convert_forget_told(struct convert *);
/* The stream ends: nothing is waited for any more. */
void convert_abandon(struct api_request *);

/* Reads of several turns are of one revision: the first one named (0: none yet). */
int64_t *convert_revision(struct convert *);

/* The loop ends; no request is left. */
void convert_pool_free(struct convert_pool *);

#endif
