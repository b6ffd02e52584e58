/* Links of proxied pages: cut anywhere the outcome is the same; without the proxy's path it is the page; and done twice is done once. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/proxy_html.h"

#define BASE "/base/of/proxy"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void rewrite(struct str in, size_t piece, struct buf *out)
{
	struct proxy_html *h = proxy_html_new("h:1", STR(BASE));

	while (in.n > 0) {
		proxy_html_feed(h, str_sub(in, 0, MIN(piece, in.n)), out);
		in = str_skip(in, MIN(piece, in.n));
	}
	proxy_html_end(h, out);
	proxy_html_free(h);
}

static size_t count(struct str s)
{
	size_t n = 0;
	ptrdiff_t at;

	for (; (at = str_search(s, STR(BASE))) >= 0; n++)
		s = str_skip(s, (size_t)at + strlen(BASE));
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT, again = BUF_INIT;
	struct str in = str_of((const char *)p, size);

	rewrite(in, SIZE_MAX, &whole);
	rewrite(in, 1 + size % 7, &pieces);
	ASSERT(str_eq(buf_str(&whole), buf_str(&pieces)));
	/* It grows by the proxy's path for each link, but for what a backend's own address and spaces took. */
	ASSERT(whole.n <= size + (count(buf_str(&whole)) - count(in)) * strlen(BASE));
	rewrite(buf_str(&whole), SIZE_MAX, &again);
	ASSERT(str_eq(buf_str(&whole), buf_str(&again)));
	buf_fini(&whole);
	buf_fini(&pieces);
	buf_fini(&again);
	return 0;
}
