#include "orchestrator/dns/dns.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/dns/dns-priv.h"

/* --- One question -------------------------------------------------------------------------------------------- */

/* A question over UDP that was handed on. */
struct udp_asker {
	struct dns_asker asker;
	struct dns *dns;
	struct sockaddr_storage from;
	struct dns_query query;
	struct buf packet;
};

static void send_udp(struct dns *d, const struct sockaddr *to, struct str packet)
{
	uv_buf_t b = uv_buf_init((char *)packet.p, (unsigned)packet.n);

	/* What does not fit into the socket's buffer is dropped: the client asks again. */
	if (d->stopping || uv_udp_try_send(&d->udp, &b, 1, to) < 0)
		d->stats.dropped++;
	else
		d->stats.answered++;
}

static size_t udp_limit(const struct dns_query *q)
{
	return q->edns ? MIN((size_t)q->udp_size, (size_t)DNS_UDP_MAX) : DNS_UDP_DEFAULT;
}

/* A reply without records: an error, or "ask me over TCP". */
static void reply_empty(struct dns_reply *r, const struct dns_query *q, struct str packet, size_t limit, int rcode, bool truncated)
{
	dns_reply_init(r, q, packet, limit);
	r->truncated = truncated;
	dns_reply_finish(r, rcode, false, true);
}

/* Whether *r is the answer; if not, the question is for the resolvers. */
static bool answer(struct dns *d, struct str packet, struct dns_query *q, size_t limit_tcp, struct dns_reply *r, bool *ret_drop)
{
	int rcode;
	size_t limit;

	d->stats.queries++;
	*ret_drop = !dns_query_parse(packet, q, &rcode);
	if (*ret_drop) {
		d->stats.dropped++;
		return false;
	}
	limit = limit_tcp ? limit_tcp : udp_limit(q);
	if (rcode != DNS_NOERROR || !dns__view_synced(d)) {
		reply_empty(r, q, packet, limit, rcode != DNS_NOERROR ? rcode : DNS_SERVFAIL, false);
		return true;
	}
	dns_reply_init(r, q, packet, limit);
	if (dns_zone_answer(&d->view, q, r))
		return true;
	dns_reply_fini(r);
	if (d->n_upstreams > 0 && d->n_forwards < DNS_FORWARDS_MAX)
		return false;
	d->stats.failed++;
	reply_empty(r, q, packet, limit, DNS_SERVFAIL, false);
	return true;
}

/* --- UDP ------------------------------------------------------------------------------------------------------ */

static void udp_answered(struct dns_asker *asker, struct str packet)
{
	struct udp_asker *u = container_of(asker, struct udp_asker, asker);
	const struct sockaddr *to = (const struct sockaddr *)&u->from;

	if (packet.n > 0 && packet.n <= udp_limit(&u->query)) {
		send_udp(u->dns, to, packet);
	} else {
		struct dns_reply r;

		u->dns->stats.failed += packet.n == 0;
		reply_empty(&r, &u->query, buf_str(&u->packet), DNS_UDP_MAX, packet.n ? DNS_NOERROR : DNS_SERVFAIL,
				packet.n > 0);
		send_udp(u->dns, to, buf_str(&r.buf));
		dns_reply_fini(&r);
	}
	buf_fini(&u->packet);
	free(u);
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct dns *d = udp->data;
	struct str packet = str_of(buf->base, n > 0 ? (size_t)n : 0);
	struct dns_query q;
	struct dns_reply r;
	struct udp_asker *u;
	bool drop;

	if (n <= 0 || from == NULL || (flags & UV_UDP_PARTIAL))
		return;
	if (answer(d, packet, &q, 0, &r, &drop)) {
		send_udp(d, from, buf_str(&r.buf));
		dns_reply_fini(&r);
		return;
	}
	if (drop)
		return;
	u = xcalloc(1, sizeof(*u));
	u->asker.answer = udp_answered;
	u->dns = d;
	u->query = q;
	memcpy(&u->from, from, from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	buf_init(&u->packet, LOOP_SCRATCH_SIZE);
	buf_adds(&u->packet, packet);
	d->stats.forwarded++;
	dns__forward(d, packet, false, &u->asker);
}

static void lend_udp(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	struct dns *d = h->data;

	*buf = uv_buf_init(loop_scratch(d->cfg.loop), LOOP_SCRATCH_SIZE);
}

/* --- TCP ------------------------------------------------------------------------------------------------------ */

struct conn {
	struct list link;
	struct dns *dns;
	uv_tcp_t tcp;
	uv_write_t write;
	struct buf in, out;
	struct dns_asker asker;
	struct dns_query query;
	struct loop_timer idle;
	bool waiting; /* for resolvers, or until the answer is written; one question at a time */
	bool closing;
};

static void next_question(struct conn *c);

static void conn_closed(uv_handle_t *h)
{
	struct conn *c = h->data;
	struct dns *d = c->dns;

	list_del(&c->link);
	d->n_conns--;
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
	dns__handle_closed(d);
}

static void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	loop_timer_stop(&c->idle);
	dns__forward_forget(c->dns, &c->asker);
	uv_close((uv_handle_t *)&c->tcp, conn_closed);
}

static void on_idle(struct loop_timer *t)
{
	conn_close(container_of(t, struct conn, idle));
}

static void conn_written(uv_write_t *w, int status)
{
	struct conn *c = container_of(w, struct conn, write);

	if (c->closing)
		return;
	if (status < 0) {
		conn_close(c);
		return;
	}
	c->dns->stats.answered++;
	c->waiting = false;
	loop_timer_start(&c->idle, c->dns->cfg.loop, DNS_IDLE_MS, on_idle);
	next_question(c);
}

static void conn_send(struct conn *c, struct str packet)
{
	char length[2] = {(char)(packet.n >> 8), (char)packet.n};
	uv_buf_t b;

	buf_clear(&c->out);
	buf_add(&c->out, length, 2);
	buf_adds(&c->out, packet);
	b = uv_buf_init(c->out.p, (unsigned)c->out.n);
	if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, conn_written) < 0)
		conn_close(c);
}

/* The question is still at the beginning of c->in. */
static struct str question(const struct conn *c)
{
	size_t n = (size_t)((uint8_t)c->in.p[0] << 8 | (uint8_t)c->in.p[1]);

	return str_of(c->in.p + 2, n);
}

static void conn_answered(struct dns_asker *asker, struct str packet)
{
	struct conn *c = container_of(asker, struct conn, asker);
	struct str q = question(c);
	struct dns_reply r;

	if (packet.n > 0) {
		conn_send(c, packet);
	} else {
		c->dns->stats.failed++;
		reply_empty(&r, &c->query, q, DNS_TCP_MAX, DNS_SERVFAIL, false);
		conn_send(c, buf_str(&r.buf));
		dns_reply_fini(&r);
	}
	buf_consume(&c->in, q.n + 2);
}

static void next_question(struct conn *c)
{
	struct dns_reply r;
	struct str packet;
	bool drop;

	if (c->waiting || c->in.n < 2 || c->in.n - 2 < (packet = question(c)).n)
		return;
	c->waiting = true;
	if (answer(c->dns, packet, &c->query, DNS_TCP_MAX, &r, &drop)) {
		conn_send(c, buf_str(&r.buf));
		dns_reply_fini(&r);
		buf_consume(&c->in, packet.n + 2);
	} else if (drop) {
		conn_close(c);
	} else {
		c->asker.answer = conn_answered;
		c->dns->stats.forwarded++;
		dns__forward(c->dns, packet, true, &c->asker);
	}
}

static void on_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = s->data;

	if (n < 0) {
		conn_close(c);
		return;
	}
	buf_add(&c->in, buf->base, (size_t)n);
	/* More questions than answers are read. */
	if (!buf_ok(&c->in))
		conn_close(c);
	else
		next_question(c);
}

static void lend_tcp(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	struct conn *c = h->data;

	*buf = uv_buf_init(loop_scratch(c->dns->cfg.loop), LOOP_SCRATCH_SIZE);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct dns *d = server->data;
	struct conn *c;

	if (status < 0)
		return;
	c = xcalloc(1, sizeof(*c));
	c->dns = d;
	buf_init(&c->in, 2 * (DNS_TCP_MAX + 2));
	buf_init(&c->out, BUF_NO_LIMIT);
	uv_tcp_init(loop_uv(d->cfg.loop), &c->tcp);
	c->tcp.data = c;
	list_add_tail(&d->conns, &c->link);
	d->n_conns++;
	d->n_handles++;
	if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0 || d->stopping || d->n_conns > DNS_CONNS_MAX ||
			uv_read_start((uv_stream_t *)&c->tcp, lend_tcp, on_bytes) < 0) {
		conn_close(c);
		return;
	}
	loop_timer_start(&c->idle, d->cfg.loop, DNS_IDLE_MS, on_idle);
}

/* --- Life ------------------------------------------------------------------------------------------------------ */

static int put_address(const struct dns_cfg *cfg, struct err *e)
{
	struct link_sock *s;
	int rv;

	if (cfg->address >> 24 == 127)
		return 0;
	s = link_open(-1, e);
	rv = s ? link_set_up(s, "lo", true, e) : -(int)ERR_IO;
	if (rv == 0)
		rv = addr_add(s, "lo", (struct ip4_net){cfg->address, 32}, e);
	link_close(s);
	return rv;
}

static int listen_on(struct dns *d, struct err *e)
{
	uv_loop_t *uv = loop_uv(d->cfg.loop);
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(d->cfg.port),
		.sin_addr.s_addr = htonl(d->cfg.address),
	};
	char text[IP4_STR_SIZE];
	int rv;

	uv_udp_init(uv, &d->udp);
	uv_tcp_init(uv, &d->tcp);
	d->udp.data = d->tcp.data = d;
	d->n_handles = 2;
	rv = uv_udp_bind(&d->udp, (const struct sockaddr *)&at, 0);
	if (rv == 0)
		rv = uv_udp_recv_start(&d->udp, lend_udp, on_datagram);
	if (rv == 0)
		rv = uv_tcp_bind(&d->tcp, (const struct sockaddr *)&at, 0);
	if (rv == 0)
		rv = uv_listen((uv_stream_t *)&d->tcp, 32, on_connection);
	if (rv < 0)
		return err_set_errno(e, -rv, "dns: cannot listen on %s port %u", ip4_print(d->cfg.address, text), d->cfg.port);
	return 0;
}

struct dns *dns_start(const struct dns_cfg *cfg, struct err *e)
{
	struct dns *d;

	if (put_address(cfg, e) < 0)
		return NULL;
	d = xcalloc(1, sizeof(*d));
	d->cfg = *cfg;
	d->zone = xstrdup(cfg->zone ? cfg->zone : "cluster.local");
	d->cfg.zone = d->zone;
	d->cfg.port = cfg->port ? cfg->port : 53;
	list_init(&d->forwards);
	list_init(&d->conns);
	if (listen_on(d, e) < 0) {
		dns_stop(d, NULL, NULL);
		return NULL;
	}
	dns__read_resolv_conf(d, cfg->resolv_conf ? cfg->resolv_conf : "/etc/resolv.conf");
	dns__view_init(d);
	return d;
}

void dns__handle_closed(struct dns *d)
{
	void (*cb)(void *) = d->stopped;
	void *arg = d->stopped_arg;

	if (--d->n_handles > 0 || !d->stopping)
		return;
	ASSERT(list_empty(&d->forwards) && list_empty(&d->conns));
	free(d->zone);
	free(d);
	if (cb)
		cb(arg);
}

static void server_closed(uv_handle_t *h)
{
	dns__handle_closed(h->data);
}

void dns_stop(struct dns *d, void (*cb)(void *arg), void *arg)
{
	d->stopping = true;
	d->stopped = cb;
	d->stopped_arg = arg;
	uv_close((uv_handle_t *)&d->udp, server_closed);
	uv_close((uv_handle_t *)&d->tcp, server_closed);
	LIST_FOR_EACH (c, &d->conns, struct conn, link)
		conn_close(c);
	dns__forward_stop(d);
}

struct dns_stats dns_stats(const struct dns *d)
{
	return d->stats;
}
