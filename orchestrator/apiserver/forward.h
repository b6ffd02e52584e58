/*
 * The headers of requests that are passed on to another server: pure functions. What belongs to one connection, and what was meant for
 * us alone (credentials, whom to act as), stays here; the other server hears in X-Forwarded-* who was asked.
 */
#ifndef ORCHESTRATOR_APISERVER_FORWARD_H
#define ORCHESTRATOR_APISERVER_FORWARD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/http.h"

struct api_user;

/* Of one connection, or ours alone, in a request or an answer. */
bool forward_stays(const struct http_header *, bool upgrade);
/* Those that go on, and X-Forwarded-*; values are borrowed. remote: the client's "ip:port". path: as it was asked for. */
struct http_headers forward_headers(struct arena *, const struct http_headers *in, bool upgrade, struct str remote, struct str path);
/*
 * `h` for a server that believes a front proxy: X-Remote-User, -Uid, -Group and -Extra-* say who asks, and nobody else's do. Fails
 * when a name has bytes that no header can carry.
 */
int forward_user(struct arena *, const struct api_user *, struct http_headers *h, struct err *);

#endif
