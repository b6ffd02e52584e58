/* Connections that others have dialled: who they say they are, and the frames that they bring. */
#include "raft/transport-priv.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "io/stream.h"
#include "raft/hello-priv.h"
#include "raft/transport.h"

#define MAX_INCOMING 256

void transport__in_close(struct in *in)
{
	struct transport *t = in->t;

	loop_timer_stop(&in->timer);
	transport__drop_stream(t, &in->stream);
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
	transport__release(t);
	buf_fini(&in->buf);
	list_del(&in->link);
	t->n_incoming--;
	free(in);
}

static int check_hello(struct transport *t, const struct hello *h, struct err *e)
{
	if (transport__check_version(h->version, e) != 0)
		return -(int)e->code;
	if (h->channel == CHANNEL_JOIN)
		return 0;
	if (h->channel >= MSG_N_CHANNELS)
		return err_set(e, ERR_FORBIDDEN, "it asks for an unknown channel");
	if (h->cluster_id != t->cfg.cluster_id)
		return err_set(e, ERR_FORBIDDEN, "it belongs to another cluster (other initial members, or an old data directory)");
	if (h->to != t->cfg.member_id)
		return err_set(e, ERR_FORBIDDEN, "it means another member, which had this address before");
	if (h->from == 0 || h->from == t->cfg.member_id)
		return err_set(e, ERR_FORBIDDEN, "it has the id of this member: a data directory was copied");
	return 0;
}

/* False: the connection is gone. */
static bool take_hello(struct in *in, struct str frame)
{
	struct transport *t = in->t;
	struct hello_answer a = {.ok = true, .cluster_id = t->cfg.cluster_id, .member_id = t->cfg.member_id};
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct hello h;
	int rc = transport__decode_hello(frame, &h) ? check_hello(t, &h, &e) : err_set(&e, ERR_PROTOCOL, "its hello is malformed");

	if (rc != 0) {
		in_refuse(in, e.text);
		return false;
	}
	in->said_hello = true;
	in->joiner = h.channel == CHANNEL_JOIN;
	in->from = in->joiner ? 0 : h.from;
	in->channel = h.channel;
	in->figures = in->joiner ? NULL : transport__figures_of(t, h.from);
	loop_timer_stop(&in->timer);
	transport__encode_answer(&b, &a);
	stream_write(in->stream, buf_str(&b), NULL);
	buf_fini(&b);
	/* It dials anew, so the connection before is dead, or what still comes from it is old. */
	LIST_FOR_EACH_SAFE (old, next, &t->incoming, struct in, link)
		if (old != in && !in->joiner && old->from == h.from && old->channel == h.channel)
			transport__in_close(old);
	/* It is there: no need to wait for our own next attempt to reach it. */
	if (!in->joiner)
		transport__moved(t, &h);
	if (!in->joiner)
		transport__dial_soon(transport__find_peer(t, h.from));
	/* Someone the configuration does not name (a joiner hears its leader first) must get answers too. */
	if (!in->joiner && !transport__find_peer(t, h.from) && h.addr.n > 0 && h.addr.n < KV_ADDR_MAX && h.name.n < KV_NAME_MAX &&
	    list_len(&t->peers) < 4 * KV_MAX_MEMBERS) {
		char *addr = str_dup(h.addr), *name = str_dup(h.name);

		transport__add_peer(t, h.from, addr, name);
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
			transport__in_close(in);
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
	transport__in_close(container_of(user, struct in, user));
}

static void in_timeout(struct loop_timer *timer)
{
	transport__in_close(container_of(timer, struct in, timer));
}

void transport__on_stream(struct listener_user *user, struct stream *s)
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
