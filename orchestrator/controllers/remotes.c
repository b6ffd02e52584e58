#include "orchestrator/controllers/remotes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/customs.h"
#include "proto/apiregistration.pb-c.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/resource.h"

/* Kinds come and go with new versions of a server. */
#define LOOK_MS 30000

struct remotes {
	struct client *client;
	struct loop *loop;
	struct view *view;
	struct customs *customs;
	struct informer_handler registrations;
	unsigned n_open; /* groups, and one while we are not stopped */
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* --- What it has ---------------------------------------------------------------------------------------------------------------- */

static unsigned verbs_of(const struct json *list)
{
	unsigned bits = 0;

	JSON_ITEMS (v, list)
		for (int i = 0; i < RESOURCE_N_VERBS; i++)
			if (json_eqc(v, resource_verb_names[i]))
				bits |= 1u << i;
	return bits;
}

bool remote_resources(struct arena *a, const char *group, const char *version, struct str text, struct resource **ret, size_t *ret_n)
{
	struct json *doc, *list;
	struct resource *v;
	size_t n = 0;

	if (json_parse(a, arena_str(a, text), NULL, &doc, NULL) < 0 || !json_eqc(json_getc(doc, "kind"), "APIResourceList"))
		return false;
	list = json_getc(doc, "resources");
	v = arena_new_array(a, struct resource, json_len(list) + 1);
	JSON_ITEMS (r, list) {
		struct str name = json_str(json_getc(r, "name"));

		if (name.n == 0 || str_find(name, '/') >= 0)
			continue;
		v[n++] = (struct resource){.group = arena_strdup(a, group),
				.version = arena_strdup(a, version),
				.api_version = arena_printf(a, "%s/%s", group, version),
				.plural = arena_cstr(a, name),
				.kind = arena_cstr(a, json_str(json_getc(r, "kind"))),
				.namespaced = json_true(json_getc(r, "namespaced")),
				.verbs = verbs_of(json_getc(r, "verbs")),
				.served = true};
	}
	*ret = v;
	*ret_n = n;
	return true;
}

const char *remote_kind_name(struct arena *a, const struct resource *r)
{
	return arena_printf(a, "apis/%s/%s", r->api_version, r->plural);
}

/* Garbage collection follows what it can see and take away. */
static void follow(struct remote_group *g, const struct resource *old, size_t n_old)
{
	const unsigned wanted = V_LIST | V_WATCH | V_DELETE;
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < n_old; i++) {
		bool still = false;

		for (size_t k = 0; k < g->n_resources; k++)
			still = still || (strcmp(old[i].plural, g->resources[k].plural) == 0 && (g->resources[k].verbs & wanted) == wanted);
		if (!still)
			customs_forget(g->all->customs, remote_kind_name(&a, &old[i]));
	}
	for (size_t i = 0; i < g->n_resources; i++)
		if ((g->resources[i].verbs & wanted) == wanted)
			customs_follow(g->all->customs, remote_kind_name(&a, &g->resources[i]), &g->resources[i]);
	arena_fini(&a);
}

/* --- Asking ----------------------------------------------------------------------------------------------------------------------- */

static void ask(struct loop_timer *t);

static void one_over(struct remotes *rs)
{
	if (--rs->n_open > 0)
		return;
	if (rs->stopped)
		rs->stopped(rs->stopped_arg);
	free(rs);
}

static void group_free(struct remote_group *g)
{
	struct remotes *rs = g->all;

	arena_fini(&g->arena);
	free(g->name);
	free(g->group);
	free(g->version);
	free(g->path);
	free(g);
	one_over(rs);
}

static void learn(struct remote_group *g, struct str text)
{
	struct resource *v, *old = g->resources;
	size_t n, n_old = g->n_resources;
	struct arena before = g->arena;

	arena_init(&g->arena);
	if (!remote_resources(&g->arena, g->group, g->version, text, &v, &n)) {
		log_debug("controllers", "%s does not tell its resources", g->name);
		arena_fini(&g->arena);
		g->arena = before;
		return;
	}
	g->resources = v;
	g->n_resources = n;
	g->known = true;
	follow(g, old, n_old);
	arena_fini(&before);
}

static void asked(struct client_req *req)
{
	struct remote_group *g = container_of(req, struct remote_group, req);

	g->asking = false;
	if (!g->gone && req->err.code == ERR_OK)
		learn(g, req->answer);
	client_req_fini(req);
	if (g->gone)
		group_free(g);
	else
		loop_timer_start(&g->timer, g->all->loop, LOOK_MS, ask);
}

static void ask(struct loop_timer *t)
{
	struct remote_group *g = container_of(t, struct remote_group, timer);

	if (!g->available) {
		loop_timer_start(t, g->all->loop, LOOK_MS, ask);
		return;
	}
	client_req_init(&g->req, CLIENT_RAW, NULL);
	g->req.raw_method = "GET";
	g->req.raw_path = g->path;
	g->req.accept = CLIENT_JSON;
	g->req.timeout_ms = 10000;
	g->req.done = asked;
	g->asking = true;
	client_do(g->all->client, &g->req);
}

/* --- Registrations ------------------------------------------------------------------------------------------------------------------ */

static struct remote_group *find(struct remotes *rs, struct str name)
{
	LIST_FOR_EACH (g, &rs->view->remotes, struct remote_group, link)
		if (str_eqc(name, g->name))
			return g;
	return NULL;
}

static bool is_served_here(const char *group, const char *version)
{
	RESOURCE_FOR_EACH (r)
		if (r->served && strcmp(r->group, group) == 0 && strcmp(r->version, version) == 0)
			return true;
	return false;
}

static void group_end(struct remote_group *g)
{
	struct resource *old = g->resources;
	size_t n_old = g->n_resources;

	g->n_resources = 0;
	if (!g->all->stopping)
		follow(g, old, n_old);
	list_del(&g->link);
	loop_timer_stop(&g->timer);
	g->gone = true;
	if (g->asking)
		client_cancel(&g->req);
	else
		group_free(g);
}

static struct remote_group *group_begin(struct remotes *rs, const Apiregistration__APIService *s)
{
	struct remote_group *g = xcalloc(1, sizeof(*g));

	g->all = rs;
	g->name = xstrdup(pb_s(s->metadata->name));
	g->group = xstrdup(pb_s(s->spec->group));
	g->version = xstrdup(pb_s(s->spec->version));
	g->path = xasprintf("/apis/%s/%s", g->group, g->version);
	arena_init(&g->arena);
	list_add_tail(&rs->view->remotes, &g->link);
	rs->n_open++;
	return g;
}

static bool is_available(const Apiregistration__APIService *s)
{
	for (size_t i = 0; s->status && i < s->status->n_conditions; i++)
		if (pb_streq(s->status->conditions[i]->type, "Available"))
			return pb_streq(s->status->conditions[i]->status, "True");
	return false;
}

static void on_registration(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct remotes *rs = container_of(h, struct remotes, registrations);
	struct remote_group *g = find(rs, (new ? new : old)->key);
	const Apiregistration__APIService *s = new ? informer_msg(new) : NULL;
	bool wanted = s && s->spec && s->spec->service && !is_served_here(pb_s(s->spec->group), pb_s(s->spec->version)), was;

	if (!wanted || rs->stopping) {
		if (g)
			group_end(g);
		return;
	}
	if (!g)
		g = group_begin(rs, s);
	was = g->available;
	g->available = is_available(s);
	if (g->available && !was && !g->asking)
		loop_timer_start(&g->timer, rs->loop, 0, ask);
}

struct remotes *remotes_start(struct client *client, struct loop *loop, struct view *view, struct customs *customs)
{
	struct remotes *rs = xcalloc(1, sizeof(*rs));

	rs->client = client;
	rs->loop = loop;
	rs->view = view;
	rs->customs = customs;
	rs->n_open = 1;
	list_init(&view->remotes);
	rs->registrations.changed = on_registration;
	informer_add_handler(view->inf[VIEW_APISERVICES], &rs->registrations);
	return rs;
}

void remotes_stop(struct remotes *rs, void (*cb)(void *arg), void *arg)
{
	rs->stopping = true;
	rs->stopped = cb;
	rs->stopped_arg = arg;
	while (!list_empty(&rs->view->remotes))
		group_end(LIST_FIRST(&rs->view->remotes, struct remote_group, link));
	one_over(rs);
}
