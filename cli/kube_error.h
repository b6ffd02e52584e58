/* What a server's metav1.Status says, in kubectl's words. Pure. */
#ifndef CLI_KUBE_ERROR_H
#define CLI_KUBE_ERROR_H

#include "base/buf.h"

struct json;

/*
 * Append the text for stderr, with its newline. `when` (or NULL) tells what was being done: "error when creating \"x.yaml\"".
 * False when `status` is no Status.
 */
bool kube_status_text(struct buf *, const struct json *status, const char *when);

#endif
