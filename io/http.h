/*
 * Headers of HTTP messages, shared by server and client: an ordered array of name and value.
 *
 * Names that we parsed are in lower case; names given to us may be in any case. The strings are
 * borrowed; where a message is kept, its arena holds them.
 */
#ifndef IO_HTTP_H
#define IO_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct http_header {
	struct str name, value;
};

struct http_headers {
	struct http_header *h;
	size_t n;
};

/* The first value of that name, whatever the case; {NULL, 0} when absent. */
struct str http_header_get(const struct http_headers *, const char *name);
bool http_header_has(const struct http_headers *, const char *name);
/* True when the comma separated list in any header of that name holds `token`, whatever the case.
 */
bool http_header_has_token(const struct http_headers *, const char *name, const char *token);
/* "Not Found" for 404; "Unknown" otherwise. */
const char *http_reason(int status);

/*
 * A chunk on its way out. The bytes are copied when it is submitted; `done` runs once, later, when
 * they have left for the kernel or will never leave (status < 0), also after the message was ended.
 * The owner embeds it and keeps it until then; who does not want to know passes NULL.
 */
struct http_write {
	void (*done)(struct http_write *, int status);
	struct http_write *next; /* ours until done */
	unsigned long long mark; /* ours until done */
};

#endif
