/* Peers, and the connections that this member dials to them: hello, back-off, and frames gathered on their way out. */
#include "raft/transport-priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "io/stream.h"
#include "raft/addrs.h"
#include "raft/hello-priv.h"
#include "raft/transport.h"

/* What may wait for a slow peer. Entries that do not fit count as lost; the core sends them again. */
static const size_t budgets[MSG_N_CHANNELS] = {[MSG_CHANNEL_MAIN] = 16u << 20, [MSG_CHANNEL_BULK] = 8u << 20};

/* Frames gathered for one write. */
#define FRAMES_MAX (256u << 10)
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 500
#define CRASH_MS 300 /* a refusal this soon after a connection broke means that the peer's process died */

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
	transport__drop_stream(t, &o->stream);
	buf_clear(&o->in);
	buf_clear(&o->frames);
	if (why && (was_up || strncmp(o->last_error, why->text, sizeof(o->last_error) - 1) != 0)) {
		snprintf(o->last_error, sizeof(o->last_error), "%.*s", (int)sizeof(o->last_error) - 1, why->text);
		log_info("raft", "peer=%s addr=%s %s: %s", p->name, o->address, was_up ? "connection lost" : "cannot connect",
			 why->text);
	}
	if (t->closing || p->dead || (o->channel == MSG_CHANNEL_BULK && !was_up)) {
		o->state = OUT_IDLE;
		peer_maybe_free(p);
		return;
	}
	o->at += !was_up;
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
	if (transport__let_in(&a, &e) != 0) {
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
	transport__release(t); /* the request's own count, last: it may free all */
}

static void dial(struct out *o)
{
	struct peer *p = o->peer;
	struct transport *t = p->t;

	if (t->closing || p->dead)
		return;
	/* Where frames go already. */
	if (o->channel == MSG_CHANNEL_BULK)
		o->at = p->out[MSG_CHANNEL_MAIN].at;
	snprintf(o->address, sizeof(o->address), "%.*s", STR_FMT(addrs_at(str_from(p->addr), o->at)));
	o->state = OUT_CONNECTING;
	o->connect = (struct stream_connect){.loop = t->cfg.loop,
					     .address = o->address,
					     .netns_fd = -1,
					     .tls = t->cfg.tls_client,
					     .timeout_ms = MAX(2 * t->cfg.election_ms, 500u),
					     .done = on_connected};
	t->n_open++;
	stream_connect(&o->connect);
}

struct peer *transport__find_peer(struct transport *t, uint64_t id)
{
	LIST_FOR_EACH (p, &t->peers, struct peer, link)
		if (p->id == id && !p->dead)
			return p;
	return NULL;
}

struct peer *transport__add_peer(struct transport *t, uint64_t id, const char *addr, const char *name)
{
	struct peer *p = xcalloc(1, sizeof(*p));

	p->t = t;
	p->id = id;
	p->figures = transport__figures_of(t, id);
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

void transport__remove_peer(struct peer *p)
{
	p->dead = true;
	for (unsigned i = 0; i < MSG_N_CHANNELS; i++) {
		struct out *o = &p->out[i];

		loop_timer_stop(&o->timer);
		transport__drop_stream(p->t, &o->stream);
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
		struct peer *p = transport__find_peer(t, list[i].id);

		if (p && strcmp(p->known, list[i].addr) != 0 && strcmp(p->addr, list[i].addr) != 0) {
			transport__remove_peer(p);
			p = NULL;
		}
		if (!p)
			p = transport__add_peer(t, list[i].id, list[i].addr, list[i].name);
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
	struct peer *p = transport__find_peer(t, to);
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

void transport__dial_soon(struct peer *p)
{
	struct out *o = p ? &p->out[MSG_CHANNEL_MAIN] : NULL;

	if (!o || o->state != OUT_WAITING || o->stream || !loop_timer_active(&o->timer))
		return;
	o->backoff = 0;
	loop_timer_start(&o->timer, p->t->cfg.loop, 0, on_redial);
}

void transport__moved(struct transport *t, const struct hello *h)
{
	struct peer *p = transport__find_peer(t, h->from), *at;
	char addr[KV_ADDR_MAX];

	if (!p || h->addr.n == 0 || h->addr.n >= KV_ADDR_MAX || str_eqc(h->addr, p->addr) ||
	    p->out[MSG_CHANNEL_MAIN].state == OUT_UP)
		return;
	snprintf(addr, sizeof(addr), "%.*s", STR_FMT(h->addr));
	log_info("raft", "peer=%s is at addr=%s now, not at %s", p->name, addr, p->addr);
	at = transport__add_peer(t, h->from, addr, p->name);
	at->wanted = p->wanted;
	memcpy(at->known, p->known, sizeof(at->known));
	transport__remove_peer(p);
}
