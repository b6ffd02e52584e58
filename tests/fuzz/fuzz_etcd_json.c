/*
 * JSON as the etcd gateway takes it. The first byte chooses a method; what can be read as its request is printed and read again,
 * and both must be the same message. The same text as a stream of objects ends in the same places however it is cut. And the
 * text taken for a message on the wire is printed or refused.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/json.h"

static void check_round(const ProtobufCMessageDescriptor *d, struct str text)
{
	struct buf wire = BUF_INIT, json = BUF_INIT, again = BUF_INIT, json_again = BUF_INIT;
	struct err e;

	if (etcd_json_parse(&wire, d, text, &e) == 0) {
		ASSERT(etcd_json_print(&json, d, buf_str(&wire), &e) == 0);
		ASSERT(etcd_json_parse(&again, d, buf_str(&json), &e) == 0);
		ASSERT(etcd_json_print(&json_again, d, buf_str(&again), &e) == 0);
		ASSERT(str_eq(buf_str(&json), buf_str(&json_again)));
	}
	buf_fini(&wire);
	buf_fini(&json);
	buf_fini(&again);
	buf_fini(&json_again);
}

static void check_cuts(struct str text)
{
	struct etcd_json_scan at_once = {0}, in_pieces = {0};
	ptrdiff_t want = etcd_json_next(&at_once, text), got = 0;

	for (size_t n = 1; n <= text.n && got == 0; n++)
		got = etcd_json_next(&in_pieces, str_sub(text, 0, n));
	ASSERT(got == want);
	ASSERT(want <= (ptrdiff_t)text.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct etcd_method *m;
	struct buf out = BUF_INIT;
	struct str text;
	struct err e;

	if (size == 0)
		return 0;
	m = &etcd__methods[data[0] % etcd__n_methods];
	text = str_of(data + 1, size - 1);
	check_round(m->in, text);
	check_cuts(text);
	(void)etcd_json_print(&out, m->out, text, &e);
	buf_fini(&out);
	return 0;
}
