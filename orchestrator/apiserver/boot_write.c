#include "orchestrator/apiserver/boot_write.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"

/* So many writes at a time: enough to share the log's syncs, and few enough to need little memory. */
#define SIDE_BY_SIDE 16

struct put {
	struct client_req req;
	struct boot_write *writer;
};

static void go_on(struct boot_write *w)
{
	while (w->pending < SIDE_BY_SIDE && !w->ended)
		w->ended = !w->next(w);
}

static void over(struct boot_write *w)
{
	w->pending--;
	go_on(w);
	if (w->pending > 0)
		return;
	if (w->written > 0)
		log_info("apiserver", "wrote %s n=%u", w->what, w->written);
	arena_fini(&w->arena);
	w->done(w, !w->failed);
}

void boot_write_start(struct boot_write *w)
{
	arena_init(&w->arena);
	w->pending = 1;
	over(w);
}

static void put_done(struct client_req *req)
{
	struct put *p = container_of(req, struct put, req);
	struct boot_write *w = p->writer;

	if (req->err.code == 0)
		w->written++;
	else if (req->err.code != ERR_ALREADY_EXISTS) {
		w->failed = true;
		log_debug("apiserver", "%s: %s", w->what, req->err.text);
	}
	client_req_fini(req);
	free(p);
	over(w);
}

void boot_write_put(struct boot_write *w, enum client_verb verb, const struct resource *res, const char *ns, const char *name,
		const char *sub, struct json *doc)
{
	struct put *p = xcalloc(1, sizeof(*p));

	p->writer = w;
	client_req_init(&p->req, verb, res);
	p->req.ns = ns;
	p->req.name = verb == CLIENT_CREATE ? NULL : name;
	p->req.sub = sub;
	if (doc)
		p->req.body = json_text(&w->arena, doc);
	p->req.content_type = CLIENT_JSON;
	p->req.field_manager = w->manager;
	p->req.timeout_ms = 5000;
	p->req.done = put_done;
	w->pending++;
	client_do(w->client, &p->req);
}

struct json *boot_write_have(struct boot_write *w, const struct resource *res, const char *ns, const char *name)
{
	struct str key = storage_key(&w->arena, res, str_from(ns), str_from(name)), raw;
	struct json *have = NULL;
	struct err e = ERR_INIT;
	uint64_t rv;

	if (storage_load(w->srv->store, &w->arena, key, &raw, &rv, &e) < 0 || api_dom_of(&w->arena, res, raw, &have, &e) < 0)
		return NULL;
	json_setp(&w->arena, have, "metadata.resourceVersion", json_newf(&w->arena, "%llu", (unsigned long long)rv));
	return have;
}
