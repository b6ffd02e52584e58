/* Questions for someone else: handed to the node's own resolvers, one after the other; declared in dns-priv.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/dns/dns-priv.h"

#define RESOLV_CONF_MAX 65536u

/*
 *	attempt(i) --answer--> report --> close --> free
 *	           --timeout, error--> close --> attempt(i + 1), or after the last: report "" --> free
 *
 * Each attempt has a socket of its own, with a port that the kernel chooses at random, so that an answer cannot be forged by
 * someone who does not see the question.
 */
struct forward {
	struct list link;
	struct dns *dns;
	struct dns_asker *asker; /* NULL: nobody waits any more */
	struct str packet;       /* ours, with room for TCP's length before it */
	uint16_t asked_id, id;
	unsigned attempt;
	bool tcp, closing, done;
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp_sock;
	};
	uv_udp_send_t send;
	uv_connect_t connect;
	uv_write_t write;
	struct loop_timer timer;
	struct buf in;
};

static void attempt(struct forward *f);

void dns__read_resolv_conf(struct dns *d, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[512];
	size_t total = 0;

	d->n_upstreams = 0;
	while (f && d->n_upstreams < DNS_UPSTREAMS_MAX && fgets(line, sizeof(line), f) &&
			(total += strlen(line)) < RESOLV_CONF_MAX) {
		char word[64], addr[64];
		uint32_t ip;

		if (sscanf(line, "%63s %63s", word, addr) != 2 || strcmp(word, "nameserver") != 0 ||
				!ip4_parse(str_from(addr), &ip) || ip == d->cfg.address)
			continue;
		d->upstreams[d->n_upstreams++] = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(ip)};
	}
	if (f)
		fclose(f);
}

static void report(struct forward *f, struct str packet)
{
	struct dns_asker *asker = TAKE(f->asker);

	f->done = true;
	if (asker)
		asker->answer(asker, packet);
}

static void destroy(struct forward *f)
{
	list_del(&f->link);
	f->dns->n_forwards--;
	buf_fini(&f->in);
	free((char *)f->packet.p - 2);
	free(f);
}

static void on_closed(uv_handle_t *h)
{
	struct forward *f = h->data;
	struct dns *d = f->dns;

	f->closing = false;
	if (!f->done && f->asker && !d->stopping && f->attempt < d->n_upstreams) {
		attempt(f);
	} else {
		if (!f->done)
			report(f, STR_NULL);
		destroy(f);
	}
	dns__handle_closed(d);
}

static void close_socket(struct forward *f)
{
	if (f->closing)
		return;
	f->closing = true;
	loop_timer_stop(&f->timer);
	uv_close(&f->handle, on_closed);
}

static void on_timeout(struct loop_timer *t)
{
	close_socket(container_of(t, struct forward, timer));
}

/* An answer to our question: the same id, and the same question after it. */
static bool fits(const struct forward *f, struct str answer)
{
	struct dns_query q;
	int rcode;

	return answer.n >= DNS_HEADER_SIZE && (uint8_t)answer.p[0] == f->id >> 8 &&
			(uint8_t)answer.p[1] == (f->id & 255) && (answer.p[2] & 0x80) &&
			dns_query_parse(f->packet, &q, &rcode) && answer.n >= q.question_end &&
			strncasecmp(answer.p + DNS_HEADER_SIZE, f->packet.p + DNS_HEADER_SIZE,
					q.question_end - DNS_HEADER_SIZE) == 0;
}

static void got(struct forward *f, char *p, size_t n)
{
	if (f->closing || !fits(f, str_of(p, n)))
		return;
	p[0] = (char)(f->asked_id >> 8);
	p[1] = (char)f->asked_id;
	report(f, str_of(p, n));
	close_socket(f);
}

static void lend(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	struct forward *f = h->data;

	*buf = uv_buf_init(loop_scratch(f->dns->cfg.loop), LOOP_SCRATCH_SIZE);
}

/* --- UDP --------------------------------------------------------------------------------------------------- */

static void on_datagram(uv_udp_t *u, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct forward *f = u->data;

	if (n < 0)
		close_socket(f);
	else if (n > 0)
		got(f, buf->base, (size_t)n);
}

static void on_sent(uv_udp_send_t *r, int status)
{
	struct forward *f = container_of(r, struct forward, send);

	if (status < 0)
		close_socket(f);
}

static int start_udp(struct forward *f, const struct sockaddr_in *to)
{
	uv_buf_t b = uv_buf_init((char *)f->packet.p, (unsigned)f->packet.n);
	int rv = uv_udp_connect(&f->udp, (const struct sockaddr *)to);

	if (rv == 0)
		rv = uv_udp_recv_start(&f->udp, lend, on_datagram);
	if (rv == 0)
		rv = uv_udp_send(&f->send, &f->udp, &b, 1, NULL, on_sent);
	return rv;
}

/* --- TCP --------------------------------------------------------------------------------------------------- */

static void on_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct forward *f = s->data;
	size_t want;

	if (n < 0) {
		close_socket(f);
		return;
	}
	buf_add(&f->in, buf->base, (size_t)n);
	if (f->in.n < 2)
		return;
	want = (size_t)((uint8_t)f->in.p[0] << 8 | (uint8_t)f->in.p[1]) + 2;
	if (f->in.n >= want) {
		got(f, f->in.p + 2, want - 2);
		close_socket(f);
	}
}

static void on_written(uv_write_t *w, int status)
{
	struct forward *f = container_of(w, struct forward, write);

	if (status < 0)
		close_socket(f);
}

static void on_connected(uv_connect_t *c, int status)
{
	struct forward *f = container_of(c, struct forward, connect);
	uv_buf_t b = uv_buf_init((char *)f->packet.p - 2, (unsigned)f->packet.n + 2);

	if (f->closing)
		return;
	if (status < 0 || uv_read_start((uv_stream_t *)&f->tcp_sock, lend, on_bytes) < 0 ||
			uv_write(&f->write, (uv_stream_t *)&f->tcp_sock, &b, 1, on_written) < 0)
		close_socket(f);
}

/* --- Both -------------------------------------------------------------------------------------------------- */

static void attempt(struct forward *f)
{
	uv_loop_t *uv = loop_uv(f->dns->cfg.loop);
	const struct sockaddr_in *to = &f->dns->upstreams[f->attempt++];
	char *p = (char *)f->packet.p;
	int rv;

	random_bytes(&f->id, sizeof(f->id));
	p[0] = (char)(f->id >> 8);
	p[1] = (char)f->id;
	buf_clear(&f->in);
	rv = f->tcp ? uv_tcp_init(uv, &f->tcp_sock) : uv_udp_init(uv, &f->udp);
	ASSERT(rv == 0);
	f->handle.data = f;
	f->dns->n_handles++;
	loop_timer_start(&f->timer, f->dns->cfg.loop, DNS_FORWARD_TIMEOUT_MS, on_timeout);
	rv = f->tcp ? uv_tcp_connect(&f->connect, &f->tcp_sock, (const struct sockaddr *)to, on_connected)
		    : start_udp(f, to);
	if (rv < 0)
		close_socket(f);
}

void dns__forward(struct dns *d, struct str packet, bool tcp, struct dns_asker *asker)
{
	struct forward *f = xcalloc(1, sizeof(*f));
	char *copy = xmalloc(packet.n + 2);

	ASSERT(d->n_upstreams > 0 && d->n_forwards < DNS_FORWARDS_MAX && packet.n >= DNS_HEADER_SIZE && packet.n <= DNS_TCP_MAX);
	copy[0] = (char)(packet.n >> 8);
	copy[1] = (char)packet.n;
	memcpy(copy + 2, packet.p, packet.n);
	f->packet = str_of(copy + 2, packet.n);
	f->asked_id = (uint16_t)((uint8_t)packet.p[0] << 8 | (uint8_t)packet.p[1]);
	f->dns = d;
	f->asker = asker;
	f->tcp = tcp;
	buf_init(&f->in, DNS_TCP_MAX + 2 + LOOP_SCRATCH_SIZE);
	list_add_tail(&d->forwards, &f->link);
	d->n_forwards++;
	attempt(f);
}

void dns__forward_forget(struct dns *d, struct dns_asker *asker)
{
	LIST_FOR_EACH (f, &d->forwards, struct forward, link)
		if (f->asker == asker)
			f->asker = NULL;
}

void dns__forward_stop(struct dns *d)
{
	LIST_FOR_EACH (f, &d->forwards, struct forward, link)
		close_socket(f);
}
