/* Rotations for administrators, on the API port; declared in cli/rotation_store.h. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/join.h"
#include "cli/rotation_store.h"
#include "io/http_server.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/client/pki_annotations.h"
#include "proto/core.pb-c.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "raft/kv.h"
#include "store/view.h"

/*
 *	POST: body --> barrier --> decide --> propose --> answer         GET: barrier --> answer
 *
 * It outlives its request when the client goes away: what was proposed may still happen.
 */
struct call {
	struct kv *kv;
	const char *pki_dir;
	struct http_request *http; /* NULL: gone */
	struct kv_barrier barrier;
	struct kv_req req;
	struct arena arena;
	struct buf command;
	bool posts, force;
	enum rotation_kind kind;
	enum rotation_step step;
	struct rotation r; /* as it shall be */
};

static void call_free(struct call *c)
{
	arena_fini(&c->arena);
	buf_fini(&c->command);
	free(c->req.response);
	free(c);
}

static void answer(struct call *c, int status, const char *type, struct str text)
{
	struct http_header h = {STR("content-type"), str_from(type)};

	if (c->http)
		http_respond(c->http, status, &h, 1, arena_str(&c->http->arena, text));
	call_free(c);
}

static void answer_text(struct call *c, int status, const char *text)
{
	answer(c, status, "text/plain; charset=utf-8", str_from(arena_printf(&c->arena, "%s\n", text)));
}

static void answer_err(struct call *c, const struct err *e)
{
	answer_text(c, e->code ? err_http_status(e->code) : 500, e->text);
}

static void on_cancel(struct http_request *r)
{
	struct call *c = r->user;

	if (c)
		c->http = NULL;
	http_respond_abort(r);
}

/* --- What there is ------------------------------------------------------------------------------------------------------ */

struct servers {
	struct rotation_server *v;
	size_t n;
};

static void read_report(struct store_view *v, struct arena *a, enum rotation_kind kind, struct rotation_server *s)
{
	const char *old = kind == ROTATION_CA ? "oldCA" : "oldSA";
	struct store_kv kv;
	struct json *j;

	if (view_get(v, arena_sprintf(a, "/kontiki/pki/servers/%.*s", STR_FMT(s->name)), 0, &kv, NULL) < 0 ||
			json_parse(a, arena_str(a, kv.value), NULL, &j, NULL) < 0)
		return;
	s->generation = json_i64_or(json_getc(j, rotation_kind_name(kind)), 0);
	s->old_user = json_str(json_getc(json_getc(j, old), "user"));
	s->old_s = json_i64_or(json_getc(json_getc(j, old), "at"), 0);
}

static void read_servers(struct kv *kv, struct store_view *v, struct arena *a, enum rotation_kind kind, struct servers *ret)
{
	struct kv_status *st = arena_new_of(a, struct kv_status);

	kv_status(kv, st);
	ret->v = arena_new_array(a, struct rotation_server, st->n_members + 1);
	for (size_t i = 0; i < st->n_members; i++) {
		const struct kv_member *m = &st->members[i];

		ret->v[ret->n] = (struct rotation_server){.name = str_from(m->name[0] ? m->name : m->addr)};
		read_report(v, a, kind, &ret->v[ret->n++]);
	}
}

struct nodes {
	struct arena *a;
	struct rotation_node v[1024];
	size_t n;
};

static bool read_node(void *arg, const struct store_kv *kv)
{
	struct nodes *nodes = arg;
	Core__Node *node;
	struct str raw;

	if (nodes->n == ARRAY_LEN(nodes->v))
		return false;
	if (!storage_unwrap_key(nodes->a, kv->key, kv->value, &raw))
		return true;
	node = pb_unpack(nodes->a, &core__node__descriptor, raw);
	if (node && node->metadata)
		nodes->v[nodes->n++] = (struct rotation_node){
				.name = arena_str(nodes->a, str_from(pb_s(node->metadata->name))),
				.trusted = arena_str(nodes->a, str_from(pb_s(pb_map_get(node->metadata->annotations, node->metadata->n_annotations, PKI_TRUSTED)))),
				.used = arena_str(nodes->a, str_from(pb_s(pb_map_get(node->metadata->annotations, node->metadata->n_annotations, PKI_USED))))};
	return true;
}

/* The next step's obstacles, as a JSON array. */
static int obstacles(struct call *c, const struct rotation *r, enum rotation_step step, struct json *list, struct err *e)
{
	const struct resource *res = resource_find("", "v1", "nodes");
	struct arena *a = &c->arena;
	struct nodes *nodes = arena_new_of(a, struct nodes);
	struct str prefix = storage_prefix(a, res, STR_NULL);
	struct servers servers = {0};
	struct store_view *v;
	int rv = store_view_open(kv_store(c->kv), &v, e);

	if (rv < 0)
		return rv;
	nodes->a = a;
	read_servers(c->kv, v, a, r->kind, &servers);
	rv = view_range(v, prefix, storage_end(a, prefix), 0, 0, read_node, nodes, NULL, e);
	store_view_close(v);
	if (rv == 0)
		rotation_obstacles(a, r, step, clock_wall_s(), servers.v, servers.n, nodes->v, nodes->n, list);
	return rv;
}

static void add_id(struct arena *a, struct json *j, const char *name, struct str pem)
{
	char id[ROTATION_ID];

	if (rotation_id(pem, id))
		json_setc(a, j, name, json_newc(a, id));
}

static int describe(struct call *c, enum rotation_kind kind, struct json *out, struct err *e)
{
	static const enum rotation_step next[] = {[ROTATION_NONE] = ROTATION_BEGIN, [ROTATION_TRUST] = ROTATION_SWITCH_OVER,
		[ROTATION_SWITCH] = ROTATION_FINISH, [ROTATION_DONE] = ROTATION_BEGIN};
	struct arena *a = &c->arena;
	struct json *j = json_new_object(a), *waiting = json_new_array(a);
	struct rotation r;
	uint64_t mod;
	int rv = rotation_load(kv_store(c->kv), a, kind, &r, &mod, e);

	if (rv == 0)
		rv = obstacles(c, &r, next[r.phase], waiting, e);
	if (rv < 0)
		return rv;
	json_setc(a, j, "phase", json_newc(a, rotation_phase_name(r.phase)));
	json_setc(a, j, "generation", json_new_int(a, r.generation));
	json_setc(a, j, "since", json_new_int(a, r.since_s));
	add_id(a, j, "old", r.old_pem);
	add_id(a, j, "new", r.new_pem);
	json_setc(a, j, "waiting", waiting);
	json_setc(a, out, rotation_kind_name(kind), j);
	return 0;
}

static void show(struct call *c)
{
	struct json *out = json_new_object(&c->arena);
	struct err e = ERR_INIT;

	for (int k = 0; k < ROTATION_N; k++)
		if (describe(c, (enum rotation_kind)k, out, &e) < 0) {
			answer_err(c, &e);
			return;
		}
	answer(c, 200, "application/json", json_text(&c->arena, out));
}

/* --- Steps -------------------------------------------------------------------------------------------------------------------- */

static void proposed(struct kv_req *req)
{
	struct call *c = container_of(req, struct call, req);

	if (req->err.code) {
		answer_err(c, &req->err);
	} else if (!txn_succeeded(str_of(req->response, req->response_size))) {
		answer_text(c, 409, "somebody else has moved the rotation just now: look again");
	} else {
		log_info("server", "rotation kind=%s phase=%s generation=%lld", rotation_kind_name(c->kind), rotation_phase_name(c->r.phase), (long long)c->r.generation);
		answer_text(c, 200, "done");
	}
}

static int decide(struct call *c, uint64_t *ret_mod, struct err *e)
{
	struct json *list = json_new_array(&c->arena);
	struct rotation other;
	uint64_t mod;
	int rv = rotation_load(kv_store(c->kv), &c->arena, c->kind, &c->r, ret_mod, e);

	if (rv == 0)
		rv = rotation_load(kv_store(c->kv), &c->arena, c->kind == ROTATION_CA ? ROTATION_SA : ROTATION_CA, &other, &mod, e);
	if (rv < 0)
		return rv;
	/* The new keys travel under the CA's: one at a time. */
	if (c->step == ROTATION_BEGIN && (other.phase == ROTATION_TRUST || other.phase == ROTATION_SWITCH))
		return err_set(e, ERR_FAILED_PRECONDITION, "the rotation of the %s is under way: finish it first", other.kind == ROTATION_CA ? "CA" : "service-account key");
	if (!c->force && obstacles(c, &c->r, c->step, list, e) < 0)
		return -(int)e->code;
	rv = c->step == ROTATION_BEGIN ? rotation_begin(c->pki_dir, &c->arena, clock_wall_s(), &c->r, e) :
					 rotation_advance(c->step, clock_wall_s(), &c->r, e);
	if (rv == 0 && json_len(list) > 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "not yet: %.*s%s", STR_FMT(json_str(json_at(list, 0))), json_len(list) > 1 ? " (and more)" : "");
	return rv;
}

static void step(struct call *c)
{
	struct err e = ERR_INIT;
	struct api_txn txn;
	uint64_t mod;

	if (decide(c, &mod, &e) < 0) {
		answer_err(c, &e);
		return;
	}
	txn_init(&txn);
	txn_if_mod(&txn, rotation_key(c->kind), mod);
	txn_put(&txn, rotation_key(c->kind), rotation_print(&c->arena, &c->r), 0);
	txn_command(&txn, &c->command);
	txn_fini(&txn);
	c->req.command = buf_str(&c->command);
	c->req.done = proposed;
	kv_propose(c->kv, &c->req);
}

static void readable(struct kv_barrier *b)
{
	struct call *c = container_of(b, struct call, barrier);

	if (b->err.code)
		answer_text(c, 503, "the cluster has no majority now");
	else if (c->posts)
		step(c);
	else
		show(c);
}

static void on_body(struct http_request *r, int status, struct str body)
{
	struct call *c = r->user;
	struct json *j = NULL;
	struct err e = ERR_INIT;

	if (status == -(int)ERR_CANCELED) {
		r->user = NULL; /* on_cancel follows */
		call_free(c);
		return;
	}
	if (status < 0 || json_parse(&c->arena, body, NULL, &j, &e) < 0 || !rotation_kind_find(json_str(json_getc(j, "kind")), &c->kind) ||
			!rotation_step_find(json_str(json_getc(j, "step")), &c->step)) {
		answer_text(c, 400, "the body must be {\"kind\": \"ca\" or \"sa\", \"step\": \"begin\", \"switch\", \"finish\" or \"cancel\"}");
		return;
	}
	c->force = json_true(json_getc(j, "force"));
	kv_barrier(c->kv, &c->barrier);
}

bool rotation_serve(struct kv *kv, const char *pki_dir, struct http_request *r)
{
	struct call *c;

	if (!str_eqc(r->path, "/kontiki/v1/pki"))
		return false;
	c = xcalloc(1, sizeof(*c));
	c->kv = kv;
	c->pki_dir = pki_dir;
	c->http = r;
	c->posts = str_eqc(r->method, "POST");
	c->barrier.done = readable;
	arena_init(&c->arena);
	buf_init(&c->command, BUF_NO_LIMIT);
	r->user = c;
	r->on_cancel = on_cancel;
	if (!request_is_admin(r))
		answer_text(c, 403, "only an administrator (a client certificate with O=system:masters) may ask for the cluster's keys");
	else if (!c->posts && !str_eqc(r->method, "GET"))
		answer_text(c, 405, "use GET or POST");
	else if (c->posts)
		http_request_body(r, 4096, on_body);
	else
		kv_barrier(kv, &c->barrier);
	return true;
}
