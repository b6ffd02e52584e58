/*
 * A client that has its objects in memory, for tests of what reads through informers. A list is what `list` makes, as a typed list
 * message in the request's arena; watches stay silent, but fake_change makes the next list differ and ends all watches so that
 * informers list again.
 */
#ifndef TESTS_LIB_FAKE_CLIENT_H
#define TESTS_LIB_FAKE_CLIENT_H

#include <stdlib.h>

#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "proto/pb.h"
#include "proto/resource.h"

struct fake_client {
	struct client client; /* give this to informers */
	void *(*list)(struct arena *, const struct resource *);
	bool hold;            /* answer nothing */
	struct list watches;
};

struct fake_call {
	struct list link;
	struct loop_timer timer;
	struct client_req *req;
	struct client_watch *watch;
	enum err_code end;
};

static inline void fake_give(struct loop_timer *t)
{
	struct fake_call *a = container_of(t, struct fake_call, timer);
	struct client_req *req = a->req;
	struct client_watch *w = a->watch;
	enum err_code end = a->end;
	struct err e = ERR_INIT;

	list_del(&a->link);
	free(a);
	if (req) {
		struct fake_client *f = container_of(req->client, struct fake_client, client);

		req->impl = NULL;
		if (req->err.code == ERR_OK) {
			req->http_status = 200;
			req->answer = pb_pack_arena(f->list(&req->arena, req->resource), &req->arena);
		}
		req->done(req);
	} else {
		w->impl = NULL;
		err_set(&e, end, "the watch has ended");
		w->end(w, &e);
	}
}

static inline void fake_start(struct client *c, struct client_req *req)
{
	struct fake_call *a = xcalloc(1, sizeof(*a));

	list_init(&a->link);
	a->req = req;
	req->impl = a;
	if (!container_of(c, struct fake_client, client)->hold)
		loop_timer_start(&a->timer, c->loop, 0, fake_give);
}

static inline void fake_cancel(struct client *c, struct client_req *req)
{
	struct fake_call *a = req->impl;

	err_set(&req->err, ERR_CANCELED, "cancelled");
	loop_timer_start(&a->timer, c->loop, 0, fake_give);
}

static inline void fake_watch_start(struct client *c, struct client_watch *w)
{
	struct fake_call *a = xcalloc(1, sizeof(*a));

	a->watch = w;
	w->impl = a;
	list_add_tail(&container_of(c, struct fake_client, client)->watches, &a->link);
}

static inline void fake_watch_stop(struct client *c, struct client_watch *w)
{
	struct fake_call *a = w->impl;

	a->end = ERR_CANCELED;
	loop_timer_start(&a->timer, c->loop, 0, fake_give);
}

/* The objects are others now. */
static inline void fake_change(struct fake_client *f)
{
	LIST_FOR_EACH (a, &f->watches, struct fake_call, link) {
		a->end = ERR_EXPIRED;
		loop_timer_start(&a->timer, f->client.loop, 0, fake_give);
	}
}

static inline void fake_client_init(struct fake_client *f, struct loop *loop, void *(*list)(struct arena *, const struct resource *))
{
	static const struct client_ops ops = {"fake", fake_start, fake_cancel, fake_watch_start, fake_watch_stop, NULL};

	*f = (struct fake_client){.client = {.ops = &ops, .loop = loop}, .list = list};
	list_init(&f->watches);
}

#endif
