/* What the HTTP server and the HTTP client share inside io/. */
#ifndef IO_HTTP_PRIV_H
#define IO_HTTP_PRIV_H

#include <nghttp2/nghttp2.h>

#include "base/arena.h"
#include "io/http.h"
#include "io/loop.h"
#include "io/stream.h"

/* Run a writer's done in a later turn, never from inside its own call. NULL is ignored. */
void http__write_later(struct loop *, struct http_write *, int status);
/* A stream_write that runs the http_write's done; NULL for NULL. */
struct stream_write *http__relay(struct http_write *);

/* What sessions of nghttp2 take their memory from: blocks that are kept at hand. */
extern nghttp2_mem http__nghttp2_mem;

/* HTTP/2 header fields. */
nghttp2_nv http__nv(struct str name, struct str value);
/* Names in lower case; control characters in values become spaces, as nghttp2 refuses a whole
 * message for one. Where nothing is to be changed, the result is the argument's own bytes. */
struct str http__lower(struct arena *, struct str name);
struct str http__clean(struct arena *, struct str value);
/* Fields that belong to one connection and do not exist in HTTP/2 (RFC 9113, 8.2.2). */
bool http__is_connection_field(struct str name);
/* Append a copy; *cap is the array's capacity. */
void http__add_header(
	struct arena *, struct http_headers *, size_t *cap, struct str name, struct str value);

#endif
