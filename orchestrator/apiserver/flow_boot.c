#include "orchestrator/apiserver/flow_boot.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/boot_write.h"
#include "orchestrator/apiserver/flow-priv.h"
#include "orchestrator/apiserver/flow_default.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/resource.h"

/* Upstream's, so that managedFields say the same. */
#define PRODUCER "api-priority-and-fairness-config-producer-v1"
#define CONSUMER "api-priority-and-fairness-config-consumer-v1"

struct boot {
	struct boot_write w;
	void (*done)(void *arg, bool ok);
	void *arg;
	size_t pos;                      /* of the next default to look at */
	size_t n_names, at;
	struct name {
		const char *plural, *name;
	} *names;                        /* all there are */
};

static void look_at_default(struct boot_write *w, const struct flow_default *d)
{
	const struct resource *res = resource_find(FLOW_GROUP, "v1", d->plural);
	struct json *have = boot_write_have(w, res, NULL, d->name), *doc = flow_default_merge(&w->arena, d, have);

	w->manager = PRODUCER;
	if (doc)
		boot_write_put(w, have ? CLIENT_UPDATE : CLIENT_CREATE, res, NULL, d->name, NULL, doc);
}

static bool has_level(struct boot *b, struct str name)
{
	for (size_t i = 0; i < b->n_names; i++)
		if (strcmp(b->names[i].plural, FLOW_LEVELS) == 0 && str_eqc(name, b->names[i].name))
			return true;
	return false;
}

static void look_at_name(struct boot *b, const struct name *n)
{
	struct boot_write *w = &b->w;
	const struct resource *res = resource_find(FLOW_GROUP, "v1", n->plural);
	struct json *have = boot_write_have(w, res, NULL, n->name), *doc = NULL;

	if (!have)
		return;
	if (flow_default_stale(&w->arena, n->plural, have)) {
		w->manager = PRODUCER;
		boot_write_put(w, CLIENT_DELETE, res, NULL, n->name, NULL, NULL);
		return;
	}
	if (strcmp(n->plural, FLOW_SCHEMAS) == 0)
		doc = flow_dangling(&w->arena, have, has_level(b, json_strp(have, "spec.priorityLevelConfiguration.name")),
				api_now(&w->arena));
	w->manager = CONSUMER;
	if (doc)
		boot_write_put(w, CLIENT_UPDATE, res, NULL, n->name, "status", doc);
}

/* First the defaults, then everything that was there at the start: what was just made comes in the next run. */
static bool next(struct boot_write *w)
{
	struct boot *b = container_of(w, struct boot, w);
	struct flow_default d;

	if (flow_default_next(&w->arena, &b->pos, &d)) {
		look_at_default(w, &d);
		return true;
	}
	if (b->at == b->n_names)
		return false;
	look_at_name(b, &b->names[b->at++]);
	return true;
}

static void written(struct boot_write *w, bool ok)
{
	struct boot *b = container_of(w, struct boot, w);
	void (*done)(void *, bool) = b->done;
	void *arg = b->arg;

	for (size_t i = 0; i < b->n_names; i++)
		free((void *)(uintptr_t)b->names[i].name);
	free(b->names);
	free(b);
	done(arg, ok);
}

static void add_name(struct boot *b, const char *plural, struct str name)
{
	b->names[b->n_names++] = (struct name){plural, xasprintf("%.*s", STR_FMT(name))};
}

void flow_boot(struct apiserver *srv, struct client *client, void (*done)(void *arg, bool ok), void *arg)
{
	const struct flow_config *c = srv->serve[0]->flow->config;
	struct boot *b = xcalloc(1, sizeof(*b));

	b->w = (struct boot_write){.srv = srv, .client = client, .what = "priority levels and flow schemas", .next = next, .done = written};
	b->done = done;
	b->arg = arg;
	b->names = xcalloc(c->n_levels + c->n_schemas, sizeof(*b->names));
	for (size_t i = 0; i < c->n_levels; i++)
		add_name(b, FLOW_LEVELS, c->levels[i].name);
	for (size_t i = 0; i < c->n_schemas; i++)
		add_name(b, FLOW_SCHEMAS, c->schemas[i].name);
	boot_write_start(&b->w);
}
