/*
 * HTTP/1.1 on the wire, strictly (RFC 9112): heads of messages, and bodies as they come in pieces.
 * Pure: no I/O, no state but what the caller holds. What two readers could read in two ways is
 * refused: bare LF, folded lines, white space in front of a colon, Content-Length twice or next to
 * Transfer-Encoding, any coding but one "chunked", odd chunk sizes.
 */
#ifndef IO_HTTP1_H
#define IO_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/http.h"

#define HTTP1_MAX_HEAD 65536
#define HTTP1_MAX_HEADERS 200

struct http1_head {
	/* Request. */
	struct str method, target;
	struct str path, query, authority; /* from the target; authority also from Host */
	/* Response. */
	int status;
	int minor;                   /* 0 or 1 */
	struct http_headers headers; /* names in lower case, values trimmed */
	int64_t content_length;      /* -1: none given */
	bool chunked;
	bool keep_alive;
	bool expect_continue;
};

/*
 * The size of the head at the start of `bytes`, with its empty line; 0 when it is not complete; -1
 * when it can never become one (a bare LF or a NUL). *scanned says how far an earlier call looked.
 */
ptrdiff_t http1_head_size(struct str bytes, size_t *scanned);
/*
 * Parse a whole head. Strings are copied into the arena. Errors: ERR_BAD_REQUEST, ERR_TOO_LARGE
 * (too many headers), ERR_UNIMPLEMENTED (a transfer coding), ERR_PROTOCOL (not HTTP/1.x).
 */
int http1_parse_request(struct str head, struct arena *, struct http1_head *ret, struct err *);
int http1_parse_response(struct str head, struct arena *, struct http1_head *ret, struct err *);

enum http1_body_kind { HTTP1_BODY_NONE, HTTP1_BODY_LENGTH, HTTP1_BODY_CHUNKED, HTTP1_BODY_TO_END };

struct http1_body {
	enum http1_body_kind kind;
	uint64_t left; /* of the length, or of the chunk */
	uint8_t state;
	uint16_t n_line; /* bytes of the line under way */
	uint32_t n_trailer;
	bool has_digit;
	struct buf trailer; /* lines of the trailer, CRLF each */
};

/* What the head says about the body; a response also depends on the request's method. */
void http1_body_of_request(const struct http1_head *, struct http1_body *ret);
void http1_body_of_response(const struct http1_head *, bool head_request, struct http1_body *ret);
enum http1_event { HTTP1_MORE, HTTP1_DATA, HTTP1_END };
/*
 * Consume from *bytes (advanced). HTTP1_DATA gives a piece in *ret_data (borrowed from bytes);
 * HTTP1_END comes once, when the body is complete; HTTP1_MORE when bytes are used up. Negative:
 * -ERR_BAD_REQUEST.
 */
int http1_body_feed(struct http1_body *, struct str *bytes, struct str *ret_data);
/* After the end: the trailer's fields. */
int http1_body_trailers(
	struct http1_body *, struct arena *, struct http_headers *ret, struct err *);
void http1_body_fini(struct http1_body *);

/* Writing: append "name: value\r\n"; control characters in either become spaces, so that nothing
 * can be smuggled in. */
void http1_add_header(struct buf *, struct str name, struct str value);

#endif
