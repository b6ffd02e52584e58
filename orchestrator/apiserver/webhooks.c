#include "orchestrator/apiserver/webhooks.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "orchestrator/apiserver/admit_cel.h"
#include "orchestrator/apiserver/admit_match.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/hook_target.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/policies.h"
#include "orchestrator/apiserver/service_clients.h"
#include "orchestrator/apiserver/webhook_state.h"
#include "orchestrator/apiserver/webhooks-priv.h"
#include "proto/patch.h"

/* An answer holds a patch at most as large as an object. */
#define MAX_ANSWER (2 * API_MAX_BODY)

static const char *const words[WEBHOOK_N_KINDS] = {"mutating", "validating"};

/* One call under way, or its answer. */
struct hook_call {
	struct api_request *req;
	const struct webhook *hook;
	struct admit_question q;
	struct service_client *client;
	struct http_call http;
	struct http_header headers[2];
	const char *url; /* as errors name it */
	char uid[37];
	unsigned n_tries;
	bool over;
	struct str failure; /* why there is no answer; {NULL, 0}: there is one */
	struct str body;
	bool taken;    /* the answer has been read and said */
	struct webhook_answer answer;
};

/* What is known in one try of a request: req->hooks. */
struct webhook_run {
	struct webhook_index *index;
	unsigned n_tries; /* of the request, when it began */
	size_t pos;       /* the next mutating one */
	unsigned round;   /* 1: those are asked again that want to see what others changed */
	bool *asked, *again;
	bool mutated, validated;
	struct policy_progress policies;
	struct hook_call **calls; /* the mutating one, or all validating ones, of which some run */
	size_t n_calls, n_running;
};

static struct webhook_run *current(const struct api_request *req)
{
	return req->hooks && req->hooks->n_tries == req->n_tries ? req->hooks : NULL;
}

struct webhook_index *webhooks_index_of(struct api_request *req)
{
	struct webhook_run *run = current(req);
	struct api_loop *al = req->al;
	struct webhook_index *ix;
	bool was;

	if (run)
		return run->index;
	was = crypt_hurry(false);
	if (!al->hooks)
		al->hooks = webhook_state_new(req->srv->store, al->hub);
	ix = webhook_state_index(al->hooks);
	crypt_hurry(was);
	return ix;
}

bool webhooks_begun(const struct api_request *req)
{
	return current(req) != NULL;
}

static void run_gone(void *p)
{
	webhook_index_unref(((struct webhook_run *)p)->index);
}

static struct webhook_run *run_of(struct api_request *req, struct webhook_index *ix)
{
	struct webhook_run *run = current(req);
	size_t n = ix->n[WEBHOOK_MUTATING];

	if (run)
		return run;
	run = arena_new_of(&req->arena, struct webhook_run);
	run->index = ix;
	ix->refs++;
	arena_on_free(&req->arena, run_gone, run);
	run->n_tries = req->n_tries;
	run->asked = arena_new_array(&req->arena, bool, n);
	run->again = arena_new_array(&req->arena, bool, n);
	run->policies.ran = arena_new_array(&req->arena, bool, ix->n_policies[WEBHOOK_MUTATING]);
	run->policies.again = arena_new_array(&req->arena, bool, ix->n_policies[WEBHOOK_MUTATING]);
	req->hooks = run;
	return run;
}

struct policy_progress *webhooks_policies(struct api_request *req, bool make)
{
	struct webhook_run *run = make ? run_of(req, webhooks_index_of(req)) : current(req);

	return run ? &run->policies : NULL;
}

static enum step_result internal(struct api_request *req, const char *why)
{
	return api_fail(req, ERR_INTERNAL, "Internal error occurred: %s", why);
}

/* Whether its match conditions hold; ret->res NULL: they do not. */
static enum step_result conditions(struct api_request *req, const struct webhook *h, struct admit_question *ret)
{
	struct str name = req->at.name.n > 0 ? req->at.name : api_name(ret->obj), why = STR_NULL;
	enum admit_cel_match m;
	struct admit_cel c;
	bool waits;

	if (h->conditions.n == 0)
		return STEP_NEXT;
	admit_cel_begin(&c, req, ret, NULL, NULL, NULL, CEL_RUNTIME_COST_BUDGET_MATCH_CONDITIONS);
	m = admit_cel_conditions(&c, &h->conditions, h->ignore, &why);
	waits = admit_cel_waits(&c);
	admit_cel_end(&c);
	if (waits) {
		/* The object stays what it is meanwhile. */
		webhooks_policies(req, true);
		return STEP_WAIT;
	}
	if (m == ADMIT_CEL_CANNOT_TELL)
		return api_fail_forbidden(req, req->res, name, "%.*s", STR_FMT(why));
	if (m == ADMIT_CEL_DOES_NOT)
		ret->res = NULL;
	return STEP_NEXT;
}

/* ret->res NULL: it does not concern this webhook. */
static enum step_result question(struct api_request *req, enum admission_op op, const struct webhook *h, struct admit_question *ret)
{
	enum step_result r = admit_question(req, op, &h->match, true, ret);

	if (r == STEP_NEXT && ret->unconverted)
		return internal(req, ret->unconverted);
	if (r == STEP_NEXT && ret->res)
		r = conditions(req, h, ret);
	if (r != STEP_NEXT || !ret->res)
		return r;
	if (req->opt.dry_run && !h->dry_run)
		return api_fail(req, ERR_BAD_REQUEST, "admission webhook \"%.*s\" does not support dry run", STR_FMT(h->name));
	return STEP_NEXT;
}

/* --- Calls -------------------------------------------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3))) call_failed(struct hook_call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	c->failure = str_from(arena_vprintf(&c->req->arena, fmt, ap));
	va_end(ap);
	c->over = true;
}

static void canceled(struct api_request *req)
{
	struct webhook_run *run = req->hooks;

	for (size_t i = 0; i < run->n_calls; i++)
		if (run->calls[i] && !run->calls[i]->over)
			http_call_cancel(&run->calls[i]->http);
}

static void called(struct http_call *http, const struct err *e)
{
	struct hook_call *c = container_of(http, struct hook_call, http);
	struct api_request *req = c->req;
	const char *why;

	if (hook_call_again(http, e) && c->n_tries++ == 0) {
		http_call_fini(http);
		http_call_start(c->client->http, http);
		return;
	}
	c->over = true;
	if (!e)
		c->body = arena_str(&req->arena, buf_str(&http->body_in));
	why = hook_call_failure(&req->arena, http, c->url, e);
	if (why)
		call_failed(c, "failed to call webhook: %s", why);
	http_call_fini(http);
	service_client_put(c->client);
	req->pending--;
	if (--req->hooks->n_running > 0)
		return;
	req->on_cancel = NULL;
	api_wait_over(req);
}

/* It runs, or has failed already (over). */
static struct hook_call *call_begin(struct api_request *req, struct webhook_run *run, const struct webhook *h,
		const struct admit_question *q)
{
	struct hook_call *c = arena_new_of(&req->arena, struct hook_call);
	struct hook_address to = {0};
	struct err e = ERR_INIT;

	c->req = req;
	c->hook = h;
	c->q = *q;
	random_uuid(c->uid);
	if (hook_target_find(&req->arena, req->srv->store, &h->target, h->timeout_s, &to, &e) < 0) {
		call_failed(c, "failed to call webhook: Post \"%s\": %s", to.url, e.text);
		return c;
	}
	c->url = to.url;
	c->http.path = to.path;
	if (service_client_get(api__services(req->al), &to.server, &c->client, &e) < 0) {
		call_failed(c, "could not get REST client: %s", e.text);
		return c;
	}
	c->headers[0] = (struct http_header){STR("Content-Type"), STR("application/json")};
	c->headers[1] = (struct http_header){STR("Accept"), STR("application/json, */*")};
	c->http.method = "POST";
	c->http.headers = c->headers;
	c->http.n_headers = ARRAY_LEN(c->headers);
	c->http.body = webhook__review(req, h, q, c->uid);
	c->http.max_body = MAX_ANSWER;
	c->http.timeout_ms = h->timeout_s * 1000ull;
	c->http.done = called;
	req->pending++;
	run->n_running++;
	req->on_cancel = canceled;
	http_call_start(c->client->http, &c->http);
	return c;
}

/* --- Answers ------------------------------------------------------------------------------------------------------------------ */

/* No usable answer: what the failure policy says. */
static enum step_result no_answer(struct hook_call *c, enum webhook_kind k, struct str why)
{
	struct api_request *req = c->req;
	const struct webhook *h = c->hook;
	struct api_cause *cause = arena_new_of(&req->arena, struct api_cause);

	log_warn("apiserver", "%s webhook %.*s of %.*s: %.*s%s", words[k], STR_FMT(h->name), STR_FMT(h->config), STR_FMT(why),
			h->ignore ? " (ignored)" : "");
	if (h->ignore) {
		api_audit_note(req, arena_printf(&req->arena, "failed-open.%s.webhook.admission.k8s.io/%.*s", words[k],
						STR_FMT(h->name)), arena_str(&req->arena, h->name));
		return STEP_NEXT;
	}
	cause->message = arena_sprintf(&req->arena, "failed calling webhook \"%.*s\": %.*s", STR_FMT(h->name), STR_FMT(why));
	cause->reason = cause->field = STR("");
	api_fail(req, ERR_INTERNAL, "Internal error occurred: %.*s", STR_FMT(cause->message));
	req->fail.causes = cause;
	req->fail.n_causes = 1;
	return STEP_FAIL;
}

static enum step_result refused(struct hook_call *c, const struct json *status)
{
	struct api_request *req = c->req;
	struct str reason = json_str(json_getc(status, "reason")), message;
	int code = webhook_refusal(&req->arena, c->hook->name, status, &message);

	api_fail(req, err_from_http(code), "%.*s", STR_FMT(message));
	req->fail.http_status = code;
	req->fail.reason = arena_cstr(&req->arena, reason);
	return STEP_FAIL;
}

static void say(struct hook_call *c, const struct webhook_answer *ans)
{
	struct api_request *req = c->req;

	JSON_ITEMS (w, ans->warnings)
		if (json_str(w).n > 0)
			api_warn(req, "%.*s", STR_FMT(json_str(w)));
	JSON_MEMBERS (m, ans->annotations)
		api_audit_note(req, arena_printf(&req->arena, "%.*s/%.*s", STR_FMT(c->hook->name), STR_FMT(m->key)),
				json_str(m->value));
}

/* ans->patch is set where it allows a change. */
static enum step_result take(struct hook_call *c, enum webhook_kind k, struct webhook_answer *ans)
{
	struct api_request *req = c->req;
	struct err e = ERR_INIT;

	*ans = (struct webhook_answer){0};
	if (c->failure.p)
		return no_answer(c, k, c->failure);
	if (webhook_answer_read(&req->arena, c->body, c->hook->v1beta1, k == WEBHOOK_MUTATING, str_from(c->uid), ans, &e) < 0) {
		*ans = (struct webhook_answer){0};
		return no_answer(c, k, arena_sprintf(&req->arena, "received invalid webhook response: %s", e.text));
	}
	say(c, ans);
	return ans->allowed ? STEP_NEXT : refused(c, ans->status);
}

/* *ret_view: the client's view as patched, or NULL when nothing has changed. */
static enum step_result patched(struct hook_call *c, const struct json *patch, struct json **ret_view)
{
	struct api_request *req = c->req;
	enum step_result r;
	struct json *doc;
	struct err e = ERR_INIT;

	*ret_view = NULL;
	if (!patch)
		return STEP_NEXT;
	if (!c->q.obj)
		return internal(req, arena_printf(&req->arena,
						"admission webhook \"%.*s\" attempted to modify the object, which is not supported "
						"for this operation", STR_FMT(c->hook->name)));
	if (patch_json(&req->arena, c->q.obj, patch, &doc, &e) < 0)
		return internal(req, e.text);
	if (!json_is(doc, JSON_OBJECT))
		return internal(req, "the patch of an admission webhook does not leave an object");
	/* In another version than the request's no comparison is possible afterwards. */
	if (json_equal(doc, c->q.obj))
		return STEP_NEXT;
	r = admit_answer(req, &c->q, json_copy(&req->arena, doc), &doc);
	if (r == STEP_FAIL)
		return internal(req, arena_cstr(&req->arena, req->fail.message));
	if (r == STEP_NEXT && !json_equal(doc, c->q.obj))
		*ret_view = doc;
	return r;
}

/* --- Mutating ----------------------------------------------------------------------------------------------------------------- */

/* Those that were asked before and want to know of changes are asked again at the end. */
static void remember(struct webhook_run *run, const struct webhook *h, bool changed)
{
	size_t n = run->index->n[WEBHOOK_MUTATING];

	for (size_t i = 0; changed && i < n; i++)
		if (i != run->pos && run->asked[i] && run->index->v[WEBHOOK_MUTATING][i].reinvoke)
			run->again[i] = true;
	run->asked[run->pos] = run->round == 0 && h->reinvoke;
	run->again[run->pos] = false;
}

static enum step_result take_mutation(struct webhook_run *run, struct json **ret_view)
{
	struct hook_call *c = run->calls[0];
	enum step_result r = c->taken ? STEP_NEXT : take(c, WEBHOOK_MUTATING, &c->answer);

	c->taken = true;
	if (r == STEP_NEXT)
		r = patched(c, c->answer.patch, ret_view);
	/* What it made is being converted: the same again then. */
	if (r == STEP_WAIT)
		return r;
	run->calls = NULL;
	run->n_calls = 0;
	if (r != STEP_NEXT)
		return r;
	remember(run, c->hook, *ret_view != NULL);
	run->pos++;
	return STEP_NEXT;
}

static enum step_result ask_one(struct api_request *req, struct webhook_run *run, const struct webhook *h,
		const struct admit_question *q)
{
	struct hook_call *c = call_begin(req, run, h, q);

	run->calls = arena_new_array(&req->arena, struct hook_call *, 1);
	run->calls[0] = c;
	run->n_calls = 1;
	return c->over ? STEP_NEXT : STEP_WAIT;
}

/* One look at the mutating webhook at `pos`. */
static enum step_result mutate_by(struct api_request *req, enum admission_op op, struct webhook_index *ix, size_t pos,
		struct json **ret_view)
{
	const struct webhook *h = &ix->v[WEBHOOK_MUTATING][pos];
	struct webhook_run *run = current(req);
	struct admit_question q;
	enum step_result r;

	if (run && run->round == 1 && !run->again[pos])
		return STEP_NEXT;
	r = question(req, op, h, &q);
	if (r != STEP_NEXT || !q.res)
		return r;
	run = run_of(req, ix);
	run->pos = pos;
	r = ask_one(req, run, h, &q);
	return r == STEP_NEXT ? take_mutation(run, ret_view) : r;
}

static bool any_again(const struct webhook_run *run)
{
	for (size_t i = 0; i < run->index->n[WEBHOOK_MUTATING]; i++)
		if (run->again[i])
			return true;
	return false;
}

void webhooks_changed(struct api_request *req)
{
	struct webhook_run *run = current(req);

	for (size_t i = 0; run && i < run->index->n[WEBHOOK_MUTATING]; i++)
		run->again[i] |= run->asked[i];
}

bool webhooks_again(struct api_request *req)
{
	struct webhook_run *run = current(req);
	bool policies;

	if (!run || run->round == 1)
		return false;
	policies = policies_again(req);
	if (!policies && !any_again(run))
		return false;
	/* With policies alone as well: what they change then is for webhooks to see. */
	run->round = 1;
	run->pos = 0;
	run->mutated = false;
	return true;
}

enum step_result webhooks_mutate(struct api_request *req, enum admission_op op, struct json **ret_view)
{
	struct webhook_index *ix = webhooks_index_of(req);
	struct webhook_run *run = current(req);
	enum step_result r = STEP_NEXT;

	*ret_view = NULL;
	if (ix->n[WEBHOOK_MUTATING] == 0 || (run && run->mutated) || admit_exempt(req))
		return STEP_NEXT;
	if (run && run->n_calls > 0)
		r = take_mutation(run, ret_view);
	for (size_t pos = run ? run->pos : 0; r == STEP_NEXT && !*ret_view && pos < ix->n[WEBHOOK_MUTATING]; pos++)
		r = mutate_by(req, op, ix, pos, ret_view);
	run = current(req);
	if (run && r == STEP_NEXT && !*ret_view)
		run->mutated = true;
	return r;
}

/* --- Validating --------------------------------------------------------------------------------------------------------------- */

static enum step_result ask_all(struct api_request *req, enum admission_op op, struct webhook_index *ix)
{
	size_t n = ix->n[WEBHOOK_VALIDATING];
	struct admit_question *q = NULL;
	struct webhook_run *run;

	/* First all questions, which may have to wait for fresher state; then all calls. */
	for (size_t i = 0; i < n; i++) {
		struct admit_question one;
		enum step_result r = question(req, op, &ix->v[WEBHOOK_VALIDATING][i], &one);

		if (r != STEP_NEXT)
			return r;
		if (one.res && !q)
			q = arena_new_array(&req->arena, struct admit_question, n);
		if (one.res)
			q[i] = one;
	}
	if (!q)
		return STEP_NEXT;
	run = run_of(req, ix);
	run->calls = arena_new_array(&req->arena, struct hook_call *, n);
	run->n_calls = 0;
	for (size_t i = 0; i < n; i++)
		if (q[i].res)
			run->calls[run->n_calls++] = call_begin(req, run, &ix->v[WEBHOOK_VALIDATING][i], &q[i]);
	return run->n_running > 0 ? STEP_WAIT : STEP_NEXT;
}

enum step_result webhooks_validate(struct api_request *req, enum admission_op op)
{
	struct webhook_index *ix = webhooks_index_of(req);
	struct webhook_run *run = current(req);
	enum step_result r;

	if (ix->n[WEBHOOK_VALIDATING] == 0 || (run && run->validated) || admit_exempt(req))
		return STEP_NEXT;
	if (!run || run->n_calls == 0) {
		r = ask_all(req, op, ix);
		if (r != STEP_NEXT)
			return r;
		run = current(req);
		if (!run)
			return STEP_NEXT;
	}
	for (size_t i = 0; i < run->n_calls; i++) {
		struct webhook_answer ans;

		r = take(run->calls[i], WEBHOOK_VALIDATING, &ans);
		if (r != STEP_NEXT)
			return r;
	}
	run->n_calls = 0;
	run->validated = true;
	return STEP_NEXT;
}
