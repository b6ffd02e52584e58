#include "orchestrator/etcd/recipe.h"

#include <inttypes.h>

#include "base/util.h"
#include "proto/wire.h"
#include "store/store.h"

#define SESSION_TTL_S 60
/* TxnRequest, RequestOp, Compare and RangeResponse by their field numbers. */
enum { TXN_COMPARE = 1, TXN_SUCCESS = 2, TXN_FAILURE = 3 };
enum { OP_RANGE = 1, OP_PUT = 2, OP_DELETE = 3 };
enum { COMPARE_TARGET = 2, COMPARE_KEY = 3, COMPARE_CREATE = 5, TARGET_CREATE = 1 };

/* --- The end ------------------------------------------------------------------------------------------------------ */

static void let_go(struct recipe *r)
{
	if (r->op != NULL)
		r->op->owner = NULL;
	r->op = NULL;
	etcd__read_cancel(&r->read);
	watch_stop(&r->watcher);
}

void recipe_finish(struct recipe *r, int code, const char *text)
{
	let_go(r);
	etcd__finish(r->call, code, text);
}

void recipe_fail(struct recipe *r, const struct err *e)
{
	let_go(r);
	etcd__fail_err(r->call, e);
}

/* Whoever gives up waiting leaves the queue; nobody waits for that to be done. */
static void leave(struct recipe *r)
{
	struct buf b = BUF_INIT;

	if (!r->entered)
		return;
	wire_add_bytes(&b, 1, r->key);
	etcd__propose(r->call, ETCD_CMD_DELETE_RANGE, buf_str(&b), NULL, NULL);
	buf_fini(&b);
}

static void on_end(struct etcd_call *c, enum etcd_error error)
{
	struct recipe *r = c->state;

	leave(r);
	let_go(r);
	etcd__fail(c, error);
}

static void on_cancel(struct etcd_call *c)
{
	on_end(c, ETCD_ERR_CANCELED);
}

/* --- Beginning ---------------------------------------------------------------------------------------------------- */

struct recipe *recipe_new(struct etcd_call *c, struct str name, int64_t lease)
{
	struct recipe *r = arena_new_of(c->arena, struct recipe);
	char *end;

	r->call = c;
	r->lease = lease;
	r->prefix = arena_sprintf(c->arena, "%.*s/", STR_FMT(name));
	r->end = arena_str(c->arena, r->prefix);
	end = (char *)(uintptr_t)r->end.p;
	end[r->end.n - 1]++; /* '/' becomes '0' */
	list_init(&r->read.link);
	c->state = r;
	c->on_cancel = on_cancel;
	c->on_end = on_end;
	return r;
}

void recipe_key(struct recipe *r)
{
	r->key = arena_sprintf(r->call->arena, "%.*s%" PRIx64, STR_FMT(r->prefix), (uint64_t)r->lease);
}

void recipe_frame(struct recipe *r, struct buf *frame)
{
	etcd__frame_init(frame);
	etcd__header(r->call->el, frame, r->revision);
}

/* --- Commands ------------------------------------------------------------------------------------------------------- */

/* ResponseHeader.revision of any answer. */
static int64_t header_revision(struct str response)
{
	struct wire_reader r = wire_reader(response), h;
	struct wire_item it = {0}, in = {0};
	int64_t revision = 0;

	while (wire_next(&r, &it)) {
		if (it.number != 1 || it.type != WIRE_BYTES)
			continue;
		h = wire_reader(it.bytes);
		while (wire_next(&h, &in))
			if (in.number == 3)
				revision = (int64_t)in.v;
	}
	return revision;
}

static struct str field(struct str message, uint32_t number)
{
	struct wire_reader r = wire_reader(message);
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		if (it.number == number && it.type == WIRE_BYTES)
			return it.bytes;
	return STR_NULL;
}

static uint64_t number(struct str message, uint32_t field_number)
{
	struct wire_reader r = wire_reader(message);
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		if (it.number == field_number && it.type == WIRE_VARINT)
			return it.v;
	return 0;
}

static void on_command(struct etcd_op *op)
{
	struct recipe *r = op->owner;
	struct str response = str_of(op->req.response, op->req.response_size);

	r->op = NULL;
	if (op->req.err.code != ERR_OK) {
		r->entered = false;
		recipe_fail(r, &op->req.err);
		return;
	}
	r->revision = header_revision(response);
	r->then(r);
}

static void on_txn(struct etcd_op *op)
{
	struct recipe *r = op->owner;
	struct str response = str_of(op->req.response, op->req.response_size);

	r->succeeded = number(response, 2) != 0;
	/* TxnResponse.responses > ResponseOp.response_range > RangeResponse.kvs */
	r->found = arena_str(r->call->arena, field(field(field(response, 3), 1), 2));
	on_command(op);
}

static void send(struct recipe *r, unsigned command, struct buf *bytes, void (*done)(struct etcd_op *),
		void (*then)(struct recipe *))
{
	r->then = then;
	r->op = etcd__propose(r->call, command, buf_str(bytes), r, done);
	buf_fini(bytes);
}

static void on_lease(struct etcd_op *op)
{
	struct recipe *r = op->owner;

	r->lease = (int64_t)number(str_of(op->req.response, op->req.response_size), 2);
	on_command(op);
}

void recipe_lease(struct recipe *r, void (*then)(struct recipe *))
{
	struct buf b = BUF_INIT;

	if (r->lease != 0) {
		then(r);
		return;
	}
	wire_add_uint(&b, 1, SESSION_TTL_S);
	send(r, ETCD_CMD_LEASE_GRANT, &b, on_lease, then);
}

static void add_compare_created(struct buf *b, struct str key, int64_t created)
{
	size_t mark = wire_open(b, TXN_COMPARE);

	wire_add_uint(b, COMPARE_TARGET, TARGET_CREATE);
	wire_add_bytes(b, COMPARE_KEY, key);
	wire_add_uint(b, COMPARE_CREATE, (uint64_t)created);
	wire_close(b, mark);
}

static void add_put(struct buf *b, const struct recipe *r)
{
	size_t op = wire_open(b, TXN_SUCCESS), put = wire_open(b, OP_PUT);

	wire_add_bytes(b, 1, r->key);
	wire_add_bytes(b, 2, r->value);
	wire_add_uint(b, 3, (uint64_t)r->lease);
	wire_close(b, put);
	wire_close(b, op);
}

static void add_key_op(struct buf *b, uint32_t branch, uint32_t kind, struct str key)
{
	size_t op = wire_open(b, branch), in = wire_open(b, kind);

	wire_add_bytes(b, 1, key);
	wire_close(b, in);
	wire_close(b, op);
}

static void on_enter(struct etcd_op *op)
{
	struct recipe *r = op->owner;
	struct str response = str_of(op->req.response, op->req.response_size);

	if (op->req.err.code == ERR_OK) {
		struct str kv = field(field(field(response, 3), 1), 2);

		r->created = number(response, 2) ? header_revision(response) : (int64_t)number(kv, 2);
	}
	on_txn(op);
}

void recipe_enter(struct recipe *r, void (*then)(struct recipe *))
{
	struct buf b = BUF_INIT;

	recipe_key(r);
	add_compare_created(&b, r->key, 0);
	add_put(&b, r);
	add_key_op(&b, TXN_FAILURE, OP_RANGE, r->key);
	r->entered = true;
	send(r, ETCD_CMD_TXN, &b, on_enter, then);
}

void recipe_if_mine(struct recipe *r, bool put, void (*then)(struct recipe *))
{
	struct buf b = BUF_INIT;

	add_compare_created(&b, r->key, r->created);
	if (put)
		add_put(&b, r);
	else
		add_key_op(&b, TXN_SUCCESS, OP_DELETE, r->key);
	send(r, ETCD_CMD_TXN, &b, on_txn, then);
}

/* --- Reading and waiting ---------------------------------------------------------------------------------------------- */

/* Once; a token may end while its owner waits here. */
static int identify(struct recipe *r, struct store_view *v, struct err *e)
{
	struct etcd_call *c = r->call;
	bool unsure;

	if (c->method->judged == ETCD_VIEWED && !r->identified) {
		r->identified = true;
		return etcd__who(c, v, &unsure, e);
	}
	return c->signed_token ? 0 : view_auth_revision(v, &c->who.auth_revision, e);
}

static void on_read(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct recipe *r = container_of(read, struct recipe, read);
	struct err e = ERR_INIT;

	if (v == NULL)
		recipe_fail(r, failed);
	else if (identify(r, v, &e) != 0 || view_auth_range(v, &r->call->who, r->prefix, r->end, STORE_READ, &e) != 0)
		recipe_fail(r, &e);
	else
		r->on_view(r, v);
}

void recipe_read(struct recipe *r, void (*on_view)(struct recipe *, struct store_view *))
{
	r->on_view = on_view;
	r->read.done = on_read;
	etcd__read(r->call->el, &r->read, false);
}

void recipe_watch(struct recipe *r, struct str key, struct str end, int64_t revision, bool puts, bool deletes,
		void (*events)(struct watcher *, int64_t, const struct watch_event *const *, size_t),
		void (*gone)(struct watcher *, int64_t))
{
	r->watcher = (struct watcher){.key = key, .end = end, .no_put = !puts, .no_delete = !deletes, .events = events,
			.gone = gone};
	watch_start(r->call->el->hub, &r->watcher, revision + 1);
}

/* The key of the prefix that was created last (or first) within the bounds. */
static int find_by_creation(struct recipe *r, struct store_view *v, bool last, int64_t before, struct store_kv *ret,
		struct err *e)
{
	struct view_iter it;
	struct store_kv kv;
	bool found = false;
	int rc;

	view_iter_init(&it, v, r->prefix, r->end, 0, 0);
	while ((rc = view_iter_next(&it, &kv, e)) == 1) {
		if (kv.create_revision >= before)
			continue;
		if (!found || (last ? kv.create_revision > ret->create_revision : kv.create_revision < ret->create_revision))
			*ret = kv;
		found = true;
	}
	view_iter_fini(&it);
	return rc < 0 ? rc : found ? 0 : -ERR_NOT_FOUND;
}

int recipe_first(struct recipe *r, struct store_view *v, struct store_kv *ret, struct err *e)
{
	return find_by_creation(r, v, false, INT64_MAX, ret, e);
}

static void look(struct recipe *r, struct store_view *v);

static void on_older_gone(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct recipe *r = container_of(w, struct recipe, watcher);

	(void)revision;
	(void)events;
	(void)n;
	watch_stop(w);
	recipe_read(r, look);
}

static void on_history_gone(struct watcher *w, int64_t compact_revision)
{
	(void)compact_revision;
	recipe_read(container_of(w, struct recipe, watcher), look);
}

/* Wait for the youngest of those before us; when it is gone the others may be, too. */
static void look(struct recipe *r, struct store_view *v)
{
	struct err e = ERR_INIT;
	struct store_kv older;
	int rc = find_by_creation(r, v, true, r->created, &older, &e);

	if (rc == -ERR_NOT_FOUND)
		r->then(r);
	else if (rc < 0)
		recipe_fail(r, &e);
	else
		recipe_watch(r, older.key, STR(""), view_revision(v), false, true, on_older_gone, on_history_gone);
}

void recipe_wait(struct recipe *r, void (*then)(struct recipe *))
{
	r->then = then;
	recipe_read(r, look);
}
