#include "orchestrator/apiserver/rbac_boot.h"

#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/apiserver/boot_write.h"
#include "orchestrator/apiserver/rbac_default.h"
#include "proto/resource.h"

struct boot {
	struct boot_write w;
	void (*done)(void *arg, bool ok);
	void *arg;
	size_t pos; /* of the next default to look at */
};

static void look_at(struct boot_write *w, const struct rbac_default *d)
{
	const struct resource *res = resource_find("rbac.authorization.k8s.io", "v1", d->plural);
	struct json *have = boot_write_have(w, res, d->ns, d->name), *doc;
	bool replace;

	doc = rbac_default_merge(&w->arena, d, have, &replace);
	if (!doc)
		return;
	/* What goes must come again: look once more. */
	if (replace)
		w->failed = true;
	boot_write_put(w, replace ? CLIENT_DELETE : have ? CLIENT_UPDATE : CLIENT_CREATE, res, d->ns, d->name, NULL,
			replace ? NULL : doc);
}

static bool next(struct boot_write *w)
{
	struct boot *b = container_of(w, struct boot, w);
	struct rbac_default d;

	if (!rbac_default_next(&w->arena, &b->pos, &d))
		return false;
	look_at(w, &d);
	return true;
}

static void written(struct boot_write *w, bool ok)
{
	struct boot *b = container_of(w, struct boot, w);
	void (*done)(void *, bool) = b->done;
	void *arg = b->arg;

	free(b);
	done(arg, ok);
}

void rbac_boot(struct apiserver *srv, struct client *client, void (*done)(void *arg, bool ok), void *arg)
{
	struct boot *b = xcalloc(1, sizeof(*b));

	b->w = (struct boot_write){.srv = srv, .client = client, .what = "default roles and bindings", .next = next, .done = written};
	b->done = done;
	b->arg = arg;
	boot_write_start(&b->w);
}
