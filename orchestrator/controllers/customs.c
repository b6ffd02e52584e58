#include "orchestrator/controllers/customs.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/meta.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

struct customs {
	struct customs_cfg cfg;
	struct informer_handler definitions;
	unsigned n_open; /* informers that have not ended, and one while we are not stopped */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void one_ended(struct customs *cs)
{
	if (--cs->n_open > 0)
		return;
	if (cs->stopped)
		cs->stopped(cs->stopped_arg);
	free(cs);
}

static void kind_ended(void *arg)
{
	struct custom_kind *k = arg;
	struct customs *cs = k->all;

	arena_fini(&k->arena);
	free(k);
	one_ended(cs);
}

static void kind_stop(struct custom_kind *k)
{
	list_del(&k->link);
	informer_stop(k->inf, kind_ended, k);
}

static void on_object(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct custom_kind *k = container_of(h, struct custom_kind, handler);

	if (old)
		k->all->cfg.changed(k->all->cfg.arg, k, old);
	if (new)
		k->all->cfg.changed(k->all->cfg.arg, k, new);
}

static void on_kind_synced(struct informer_handler *h)
{
	struct custom_kind *k = container_of(h, struct custom_kind, handler);

	k->all->cfg.changed(k->all->cfg.arg, k, NULL);
}

static void kind_start(struct customs *cs, struct str name, const struct resource *like)
{
	struct custom_kind *k = xcalloc(1, sizeof(*k));
	struct informer_cfg ic = {.client = cs->cfg.client, .desc = &meta__partial_object_metadata__descriptor};
	struct resource *res;

	arena_init(&k->arena);
	k->all = cs;
	k->name = arena_cstr(&k->arena, name);
	res = arena_memdup(&k->arena, like, sizeof(*like));
	res->group = arena_strdup(&k->arena, like->group);
	res->version = arena_strdup(&k->arena, like->version);
	res->api_version = arena_strdup(&k->arena, like->api_version);
	res->plural = arena_strdup(&k->arena, like->plural);
	res->kind = arena_strdup(&k->arena, like->kind);
	k->res = res;
	k->handler = (struct informer_handler){.changed = on_object, .synced = on_kind_synced};
	ic.resource = k->res;
	ic.metadata = true;
	k->inf = informer_new(&ic);
	k->by_owner = informer_add_index(k->inf, cs->cfg.by_owner);
	informer_add_handler(k->inf, &k->handler);
	list_add_tail(&cs->cfg.view->customs, &k->link);
	cs->n_open++;
	informer_start(k->inf);
}

static bool same_resource(const struct resource *a, const struct resource *b)
{
	return strcmp(a->api_version, b->api_version) == 0 && strcmp(a->plural, b->plural) == 0 && strcmp(a->kind, b->kind) == 0 &&
	       a->namespaced == b->namespaced;
}

static void on_definition(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct customs *cs = container_of(h, struct customs, definitions);
	struct custom_kind *k = (struct custom_kind *)(uintptr_t)custom_kind_named(cs->cfg.view, (new ? new : old)->key);
	const struct resource *want;
	struct arena a;

	arena_init(&a);
	want = new ? crd_resource(&a, new) : NULL;
	if (k && !(want && same_resource(k->res, want))) {
		kind_stop(k);
		k = NULL;
	}
	if (want && !k && !cs->stopped)
		kind_start(cs, new->key, want);
	arena_fini(&a);
}

void customs_follow(struct customs *cs, const char *name, const struct resource *res)
{
	struct custom_kind *k = (struct custom_kind *)(uintptr_t)custom_kind_named(cs->cfg.view, str_from(name));

	if (k && same_resource(k->res, res))
		return;
	if (k)
		kind_stop(k);
	if (!cs->stopped)
		kind_start(cs, str_from(name), res);
}

void customs_forget(struct customs *cs, const char *name)
{
	struct custom_kind *k = (struct custom_kind *)(uintptr_t)custom_kind_named(cs->cfg.view, str_from(name));

	if (k)
		kind_stop(k);
}

struct customs *customs_start(const struct customs_cfg *cfg)
{
	struct customs *cs = xcalloc(1, sizeof(*cs));

	cs->cfg = *cfg;
	cs->n_open = 1;
	list_init(&cfg->view->customs);
	cs->definitions.changed = on_definition;
	informer_add_handler(cfg->view->inf[VIEW_CRDS], &cs->definitions);
	return cs;
}

void customs_stop(struct customs *cs, void (*cb)(void *arg), void *arg)
{
	cs->stopped = cb;
	cs->stopped_arg = arg;
	while (!list_empty(&cs->cfg.view->customs))
		kind_stop(LIST_FIRST(&cs->cfg.view->customs, struct custom_kind, link));
	one_ended(cs);
}

const struct custom_kind *custom_kind_named(const struct view *v, struct str name)
{
	LIST_FOR_EACH (k, &v->customs, struct custom_kind, link)
		if (str_eqc(name, k->name))
			return k;
	return NULL;
}

const struct custom_kind *custom_kind_of(const struct view *v, const char *api_version, const char *kind)
{
	struct str group, version;

	str_cut(str_from(api_version), '/', &group, &version);
	LIST_FOR_EACH (k, &v->customs, struct custom_kind, link)
		if (strcmp(k->res->kind, kind) == 0 && str_eqc(group, k->res->group))
			return informer_synced(k->inf) ? k : NULL;
	return NULL;
}
