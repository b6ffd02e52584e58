/* Asking a running cluster for admission: one address after the other, until one answers or the time is up. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/stream.h"
#include "raft/member.h"
#include "raft/member-priv.h"
#include "raft/hello-priv.h"

#define PAUSE_MS 500

struct attempt {
	struct join *j;
	size_t next; /* address */
	uint64_t until, cluster_id;
	struct stream *stream;
	struct stream_user user;
	struct stream_connect connect;
	struct loop_timer timer;
	struct buf in;
	bool greeted;
	struct err last;
};

static void try_next(struct attempt *a);

static void finish(struct attempt *a, uint64_t cluster_id, const struct err *e)
{
	struct join *j = a->j;
	struct err copy = e ? *e : (struct err)ERR_INIT;

	loop_timer_stop(&a->timer);
	if (a->stream)
		stream_close(a->stream, NULL, NULL);
	buf_fini(&a->in);
	free(a);
	j->done(j, cluster_id, e ? &copy : NULL);
}

static void on_pause(struct loop_timer *t)
{
	try_next(container_of(t, struct attempt, timer));
}

/* This address did not help: the next one, after a pause. */
static void failed(struct attempt *a, const struct err *why)
{
	struct err e;

	a->last = *why;
	if (a->stream)
		stream_close(TAKE(a->stream), NULL, NULL);
	buf_clear(&a->in);
	a->greeted = false;
	if (clock_mono_ms() + PAUSE_MS >= a->until) {
		err_set(&e, ERR_UNAVAILABLE, "cannot join the cluster through %s%s: %s", a->j->addrs[0],
			a->j->n_addrs > 1 ? " or the others" : "", why->text);
		finish(a, 0, &e);
		return;
	}
	log_debug("raft", "join: %s", why->text);
	loop_timer_start(&a->timer, a->j->loop, PAUSE_MS, on_pause);
}

static void send_request(struct attempt *a)
{
	struct msg m = {.kind = MSG_ADMIN};
	struct buf b = BUF_INIT;
	uint64_t now = clock_mono_ms();

	m.admin.id = 1;
	m.admin.op = MEMBER_JOIN;
	m.admin.target = a->j->member_id;
	m.admin.timeout_ms = (uint32_t)(a->until > now ? a->until - now : 1);
	m.admin.name = str_from(a->j->name);
	m.admin.addr = str_from(a->j->addr);
	m.admin.url = str_from(a->j->url);
	m.admin.zone = str_from(a->j->zone);
	m.admin.flags = (a->j->witness ? MEMBER_FLAG_WITNESS : 0) | (a->j->again ? MEMBER_FLAG_AGAIN : 0);
	msg_encode(&m, &b);
	stream_write(a->stream, buf_str(&b), NULL);
	buf_fini(&b);
}

static void take_greeting(struct attempt *a, struct str frame)
{
	struct hello_answer h;
	struct err e = ERR_INIT;
	int rc = transport__decode_answer(frame, &h) ? transport__let_in(&h, &e) : err_set(&e, ERR_PROTOCOL, "its answer is malformed");

	if (rc != 0) {
		err_prefix(&e, "cannot join the cluster through %s", stream_peer_address(a->stream));
		finish(a, 0, &e);
		return;
	}
	a->greeted = true;
	a->cluster_id = h.cluster_id;
	buf_consume(&a->in, frame.n);
	send_request(a);
}

static void take_answer(struct attempt *a, struct str frame)
{
	struct err e = ERR_INIT;
	struct msg m;

	if (msg_decode(frame, &m, &e) != 0 || m.kind != MSG_ADMIN_RESULT) {
		err_set(&e, ERR_PROTOCOL, "it does not speak this protocol");
		failed(a, &e);
	} else if (m.admin_result.code == 0 && m.admin_result.status == MSG_DONE) {
		/* The place that was made for its address has an id already. */
		if (m.admin_result.member)
			a->j->member_id = m.admin_result.member;
		finish(a, a->cluster_id, NULL);
	} else {
		err_set(&e, m.admin_result.code > 0 && m.admin_result.code < ERR_N_CODES ? (enum err_code)m.admin_result.code
											 : ERR_UNAVAILABLE,
			"the cluster refuses to admit this member: %.*s", STR_FMT(m.admin_result.text));
		if (m.admin_result.status == MSG_DONE)
			finish(a, 0, &e);
		else
			failed(a, &e);
	}
}

static void on_data(struct stream_user *u, struct stream *s _unused_, struct str bytes)
{
	struct attempt *a = container_of(u, struct attempt, user);
	struct err e;
	int64_t size;

	buf_adds(&a->in, bytes);
	size = a->greeted ? msg_frame_size(buf_str(&a->in)) : transport__hello_size(buf_str(&a->in));
	if (size < 0) {
		err_set(&e, ERR_PROTOCOL, "it does not speak this protocol");
		failed(a, &e);
	} else if (size > 0 && a->in.n >= (size_t)size) {
		if (a->greeted)
			take_answer(a, str_of(a->in.p, (size_t)size));
		else
			take_greeting(a, str_of(a->in.p, (size_t)size));
	}
}

static void on_end(struct stream_user *u, struct stream *s _unused_, const struct err *why)
{
	struct attempt *a = container_of(u, struct attempt, user);
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "%s", why ? why->text : "it closed the connection");
	failed(a, &e);
}

static void on_late(struct loop_timer *t)
{
	struct attempt *a = container_of(t, struct attempt, timer);
	struct err e;

	err_set(&e, ERR_TIMEOUT, "it did not answer in time");
	failed(a, &e);
}

static void on_connected(struct stream_connect *c, struct stream *s, const struct err *why)
{
	struct attempt *a = container_of(c, struct attempt, connect);
	struct hello h = {.version = HELLO_VERSION, .channel = CHANNEL_JOIN, .from = a->j->member_id,
			  .name = str_from(a->j->name), .addr = str_from(a->j->addr)};
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	uint64_t now = clock_mono_ms();

	a->stream = s;
	if (!s || transport__check_cert(s, &a->j->trust, &e) != 0) {
		failed(a, s ? &e : why);
		return;
	}
	transport__tune(s, 5000);
	a->user = (struct stream_user){.on_data = on_data, .on_end = on_end};
	stream_start(s, &a->user);
	transport__encode_hello(&b, &h);
	stream_write(s, buf_str(&b), NULL);
	buf_fini(&b);
	loop_timer_start(&a->timer, a->j->loop, a->until > now ? a->until - now : 1, on_late);
}

static void try_next(struct attempt *a)
{
	struct join *j = a->j;

	a->connect = (struct stream_connect){.loop = j->loop,
					     .address = j->addrs[a->next++ % j->n_addrs],
					     .netns_fd = -1,
					     .tls = j->tls,
					     .timeout_ms = 3000,
					     .done = on_connected};
	stream_connect(&a->connect);
}

void join_start(struct join *j)
{
	struct attempt *a = xcalloc(1, sizeof(*a));

	a->j = j;
	a->until = clock_mono_ms() + j->timeout_ms;
	buf_init(&a->in, BUF_NO_LIMIT);
	try_next(a);
}
