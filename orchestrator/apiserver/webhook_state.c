#include "orchestrator/apiserver/webhook_state.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

#define N_SOURCES 6

/* A compiled policy, without its bindings. */
struct shared_policy {
	unsigned refs;
	struct arena arena;
	struct str key;
	int64_t revision; /* of the key when it was compiled */
	struct policy policy;
};

struct source {
	struct watcher watcher;
	struct str key, end; /* the watcher loses its own when it is stopped */
	struct webhook_state *state;
	const struct resource *res;
};

struct webhook_state {
	struct store *store;
	struct watch_hub *hub;
	struct webhook_index *index; /* NULL: to be made */
	struct webhook_index *last;  /* the one before, until then */
	struct arena arena;          /* the watchers' keys */
	struct source source[N_SOURCES];
};

/* While an index is made. */
struct building {
	struct webhook_index *ix;
	const struct webhook_index *last; /* NULL: there was none */
	struct str key; /* what is added now, and when it was written */
	int64_t revision;
	struct policy_binding *bindings[WEBHOOK_N_KINDS];
	size_t n_bindings[WEBHOOK_N_KINDS];
};

static void add_hooks(struct building *, enum webhook_kind, const struct json *), add_policy(struct building *, enum webhook_kind, const struct json *),
		add_binding(struct building *, enum webhook_kind, const struct json *);

/* Bindings come before what they bind. */
static const struct {
	const char *plural;
	enum webhook_kind kind;
	void (*add)(struct building *, enum webhook_kind, const struct json *);
} sources[N_SOURCES] = {
		{"mutatingwebhookconfigurations", WEBHOOK_MUTATING, add_hooks},
		{"validatingwebhookconfigurations", WEBHOOK_VALIDATING, add_hooks},
		{"mutatingadmissionpolicybindings", WEBHOOK_MUTATING, add_binding},
		{"validatingadmissionpolicybindings", WEBHOOK_VALIDATING, add_binding},
		{"mutatingadmissionpolicies", WEBHOOK_MUTATING, add_policy},
		{"validatingadmissionpolicies", WEBHOOK_VALIDATING, add_policy},
};

static void shared_unref(struct shared_policy *s)
{
	if (--s->refs > 0)
		return;
	arena_fini(&s->arena);
	free(s);
}

void webhook_index_unref(struct webhook_index *ix)
{
	if (!ix || --ix->refs > 0)
		return;
	for (size_t i = 0; i < ix->n_shared; i++)
		shared_unref(ix->shared[i]);
	arena_fini(&ix->arena);
	free(ix);
}

static void forget(struct webhook_state *st)
{
	if (!st->index)
		return;
	webhook_index_unref(st->last);
	st->last = TAKE(st->index);
}

static void add_hooks(struct building *b, enum webhook_kind k, const struct json *config)
{
	struct webhook_index *ix = b->ix;
	struct webhook *some;
	size_t n, have = ix->n[k];

	webhook_compile(&ix->arena, config, &some, &n);
	ix->v[k] = arena_grow(&ix->arena, ix->v[k], have * sizeof(*some), (have + n) * sizeof(*some));
	for (size_t i = 0; i < n; i++)
		ix->v[k][ix->n[k]++] = some[i];
}

static void add_binding(struct building *b, enum webhook_kind k, const struct json *doc)
{
	struct policy_binding **v = &b->bindings[k];
	size_t n = b->n_bindings[k]++;

	*v = arena_grow(&b->ix->arena, *v, n * sizeof(**v), (n + 1) * sizeof(**v));
	policy_binding_compile(&b->ix->arena, doc, &(*v)[n]);
}

static struct shared_policy *shared_find(const struct building *b)
{
	for (size_t i = 0; b->last && i < b->last->n_shared; i++)
		if (b->last->shared[i]->revision == b->revision && str_eq(b->last->shared[i]->key, b->key))
			return b->last->shared[i];
	return NULL;
}

static struct shared_policy *shared_new(const struct building *b, const struct json *doc)
{
	struct shared_policy *s = xcalloc(1, sizeof(*s));

	arena_init(&s->arena);
	s->key = arena_str(&s->arena, b->key);
	s->revision = b->revision;
	policy_compile(&s->arena, json_copy(&s->arena, doc), &s->policy);
	return s;
}

/* As it was compiled for the index before, if it is still that. */
static const struct policy *shared_policy(struct building *b, const struct json *doc)
{
	struct webhook_index *ix = b->ix;
	struct shared_policy *s = shared_find(b);

	if (!s)
		s = shared_new(b, doc);
	s->refs++;
	ix->shared = arena_grow(&ix->arena, ix->shared, ix->n_shared * sizeof(*ix->shared), (ix->n_shared + 1) * sizeof(*ix->shared));
	ix->shared[ix->n_shared++] = s;
	return &s->policy;
}

static void add_policy(struct building *b, enum webhook_kind k, const struct json *doc)
{
	struct webhook_index *ix = b->ix;
	struct policy_binding *mine = arena_new_array(&ix->arena, struct policy_binding, b->n_bindings[k]);
	struct policy *p;
	size_t n = 0, have = ix->n_policies[k];

	for (size_t i = 0; i < b->n_bindings[k]; i++)
		if (str_eq(b->bindings[k][i].policy, api_name(doc)))
			mine[n++] = b->bindings[k][i];
	if (n == 0)
		return;
	ix->policies[k] = arena_grow(&ix->arena, ix->policies[k], have * sizeof(*p), (have + 1) * sizeof(*p));
	p = &ix->policies[k][ix->n_policies[k]++];
	*p = *shared_policy(b, doc);
	p->bindings = mine;
	p->n_bindings = n;
}

/* Keys come in the order of names. */
static void load_source(struct building *b, struct source *s, size_t i, struct store_view *v)
{
	struct arena *a = &b->ix->arena;
	struct view_iter it;
	struct store_kv kv;
	struct json *doc;
	struct err e = ERR_INIT;
	struct str raw;

	view_iter_init(&it, v, s->key, s->end, 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0) {
		b->key = kv.key;
		b->revision = kv.mod_revision;
		if (storage_unwrap_key(a, kv.key, kv.value, &raw) && api_dom_of(a, s->res, arena_str(a, raw), &doc, &e) == 0)
			sources[i].add(b, sources[i].kind, doc);
		else
			b->ix->unread = arena_printf(a, "%.*s", STR_FMT(kv.key));
		err_clear(&e);
	}
	view_iter_fini(&it);
	if (e.code)
		b->ix->unread = arena_printf(a, "%s: %s", sources[i].plural, e.text);
}

struct webhook_index *webhook_state_index(struct webhook_state *st)
{
	struct building b = {0};
	struct store_view *v;
	struct err e = ERR_INIT;

	if (st->index && !st->index->unread)
		return st->index;
	forget(st);
	st->index = xcalloc(1, sizeof(*st->index));
	st->index->refs = 1;
	arena_init(&st->index->arena);
	if (store_view_open(st->store, &v, &e) < 0) {
		st->index->unread = arena_printf(&st->index->arena, "the store: %s", e.text);
		return st->index;
	}
	b.ix = st->index;
	b.last = st->last;
	for (size_t i = 0; i < N_SOURCES; i++)
		load_source(&b, &st->source[i], i, v);
	store_view_close(v);
	webhook_index_unref(TAKE(st->last));
	return st->index;
}

static void on_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	(void)revision, (void)events, (void)n;
	forget(container_of(w, struct source, watcher)->state);
}

static void watch_from_now(struct source *s)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	int64_t rev = 0;

	if (store_view_open(s->state->store, &v, &e) == 0) {
		rev = view_revision(v);
		store_view_close(v);
	}
	s->watcher.key = s->key;
	s->watcher.end = s->end;
	watch_start(s->state->hub, &s->watcher, rev + 1);
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct source *s = container_of(w, struct source, watcher);

	(void)compact_revision;
	forget(s->state);
	watch_from_now(s);
}

struct webhook_state *webhook_state_new(struct store *store, struct watch_hub *hub)
{
	struct webhook_state *st = xcalloc(1, sizeof(*st));

	st->store = store;
	st->hub = hub;
	arena_init(&st->arena);
	for (size_t i = 0; i < N_SOURCES; i++) {
		struct source *s = &st->source[i];

		s->state = st;
		s->res = resource_find("admissionregistration.k8s.io", "v1", sources[i].plural);
		s->key = storage_prefix(&st->arena, s->res, STR_NULL);
		s->end = storage_end(&st->arena, s->key);
		s->watcher.events = on_events;
		s->watcher.gone = on_gone;
		/* The index is made later, of what is there then: an event of before does no harm. */
		watch_from_now(s);
	}
	return st;
}

void webhook_state_free(struct webhook_state *st)
{
	if (!st)
		return;
	for (size_t i = 0; i < N_SOURCES; i++)
		watch_stop(&st->source[i].watcher);
	webhook_index_unref(st->index);
	webhook_index_unref(st->last);
	arena_fini(&st->arena);
	free(st);
}
