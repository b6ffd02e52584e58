#include "orchestrator/apiserver/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/audit.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/custom.h"
#include "proto/resource.h"

/*
 * The programs. Every request begins with `entry`, whose last step finds the program for its verb:
 *
 *	read      read_point > get | list            write     decode > load > merge > prepare > commit > encode
 *	watch     watch (stays, as a stream)         delete    decode > load > decide > commit > encode
 *
 * `load` is where a lost race starts again.
 */
static api_step_fn body, route;

static const struct api_step entry[] = {
		{"authenticate", api__authenticate}, {"audit", api__audit_begin}, {"impersonate", authz_impersonate},
		{"flow", api__flow}, {"authorize", api__authorize}, {"aggregate", api__aggregate}, {"body", body}, {"route", route}, {NULL, NULL}};
static const struct api_step non_resource[] = {{"path", api__non_resource}, {NULL, NULL}};
static const struct api_step get[] = {{"read-point", api__read_point}, {"get", api__get}, {NULL, NULL}};
static const struct api_step list[] = {{"read-point", api__read_point}, {"list", api__list}, {NULL, NULL}};
static const struct api_step watch[] = {{"watch", api__watch}, {NULL, NULL}};
static const struct api_step create[] = {{"decode", api__decode_object}, {"load", api__load_parent},
		{"lease", api__lease}, {"prepare", api__prepare_create}, {"commit", api__commit},
		{"encode", api__encode_written}, {NULL, NULL}};
static const struct api_step update[] = {{"decode", api__decode_object}, {"load", api__load},
		{"lease", api__lease}, {"merge", api__update_merge}, {"prepare", api__prepare_update}, {"commit", api__commit},
		{"encode", api__encode_written}, {NULL, NULL}};
static const struct api_step patch[] = {{"decode", api__decode_patch}, {"load", api__load},
		{"lease", api__lease}, {"merge", api__patch_apply}, {"prepare", api__prepare_update}, {"commit", api__commit},
		{"encode", api__encode_written}, {NULL, NULL}};
static const struct api_step delete[] = {{"decode", api__decode_delete_options}, {"load", api__load},
		{"decide", api__delete_decide}, {"commit", api__commit}, {"encode", api__delete_encode}, {NULL, NULL}};
static const struct api_step delete_collection[] = {{"decode", api__decode_delete_options},
		{"read-point", api__read_point}, {"delete-collection", api__delete_collection}, {NULL, NULL}};

static const struct api_step *const programs[] = {
		[API_GET] = get,
		[API_LIST] = list,
		[API_WATCH] = watch,
		[API_CREATE] = create,
		[API_UPDATE] = update,
		[API_PATCH] = patch,
		[API_DELETE] = delete,
		[API_DELETE_COLLECTION] = delete_collection,
};

struct api_request *api_request_new(struct api_loop *al, const struct api_responder *responder, void *owner)
{
	struct api_request *req = xcalloc(1, sizeof(*req));

	req->al = al;
	req->srv = al->srv;
	req->responder = responder;
	req->owner = owner;
	req->started_ns = clock_mono_ns();
	arena_init(&req->arena);
	buf_init(&req->command, BUF_NO_LIMIT);
	list_add_tail(&al->requests, &req->link);
	atomic_fetch_add(&al->srv->n_requests, 1);
	return req;
}

static void request_free(struct api_request *req)
{
	list_del(&req->link);
	loop_timer_stop(&req->nap);
	loop_timer_stop(&req->deadline);
	flow_end(req);
	if (req->report)
		flow_report_end(req->report, NULL);
	atomic_fetch_sub(&req->srv->n_requests, 1);
	buf_fini(&req->command);
	free(req->kvr.response);
	arena_fini(&req->arena);
	custom_def_unref(req->custom_def);
	free(req);
}

void api_request_finish(struct api_request *req)
{
	ASSERT(!req->answered || req->pending > 0 || req->in_step);
	req->answered = true;
	if (req->pending == 0 && !req->in_step)
		request_free(req);
}

void api_request_failed(struct api_request *req)
{
	req->in_step = true;
	api_answer_failure(req);
	req->in_step = false;
	if (req->pending == 0)
		request_free(req);
}

enum step_result api_program(struct api_request *req, const struct api_step *program)
{
	req->program = program;
	req->pc = 0;
	req->load_pc = 0;
	for (unsigned i = 0; program[i].run; i++) {
		if (program[i].run == api__load || program[i].run == api__load_parent)
			req->load_pc = i;
		req->encode_pc = i;
	}
	return STEP_JUMP;
}

/* A read point could not be had: without a majority nothing true can be said. */
static enum step_result no_quorum(struct api_request *req)
{
	const struct err *e = &req->barrier.err;

	req->refresh_failed = false;
	api_fail(req, e->code == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE,
			"the server is currently unable to handle the request (%s)", e->text);
	req->fail.retry_after_s = 1;
	return STEP_FAIL;
}

/* How long a step is run again that met a value whose seed a plugin is being asked for (crypt.h). */
#define UNSEAL_MAX_MS 10000

static void unsealed(struct loop_timer *t)
{
	api_request_resume(container_of(t, struct api_request, nap));
}

/*
 * A step on this loop must not wait for a plugin: what it made of what it could not read is forgotten, and it runs again. When that has
 * been tried for long enough, what it made of it is the answer.
 */
static enum step_result step_run(struct api_request *req, const struct api_step *step)
{
	bool late = req->unseal_ms && clock_mono_ms() >= req->unseal_ms;
	size_t n_warnings = req->n_warnings, n_notes = req->n_notes;
	enum step_result r;
	bool again;

	crypt_missed();
	crypt_hurry(true);
	r = step->run(req);
	again = crypt_hurry(false) && crypt_missed() && !late && (r == STEP_NEXT || r == STEP_FAIL);
	if (!again)
		return r;
	if (!req->unseal_ms)
		req->unseal_ms = clock_mono_ms() + UNSEAL_MAX_MS;
	req->fail = (struct api_failure){0};
	req->n_warnings = n_warnings;
	req->n_notes = n_notes;
	loop_timer_start(&req->nap, req->al->loop, CRYPT_AGAIN_MS, unsealed);
	return STEP_WAIT;
}

/* --- The time that a request has ------------------------------------------------------------------------- */

#define TIMEOUT_MS 60000
/* A question to the store has a time limit of its own, which is not longer than this. */
#define STORE_MS 10000

uint64_t api_time_left_ms(const struct api_request *req)
{
	uint64_t all = req->srv->cfg.request_timeout_ms ? req->srv->cfg.request_timeout_ms : TIMEOUT_MS, used;

	if (req->opt.timeout_ms > 0)
		all = MIN(all, req->opt.timeout_ms);
	used = (clock_mono_ns() - req->started_ns) / 1000000;
	return used < all ? all - used : 1;
}

uint32_t api_store_timeout_ms(const struct api_request *req)
{
	uint64_t left = req->local || api_attrs_is_long(&req->at) ? STORE_MS : api_time_left_ms(req);

	return left < STORE_MS ? (uint32_t)left : 0;
}

bool api_is_over(const struct api_request *req)
{
	return req->canceled || req->out_of_time;
}

enum step_result api_fail_timeout(struct api_request *req)
{
	req->fail = (struct api_failure){.has_details = true};
	return api_fail(req, ERR_TIMEOUT, "Timeout: request did not complete within the allotted timeout");
}

static void give_up_waiting(struct api_request *req)
{
	if (req->on_cancel)
		req->on_cancel(req);
	else if (req->waiting && req->pending == 0)
		api_request_resume(req);
	/* Else a wait is under way; the step machine sees the flag when it ends. */
}

static void deadline_due(struct loop_timer *t)
{
	struct api_request *req = container_of(t, struct api_request, deadline);

	if (req->answered || req->canceled || !req->waiting)
		return;
	req->out_of_time = true;
	give_up_waiting(req);
}

/* Clients in this process have their own. */
static void deadline_start(struct api_request *req)
{
	if (!req->local && !api_attrs_is_long(&req->at) && !loop_timer_active(&req->deadline))
		loop_timer_start(&req->deadline, req->al->loop, api_time_left_ms(req), deadline_due);
}

void api_keep_time(struct api_request *req)
{
	loop_timer_stop(&req->deadline);
}

/* Run steps until one waits or answers. */
static void run(struct api_request *req)
{
	req->in_step = true;
	while (!req->answered) {
		const struct api_step *step = &req->program[req->pc];
		enum step_result r;

		if (req->canceled) {
			req->responder->abort(req);
			req->answered = true;
			break;
		}
		ASSERT(step->run);
		r = req->out_of_time ? api_fail_timeout(req) : req->refresh_failed ? no_quorum(req) : step_run(req, step);
		log_debug("apiserver", "%.*s %.*s step=%s result=%d", STR_FMT(req->method), STR_FMT(req->target),
				step->name, r);
		if (r == STEP_NEXT) {
			req->pc++;
		} else if (r == STEP_RETRY) {
			req->pc = req->load_pc;
		} else if (r == STEP_JUMP) {
			continue;
		} else if (r == STEP_WAIT) {
			req->waiting = true;
			deadline_start(req);
			break;
		} else {
			if (r == STEP_FAIL)
				api_answer_failure(req);
			break;
		}
	}
	req->in_step = false;
	if (req->answered && req->pending == 0)
		request_free(req);
}

void api_request_resume(struct api_request *req)
{
	ASSERT(req->waiting && !req->answered);
	loop_timer_stop(&req->nap);
	req->waiting = false;
	run(req);
}

/* What the answer may look like, and the query's options. Where another server answers it is for that one to say what it takes. */
static void options(struct api_request *req, struct err *e)
{
	struct err more = ERR_INIT;

	api_accept_parse(req, e);
	if (api_options_parse(&req->query, &req->opt, &more) < 0 && !e->code)
		*e = more;
	if (e->code && api__is_remote(req))
		err_clear(e);
}

void apiserver_handle(struct api_request *req)
{
	struct err e = ERR_INIT;

	api_count(req->srv, COUNT_requests);
	api_program(req, entry);
	if (api_target_parse(&req->arena, req->target, &req->path, &req->query, &e) == 0)
		api_attrs_parse(&req->arena, req->method, req->path, &req->query, &req->at);
	api_accept_default(req);
	if (e.code == 0 && !req->fail.err.code)
		options(req, &e);
	if (e.code || req->fail.err.code) {
		if (!req->fail.err.code)
			api_fail_err(req, &e);
		api_request_failed(req);
		return;
	}
	run(req);
}

void api_request_cancel(struct api_request *req)
{
	if (req->canceled || req->answered)
		return;
	req->canceled = true;
	give_up_waiting(req);
}

static unsigned api_verb_bit(enum api_verb v)
{
	static const unsigned bits[] = {
			[API_GET] = V_GET,
			[API_LIST] = V_LIST,
			[API_WATCH] = V_WATCH,
			[API_CREATE] = V_CREATE,
			[API_UPDATE] = V_UPDATE,
			[API_PATCH] = V_PATCH,
			[API_DELETE] = V_DELETE,
			[API_DELETE_COLLECTION] = V_DELETECOLLECTION,
			[API_OTHER] = 0,
	};

	return bits[v];
}

/* A request has seats while its body comes: it may not come for ever. */
#define BODY_MS 60000

static void body_late(struct loop_timer *t)
{
	struct api_request *req = container_of(t, struct api_request, nap);

	api_fail(req, ERR_TIMEOUT, "the request's body did not come within %d s", BODY_MS / 1000);
	api_request_resume(req);
}

static enum step_result body(struct api_request *req)
{
	/* A proxy streams it. */
	if (req->at.is_resource && str_eqc(req->at.sub, "proxy"))
		return STEP_NEXT;
	if (!req->fail.err.code && req->responder->read_body && !req->responder->read_body(req)) {
		loop_timer_start(&req->nap, req->al->loop, BODY_MS, body_late);
		return STEP_WAIT;
	}
	return req->fail.err.code ? STEP_FAIL : STEP_NEXT;
}

static enum step_result not_allowed(struct api_request *req)
{
	return api_fail(req, ERR_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

/* Which resource, and whether it takes this verb. Resources without a name of their own take the path's. */
/* What is passed on to somebody else: the query is for them. */
static bool is_connect(const struct api_request *req)
{
	const struct api_step *p = req->subres ? req->subres->program : NULL;

	return p == strategy_proxy || p == strategy_pod_exec || p == strategy_pod_log;
}

static enum step_result route(struct api_request *req)
{
	struct api_attrs *at = &req->at;

	if (!at->is_resource) {
		return api_program(req, non_resource);
	}
	req->res = resource_find(arena_cstr(&req->arena, at->group), arena_cstr(&req->arena, at->version),
			arena_cstr(&req->arena, at->resource));
	if (!req->res) {
		enum step_result r = api__route_custom(req);

		if (r != STEP_NEXT)
			return r;
	}
	if (!req->res->served)
		return api_fail(req, ERR_NOT_FOUND, "the server could not find the requested resource");
	req->strat = api_strategy_find(req->res);
	if (!req->local && str_eqc(at->resource, "endpoints") && req->res->group[0] == '\0')
		api_warn(req, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
	if (at->sub.n > 0) {
		const struct resource_sub *sub = resource_sub_find(req->res, arena_cstr(&req->arena, at->sub));

		req->subres = sub && sub->served ? api_subresource_find(req->res, at->sub) : NULL;
		if (!req->subres && sub)
			return api_fail(req, ERR_NOT_FOUND, "the server could not find the requested resource: %s/%s is not implemented",
					req->res->plural, sub->name);
		if (!req->subres)
			return api_fail(req, ERR_NOT_FOUND, "the server could not find the requested resource");
		if (!(sub->verbs & api_verb_bit(at->verb)))
			return not_allowed(req);
		if (!is_connect(req) && api_write_options_check(req) != STEP_NEXT)
			return STEP_FAIL;
		if (req->subres->program)
			return api_program(req, req->subres->program);
	}
	if (at->sub.n == 0 && !(req->res->verbs & api_verb_bit(at->verb)))
		return not_allowed(req);
	/* POST is for the collection, PUT and PATCH for one object. */
	if (at->sub.n == 0 && at->verb == API_CREATE && at->name.n > 0)
		return not_allowed(req);
	if ((at->verb == API_UPDATE || at->verb == API_PATCH) && at->name.n == 0)
		return not_allowed(req);
	if (at->sub.n == 0 && api_write_options_check(req) != STEP_NEXT)
		return STEP_FAIL;
	if (req->strat->program)
		return api_program(req, req->strat->program);
	/* Of all namespaces together there is a collection, but no object. */
	if (req->res->namespaced && at->ns.n == 0 && at->name.n > 0)
		return api_fail(req, ERR_NOT_FOUND, "the server could not find the requested resource");
	/* Only the controllers empty all namespaces at once, before a definition goes. */
	if (req->res->namespaced && at->ns.n == 0 && at->verb != API_LIST && at->verb != API_WATCH &&
			!(at->verb == API_DELETE_COLLECTION && req->local && req->res->custom))
		return not_allowed(req);
	if (!req->res->namespaced && at->ns.n > 0 && !str_eqc(at->resource, "namespaces"))
		return api_fail(req, ERR_NOT_FOUND, "the server could not find the requested resource");
	return api_program(req, programs[at->verb]);
}

/* --- Failing ----------------------------------------------------------------------------------------- */

enum step_result api_fail(struct api_request *req, enum err_code code, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(&req->arena, fmt, ap);
	va_end(ap);
	err_set(&req->fail.err, code, "%s", text);
	req->fail.message = str_from(text);
	return STEP_FAIL;
}

enum step_result api_fail_err(struct api_request *req, const struct err *e)
{
	req->fail.err = *e;
	req->fail.message = arena_str(&req->arena, str_from(e->text));
	return STEP_FAIL;
}

struct str api_resource_text(struct arena *a, const struct resource *res)
{
	if (res->group[0] == '\0')
		return str_from(res->plural);
	return arena_sprintf(a, "%s.%s", res->plural, res->group);
}

static void fail_details(struct api_request *req, const struct resource *res, struct str name)
{
	req->fail.has_details = true;
	req->fail.name = arena_str(&req->arena, name);
	req->fail.group = str_from(res->group);
	req->fail.kind = str_from(res->plural);
}

enum step_result api_fail_not_found(struct api_request *req, const struct resource *res, struct str name)
{
	struct str text = api_resource_text(&req->arena, res);

	fail_details(req, res, name);
	return api_fail(req, ERR_NOT_FOUND, "%.*s \"%.*s\" not found", STR_FMT(text), STR_FMT(name));
}

enum step_result api_fail_exists(struct api_request *req, const struct resource *res, struct str name)
{
	struct str text = api_resource_text(&req->arena, res);

	fail_details(req, res, name);
	return api_fail(req, ERR_ALREADY_EXISTS, "%.*s \"%.*s\" already exists", STR_FMT(text), STR_FMT(name));
}

enum step_result api_fail_conflict(struct api_request *req, const struct resource *res, struct str name, const char *why)
{
	struct str text = api_resource_text(&req->arena, res);

	fail_details(req, res, name);
	return api_fail(req, ERR_CONFLICT, "Operation cannot be fulfilled on %.*s \"%.*s\": %s", STR_FMT(text),
			STR_FMT(name), why);
}

enum step_result api_fail_forbidden(struct api_request *req, const struct resource *res, struct str name, const char *fmt,
		...)
{
	struct str text = api_resource_text(&req->arena, res);
	va_list ap;
	char *why;

	va_start(ap, fmt);
	why = arena_vprintf(&req->arena, fmt, ap);
	va_end(ap);
	fail_details(req, res, name);
	if (name.n == 0)
		return api_fail(req, ERR_FORBIDDEN, "%.*s is forbidden: %s", STR_FMT(text), why);
	return api_fail(req, ERR_FORBIDDEN, "%.*s \"%.*s\" is forbidden: %s", STR_FMT(text), STR_FMT(name), why);
}

void api_audit_note(struct api_request *req, const char *key, struct str value)
{
	/* A step that runs again says it again. */
	for (size_t i = 0; i < req->n_notes; i++)
		if (str_eqc(req->notes[i].key, key)) {
			req->notes[i].value = value;
			return;
		}
	req->notes = arena_grow(&req->arena, req->notes, req->n_notes * sizeof(req->notes[0]),
			(req->n_notes + 1) * sizeof(req->notes[0]));
	req->notes[req->n_notes++] = (struct api_extra){str_from(key), value};
}

void api_warn(struct api_request *req, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (req->n_warnings == req->cap_warnings) {
		size_t cap = req->cap_warnings ? req->cap_warnings * 2 : 4;

		req->warnings = arena_grow(&req->arena, req->warnings, req->cap_warnings * sizeof(struct str),
				cap * sizeof(struct str));
		req->cap_warnings = cap;
	}
	va_start(ap, fmt);
	text = arena_vprintf(&req->arena, fmt, ap);
	va_end(ap);
	req->warnings[req->n_warnings++] = str_from(text);
}

/* --- Waiting ----------------------------------------------------------------------------------------- */

void api_wait_over(struct api_request *req)
{
	if (!req->answered)
		api_request_resume(req);
	else if (req->pending == 0)
		request_free(req);
}

static void refreshed(struct kv_barrier *b)
{
	struct api_request *req = container_of(b, struct api_request, barrier);

	req->pending--;
	req->fresh = true;
	req->refresh_failed = b->err.code != 0;
	api_wait_over(req);
}

bool api_refresh(struct api_request *req)
{
	if (req->fresh)
		return false;
	api_count(req->srv, COUNT_barriers);
	req->barrier.done = refreshed;
	req->barrier.timeout_ms = api_store_timeout_ms(req);
	req->pending++;
	kv_barrier(req->srv->kv, &req->barrier);
	return true;
}

static void nap_over(struct loop_timer *t)
{
	api_request_resume(container_of(t, struct api_request, nap));
}

bool api_nap(struct api_request *req, unsigned ms, unsigned max)
{
	if (req->n_naps >= max)
		return false;
	req->n_naps++;
	req->fresh = false;
	loop_timer_start(&req->nap, req->al->loop, ms, nap_over);
	return true;
}
