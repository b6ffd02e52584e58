/* WebSocket frames: the first byte chooses the side and the size of the pieces; whole and in pieces
 * decode the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "io/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static int decode(bool client, struct str all, size_t piece, struct buf *out)
{
	struct ws_decoder d = {.client = client, .max_message = 4096};
	struct ws_event ev;
	int rv = 0;

	buf_init(&d.message, d.max_message);
	while (all.n > 0 && rv >= 0) {
		struct str part = str_sub(all, 0, MIN(piece, all.n));

		all = str_skip(all, part.n);
		while ((rv = ws_decode(&d, &part, &ev)) > 0) {
			buf_printf(out, "%d:%zu:", ev.opcode, ev.payload.n);
			buf_adds(out, ev.payload);
		}
	}
	ws_decoder_fini(&d);
	return rv;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT;
	int r1, r2;

	if (size == 0)
		return 0;
	r1 = decode(p[0] & 1, str_of(p + 1, size - 1), size, &whole);
	r2 = decode(p[0] & 1, str_of(p + 1, size - 1), (size_t)(p[0] >> 1) + 1, &pieces);
	ASSERT(r1 == r2);
	ASSERT(str_eq(buf_str(&whole), buf_str(&pieces)));
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
