/*
 * Carrying a plan's action out: one request to the API server each, and what its end means for the round.
 *
 * A write that succeeded is remembered until the caches show it, so that the next round does not make it again. A thing that is
 * gone needs no update and no delete. An expectation that does not hold yet ends the round like an error does, but only makes
 * the key wait. Events are best effort. The first error of a round is the one that is told.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/controllers/runner-priv.h"
#include "proto/json.h"
#include "proto/meta.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

/* Of what should not be there any more so many are counted. */
#define LEFT_COUNTED 500

static void remember(struct work *w, const struct plan_action *a)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct arena tmp;

	arena_init(&tmp);
	p->view = a->view;
	p->since_ms = clock_mono_ms();
	if (a->op == PLAN_DELETE) {
		p->key = xstrdup(a->key);
		p->uid = xstrdup(a->uid);
	} else {
		Meta__PartialObjectMetadata *m = pb_unpack(&tmp, &meta__partial_object_metadata__descriptor, a->req.answer);
		const Meta__ObjectMeta *meta = m ? m->metadata : NULL;

		if (meta)
			str_to_u64(str_from(pb_s(meta->resource_version)), &p->rv);
		p->key = meta == NULL                        ? NULL
			 : pb_s(meta->namespace_)[0] ? xasprintf("%s/%s", meta->namespace_, pb_s(meta->name))
						     : xstrdup(pb_s(meta->name));
	}
	arena_fini(&tmp);
	list_add_tail(&w->pending, &p->link);
	if (p->key == NULL || (a->op != PLAN_DELETE && p->rv == 0))
		pending__free(p);
}

static void count_one(struct arena *a, struct json *in, const char *key)
{
	json_setc(a, in, arena_strdup(a, key), json_new_int(a, json_i64_or(json_getc(in, key), 0) + 1));
}

/* What is there although nothing should be; false: nothing is. */
static bool count_left(struct work *w, const struct plan_action *a)
{
	struct arena *ar = &w->arena;
	struct json *of = json_new_object(ar);
	struct arena tmp;
	struct str item;
	size_t pos = 0;

	while (client_list_next(a->req.answer, &pos, &item)) {
		Meta__PartialObjectMetadata *m;

		count_one(ar, of, "");
		arena_init(&tmp);
		m = pb_unpack(&tmp, &meta__partial_object_metadata__descriptor, item);
		for (size_t i = 0; m && m->metadata && i < m->metadata->n_finalizers; i++)
			count_one(ar, of, m->metadata->finalizers[i]);
		arena_fini(&tmp);
	}
	if (json_len(of) == 0)
		return false;
	if (!w->found)
		w->found = json_new_object(ar);
	json_setc(ar, w->found, arena_printf(ar, "%s.%s", a->resource->plural, a->resource->group), of);
	return true;
}

/* Actions that write nothing the cache would show: they hold or they do not. */
static void check_done(struct work *w, const struct plan_action *a)
{
	struct err e = a->req.err;

	if (a->op == PLAN_EXPECT_EMPTY && e.code == ERR_OK && count_left(w, a)) {
		err_set(&e, ERR_CONFLICT, "%s in %s are not gone yet", a->resource->plural, a->ns ? a->ns : "the cluster");
		w->not_yet = true;
	} else if (a->op == PLAN_EXPECT_ABSENT && e.code == ERR_OK) {
		struct arena tmp;
		Meta__PartialObjectMetadata *m;

		arena_init(&tmp);
		m = pb_unpack(&tmp, &meta__partial_object_metadata__descriptor, a->req.answer);
		if (m && m->metadata && (a->uid[0] == '\0' || pb_streq(m->metadata->uid, a->uid))) {
			err_set(&e, ERR_CONFLICT, "%s is there after all", a->name);
			w->not_yet = true;
		}
		arena_fini(&tmp);
	} else if (e.code == ERR_NOT_FOUND) {
		err_clear(&e);
	}
	if (e.code != ERR_OK && w->err.code == ERR_OK)
		w->err = e;
}

static void action_done(struct client_req *req)
{
	struct plan_action *a = container_of(req, struct plan_action, req);
	struct work *w = a->work;
	enum err_code code = req->err.code;

	list_del(&a->flight);
	if (a->op >= PLAN_DELETE_COLLECTION && a->op <= PLAN_EXPECT_ABSENT) {
		check_done(w, a);
	} else if (a->op == PLAN_EVENT) {
		if (code != ERR_OK && code != ERR_CANCELED)
			log_debug("controllers", "event dropped: %s", req->err.text);
	} else if (a->op == PLAN_CALL) {
		if (w->err.code == ERR_OK)
			w->err = req->err;
	} else if (code == ERR_OK) {
		/* Others' writes name the version or uid that they were made for: doing them twice does no harm. */
		if (!a->resource)
			remember(w, a);
	} else if (code != ERR_NOT_FOUND || a->op == PLAN_CREATE) {
		/* A thing that is gone needs no update and no delete. */
		if (a->op == PLAN_CREATE && !w->refused && code != ERR_CANCELED)
			w->refused = xstrdup(req->err.text);
		if (w->err.code == ERR_OK)
			w->err = req->err;
	}
	client_req_fini(req);
	if (--w->outstanding == 0)
		work__run_stage(w);
}

void action__start(struct work *w, struct plan_action *a)
{
	static const enum client_verb verbs[] = {
		[PLAN_CREATE] = CLIENT_CREATE, [PLAN_UPDATE] = CLIENT_UPDATE, [PLAN_DELETE] = CLIENT_DELETE, [PLAN_PATCH] = CLIENT_PATCH,
		[PLAN_DELETE_COLLECTION] = CLIENT_DELETE_COLLECTION, [PLAN_EXPECT_EMPTY] = CLIENT_LIST, [PLAN_EXPECT_ABSENT] = CLIENT_GET,
		[PLAN_EVENT] = CLIENT_CREATE, [PLAN_CALL] = CLIENT_RAW,
	};
	struct controllers *all = w->ctl->all;

	a->work = w;
	client_req_init(&a->req, verbs[a->op], a->resource || a->op == PLAN_CALL ? a->resource
			: a->op == PLAN_EVENT ? resource_find("", "v1", "events")
			: view__resource(a->view));
	/* Of other kinds than those of the view nobody here knows more. */
	a->req.metadata = a->resource != NULL;
	a->req.ns = a->ns;
	a->req.name = a->name;
	a->req.sub = a->sub;
	a->req.msg = a->msg;
	if (a->op == PLAN_DELETE) {
		a->req.precondition_uid = a->uid;
		a->req.grace_period_seconds = a->grace_s;
		a->req.propagation_policy = a->propagation;
	}
	if (a->op == PLAN_PATCH) {
		a->req.body = a->patch;
		a->req.content_type = a->patch_type ? a->patch_type : CLIENT_MERGE_PATCH;
	}
	if (a->op == PLAN_EXPECT_EMPTY)
		a->req.limit = LEFT_COUNTED;
	a->req.raw_method = a->method;
	a->req.raw_path = a->path;
	if (a->op == PLAN_CALL)
		a->req.accept = CLIENT_JSON; /* whatever comes: nobody reads it */
	a->req.account = a->account ? a->account : w->ctl->row->account;
	a->req.done = action_done;
	list_add_tail(&all->in_flight, &a->flight);
	client_do(all->cfg.client, &a->req);
}
