/* The life of a call between its front and its handler. */
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/wire.h"
#include "store/store.h"

static struct etcd_counters *counters(const struct etcd_call *c)
{
	return &c->el->counters[c->method - etcd__methods];
}

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* --- Answers -------------------------------------------------------------------------------------------------- */

void etcd__frame_init(struct buf *b)
{
	buf_init(b, BUF_NO_LIMIT);
	buf_add(b, "\0\0\0\0", GRPC_HEAD);
}

void etcd__send(struct etcd_call *c, struct buf *frame)
{
	count(&counters(c)->messages_out);
	atomic_fetch_add_explicit(&c->el->bytes_out, frame->n, memory_order_relaxed);
	if (c->canceled)
		buf_fini(frame);
	else
		c->via->send(c, frame);
}

static void end_count(struct etcd_call *c, int code)
{
	list_del(&c->link);
	count(&counters(c)->handled[code >= 0 && code < ETCD_N_CODES ? code : GRPC_UNKNOWN]);
	if (c->method->kind == ETCD_UNARY)
		histogram_add(&counters(c)->took, (double)(clock_mono_ns() - c->began_ns) / 1e9);
}

void etcd__finish(struct etcd_call *c, int code, const char *text)
{
	if (c->abort_text != NULL) {
		code = c->abort_code;
		text = c->abort_text;
	}
	end_count(c, code);
	c->via->finish(c, code, text);
}

void etcd__reply(struct etcd_call *c, struct buf *frame)
{
	etcd__send(c, frame);
	etcd__finish(c, GRPC_OK, "");
}

void etcd__fail(struct etcd_call *c, enum etcd_error error)
{
	etcd__finish(c, etcd_error_code(error), etcd_error_text(error));
}

void etcd__fail_err(struct etcd_call *c, const struct err *e)
{
	enum etcd_error known = etcd_error_of(e);

	if (known != ETCD_ERR_OK)
		etcd__fail(c, known);
	else
		etcd__finish(c, err_grpc_code(e->code), e->text);
}

void etcd__fail_malformed(struct etcd_call *c)
{
	etcd__finish(c, GRPC_INTERNAL, "grpc: failed to unmarshal the received message");
}

/* --- Headers ----------------------------------------------------------------------------------------------------- */

static void header(struct etcd_loop *el, struct buf *b, uint64_t revision, uint64_t term)
{
	size_t mark = wire_open(b, 1);

	wire_add_uint(b, 1, el->srv->cluster_id);
	wire_add_uint(b, 2, el->srv->member_id);
	if (revision != 0)
		wire_add_uint(b, 3, revision);
	wire_add_uint(b, 4, term);
	wire_close(b, mark);
}

void etcd__header_without(struct etcd_loop *el, struct buf *b)
{
	header(el, b, 0, el->role.term);
}

void etcd__header(struct etcd_loop *el, struct buf *b, int64_t revision)
{
	header(el, b, (uint64_t)(revision ? revision : store_revision(el->srv->store)), el->role.term);
}

/* The header of a response, taken apart; false: it has none, or is ours already. */
static bool foreign_header(const struct etcd_loop *el, struct str h, uint64_t *ret_revision, uint64_t *ret_term)
{
	struct wire_reader r = wire_reader(h);
	struct wire_item it = {0};
	uint64_t v[5] = {0};

	while (wire_next(&r, &it))
		if (it.type == WIRE_VARINT && it.number < ARRAY_LEN(v))
			v[it.number] = it.v;
	*ret_revision = v[3];
	*ret_term = v[4];
	return v[2] != el->srv->member_id || v[1] != el->srv->cluster_id;
}

void etcd__frame_of(struct etcd_loop *el, struct buf *frame, struct str response)
{
	struct wire_reader r = wire_reader(response);
	const uint8_t *from = r.p;
	struct wire_item it = {0};
	uint64_t revision, term;

	etcd__frame_init(frame);
	while (wire_next(&r, &it)) {
		if (it.number == 1 && it.type == WIRE_BYTES && foreign_header(el, it.bytes, &revision, &term)) {
			buf_add(frame, response.p, (size_t)(from - (const uint8_t *)response.p));
			header(el, frame, revision, term);
			buf_add(frame, r.p, (size_t)(r.end - r.p));
			return;
		}
		from = r.p;
	}
	buf_adds(frame, response);
}

static void count_in(struct etcd_call *c, struct str message)
{
	count(&counters(c)->messages_in);
	atomic_fetch_add_explicit(&c->el->bytes_in, message.n, memory_order_relaxed);
}

/* --- Beginning and end ----------------------------------------------------------------------------------------------- */

bool etcd__has_leader(const struct etcd_loop *el)
{
	return el->role.leader_id != 0;
}

void etcd__call_begin(struct etcd_call *c, struct str request)
{
	struct etcd_loop *el = c->el;
	const struct etcd_method *m = c->method;

	c->needs_leader = str_eqc(c->via->metadata(c, "hasleader"), "true");
	list_add_tail(&el->calls, &c->link);
	count(&counters(c)->started);
	c->began_ns = clock_mono_ns();
	if (m->kind != ETCD_BIDI)
		count_in(c, request);
	if (m->handle == NULL)
		etcd__finish(c, GRPC_UNIMPLEMENTED, "the method is not implemented");
	else if (el->stopping)
		etcd__fail(c, ETCD_ERR_STOPPED);
	else if (c->needs_leader && !etcd__has_leader(el))
		etcd__fail(c, ETCD_ERR_NO_LEADER);
	else
		etcd__admit(c, request);
}

void etcd__call_message(struct etcd_call *c, struct str message)
{
	count_in(c, message);
	c->on_message(c, message);
}

void etcd__call_half_close(struct etcd_call *c)
{
	if (c->on_half_close != NULL)
		c->on_half_close(c);
	else
		etcd__finish(c, GRPC_OK, "");
}

void etcd__call_abort(struct etcd_call *c, int code, const char *text)
{
	c->abort_code = code;
	c->abort_text = arena_strdup(c->arena, text);
	if (c->on_end != NULL)
		c->on_end(c, ETCD_ERR_CANCELED);
	else if (c->on_cancel != NULL)
		c->on_cancel(c);
	else
		etcd__fail(c, ETCD_ERR_CANCELED);
}

void etcd__call_cancel(struct etcd_call *c)
{
	if (c->canceled)
		return;
	c->canceled = true;
	if (c->on_cancel != NULL)
		c->on_cancel(c);
	else
		etcd__fail(c, ETCD_ERR_CANCELED);
}
