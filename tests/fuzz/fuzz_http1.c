/*
 * HTTP/1.1 heads and bodies. The first byte chooses request, response or chunked body, and the size
 * of the pieces. What a whole feed decodes, a feed in pieces must decode too.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"
#include "io/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static int decode(struct http1_body b, struct str bytes, size_t piece, struct buf *out)
{
	int last = HTTP1_MORE;

	while (bytes.n > 0 && last >= 0 && last != HTTP1_END) {
		struct str part = str_sub(bytes, 0, MIN(piece, bytes.n)), data;

		bytes = str_skip(bytes, part.n);
		while ((last = http1_body_feed(&b, &part, &data)) == HTTP1_DATA)
			buf_adds(out, data);
	}
	if (last == HTTP1_END) {
		struct http_headers t;
		struct arena a;

		arena_init(&a);
		http1_body_trailers(&b, &a, &t, NULL);
		arena_fini(&a);
	}
	http1_body_fini(&b);
	return last;
}

static void check_body(struct http1_head *h, struct str bytes, size_t piece, bool response)
{
	struct http1_body b, b2;
	struct buf whole = BUF_INIT, pieces = BUF_INIT;
	int r1, r2;

	if (response) {
		http1_body_of_response(h, false, &b);
		http1_body_of_response(h, false, &b2);
	} else {
		http1_body_of_request(h, &b);
		http1_body_of_request(h, &b2);
	}
	r1 = decode(b, bytes, bytes.n + 1, &whole);
	r2 = decode(b2, bytes, piece, &pieces);
	ASSERT((r1 < 0) == (r2 < 0));
	ASSERT(r1 < 0 || str_eq(buf_str(&whole), buf_str(&pieces)));
	buf_fini(&whole);
	buf_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str all = str_of(p, size);
	struct http1_head h = {.chunked = true, .content_length = -1, .status = 200};
	size_t scanned = 0, piece;
	ptrdiff_t n;
	struct arena a;
	int rv;

	if (size == 0)
		return 0;
	piece = (size_t)(p[0] >> 2) + 1;
	all = str_skip(all, 1);
	if (p[0] % 4 == 2) {
		check_body(&h, all, piece, false);
		return 0;
	}
	n = http1_head_size(all, &scanned);
	if (n <= 0)
		return 0;
	arena_init(&a);
	if (p[0] % 4 == 0)
		rv = http1_parse_request(str_sub(all, 0, (size_t)n), &a, &h, NULL);
	else
		rv = http1_parse_response(str_sub(all, 0, (size_t)n), &a, &h, NULL);
	if (rv == 0) {
		ASSERT(!h.chunked || h.content_length < 0);
		check_body(&h, str_skip(all, (size_t)n), piece, p[0] % 4 != 0);
	}
	arena_fini(&a);
	return 0;
}
