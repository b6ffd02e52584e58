#include "orchestrator/apiserver/aggregator.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "orchestrator/apiserver/aggregate_index.h"
#include "orchestrator/apiserver/aggregator-priv.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/front_proxy.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/service_clients.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/client/client.h"
#include "proto/resource.h"
#include "raft/kv.h"

/* How often we look: nobody tells us of Services and endpoints. Faster while something waits to become available. */
#define LOOK_MS 1000
#define LOOK_FAST_MS 100
#define CONFIG_EVERY_MS 10000
#define WRITE_TIMEOUT_MS 5000

static const char group[] = "apiregistration.k8s.io", plural[] = "apiservices";

struct aggregator {
	struct apiserver *srv;
	struct api_loop *al;
	struct client *client;
	struct loop_timer timer;
	struct client_req req; /* one write at a time */
	bool writing, stopping;
	bool starting;         /* the registrations of the tables are still to be put right */
	bool leader, unsettled;
	uint64_t custom_epoch, index_epoch; /* of which all registrations are as they should be */
	uint64_t config_ms;                 /* when to look at the ConfigMap again */
	struct map remotes;                 /* name -> struct remote */
	unsigned n_running;                 /* also those that were let go of meanwhile */
	void (*stopped)(void *);
	void *stopped_arg;
};

static void look(struct loop_timer *t);

static void look_in(struct aggregator *ag, uint64_t ms)
{
	if (!ag->stopping)
		loop_timer_start(&ag->timer, ag->al->loop, ms, look);
}

/* --- Writing ----------------------------------------------------------------------------------------------------------------- */

static void written(struct client_req *req)
{
	struct aggregator *ag = container_of(req, struct aggregator, req);
	enum err_code code = req->err.code;

	if (code && code != ERR_CANCELED && code != ERR_CONFLICT && code != ERR_ALREADY_EXISTS)
		log_debug("apiserver", "aggregator: %s", req->err.text);
	client_req_fini(req);
	ag->writing = false;
	look_in(ag, code ? LOOK_FAST_MS : 0);
}

/* req is initialised, its arena may hold what is written. */
static void write_it(struct aggregator *ag, const char *name, const char *sub, const struct json *doc)
{
	ag->req.name = name;
	ag->req.sub = sub;
	if (doc)
		ag->req.body = json_text(&ag->req.arena, doc);
	ag->req.content_type = CLIENT_JSON;
	ag->req.timeout_ms = WRITE_TIMEOUT_MS;
	ag->req.done = written;
	ag->writing = true;
	client_do(ag->client, &ag->req);
}

/* An object of the local state with its version in it; NULL: not there. */
static struct json *stored(struct aggregator *ag, struct arena *a, const struct resource *res, struct str ns, struct str name)
{
	struct json *doc;
	struct str raw;
	uint64_t rv;

	if (storage_load(ag->srv->store, a, storage_key(a, res, ns, name), &raw, &rv, NULL) < 0 || api_dom_of(a, res, raw, &doc, NULL) < 0)
		return NULL;
	json_setp(a, doc, "metadata.resourceVersion", json_newf(a, "%llu", (unsigned long long)rv));
	return doc;
}

/* --- The ConfigMap ----------------------------------------------------------------------------------------------------------- */

/* The names of all servers; 0: one of them has not said its name yet. */
static size_t servers_of(struct aggregator *ag, struct arena *a, struct str **ret)
{
	struct kv_status *st = xmalloc(sizeof(*st));
	size_t n = 0;

	kv_status(ag->srv->kv, st);
	*ret = arena_new_array(a, struct str, st->n_members + 1);
	for (size_t i = 0; i < st->n_members; i++) {
		if (st->members[i].name[0] == '\0') {
			n = 0;
			break;
		}
		(*ret)[n++] = arena_str(a, str_from(st->members[i].name));
	}
	free(st);
	return n;
}

static void look_config(struct aggregator *ag)
{
	const struct resource *maps = resource_find("", "v1", "configmaps");
	static const char name[] = "extension-apiserver-authentication";
	_cleanup_(buf_fini) struct buf ca = BUF_INIT;
	struct str *servers = NULL;
	struct json *old, *doc;
	size_t n;
	struct err e = ERR_INIT;
	struct arena *a;

	if (!ag->srv->front_proxy || clock_mono_ms() < ag->config_ms || file_get(ag->srv->cfg.ca, 1u << 20, &ca, &e) < 0)
		return;
	client_req_init(&ag->req, CLIENT_UPDATE, maps);
	a = &ag->req.arena;
	old = stored(ag, a, maps, STR("kube-system"), str_from(name));
	n = ag->leader ? servers_of(ag, a, &servers) : 0;
	doc = front_proxy_config(a, old, buf_str(&ca), front_proxy_ca(ag->srv->front_proxy, a), servers, n);
	if (!doc) {
		client_req_fini(&ag->req);
		ag->config_ms = clock_mono_ms() + CONFIG_EVERY_MS;
		return;
	}
	if (!old)
		ag->req.verb = CLIENT_CREATE;
	ag->req.ns = "kube-system";
	write_it(ag, old ? name : NULL, NULL, doc);
}

/* --- Registrations of what is served here -------------------------------------------------------------------------------------- */

struct wants {
	struct arena *a;
	struct aggregate_want *v;
	size_t n;
	struct aggregator *ag;
};

static const struct aggregate_want *wanted(const struct wants *w, struct str g, struct str v)
{
	for (size_t i = 0; i < w->n; i++)
		if (str_eqc(g, w->v[i].group) && str_eqc(v, w->v[i].version))
			return &w->v[i];
	return NULL;
}

static void want(struct wants *w, const struct resource *r, bool custom)
{
	if (!r->served || (r->group[0] && aggregate_is_ours(str_from(r->group))) || wanted(w, str_from(r->group), str_from(r->version)))
		return;
	w->v = arena_grow(w->a, w->v, w->n * sizeof(w->v[0]), (w->n + 1) * sizeof(w->v[0]));
	w->v[w->n++] = (struct aggregate_want){r->group, r->version, custom};
}

static void do_to(struct wants *w, enum aggregate_action action, struct str name, const struct aggregate_want *what)
{
	static const enum client_verb verbs[] = {
			[AGGREGATE_CREATE] = CLIENT_CREATE, [AGGREGATE_UPDATE] = CLIENT_UPDATE, [AGGREGATE_DELETE] = CLIENT_DELETE};
	const struct resource *res = resource_find(group, "v1", plural);
	struct aggregator *ag = w->ag;
	struct json *old = NULL;
	struct arena *a;

	if (ag->writing || action == AGGREGATE_LEAVE)
		return;
	client_req_init(&ag->req, verbs[action], res);
	a = &ag->req.arena;
	if (action != AGGREGATE_CREATE) {
		old = stored(ag, a, res, STR_NULL, name);
		if (!old) {
			client_req_fini(&ag->req);
			return;
		}
		ag->req.precondition_uid = arena_cstr(a, json_strp(old, "metadata.uid"));
	}
	write_it(ag, action == AGGREGATE_CREATE ? NULL : arena_cstr(a, name), NULL,
			action == AGGREGATE_DELETE ? NULL : aggregate_local(a, what, old));
}

static void no_longer(void *arg, const struct api_service *s)
{
	struct wants *w = arg;

	if (!wanted(w, s->group, s->version))
		do_to(w, aggregate_decide(s, NULL, w->ag->starting), s->name, NULL);
}

/* Begins the first write that is due. */
static void look_registrations(struct aggregator *ag)
{
	struct aggregate_index *ix = api__aggregates(ag->al);
	struct custom_index *customs = api__custom(ag->al);
	const struct resource *const *all;
	struct arena a;
	struct wants w = {.a = &a, .ag = ag};
	size_t n;

	if (!ag->starting && ag->custom_epoch == custom_index_epoch(customs) && ag->index_epoch == aggregate_index_epoch(ix))
		return;
	arena_init(&a);
	RESOURCE_FOR_EACH (r)
		want(&w, r, false);
	all = custom_index_all(customs, &n);
	for (size_t i = 0; i < n; i++)
		want(&w, all[i], true);
	for (size_t i = 0; i < w.n && !ag->writing; i++)
		do_to(&w, aggregate_decide(aggregate_index_find(ix, str_from(w.v[i].group), str_from(w.v[i].version)), &w.v[i], ag->starting),
				arena_sprintf(&a, "%s.%s", w.v[i].version, w.v[i].group), &w.v[i]);
	aggregate_index_each(ix, no_longer, &w);
	if (!ag->writing) {
		ag->starting = false;
		ag->custom_epoch = custom_index_epoch(customs);
		ag->index_epoch = aggregate_index_epoch(ix);
	}
	arena_fini(&a);
}

/* --- Remote servers ---------------------------------------------------------------------------------------------------------- */

static struct aggregator *of_remote(const struct remote *r)
{
	return r->al->srv->aggregator;
}

static void publish(struct aggregator *ag)
{
	struct aggregate_docs *d = aggregate_docs_new();

	d->v = arena_new_array(&d->arena, struct aggregate_doc, map_len(&ag->remotes) + 1);
	MAP_FOR_EACH (entry, &ag->remotes) {
		const struct remote *r = entry->value;

		d->v[d->n++] = (struct aggregate_doc){.group = arena_str(&d->arena, str_from(r->group)),
				.version = arena_str(&d->arena, str_from(r->version)),
				.fresh = r->fresh,
				.discovery = r->text[REMOTE_DISCOVERY].n ? arena_str(&d->arena, buf_str(&r->text[REMOTE_DISCOVERY])) : STR_NULL,
				.v3_url = r->v3_url ? arena_str(&d->arena, str_from(r->v3_url)) : STR(""),
				.v2 = arena_str(&d->arena, buf_str(&r->text[REMOTE_V2]))};
	}
	aggregate_docs_publish(ag->srv, d);
}

static void remote_changed(struct remote *r)
{
	if (!r->gone)
		publish(of_remote(r));
}

static void all_idle(struct aggregator *ag);

static void remote_idle(struct remote *r)
{
	struct aggregator *ag = of_remote(r);

	ag->n_running--;
	if (r->gone)
		remote_free(r);
	else
		look_in(ag, 0);
	if (ag->stopping)
		all_idle(ag);
}

static void let_go(struct aggregator *ag, struct remote *r)
{
	map_del(&ag->remotes, str_from(r->name));
	if (r->running)
		remote_cancel(r);
	else
		remote_free(r);
}

static bool is_registered(struct aggregator *ag, const struct remote *r)
{
	const struct api_service *s = aggregate_index_remote(api__aggregates(ag->al), str_from(r->group), str_from(r->version));
	char *source = s ? remote_source(s) : NULL;
	bool same = source && strcmp(source, r->source) == 0;

	free(source);
	return same;
}

static void meet(void *arg, const struct api_service *s)
{
	struct aggregator *ag = arg;
	struct remote *r;

	if (!s->remote || aggregate_is_ours(s->group) || map_get(&ag->remotes, s->name))
		return;
	r = remote_new(ag->al, s);
	r->changed = remote_changed;
	r->idle = remote_idle;
	map_put(&ag->remotes, s->name, r);
}

static bool judge(struct aggregator *ag, struct arena *a, const struct api_service *s, const struct remote *r, struct aggregate_condition *ret)
{
	struct aggregate_facts f = {.asked = r && r->asked};

	if (s->remote) {
		f.service = stored(ag, a, resource_find("", "v1", "services"), s->service_ns, s->service);
		f.endpoints = stored(ag, a, resource_find("", "v1", "endpoints"), s->service_ns, s->service);
		f.slices = f.service && !f.endpoints ? service_slices(ag->srv->store, a, s->service_ns, s->service) : NULL;
	}
	if (r && r->asked && !r->fresh)
		f.failure = str_from(r->failure ? r->failure : "it does not answer");
	return aggregate_judge(a, s, &f, ret);
}

static void look_condition(void *arg, const struct api_service *s)
{
	const struct resource *res = resource_find(group, "v1", plural);
	struct aggregator *ag = arg;
	struct aggregate_condition c;
	struct json *doc;
	struct arena *a;

	if (ag->writing || (!s->remote && s->condition.status && strcmp(s->condition.reason, "Local") == 0))
		return;
	client_req_init(&ag->req, CLIENT_UPDATE, res);
	a = &ag->req.arena;
	if (judge(ag, a, s, map_get(&ag->remotes, s->name), &c) &&
			!(s->condition.status && strcmp(s->condition.status, c.status) == 0 && strcmp(s->condition.reason, c.reason) == 0 &&
					str_eq(s->condition.message, c.message)) &&
			(doc = stored(ag, a, res, STR_NULL, s->name))) {
		if (!s->condition.status || strcmp(s->condition.status, c.status) != 0)
			log_info("apiserver", "APIService %.*s available=%s reason=%s", STR_FMT(s->name), c.status, c.reason);
		write_it(ag, arena_cstr(a, s->name), "status", aggregate_status(a, doc, &c, api_now(a)));
		return;
	}
	client_req_fini(&ag->req);
}

static bool is_somewhere(struct aggregator *ag, const struct api_service *s)
{
	const char *address;
	struct err e = ERR_INIT;
	struct arena a;
	bool found;

	arena_init(&a);
	found = service_resolve(ag->srv->store, &a, s->service_ns, s->service, s->port, &address, &e) == 0;
	arena_fini(&a);
	return found;
}

static void ask_one(void *arg, const struct api_service *s)
{
	struct aggregator *ag = arg;
	struct remote *r = map_get(&ag->remotes, s->name);

	if (!s->remote || !r)
		return;
	/* What has failed for a while may go on failing for ever. */
	ag->unsettled = ag->unsettled || (!s->available && r->n_failed < 6);
	if (r->running || (clock_mono_ms() < r->next_ms && !(r->nowhere && is_somewhere(ag, s))))
		return;
	ag->n_running++;
	remote_ask(r, s);
}

static void look_remotes(struct aggregator *ag)
{
	struct aggregate_index *ix = api__aggregates(ag->al);
	struct remote *unknown[16];
	size_t n = 0;

	MAP_FOR_EACH (entry, &ag->remotes)
		if (n < ARRAY_LEN(unknown) && !is_registered(ag, entry->value))
			unknown[n++] = entry->value;
	for (size_t i = 0; i < n; i++)
		let_go(ag, unknown[i]);
	if (n > 0)
		publish(ag);
	aggregate_index_each(ix, meet, ag);
	ag->unsettled = false;
	aggregate_index_each(ix, ask_one, ag);
}

/* --- Looking ----------------------------------------------------------------------------------------------------------------- */

static void look(struct loop_timer *t)
{
	struct aggregator *ag = container_of(t, struct aggregator, timer);
	_cleanup_(freep) struct kv_status *st = xmalloc(sizeof(*st));

	kv_status(ag->srv->kv, st);
	if (st->role.leader && !ag->leader)
		ag->starting = true;
	ag->leader = st->role.leader;
	if (atomic_load(&ag->srv->ready)) {
		look_remotes(ag);
		if (!ag->writing)
			look_config(ag);
		if (ag->leader && !ag->writing)
			look_registrations(ag);
		if (ag->leader && !ag->writing)
			aggregate_index_each(api__aggregates(ag->al), look_condition, ag);
	}
	if (!ag->writing)
		look_in(ag, ag->unsettled || !atomic_load(&ag->srv->ready) ? LOOK_FAST_MS : LOOK_MS);
}

/* --- Life -------------------------------------------------------------------------------------------------------------------- */

void aggregator_start(struct apiserver *srv)
{
	struct aggregator *ag = xcalloc(1, sizeof(*ag));

	ag->srv = srv;
	ag->al = srv->serve[0];
	ag->client = apiserver_client(srv, ag->al->loop, "system:kube-aggregator");
	map_init(&ag->remotes);
	srv->aggregator = ag;
	loop_timer_start(&ag->timer, ag->al->loop, 0, look);
}

static void client_gone(void *arg)
{
	struct aggregator *ag = arg;
	void (*stopped)(void *) = ag->stopped;
	void *stopped_arg = ag->stopped_arg;

	map_fini(&ag->remotes);
	ag->srv->aggregator = NULL;
	free(ag);
	stopped(stopped_arg);
}

static void all_idle(struct aggregator *ag)
{
	if (ag->n_running == 0)
		client_close(ag->client, client_gone, ag);
}

void aggregator_stop(struct apiserver *srv, void (*stopped)(void *arg), void *arg)
{
	struct aggregator *ag = srv->aggregator;
	struct remote *r;
	size_t i;

	ag->stopping = true;
	ag->stopped = stopped;
	ag->stopped_arg = arg;
	loop_timer_stop(&ag->timer);
	for (i = 0; map_len(&ag->remotes) > 0; i = 0) {
		r = map_next(&ag->remotes, &i)->value;
		let_go(ag, r);
	}
	all_idle(ag);
}
