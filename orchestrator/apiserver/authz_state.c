#include "orchestrator/apiserver/authz_state.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/node_graph.h"
#include "orchestrator/apiserver/rbac_index.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

static const struct {
	const char *group, *plural;
	enum rbac_kind kind; /* RBAC_N_KINDS: pods, for the graph */
} sources[] = {
		{"rbac.authorization.k8s.io", "roles", RBAC_ROLE},
		{"rbac.authorization.k8s.io", "clusterroles", RBAC_CLUSTER_ROLE},
		{"rbac.authorization.k8s.io", "rolebindings", RBAC_ROLE_BINDING},
		{"rbac.authorization.k8s.io", "clusterrolebindings", RBAC_CLUSTER_ROLE_BINDING},
		{"", "pods", RBAC_N_KINDS},
};
#define N_SOURCES ARRAY_LEN(sources)

struct source {
	struct watcher watcher;
	struct str key, end; /* the watcher loses its own when it is stopped */
	struct authz_state *state;
	const struct resource *res;
	enum rbac_kind kind;
};

struct authz_state {
	struct store *store;
	struct watch_hub *hub;
	struct rbac_index *rbac;
	struct node_graph *graph;
	struct arena arena; /* the watchers' keys */
	struct source source[N_SOURCES];
	size_t n_sources; /* pods are the last, and may be left out */
};

static void load(struct authz_state *st);
static void stop(struct authz_state *st);

/* before or after is {NULL, 0}, not both. */
static void changed(struct source *s, struct str key, struct str before, struct str after)
{
	struct str ns, name, old = STR_NULL, new = STR_NULL;
	struct arena a;

	if (!resource_parse_key(s->res, key, &ns, &name))
		return;
	arena_init(&a);
	if ((before.n && !storage_unwrap_key(&a, key, before, &old)) || (after.n && !storage_unwrap_key(&a, key, after, &new)))
		log_warn("apiserver", "authorization cannot read %.*s", STR_FMT(key));
	else if (s->kind == RBAC_N_KINDS)
		node_graph_pod(s->state->graph, ns, name, old, new);
	else if (new.p)
		rbac_index_put(s->state->rbac, s->kind, ns, name, new);
	else
		rbac_index_del(s->state->rbac, s->kind, ns, name);
	arena_fini(&a);
}

static void on_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct source *s = container_of(w, struct source, watcher);

	(void)revision;
	for (size_t i = 0; i < n; i++) {
		const struct watch_event *e = events[i];

		/* Without the pod that was, its edges would stay. */
		if (!e->has_prev && s->kind == RBAC_N_KINDS && (e->is_delete || e->kv.version > 1)) {
			stop(s->state);
			load(s->state);
			return;
		}
		changed(s, e->kv.key, e->has_prev ? e->prev.value : STR_NULL, e->is_delete ? STR_NULL : e->kv.value);
	}
}

static void stop(struct authz_state *st)
{
	for (size_t i = 0; i < st->n_sources; i++)
		watch_stop(&st->source[i].watcher);
	rbac_index_free(TAKE(st->rbac));
	node_graph_free(TAKE(st->graph));
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct source *s = container_of(w, struct source, watcher);
	struct authz_state *st = s->state;

	log_debug("apiserver", "authorization reads everything again compacted=%lld", (long long)compact_revision);
	stop(st);
	load(st);
}

static void load_source(struct source *s, struct store_view *v)
{
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;

	view_iter_init(&it, v, s->key, s->end, 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0)
		changed(s, kv.key, STR_NULL, kv.value);
	view_iter_fini(&it);
	if (e.code)
		log_warn("apiserver", "authorization cannot read %s: %s", s->res->plural, e.text);
}

/* All as of one revision, then the watches from the next one on. */
static void load(struct authz_state *st)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	int64_t rev = 0;

	st->rbac = rbac_index_new();
	st->graph = node_graph_new();
	if (store_view_open(st->store, &v, &e) == 0) {
		rev = view_revision(v);
		for (size_t i = 0; i < st->n_sources; i++)
			load_source(&st->source[i], v);
		store_view_close(v);
	} else {
		/* Nothing is known, so nobody is allowed anything by it; the watch from the beginning fills it or calls again. */
		log_warn("apiserver", "authorization cannot read the store: %s", e.text);
	}
	for (size_t i = 0; i < st->n_sources; i++) {
		struct source *s = &st->source[i];

		s->watcher.key = s->key;
		s->watcher.end = s->end;
		watch_start(st->hub, &s->watcher, rev + 1);
	}
}

struct authz_state *authz_state_new(struct store *store, struct watch_hub *hub, bool nodes)
{
	struct authz_state *st = xcalloc(1, sizeof(*st));

	st->store = store;
	st->n_sources = nodes ? N_SOURCES : N_SOURCES - 1;
	st->hub = hub;
	arena_init(&st->arena);
	for (size_t i = 0; i < st->n_sources; i++) {
		struct source *s = &st->source[i];

		s->state = st;
		s->kind = sources[i].kind;
		s->res = resource_find(sources[i].group, "v1", sources[i].plural);
		s->key = storage_prefix(&st->arena, s->res, STR_NULL);
		s->end = storage_end(&st->arena, s->key);
		s->watcher.events = on_events;
		s->watcher.gone = on_gone;
	}
	load(st);
	return st;
}

void authz_state_free(struct authz_state *st)
{
	if (!st)
		return;
	stop(st);
	arena_fini(&st->arena);
	free(st);
}

const struct rbac_index *authz_state_rbac(const struct authz_state *st)
{
	return st->rbac;
}

const struct node_graph *authz_state_graph(const struct authz_state *st)
{
	return st->graph;
}
