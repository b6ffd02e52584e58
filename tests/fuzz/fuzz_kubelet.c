/*
 * What the kubelet reads that others wrote: container logs (a container may write what it likes, and the file may be cut
 * anywhere), containerd's events, image names, paths for volumes, and $(VAR) texts. The first byte chooses. A log fed whole and
 * in pieces gives the same text.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/kubelet/atomic-writer.h"
#include "orchestrator/kubelet/containerd-priv.h"
#include "orchestrator/kubelet/crilog.h"
#include "orchestrator/kubelet/env.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/resources.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void feed(struct str bytes, size_t piece, struct buf *out)
{
	struct crilog_filter f = {.limit = 1000, .timestamps = true};
	struct buf in = BUF_INIT;

	while (bytes.n > 0) {
		struct str part = str_sub(bytes, 0, MIN(piece, bytes.n));

		bytes = str_skip(bytes, part.n);
		buf_adds(&in, part);
		buf_consume(&in, crilog_feed(&f, buf_str(&in), out));
	}
	buf_fini(&in);
}

static void logs(struct str bytes)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT;

	feed(bytes, bytes.n ? bytes.n : 1, &whole);
	feed(bytes, 7, &pieces);
	ASSERT(str_eq(buf_str(&whole), buf_str(&pieces)));
	buf_fini(&whole);
	buf_fini(&pieces);
}

static void texts(struct str bytes)
{
	struct arena a;
	struct env_list l = {.arena = &a};
	const char *text;

	arena_init(&a);
	text = arena_cstr(&a, bytes);
	env_set(&l, "A", "x");
	env_expand(&a, text, &l);
	if (image_name_ok(text))
		image_full_name(&a, text);
	atomic_path_ok(text);
	ASSERT(res_milli(text) >= 0 && res_units(text) >= 0);
	arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct containerd_event ev;
	struct str bytes;

	if (size == 0)
		return 0;
	bytes = str_of(p + 1, size - 1);
	switch (p[0] % 3) {
	case 0:
		logs(bytes);
		break;
	case 1:
		containerd__event_parse(bytes, &ev);
		break;
	default:
		texts(bytes);
	}
	return 0;
}
