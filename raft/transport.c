#include "raft/transport.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "io/stream.h"
#include "raft/transport-priv.h"

/* What may wait for a slow peer. Entries that do not fit count as lost; the core sends them again. */
static const size_t budgets[MSG_N_CHANNELS] = {[MSG_CHANNEL_MAIN] = 16u << 20, [MSG_CHANNEL_BULK] = 8u << 20};

/* Frames gathered for one write. */
#define FRAMES_MAX (256u << 10)
#define MAX_INCOMING 256
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 500
#define TRANSPORT_LISTEN_MAX 8
#define HELLO_TIMEOUT_MS 5000
#define CRASH_MS 300 /* a refusal this soon after a connection broke means that the peer's process died */

enum out_state { OUT_IDLE, OUT_CONNECTING, OUT_HELLO, OUT_UP, OUT_WAITING };

/* A connection that this member dials and sends on. */
struct out {
	struct peer *peer;
	enum msg_channel channel;
	enum out_state state;
	struct stream *stream;
	struct stream_user user;
	struct stream_connect connect;
	struct loop_timer timer; /* back-off, or patience with the hello */
	unsigned backoff;
	struct buf in;
	struct buf frames; /* sent, and not yet given to the stream: one write and one TLS record carry many */
	uint64_t lost_at; /* the connection broke then: a refusal soon after tells of a crash; 0: told, or never up */
	char last_error[160];
};

struct peer {
	struct list link;
	struct transport *t;
	uint64_t id;
	char addr[KV_ADDR_MAX], name[KV_NAME_MAX];
	char known[KV_ADDR_MAX]; /* its address as the configuration has it; it may have said hello from another one */
	bool wanted; /* in the configuration; others are only answered */
	bool dead;   /* freed when its last connect request has come back */
	struct out out[MSG_N_CHANNELS];
	struct kv_peer_figures *figures; /* NULL: too many members have come and gone */
};

/* A connection that someone else dialled. */
struct in {
	struct list link;
	struct transport *t;
	struct stream *stream;
	struct stream_user user;
	struct loop_timer timer;
	struct buf buf;
	uint64_t id;   /* of this connection, for answers to a joiner */
	uint64_t from; /* 0 before the hello */
	struct kv_peer_figures *figures; /* as in struct peer */
	uint8_t channel;
	bool said_hello, joiner;
};

struct transport {
	struct transport_cfg cfg;
	char *name, *addr;
	struct listener *listeners[TRANSPORT_LISTEN_MAX];
	size_t n_listeners;
	struct listener_user listener_user;
	struct list peers, incoming;
	size_t n_incoming;
	uint64_t next_conn;
	bool closing;
	struct kv_figures figures;
	unsigned n_open; /* things that must come to an end before we may be freed */
	void (*closed)(void *arg);
};

static void release(struct transport *t)
{
	void (*closed)(void *arg) = t->closed;
	void *arg = t->cfg.arg;

	ASSERT(t->n_open > 0);
	if (--t->n_open > 0 || !t->closing)
		return;
	LIST_FOR_EACH_SAFE (p, next, &t->peers, struct peer, link) {
		list_del(&p->link);
		free(p);
	}
	free(t->name);
	free(t->addr);
	free(t);
	closed(arg);
}

static void stream_gone(void *arg)
{
	release(arg);
}

static void drop_stream(struct transport *t, struct stream **s)
{
	if (*s)
		stream_close(TAKE(*s), stream_gone, t);
}

/* --- Outgoing --------------------------------------------------------------------------------------------------------- */

static void dial(struct out *o);

static void on_redial(struct loop_timer *timer)
{
	struct out *o = container_of(timer, struct out, timer);

	dial(o);
}

/* The peer's memory goes when no connect request refers to it any more. */
static void peer_maybe_free(struct peer *p)
{
	if (!p->dead)
		return;
	for (unsigned i = 0; i < MSG_N_CHANNELS; i++)
		if (p->out[i].state == OUT_CONNECTING)
			return;
	for (unsigned i = 0; i < MSG_N_CHANNELS; i++)
		buf_fini(&p->out[i].in), buf_fini(&p->out[i].frames);
	list_del(&p->link);
	free(p);
}

/* Not connected (any more). Dial again: at once if the connection had been up, else after the back-off. */
static void out_down(struct out *o, const struct err *why)
{
	struct peer *p = o->peer;
	struct transport *t = p->t;
	bool was_up = o->state == OUT_UP;

	loop_timer_stop(&o->timer);
	drop_stream(t, &o->stream);
	buf_clear(&o->in);
	buf_clear(&o->frames);
	if (why && (was_up || strncmp(o->last_error, why->text, sizeof(o->last_error) - 1) != 0)) {
		snprintf(o->last_error, sizeof(o->last_error), "%.*s", (int)sizeof(o->last_error) - 1, why->text);
		log_info("raft", "peer=%s addr=%s %s: %s", p->name, p->addr, was_up ? "connection lost" : "cannot connect",
			 why->text);
	}
	if (t->closing || p->dead || (o->channel == MSG_CHANNEL_BULK && !was_up)) {
		o->state = OUT_IDLE;
		peer_maybe_free(p);
		return;
	}
	o->state = OUT_WAITING;
	if (was_up && o->channel == MSG_CHANNEL_MAIN)
		o->lost_at = clock_mono_ms();
	if (o->channel == MSG_CHANNEL_BULK || (!p->wanted && o->backoff >= BACKOFF_MAX_MS)) {
		o->state = OUT_IDLE; /* dialled anew when there is something to send */
		o->backoff = 0;
	} else {
		loop_timer_start(&o->timer, t->cfg.loop, was_up ? 0 : o->backoff, on_redial);
		o->backoff = MIN(MAX(o->backoff * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	}
	if (was_up && o->channel == MSG_CHANNEL_MAIN)
		t->cfg.lost(t->cfg.arg, p->id, false);
}

static void out_up(struct out *o)
{
	struct transport *t = o->peer->t;

	o->state = OUT_UP;
	o->lost_at = 0;
	o->backoff = 0;
	o->last_error[0] = '\0';
	loop_timer_stop(&o->timer);
	log_debug("raft", "peer=%s connected channel=%d", o->peer->name, (int)o->channel);
	t->cfg.up(t->cfg.arg, o->peer->id);
}

static void out_on_data(struct stream_user *user, struct stream *s _unused_, struct str bytes)
{
	struct out *o = container_of(user, struct out, user);
	struct hello_answer a;
	struct err e;
	int64_t size;

	/* After its answer to the hello the other end has nothing to say here. */
	if (o->state != OUT_HELLO)
		return;
	buf_adds(&o->in, bytes);
	size = transport__hello_size(buf_str(&o->in));
	if (size == 0 || (size > 0 && o->in.n < (size_t)size && o->in.n <= HELLO_MAX))
		return;
	if (size < 0 || !transport__decode_answer(str_of(o->in.p, (size_t)size), &a)) {
		err_set(&e, ERR_PROTOCOL, "it does not speak this protocol");
		out_down(o, &e);
		return;
	}
	if (!a.ok) {
		err_set(&e, ERR_FORBIDDEN, "it refuses us: %.*s", STR_FMT(a.text));
		o->backoff = BACKOFF_MAX_MS;
		out_down(o, &e);
		return;
	}
	out_up(o);
}

static void out_on_end(struct stream_user *user, struct stream *s _unused_, const struct err *why)
{
	struct out *o = container_of(user, struct out, user);
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "%s", why ? why->text : "closed by the other end");
	out_down(o, &e);
}

static void on_hello_timeout(struct loop_timer *timer)
{
	struct out *o = container_of(timer, struct out, timer);
	struct err e;

	err_set(&e, ERR_TIMEOUT, "no answer to our hello");
	out_down(o, &e);
}

static void say_hello(struct out *o)
{
	struct transport *t = o->peer->t;
	struct buf b = BUF_INIT;
	struct hello h = {.version = HELLO_VERSION,
			  .cluster_id = t->cfg.cluster_id,
			  .from = t->cfg.member_id,
			  .to = o->peer->id,
			  .channel = (uint8_t)o->channel,
			  .name = str_from(t->name),
			  .addr = str_from(t->addr)};

	o->user = (struct stream_user){.on_data = out_on_data, .on_end = out_on_end};
	stream_start(o->stream, &o->user);
	transport__encode_hello(&b, &h);
	stream_write(o->stream, buf_str(&b), NULL);
	buf_fini(&b);
	o->state = OUT_HELLO;
	loop_timer_start(&o->timer, t->cfg.loop, HELLO_TIMEOUT_MS, on_hello_timeout);
}

static void on_connected(struct stream_connect *c, struct stream *s, const struct err *why)
{
	struct out *o = container_of(c, struct out, connect);
	struct transport *t = o->peer->t;
	/* The first attempt may still meet the dying process and be reset; the next one then counts as well. */
	bool refused = o->lost_at && clock_mono_ms() - o->lost_at < CRASH_MS && c->refused;
	uint64_t id = o->peer->id;
	struct err e = ERR_INIT;

	if (refused)
		o->lost_at = 0;
	o->state = OUT_WAITING;
	o->stream = s;
	if (s)
		t->n_open++;
	if (t->closing || o->peer->dead || !s) {
		out_down(o, why);
	} else if (transport__check_cert(s, &t->cfg.trust, &e) != 0) {
		out_down(o, &e);
	} else {
		transport__tune(s, MAX(2 * t->cfg.election_ms, 500u));
		say_hello(o);
	}
	if (refused && !t->closing)
		t->cfg.lost(t->cfg.arg, id, true);
	release(t); /* the request's own count, last: it may free all */
}

static void dial(struct out *o)
{
	struct peer *p = o->peer;
	struct transport *t = p->t;

	if (t->closing || p->dead)
		return;
	o->state = OUT_CONNECTING;
	o->connect = (struct stream_connect){.loop = t->cfg.loop,
					     .address = p->addr,
					     .netns_fd = -1,
					     .tls = t->cfg.tls_client,
					     .timeout_ms = MAX(2 * t->cfg.election_ms, 500u),
					     .done = on_connected};
	t->n_open++;
	stream_connect(&o->connect);
}

static struct peer *find_peer(struct transport *t, uint64_t id)
{
	LIST_FOR_EACH (p, &t->peers, struct peer, link)
		if (p->id == id && !p->dead)
			return p;
	return NULL;
}

/* They outlive connections and changes of address. NULL: too many members have come and gone. */
static struct kv_peer_figures *figures_of(struct transport *t, uint64_t id)
{
	struct kv_figures *f = &t->figures;
	struct kv_peer_figures *free_one = f->n_peers < KV_MAX_MEMBERS ? &f->peers[f->n_peers] : NULL;

	for (size_t i = 0; i < f->n_peers; i++)
		if (f->peers[i].id == id)
			return &f->peers[i];
	if (free_one) {
		f->n_peers++;
		free_one->id = id;
		histogram_init(&free_one->round_trips, 0.0001, 16);
	}
	return free_one;
}

void transport_figures(struct transport *t, struct kv_figures *ret)
{
	for (size_t i = 0; i < t->figures.n_peers; i++)
		t->figures.peers[i].active = false;
	LIST_FOR_EACH (p, &t->peers, struct peer, link) {
		struct out *o = &p->out[MSG_CHANNEL_MAIN];
		struct tcp_info info;
		socklen_t size = sizeof(info);

		if (!p->figures || o->state != OUT_UP)
			continue;
		p->figures->active = true;
		if (getsockopt(stream_fd(o->stream), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_rtt > 0)
			histogram_add(&p->figures->round_trips, info.tcpi_rtt / 1e6);
	}
	*ret = t->figures;
}

static struct peer *add_peer(struct transport *t, uint64_t id, const char *addr, const char *name)
{
	struct peer *p = xcalloc(1, sizeof(*p));

	p->t = t;
	p->id = id;
	p->figures = figures_of(t, id);
	snprintf(p->addr, sizeof(p->addr), "%s", addr);
	memcpy(p->known, p->addr, sizeof(p->known));
	snprintf(p->name, sizeof(p->name), "%s", name);
	for (unsigned i = 0; i < MSG_N_CHANNELS; i++) {
		p->out[i].peer = p;
		p->out[i].channel = (enum msg_channel)i;
		buf_init(&p->out[i].in, BUF_NO_LIMIT);
		buf_init(&p->out[i].frames, BUF_NO_LIMIT); /* by the budgets */
	}
	list_add_tail(&t->peers, &p->link);
	dial(&p->out[MSG_CHANNEL_MAIN]);
	return p;
}

static void remove_peer(struct peer *p)
{
	p->dead = true;
	for (unsigned i = 0; i < MSG_N_CHANNELS; i++) {
		struct out *o = &p->out[i];

		loop_timer_stop(&o->timer);
		drop_stream(p->t, &o->stream);
		buf_clear(&o->frames);
		if (o->state == OUT_CONNECTING)
			stream_connect_cancel(&o->connect);
		else
			o->state = OUT_IDLE;
	}
	peer_maybe_free(p);
}

void transport_peers(struct transport *t, const struct kv_member *list, size_t n)
{
	LIST_FOR_EACH_SAFE (p, next, &t->peers, struct peer, link) {
		bool keep = false, was = p->wanted;

		if (p->dead)
			continue;
		for (size_t i = 0; i < n; i++)
			keep = keep || (list[i].id == p->id && (strcmp(list[i].addr, p->known) == 0 || strcmp(list[i].addr, p->addr) == 0));
		p->wanted = keep;
		/* One that has only said hello stays while it is there; one that was a member goes, after a last word. */
		if (!keep && was)
			p->out[MSG_CHANNEL_MAIN].backoff = BACKOFF_MAX_MS;
	}
	for (size_t i = 0; i < n; i++) {
		struct peer *p = find_peer(t, list[i].id);

		if (p && strcmp(p->known, list[i].addr) != 0 && strcmp(p->addr, list[i].addr) != 0) {
			remove_peer(p);
			p = NULL;
		}
		if (!p)
			p = add_peer(t, list[i].id, list[i].addr, list[i].name);
		p->wanted = true;
		snprintf(p->known, sizeof(p->known), "%s", list[i].addr);
		snprintf(p->name, sizeof(p->name), "%s", list[i].name);
	}
}

static void out_flush(struct out *o)
{
	if (o->frames.n == 0)
		return;
	if (o->frames.n >= FRAMES_MAX / 2) {
		stream_write_take(o->stream, &o->frames, NULL);
	} else {
		stream_write(o->stream, buf_str(&o->frames), NULL);
		buf_clear(&o->frames);
	}
}

bool transport_send(struct transport *t, uint64_t to, enum msg_channel channel, struct str frame)
{
	struct peer *p = find_peer(t, to);
	struct out *o = p ? &p->out[channel] : NULL;

	if (!o || t->closing)
		return false;
	if (o->state == OUT_IDLE)
		dial(o);
	if (o->state != OUT_UP || stream_queued(o->stream) + o->frames.n + frame.n > budgets[channel]) {
		if (p->figures)
			p->figures->failures++;
		return false;
	}
	if (p->figures)
		p->figures->sent += frame.n;
	if (o->frames.n + frame.n > FRAMES_MAX)
		out_flush(o);
	buf_adds(&o->frames, frame);
	return true;
}

void transport_flush(struct transport *t)
{
	LIST_FOR_EACH (p, &t->peers, struct peer, link)
		for (unsigned i = 0; i < MSG_N_CHANNELS; i++)
			out_flush(&p->out[i]);
}

/* --- Incoming ------------------------------------------------------------------------------------------------------------- */

static void in_close(struct in *in)
{
	struct transport *t = in->t;

	loop_timer_stop(&in->timer);
	stream_close(in->stream, stream_gone, t);
	buf_fini(&in->buf);
	list_del(&in->link);
	t->n_incoming--;
	free(in);
}

/* Say why, and close when it has left. */
static void in_refuse(struct in *in, const char *why)
{
	struct transport *t = in->t;
	struct hello_answer a = {.ok = false, .cluster_id = t->cfg.cluster_id, .text = str_from(why)};
	struct buf b = BUF_INIT;

	log_warn("raft", "refused a connection from=%s: %s", stream_peer_address(in->stream), why);
	transport__encode_answer(&b, &a);
	stream_write(in->stream, buf_str(&b), NULL);
	buf_fini(&b);
	loop_timer_stop(&in->timer);
	stream_close_flushed(in->stream, 500);
	release(t);
	buf_fini(&in->buf);
	list_del(&in->link);
	t->n_incoming--;
	free(in);
}

static const char *check_hello(struct transport *t, const struct hello *h)
{
	if (h->version != HELLO_VERSION)
		return "it speaks another version of the protocol between members: run the same program on all servers";
	if (h->channel == CHANNEL_JOIN)
		return NULL;
	if (h->channel >= MSG_N_CHANNELS)
		return "it asks for an unknown channel";
	if (h->cluster_id != t->cfg.cluster_id)
		return "it belongs to another cluster (other initial members, or an old data directory)";
	if (h->to != t->cfg.member_id)
		return "it means another member, which had this address before";
	if (h->from == 0 || h->from == t->cfg.member_id)
		return "it has the id of this member: a data directory was copied";
	return NULL;
}

static void dial_soon(struct peer *p)
{
	struct out *o = p ? &p->out[MSG_CHANNEL_MAIN] : NULL;

	if (!o || o->state != OUT_WAITING || o->stream || !loop_timer_active(&o->timer))
		return;
	o->backoff = 0;
	loop_timer_start(&o->timer, p->t->cfg.loop, 0, on_redial);
}

/* A member that was started at another address can be reached there before the configuration says so; else it could never
 * hear from the leader that it has to tell. */
static void moved(struct transport *t, const struct hello *h)
{
	struct peer *p = find_peer(t, h->from), *at;
	char addr[KV_ADDR_MAX];

	if (!p || h->addr.n == 0 || h->addr.n >= KV_ADDR_MAX || str_eqc(h->addr, p->addr) ||
	    p->out[MSG_CHANNEL_MAIN].state == OUT_UP)
		return;
	snprintf(addr, sizeof(addr), "%.*s", STR_FMT(h->addr));
	log_info("raft", "peer=%s is at addr=%s now, not at %s", p->name, addr, p->addr);
	at = add_peer(t, h->from, addr, p->name);
	at->wanted = p->wanted;
	memcpy(at->known, p->known, sizeof(at->known));
	remove_peer(p);
}

/* False: the connection is gone. */
static bool take_hello(struct in *in, struct str frame)
{
	struct transport *t = in->t;
	struct hello_answer a = {.ok = true, .cluster_id = t->cfg.cluster_id, .member_id = t->cfg.member_id};
	struct buf b = BUF_INIT;
	struct hello h;
	const char *why = transport__decode_hello(frame, &h) ? check_hello(t, &h) : "its hello is malformed";

	if (why) {
		in_refuse(in, why);
		return false;
	}
	in->said_hello = true;
	in->joiner = h.channel == CHANNEL_JOIN;
	in->from = in->joiner ? 0 : h.from;
	in->channel = h.channel;
	in->figures = in->joiner ? NULL : figures_of(t, h.from);
	loop_timer_stop(&in->timer);
	transport__encode_answer(&b, &a);
	stream_write(in->stream, buf_str(&b), NULL);
	buf_fini(&b);
	/* It dials anew, so the connection before is dead, or what still comes from it is old. */
	LIST_FOR_EACH_SAFE (old, next, &t->incoming, struct in, link)
		if (old != in && !in->joiner && old->from == h.from && old->channel == h.channel)
			in_close(old);
	/* It is there: no need to wait for our own next attempt to reach it. */
	if (!in->joiner)
		moved(t, &h);
	if (!in->joiner)
		dial_soon(find_peer(t, h.from));
	/* Someone the configuration does not name (a joiner hears its leader first) must get answers too. */
	if (!in->joiner && !find_peer(t, h.from) && h.addr.n > 0 && h.addr.n < KV_ADDR_MAX && h.name.n < KV_NAME_MAX &&
	    list_len(&t->peers) < 4 * KV_MAX_MEMBERS) {
		char *addr = str_dup(h.addr), *name = str_dup(h.name);

		add_peer(t, h.from, addr, name);
		free(addr);
		free(name);
	}
	return true;
}

/* Take whole frames off the front. False: the connection is gone. */
static bool take_frames(struct in *in)
{
	struct transport *t = in->t;
	size_t done = 0;

	for (;;) {
		struct str rest = str_of(in->buf.p + done, in->buf.n - done);
		int64_t size = in->said_hello ? msg_frame_size(rest) : transport__hello_size(rest);

		if (size == 0 || (size > 0 && rest.n < (size_t)size))
			break;
		if (size < 0) {
			log_warn("raft", "a connection from=%s sends garbage: closed", stream_peer_address(in->stream));
			in_close(in);
			return false;
		}
		rest.n = (size_t)size;
		done += (size_t)size;
		if (in->figures)
			in->figures->received += rest.n;
		if (!in->said_hello) {
			if (!take_hello(in, rest))
				return false;
		} else if (in->joiner) {
			t->cfg.join(t->cfg.arg, in->id, rest);
		} else {
			t->cfg.frame(t->cfg.arg, in->from, rest);
		}
	}
	buf_consume(&in->buf, done);
	return true;
}

static void in_on_data(struct stream_user *user, struct stream *s _unused_, struct str bytes)
{
	struct in *in = container_of(user, struct in, user);

	buf_adds(&in->buf, bytes);
	take_frames(in);
}

static void in_on_end(struct stream_user *user, struct stream *s _unused_, const struct err *why _unused_)
{
	in_close(container_of(user, struct in, user));
}

static void in_timeout(struct loop_timer *timer)
{
	in_close(container_of(timer, struct in, timer));
}

static void on_stream(struct listener_user *user, struct stream *s)
{
	struct transport *t = container_of(user, struct transport, listener_user);
	struct in *in;
	struct err e = ERR_INIT;

	if (t->closing || t->n_incoming >= MAX_INCOMING || transport__check_cert(s, &t->cfg.trust, &e) != 0) {
		if (e.code)
			log_warn("raft", "refused a connection from=%s: %s", stream_peer_address(s), e.text);
		stream_close(s, NULL, NULL);
		return;
	}
	in = xcalloc(1, sizeof(*in));
	in->t = t;
	in->stream = s;
	in->id = ++t->next_conn;
	in->user = (struct stream_user){.on_data = in_on_data, .on_end = in_on_end};
	buf_init(&in->buf, BUF_NO_LIMIT); /* frames are bounded by msg_frame_size, reads by the loop's scratch */
	list_add_tail(&t->incoming, &in->link);
	t->n_incoming++;
	t->n_open++;
	transport__tune(s, MAX(10 * t->cfg.election_ms, 5000u));
	loop_timer_start(&in->timer, t->cfg.loop, HELLO_TIMEOUT_MS, in_timeout);
	stream_start(s, &in->user);
}

void transport_reply(struct transport *t, uint64_t conn, struct str frame)
{
	LIST_FOR_EACH (in, &t->incoming, struct in, link)
		if (in->id == conn) {
			stream_write(in->stream, frame, NULL);
			return;
		}
}

/* --- The whole ---------------------------------------------------------------------------------------------------------------- */

static int open_listeners(struct transport *t, const struct transport_cfg *cfg, struct err *e)
{
	struct listener_config lc = {.netns_fd = -1, .tls = cfg->tls_server, .max_handshakes = 64};
	struct str rest = str_from(cfg->listen), one;
	bool more;

	do {
		char address[KV_ADDR_MAX];

		more = str_cut(rest, ',', &one, &rest);
		if (t->n_listeners == TRANSPORT_LISTEN_MAX || one.n >= sizeof(address))
			return err_set(e, ERR_INVALID, "at most %d peer addresses to listen on", TRANSPORT_LISTEN_MAX);
		snprintf(address, sizeof(address), "%.*s", STR_FMT(one));
		lc.address = address;
		if (listener_open(cfg->loop, &lc, &t->listener_user, &t->listeners[t->n_listeners], e) != 0)
			return err_prefix(e, "peer address %s", address);
		t->n_listeners++;
	} while (more);
	return 0;
}

int transport_new(const struct transport_cfg *cfg, struct transport **ret, struct err *e)
{
	struct transport *t = xcalloc(1, sizeof(*t));
	int rc;

	t->cfg = *cfg;
	t->name = xstrdup(cfg->name);
	t->addr = xstrdup(cfg->addr);
	list_init(&t->peers);
	list_init(&t->incoming);
	t->listener_user.on_stream = on_stream;
	rc = open_listeners(t, cfg, e);
	if (rc != 0) {
		for (size_t i = 0; i < t->n_listeners; i++)
			listener_close(t->listeners[i], NULL, NULL);
		free(t->name);
		free(t->addr);
		free(t);
		return rc;
	}
	t->n_open = (unsigned)t->n_listeners;
	*ret = t;
	return 0;
}

uint16_t transport_port(const struct transport *t)
{
	return listener_port(t->listeners[0]);
}

void transport_close(struct transport *t, void (*done)(void *arg))
{
	transport_flush(t);
	t->closing = true;
	t->closed = done;
	LIST_FOR_EACH_SAFE (in, inext, &t->incoming, struct in, link)
		in_close(in);
	LIST_FOR_EACH_SAFE (p, next, &t->peers, struct peer, link)
		if (!p->dead)
			remove_peer(p);
	/* The last of them may end it all. */
	for (size_t n = t->n_listeners; n-- > 0;)
		listener_close(TAKE(t->listeners[n]), stream_gone, t);
}
