/*
 * Deleting. A delete either removes the object, or marks it (deletionTimestamp) and leaves the removal to whom it waits for:
 * finalizers, or for pods the kubelet, which deletes again with a grace of 0 when the containers are gone.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/write.h"
#include "proto/resource.h"
#include "store/store.h"

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

/* Query parameters and the body's DeleteOptions become one document in req->sent; the body wins. */
enum step_result api__decode_delete_options(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *o;

	if (req->body.n > 0) {
		enum step_result r = api_decode_body(req, "meta.v1.DeleteOptions", true);

		if (r != STEP_NEXT)
			return r;
	} else {
		req->sent = json_new_object(a);
	}
	o = req->sent;
	if (json_len(json_getc(o, "dryRun")) > 0)
		req->opt.dry_run = true;
	if (!json_getc(o, "gracePeriodSeconds") && req->opt.grace_period_s >= 0)
		json_setc(a, o, "gracePeriodSeconds", json_new_int(a, req->opt.grace_period_s));
	if (!json_getc(o, "propagationPolicy") && req->opt.propagation_policy.n > 0)
		json_setc(a, o, "propagationPolicy", json_new_str(a, req->opt.propagation_policy));
	if (!json_getc(o, "orphanDependents") && req->opt.orphan_dependents_set)
		json_setc(a, o, "orphanDependents", json_new_bool(a, req->opt.orphan_dependents));
	return api_delete_options_check(req, o);
}

static enum step_result preconditions(struct api_request *req)
{
	const struct json *pre = json_getc(req->sent, "preconditions");
	struct str uid = json_str(json_getc(pre, "uid")), rv = json_str(json_getc(pre, "resourceVersion"));
	struct str old_uid = json_strp(req->old, "metadata.uid");
	const char *why = NULL;
	uint64_t n = 0;

	if (uid.n > 0 && !str_eq(uid, old_uid))
		why = arena_printf(&req->arena, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
				STR_FMT(uid), STR_FMT(old_uid));
	else if (rv.n > 0 && (!str_to_u64(rv, &n) || n != req->old_rv))
		why = arena_printf(&req->arena,
				"Precondition failed: ResourceVersion in precondition: %.*s, ResourceVersion in object "
				"meta: %" PRIu64,
				STR_FMT(rv), req->old_rv);
	if (!why)
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
	return api_fail_conflict(req, req->res, req->at.name, why);
}

static void add_finalizer(struct api_request *req, struct json *meta, const char *name)
{
	struct json *list = json_getc(meta, "finalizers");

	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(&req->arena);
		json_setc(&req->arena, meta, "finalizers", list);
	}
	if (!api_has_string(list, name))
		json_push(&req->arena, list, json_newc(&req->arena, name));
}

/* Put the finalizers that the propagation policy asks for, and take out those it excludes. */
static void finalizers(struct api_request *req, struct json *meta)
{
	struct str policy = json_str(json_getc(req->sent, "propagationPolicy"));
	const struct json *orphan = json_getc(req->sent, "orphanDependents");
	struct json *list = json_getc(meta, "finalizers");
	const char *want = NULL;

	if (!orphan && policy.n == 0)
		return;
	if (json_true(orphan) || str_eqc(policy, "Orphan"))
		want = FINALIZER_ORPHAN;
	else if (str_eqc(policy, "Foreground"))
		want = FINALIZER_FOREGROUND;
	if (list) {
		if (!want || want[0] != 'o')
			api_remove_string(list, FINALIZER_ORPHAN);
		if (!want || want[0] != 'f')
			api_remove_string(list, FINALIZER_FOREGROUND);
	}
	if (want)
		add_finalizer(req, meta, want);
	list = json_getc(meta, "finalizers");
	if (list && json_len(list) == 0)
		json_delc(meta, "finalizers");
}

/* Mark as being deleted; `grace` seconds from now. */
static void mark(struct api_request *req, struct json *meta, int64_t grace)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339(clock_wall_s() + grace, text);
	json_setc(&req->arena, meta, "deletionTimestamp", json_newc(&req->arena, text));
	json_setc(&req->arena, meta, "deletionGracePeriodSeconds", json_new_int(&req->arena, grace));
	if (json_i64_or(json_getc(meta, "generation"), 0) > 0)
		json_setc(&req->arena, meta, "generation",
				json_new_int(&req->arena, json_i64_or(json_getc(meta, "generation"), 0) + 1));
	if (req->strat->marked)
		req->strat->marked(req);
}

static enum step_result removal(struct api_request *req)
{
	enum step_result r;

	req->fully_deleted = true;
	req->new_bytes = req->old_bytes;
	if (req->strat->released && (r = req->strat->released(req)) != STEP_NEXT)
		return r;
	r = admission_run(req, ADMIT_REMOVE, ADMIT_VALIDATE);
	if (r != STEP_NEXT)
		return r;
	txn_if_mod(req->txn, req->key, req->old_rv);
	txn_delete(req->txn, req->key);
	return STEP_NEXT;
}

enum step_result api__delete_decide(struct api_request *req)
{
	int64_t asked = json_i64_or(json_getc(req->sent, "gracePeriodSeconds"), -1), grace = 0, left;
	enum step_result r = preconditions(req);
	struct json *meta, *view;
	bool marked, held, told;

	if (r != STEP_NEXT)
		return r;
	api_txn_new(req);
	req->fully_deleted = false;
	req->obj = json_copy(&req->arena, req->old);
	r = admission_run(req, ADMIT_DELETE, ADMIT_MUTATE);
	if (r == STEP_NEXT && !req->subres)
		r = admission_mutate(req, ADMIT_DELETE, &view);
	if (r == STEP_NEXT && !req->subres)
		r = admission_validate(req, ADMIT_DELETE);
	if (r == STEP_NEXT)
		r = admission_run(req, ADMIT_DELETE, ADMIT_VALIDATE);
	if (r != STEP_NEXT)
		return r;
	told = req->evicting && strategy_pod_evicted(req);
	meta = api_meta(&req->arena, req->obj);
	marked = !json_is_null(json_getc(meta, "deletionTimestamp"));
	if (!marked)
		finalizers(req, meta);
	if (!marked && req->strat->finalizer)
		add_finalizer(req, meta, req->strat->finalizer);
	held = json_len(json_getc(meta, "finalizers")) > 0 || (req->strat->held && req->strat->held(req->obj));
	if (req->strat->grace)
		grace = req->strat->grace(req, asked);
	if (marked && held && req->strat->busy_text)
		return api_fail_conflict(req, req->res, req->at.name, req->strat->busy_text);
	left = json_i64_or(json_getc(meta, "deletionGracePeriodSeconds"), 0);
	if (!held && grace <= 0)
		return removal(req);
	if (!marked) {
		mark(req, meta, MAX(grace, 0));
		return api_txn_put_object(req);
	}
	/* A second delete may only shorten the wait. */
	if (req->strat->grace && grace < left) {
		mark(req, meta, MAX(grace, 0));
		return api_txn_put_object(req);
	}
	if (told)
		return api_txn_put_object(req);
	req->new_bytes = req->old_bytes;
	return STEP_NEXT;
}

enum step_result api__delete_encode(struct api_request *req)
{
	struct storage_meta m;

	if (req->fully_deleted && !req->strat->return_deleted) {
		storage_meta(req->new_bytes, &m);
		return api_answer_success(req, m.name, m.uid);
	}
	return api_answer_stored(req, 200, req->new_bytes, req->new_rv);
}

/* --- deletecollection: page by page, one delete after the other, each a request of its own --------------------------- */

/* Names that are held at a time. What is answered is read again at the end, at the revision at which it began. */
#define PAGE 500
/* How often one that others change all the time is begun with again. */
#define CONFLICTS_MAX 10

struct collection {
	struct api_request *req; /* whose deletes these are */
	struct api_selection sel;
	struct api_list_scan range, rest; /* all of it, and what is still to come */
	size_t left;                      /* by the limit */
	struct str body;                  /* of each delete */
	bool preconditions;               /* it has some */
	struct arena pages[2];            /* this page and the one before, whose last delete may still be ending */
	unsigned turn;
	struct api_selected page;
	size_t at;
	unsigned conflicts; /* of the object before `at`, one after the other */
	bool busy; /* inside collection_next */
	bool again;
	struct loop_timer timer; /* starts it, out of the step; goes on looking for what is selected */
};

static void collection_next(struct collection *c);
static void collection_begin(struct loop_timer *);

static void part_over(struct api_request *part)
{
	struct collection *c = part->owner;

	if (c->busy)
		c->again = true;
	else
		collection_next(c);
}

static void collection_stop(struct collection *c)
{
	c->at = c->page.n;
	c->rest.more = false;
}

static void part_respond(struct api_request *part, int status, const struct http_header *h, size_t n, struct buf *body)
{
	struct collection *c = part->owner;

	(void)h, (void)n;
	buf_fini(body);
	/*
	 * Who else deleted it meanwhile did our work; any other failure stops the rest. A conflict without preconditions is a lost race against
	 * those who change it: it is not deleted, so it is deleted again.
	 */
	if (status >= 400 && part->fail.err.code == ERR_CONFLICT && !c->preconditions && ++c->conflicts < CONFLICTS_MAX) {
		c->at--;
	} else if (status >= 400 && part->fail.err.code != ERR_NOT_FOUND) {
		struct api_failure *f = &c->req->fail;

		*f = (struct api_failure){.err = part->fail.err};
		f->message = arena_str(&c->req->arena, str_from(part->fail.err.text));
		collection_stop(c);
	} else {
		c->conflicts = 0;
	}
	part_over(part);
}

static void part_abort(struct api_request *part)
{
	part_over(part);
}

static const struct api_responder part_responder = {.respond = part_respond, .abort = part_abort};

static void part_start(struct collection *c)
{
	static struct http_header json_header = {STR_INIT("content-type"), STR_INIT("application/json")};
	struct api_request *req = c->req, *part = api_request_new(req->al, &part_responder, c);
	struct str name = c->page.items[c->at].name, ns = c->page.items[c->at].ns;

	c->at++;
	part->method = STR("DELETE");
	part->local = true;
	part->metadata = req->metadata;
	part->user = req->user;
	part->body = c->body;
	part->headers = (struct http_headers){&json_header, 1};
	part->target = arena_sprintf(&c->pages[c->turn], "/%s%s/%s/%s%.*s%s%s/%.*s%s", req->res->group[0] ? "apis/" : "api",
			req->res->group, req->res->version, ns.n ? "namespaces/" : "", STR_FMT(ns), ns.n ? "/" : "",
			req->res->plural, STR_FMT(name), req->opt.dry_run ? "?dryRun=All" : "");
	apiserver_handle(part);
}

/* The next names, as many as a turn finds; false at the end. */
static bool page_turn(struct collection *c)
{
	size_t max = MIN(c->left, (size_t)PAGE);
	unsigned turn = !c->turn;

	if (!c->rest.more || max == 0)
		return false;
	arena_fini(&c->pages[turn]);
	if (api_select_page(c->req, &c->sel, &c->rest, max, &c->pages[turn], &c->page) != STEP_NEXT) {
		/* Compacted away under a long deletion: what is there now is as good, but there is no list of it any more. */
		if (c->req->fail.err.code)
			return false;
		c->range.rev = 0;
		c->rest.rev = store_revision(c->req->srv->store);
		if (api_select_page(c->req, &c->sel, &c->rest, max, &c->pages[turn], &c->page) != STEP_NEXT)
			return false;
	}
	c->turn = turn;
	c->left -= c->page.n;
	c->at = 0;
	return c->page.n > 0 || c->rest.more;
}

/* Iterates instead of recursing when a part ends inside its start. */
static void collection_next(struct collection *c)
{
	do {
		c->again = false;
		if (api_is_over(c->req) || (c->at >= c->page.n && !page_turn(c))) {
			api_request_resume(c->req);
			return;
		}
		if (c->page.n == 0) {
			loop_timer_start(&c->timer, c->req->al->loop, 0, collection_begin);
			return;
		}
		c->busy = true;
		part_start(c);
		c->busy = false;
	} while (c->again);
}

static void collection_begin(struct loop_timer *t)
{
	collection_next(container_of(t, struct collection, timer));
}

/* The part under way ends by itself; then the collection sees the flag. */
static void collection_cancel(struct api_request *req)
{
	(void)req;
}

static enum step_result collection_answer(struct collection *c)
{
	if (c->req->local || c->range.rev == 0)
		return api_answer_success(c->req, STR_NULL, STR_NULL);
	return api_answer_range(c->req, &c->sel, &c->range);
}

static void collection_gone(void *arg)
{
	struct collection *c = arg;

	arena_fini(&c->pages[0]);
	arena_fini(&c->pages[1]);
}

enum step_result api__delete_collection(struct api_request *req)
{
	struct collection *c = req->stream;
	enum step_result r;

	if (c) {
		req->on_cancel = NULL;
		if (req->fail.err.code)
			return STEP_FAIL;
		return collection_answer(c);
	}
	c = arena_new_of(&req->arena, struct collection);
	c->req = req;
	if (api_selection_parse(req, &c->sel) != STEP_NEXT || api_range_begin(req, &c->range) != STEP_NEXT)
		return STEP_FAIL;
	c->left = req->opt.limit > 0 ? (size_t)req->opt.limit : SIZE_MAX;
	c->rest = c->range;
	c->rest.more = true;
	/* What has to be converted before one knows whether it is meant is converted, and selected, as a whole. */
	if (req->conv && !c->sel.all) {
		r = api_select_page(req, &c->sel, &c->rest, c->left, &req->arena, &c->page);
		if (r != STEP_NEXT)
			return r;
		c->rest.more = false;
	}
	c->body = json_text(&req->arena, req->sent);
	c->preconditions = json_len(json_getc(req->sent, "preconditions")) > 0;
	arena_init(&c->pages[0]);
	arena_init(&c->pages[1]);
	arena_on_free(&req->arena, collection_gone, c);
	req->stream = c;
	req->on_cancel = collection_cancel;
	loop_timer_start(&c->timer, req->al->loop, 0, collection_begin);
	return STEP_WAIT;
}
