/*
 * The bridge between a WebSocket client and a SPDY kubelet, both hostile: whatever they send, it neither crashes nor leaks, and
 * it is over when both have hung up. The first byte chooses the bridge; then pieces {who and how, length, bytes}.
 */
#include "tests/lib/bridge_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void put(struct bridge_rig *r, int fd, struct str bytes)
{
	if (send(fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	for (int i = 0; i < 3; i++)
		loop_turn(r->loop, 0);
}

static void drain(int fd)
{
	char block[65536];

	while (recv(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str in = str_of((const char *)p, size);
	struct bridge_rig r;
	bool tunnel;

	if (size == 0)
		return 0;
	tunnel = p[0] & 1;
	in = str_skip(in, 1);
	ASSERT(bridge_rig_open(&r, p[0] & 2 ? "/x?stdin=1&stdout=1&tty=1" : "/x?stdin=1&stdout=1&stderr=1", tunnel ? "portforward" : "exec",
			       tunnel ? "SPDY/3.1+portforward.k8s.io" : "v5.channel.k8s.io", false) == 0);
	while (in.n >= 2) {
		unsigned how = (unsigned char)in.p[0];
		struct str bytes = str_sub(in, 2, MIN((size_t)(unsigned char)in.p[1], in.n - 2));
		struct buf b = BUF_INIT;

		in = str_skip(in, 2 + bytes.n);
		if (how & 1) {
			if (how & 2)
				buf_adds(&b, bytes);
			else
				bridge_rig_spdy_data(&b, how >> 2 & 15, bytes, how & 64);
			put(&r, r.kubelet, buf_str(&b));
		} else {
			if (how & 2)
				buf_adds(&b, bytes);
			else
				bridge_rig_frame(&b, how & 4 ? how >> 3 & 15 : 2, bytes);
			put(&r, r.client, buf_str(&b));
		}
		buf_fini(&b);
		drain(r.client);
		drain(r.kubelet);
	}
	bridge_rig_close(&r);
	return 0;
}
