#include "orchestrator/apiserver/rbac_boot.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/rbac_default.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/client/client.h"
#include "proto/resource.h"

struct boot {
	struct apiserver *srv;
	struct client *client;
	void (*done)(void *arg, bool ok);
	void *arg;
	unsigned pending, written;
	size_t pos; /* of the next default to look at */
	bool failed;
	struct arena arena;
};

/* So many writes at a time: enough to share the log's syncs, and few enough to need little memory. */
#define SIDE_BY_SIDE 16

static void go_on(struct boot *b);

struct put {
	struct client_req req;
	struct boot *boot;
};

static void over(struct boot *b)
{
	void (*done)(void *, bool) = b->done;
	void *arg = b->arg;
	bool ok = !b->failed;

	b->pending--;
	go_on(b);
	if (b->pending > 0)
		return;
	if (b->written > 0)
		log_info("apiserver", "wrote default roles and bindings n=%u", b->written);
	arena_fini(&b->arena);
	free(b);
	done(arg, ok);
}

static void put_done(struct client_req *req)
{
	struct put *p = container_of(req, struct put, req);
	struct boot *b = p->boot;

	if (req->err.code == 0)
		b->written++;
	else if (req->err.code != ERR_ALREADY_EXISTS) {
		b->failed = true;
		log_debug("apiserver", "default roles: %s", req->err.text);
	}
	client_req_fini(req);
	free(p);
	over(b);
}

static void write_one(struct boot *b, const struct rbac_default *d, const struct resource *res, struct json *doc, bool exists,
		bool replace)
{
	struct put *p = xcalloc(1, sizeof(*p));

	p->boot = b;
	client_req_init(&p->req, replace ? CLIENT_DELETE : exists ? CLIENT_UPDATE : CLIENT_CREATE, res);
	p->req.ns = d->ns;
	p->req.name = exists ? d->name : NULL;
	/* What goes must come again: look once more. */
	if (replace)
		b->failed = true;
	else
		p->req.body = json_text(&b->arena, doc);
	p->req.content_type = CLIENT_JSON;
	p->req.timeout_ms = 5000;
	p->req.done = put_done;
	b->pending++;
	client_do(b->client, &p->req);
}

static void look_at(struct boot *b, const struct rbac_default *d)
{
	const struct resource *res = resource_find("rbac.authorization.k8s.io", "v1", d->plural);
	struct str key = storage_key(&b->arena, res, str_from(d->ns), str_from(d->name)), raw;
	struct json *have = NULL, *doc;
	struct err e = ERR_INIT;
	bool replace;
	uint64_t rv;

	if (storage_load(b->srv->store, &b->arena, key, &raw, &rv, &e) == 0) {
		if (api_dom_of(&b->arena, res, raw, &have, &e) < 0)
			return;
		json_setp(&b->arena, have, "metadata.resourceVersion",
				json_newf(&b->arena, "%llu", (unsigned long long)rv));
	}
	doc = rbac_default_merge(&b->arena, d, have, &replace);
	if (doc)
		write_one(b, d, res, doc, have != NULL, replace);
}

static void go_on(struct boot *b)
{
	struct rbac_default d;

	while (b->pending < SIDE_BY_SIDE && rbac_default_next(&b->arena, &b->pos, &d))
		look_at(b, &d);
}

void rbac_boot(struct apiserver *srv, struct client *client, void (*done)(void *arg, bool ok), void *arg)
{
	struct boot *b = xcalloc(1, sizeof(*b));

	b->srv = srv;
	b->client = client;
	b->done = done;
	b->arg = arg;
	arena_init(&b->arena);
	b->pending = 1;
	over(b);
}
