/* The members of the store, for administrators, on the API port; declared in cli/join.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/join.h"
#include "io/http_server.h"
#include "io/x509.h"
#include "proto/json.h"
#include "raft/kv.h"

#define PATH "/kontiki/v1/members"

/* A change under way. It outlives its request when the client goes away: the change goes on. */
struct change {
	struct kv_admin admin;
	struct http_request *http; /* NULL: gone */
	struct kv *kv;
	uint64_t target; /* 0: add */
	bool add;
	char *addr, *url, *zone;
	struct kv_peer peer;
};

static void answer(struct http_request *r, int status, const char *text)
{
	struct http_header h = {STR("content-type"), STR("text/plain; charset=utf-8")};

	http_respond(r, status, &h, 1, str_from(text));
}

bool request_is_admin(const struct http_request *r)
{
	for (size_t i = 0; r->peer_verified && r->peer && i < r->peer->n_orgs; i++)
		if (str_eqc(r->peer->orgs[i], "system:masters"))
			return true;
	return false;
}

/* By name, or by id: one that has not started has no name. */
static const struct kv_member *member_find(const struct kv_status *st, struct str who)
{
	char id[20];

	for (size_t i = 0; i < st->n_members; i++) {
		snprintf(id, sizeof(id), "%016" PRIx64, st->members[i].id);
		if (str_eqc(who, id) || (st->members[i].name[0] && str_eqc(who, st->members[i].name)))
			return &st->members[i];
	}
	return NULL;
}

static void list(struct http_request *r, const struct kv_status *st)
{
	struct http_header h = {STR("content-type"), STR("application/json")};
	struct json *all = json_new_array(&r->arena);

	for (size_t i = 0; i < st->n_members; i++)
		json_push(&r->arena, all, member_json(&r->arena, st, &st->members[i]));
	http_respond(r, 200, &h, 1, json_text(&r->arena, all));
}

static void change_free(struct change *c)
{
	free(c->addr);
	free(c->url);
	free(c->zone);
	free(c);
}

static void change_done(struct kv_admin *a)
{
	struct change *c = container_of(a, struct change, admin);

	if (c->http && a->err.code == ERR_OK && c->add)
		answer(c->http, 200, arena_printf(&c->http->arena, "%016" PRIx64 "\n", a->id));
	else if (c->http && a->err.code == ERR_OK)
		answer(c->http, 200, "done\n");
	else if (c->http)
		answer(c->http, err_http_status(a->err.code), arena_printf(&c->http->arena, "%s\n", a->err.text));
	change_free(c);
}

static void on_cancel(struct http_request *r)
{
	struct change *c = r->user;

	if (c)
		c->http = NULL;
	http_respond_abort(r);
}

static struct change *change_new(struct kv *kv, struct http_request *r, uint64_t target)
{
	struct change *c = xcalloc(1, sizeof(*c));

	c->http = r;
	c->kv = kv;
	c->target = target;
	c->admin.done = change_done;
	r->user = c;
	r->on_cancel = on_cancel;
	return c;
}

static char *field(const struct json *j, const char *name)
{
	const char *s = json_cstr(json_getc(j, name));

	return s[0] ? xstrdup(s) : NULL;
}

/* The rest of an add or update: what its body says. */
static void on_body(struct http_request *r, int status, struct str body)
{
	struct change *c = r->user;
	struct json *j = NULL;
	struct err e = ERR_INIT;

	if (status == -(int)ERR_CANCELED) {
		r->user = NULL; /* on_cancel follows */
		change_free(c);
		return;
	}
	if (status < 0 || json_parse(&r->arena, body, NULL, &j, &e) < 0) {
		r->on_cancel = NULL;
		change_free(c);
		answer(r, 400, arena_printf(&r->arena, "the body is no JSON object: %s\n", status < 0 ? "it is too long" : e.text));
		return;
	}
	c->addr = field(j, "address");
	c->url = field(j, "url");
	c->zone = field(j, "zone");
	c->peer = (struct kv_peer){.addr = c->addr, .url = c->url, .zone = c->zone, .learner = json_true(json_getc(j, "learner")),
				   .witness = json_true(json_getc(j, "witness"))};
	if (c->add)
		kv_member_add(c->kv, &c->admin, &c->peer);
	else
		kv_member_update(c->kv, &c->admin, c->target, &c->peer);
}

static void serve_one(struct kv *kv, struct http_request *r, const struct kv_member *m, struct str verb)
{
	static void (*const by_id[])(struct kv *, struct kv_admin *, uint64_t) = {kv_member_remove, kv_transfer, kv_member_promote};
	bool posts = str_eqc(r->method, "POST");
	int which = str_eqc(r->method, "DELETE") && verb.n == 0		      ? 0
		    : posts && (verb.n == 0 || str_eqc(verb, "transfer")) ? 1
		    : posts && str_eqc(verb, "promote")			      ? 2
									      : -1;
	struct change *c;

	if (which < 0 && !(str_eqc(r->method, "PUT") && verb.n == 0)) {
		answer(r, 405, "use DELETE to remove a member, PUT to update it, POST .../transfer to make it the leader, POST .../promote\n");
		return;
	}
	log_info("members", "%.*s %.*s member=%s id=%016" PRIx64 " remote=%.*s", STR_FMT(r->method), STR_FMT(verb), m->name, m->id, STR_FMT(r->remote));
	c = change_new(kv, r, m->id);
	if (which < 0)
		http_request_body(r, 16384, on_body);
	else
		by_id[which](kv, &c->admin, m->id);
}

bool members_serve(struct kv *kv, struct http_request *r)
{
	struct str rest = str_skip(r->path, strlen(PATH)), who, verb = STR_NULL;
	const struct kv_member *m;
	struct kv_status *st;

	if (!str_has_prefix(r->path, STR(PATH)) || (rest.n > 0 && rest.p[0] != '/'))
		return false;
	if (!request_is_admin(r)) {
		answer(r, 403, "only an administrator (a client certificate with O=system:masters) may ask for members\n");
		return true;
	}
	st = arena_new_of(&r->arena, struct kv_status);
	kv_status(kv, st);
	if (rest.n == 0 && str_eqc(r->method, "POST")) {
		change_new(kv, r, 0)->add = true;
		http_request_body(r, 16384, on_body);
		return true;
	}
	if (rest.n == 0) {
		list(r, st);
		return true;
	}
	str_cut(str_skip(rest, 1), '/', &who, &verb);
	m = member_find(st, who);
	if (m == NULL)
		answer(r, 404, "there is no such member\n");
	else
		serve_one(kv, r, m, verb);
	return true;
}
