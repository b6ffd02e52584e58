/* The members of the store, for administrators, on the API port; declared in cli/join.h. */
#include <inttypes.h>
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
};

static void answer(struct http_request *r, int status, const char *text)
{
	struct http_header h = {STR("content-type"), STR("text/plain; charset=utf-8")};

	http_respond(r, status, &h, 1, str_from(text));
}

static bool is_admin(const struct http_request *r)
{
	for (size_t i = 0; r->peer_verified && r->peer && i < r->peer->n_orgs; i++)
		if (str_eqc(r->peer->orgs[i], "system:masters"))
			return true;
	return false;
}

static const struct kv_member *member_find(const struct kv_status *st, struct str name)
{
	for (size_t i = 0; i < st->n_members; i++)
		if (str_eqc(name, st->members[i].name))
			return &st->members[i];
	return NULL;
}

static void list(struct http_request *r, const struct kv_status *st)
{
	static const char *const roles[] = {[KV_VOTER] = "voter", [KV_LEARNER] = "learner", [KV_SPARE] = "spare"};
	struct http_header h = {STR("content-type"), STR("application/json")};
	struct json *all = json_new_array(&r->arena);

	for (size_t i = 0; i < st->n_members; i++) {
		const struct kv_member *m = &st->members[i];
		struct json *j = json_new_object(&r->arena);

		json_setc(&r->arena, j, "name", json_newc(&r->arena, m->name));
		json_setc(&r->arena, j, "id", json_newf(&r->arena, "%016" PRIx64, m->id));
		json_setc(&r->arena, j, "address", json_newc(&r->arena, m->addr));
		json_setc(&r->arena, j, "url", json_newc(&r->arena, m->url));
		json_setc(&r->arena, j, "role", json_newc(&r->arena, m->leader ? "leader" : roles[m->role]));
		json_push(&r->arena, all, j);
	}
	http_respond(r, 200, &h, 1, json_text(&r->arena, all));
}

static void change_done(struct kv_admin *a)
{
	struct change *c = container_of(a, struct change, admin);

	if (c->http && a->err.code == ERR_OK)
		answer(c->http, 200, "done\n");
	else if (c->http)
		answer(c->http, err_http_status(a->err.code), arena_printf(&c->http->arena, "%s\n", a->err.text));
	free(c);
}

static void on_cancel(struct http_request *r)
{
	struct change *c = r->user;

	c->http = NULL;
	http_respond_abort(r);
}

bool members_serve(struct kv *kv, struct http_request *r)
{
	struct str rest = str_skip(r->path, strlen(PATH));
	const struct kv_member *m;
	struct kv_status *st;
	struct change *c;

	if (!str_has_prefix(r->path, STR(PATH)) || (rest.n > 0 && rest.p[0] != '/'))
		return false;
	if (!is_admin(r)) {
		answer(r, 403, "only an administrator (a client certificate with O=system:masters) may ask for members\n");
		return true;
	}
	st = arena_new_of(&r->arena, struct kv_status);
	kv_status(kv, st);
	if (rest.n == 0) {
		list(r, st);
		return true;
	}
	m = member_find(st, str_skip(rest, 1));
	if (m == NULL) {
		answer(r, 404, "there is no such member\n");
		return true;
	}
	if (!str_eqc(r->method, "DELETE") && !str_eqc(r->method, "POST")) {
		answer(r, 405, "use DELETE to remove a member, POST to make it the leader\n");
		return true;
	}
	c = xcalloc(1, sizeof(*c));
	c->http = r;
	c->admin.done = change_done;
	r->user = c;
	r->on_cancel = on_cancel;
	log_info("members", "%s member=%s remote=%.*s", r->method.p[0] == 'D' ? "remove" : "transfer leadership to", m->name, STR_FMT(r->remote));
	if (r->method.p[0] == 'D')
		kv_member_remove(kv, &c->admin, m->id);
	else
		kv_transfer(kv, &c->admin, m->id);
	return true;
}
