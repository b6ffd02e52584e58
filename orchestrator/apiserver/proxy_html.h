/*
 * Links of a proxied page made to lead through the proxy, as the page streams past.
 *
 * Only values of attributes that hold addresses (<a href>, <img src>, <form action> ...) are looked at, and only those that name a
 * path of the backend; every other byte passes as it is. Scripts, styles and comments are not looked into. Bytes may come in
 * pieces of any size; no more than one value is held back, and one that is too long passes unchanged.
 *
 *	struct proxy_html *h = proxy_html_new("10.1.2.3:80", base);
 *	proxy_html_feed(h, bytes, &out); ... proxy_html_end(h, &out); proxy_html_free(h);
 */
#ifndef ORCHESTRATOR_APISERVER_PROXY_HTML_H
#define ORCHESTRATOR_APISERVER_PROXY_HTML_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct proxy_html;

/* Both are copied: the backend's host:port, and the proxy's own path without the slash at its end. */
struct proxy_html *proxy_html_new(const char *address, struct str base);
void proxy_html_free(struct proxy_html *);
void proxy_html_feed(struct proxy_html *, struct str in, struct buf *out);
/* What was held back. */
void proxy_html_end(struct proxy_html *, struct buf *out);
/* Whether an answer of this Content-Type and Content-Encoding is such a page. */
bool proxy_html_is_page(struct str type, struct str encoding);

#endif
