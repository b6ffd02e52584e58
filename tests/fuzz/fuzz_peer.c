/* What comes from the peer port: the hello, its answer, and message frames. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "raft/msg.h"
#include "raft/hello-priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str in = str_of(p, size);
	struct hello_answer a;
	struct hello h;
	struct msg m, again;
	struct msg_entry e;
	int64_t n = transport__hello_size(in);

	if (n >= 8 && (size_t)n <= size) {
		transport__decode_hello(str_of(p, (size_t)n), &h);
		transport__decode_answer(str_of(p, (size_t)n), &a);
	}
	n = msg_frame_size(in);
	if (n <= 0 || (size_t)n > size || msg_decode(str_of(p, (size_t)n), &m, NULL) != 0)
		return 0;
	if (m.kind == MSG_APPEND) {
		struct str rest = m.append.entries;

		while (msg_entry_next(&rest, &e))
			;
		return 0;
	}
	/* What was taken can be said again, and is taken again. */
	struct buf out = BUF_INIT;

	msg_encode(&m, &out);
	ASSERT(msg_decode(buf_str(&out), &again, NULL) == 0);
	buf_fini(&out);
	return 0;
}
