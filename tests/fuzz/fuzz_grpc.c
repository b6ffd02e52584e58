/* gRPC frames: fed whole and in pieces, the messages are the same. The first byte is the size of
 * the pieces. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "io/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static bool on_message(void *arg, struct str message)
{
	struct buf *b = arg;

	buf_printf(b, "%zu:", message.n);
	buf_adds(b, message);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT, in = BUF_INIT;
	struct str all;
	size_t piece;
	int r1, r2 = 0;

	if (size == 0)
		return 0;
	all = str_of(p + 1, size - 1);
	piece = (size_t)p[0] + 1;
	r1 = grpc_frames(&in, 4096, all, on_message, &whole);
	buf_fini(&in);
	while (all.n > 0 && r2 == 0) {
		struct str part = str_sub(all, 0, MIN(piece, all.n));

		all = str_skip(all, part.n);
		r2 = grpc_frames(&in, 4096, part, on_message, &pieces);
	}
	ASSERT(r1 == r2);
	ASSERT(str_eq(buf_str(&whole), buf_str(&pieces)));
	buf_fini(&in);
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
