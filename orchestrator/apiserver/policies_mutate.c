/* Mutating admission policies. */
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/policies-priv.h"
#include "orchestrator/apiserver/webhook_state.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/custom.h"
#include "proto/json.h"
#include "proto/patch.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/typed.h"

struct mutating {
	struct policy__each each;
	enum admission_op op;
	struct json *doc; /* as it is by now, in the version in which the policy sees it */
	bool denied;
	struct str message;
};

/* --- One mutation ------------------------------------------------------------------------------------------------------------------ */

/* A list or map that is one value is no place to merge into: its path, or {NULL, 0}. */
static struct str atomic_in(struct arena *a, const struct schema_type *t, const struct json *config, const char *up)
{
	JSON_MEMBERS (m, config) {
		const struct schema_field *f = schema_field_find(t, m->key);
		const char *path = arena_printf(a, "%s.%.*s", up, STR_FMT(m->key));
		struct str found = STR_NULL;

		if (!f)
			continue;
		if (json_is(m->value, JSON_ARRAY) && !(f->flags & (SCHEMA_LIST_SET | SCHEMA_LIST_MAP)))
			return str_from(path);
		if (json_is(m->value, JSON_OBJECT) && (f->flags & SCHEMA_STRUCT_ATOMIC))
			return str_from(path);
		if (f->kind != SCHEMA_MESSAGE || !f->type)
			continue;
		if (json_is(m->value, JSON_OBJECT) && !(f->flags & SCHEMA_MAP))
			found = atomic_in(a, f->type, m->value, path);
		JSON_ITEMS (it, json_is(m->value, JSON_ARRAY) ? m->value : NULL)
			if (!found.p)
				found = atomic_in(a, f->type, it, path);
		if (found.p)
			return found;
	}
	return STR_NULL;
}

static const struct schema_type *type_of(const struct mutating *m)
{
	struct api_request *req = m->each.req;

	return req->special ? req->special : resource_type(m->each.q.res);
}

/* What the expression gave, put over the object. */
static const char *merge(struct mutating *m, struct json *config)
{
	struct arena *a = &m->each.req->arena;
	const struct schema_type *t = type_of(m);
	struct str bad = atomic_in(a, t, config, "");

	if (bad.p)
		return arena_printf(a, "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: %.*s", STR_FMT(bad));
	json_setc(a, config, "apiVersion", json_getc(m->doc, "apiVersion"));
	json_setc(a, config, "kind", json_getc(m->doc, "kind"));
	bad = typed_check(a, t, config);
	if (bad.p)
		return arena_printf(a, "error applying patch: invalid ApplyConfiguration: %.*s", STR_FMT(bad));
	m->doc = json_copy(a, typed_merge(a, t, m->doc, config));
	return NULL;
}

static const char *patch(struct mutating *m, struct json *ops)
{
	struct arena *a = &m->each.req->arena;
	struct json *doc;
	struct err e = ERR_INIT;

	if (patch_json(a, m->doc, ops, &doc, &e) < 0)
		return arena_printf(a, "error applying JSONPatch: %s", e.text);
	if (!json_is(doc, JSON_OBJECT))
		return "error applying JSONPatch: it does not leave an object";
	m->doc = json_copy(a, doc);
	return NULL;
}

static const char *mutate_once(struct mutating *m, struct admit_cel *c, const struct admission_mutation *one)
{
	struct arena *a = &m->each.req->arena;
	struct cel_value value;
	const char *why = NULL;
	struct json *out;
	struct str text;

	if (admit_cel_run(c, &one->expr, &value, &text) != ADMIT_CEL_VALUE)
		return arena_cstr(a, text);
	out = cel_to_json(&c->arena, value, &why);
	if (!out)
		return arena_printf(a, "expression '%.*s' gives what no object can hold: %s", STR_FMT(one->expr.text), why);
	out = json_copy(a, out);
	return one->json_patch ? patch(m, out) : merge(m, out);
}

/* --- A policy ---------------------------------------------------------------------------------------------------------------------- */

static void deny(struct mutating *m, const struct policy_binding *b, struct str why)
{
	struct arena *a = &m->each.req->arena;

	if (m->each.p->cel.ignore) {
		log_debug("apiserver", "policy %.*s: %.*s (ignored)", STR_FMT(m->each.p->cel.name), STR_FMT(why));
		return;
	}
	if (!m->denied && !b)
		m->message = arena_sprintf(a, "policy '%.*s' denied request: %.*s", STR_FMT(m->each.p->cel.name), STR_FMT(why));
	else if (!m->denied)
		m->message = arena_sprintf(a, "policy '%.*s' with binding '%.*s' denied request: %.*s", STR_FMT(m->each.p->cel.name),
				STR_FMT(b->name), STR_FMT(why));
	m->denied = true;
}

static void params_unknown(struct policy__each *e, const struct policy_binding *b, struct str why)
{
	deny(container_of(e, struct mutating, each), b, why);
}

/* All mutations with one object of parameters, or none of them. */
static void mutate_with(struct policy__each *e, struct admit_cel *c, const struct policy_binding *b)
{
	struct mutating *m = container_of(e, struct mutating, each);
	struct json *before = m->doc;
	struct str why = STR_NULL;
	enum admit_cel_match match;

	if (m->denied)
		return;
	match = admit_cel_conditions(c, &e->p->cel.conditions, e->p->cel.ignore, &why);
	if (match == ADMIT_CEL_CANNOT_TELL)
		deny(m, b, why);
	for (size_t i = 0; match == ADMIT_CEL_MATCHES && i < e->p->cel.n_mutations; i++) {
		const char *bad;

		admit_cel_object(c, m->doc);
		bad = mutate_once(m, c, &e->p->cel.mutations[i]);
		if (!bad)
			continue;
		m->doc = before;
		deny(m, b, str_from(bad));
		break;
	}
	/* The next one, with other parameters, sees it. */
	e->q.obj = m->doc;
}

static enum step_result refuse(struct mutating *m)
{
	struct api_request *req = m->each.req;

	api_fail_forbidden(req, req->res, req->at.name.n > 0 ? req->at.name : api_name(m->doc), "%.*s", STR_FMT(m->message));
	req->fail.reason = "Invalid";
	req->fail.http_status = 422;
	return STEP_FAIL;
}

/* *ret_view: what it made of the object; NULL: nothing. *ret_ran: it concerns the request. */
static enum step_result mutate_by(struct api_request *req, enum admission_op op, const struct policy *p, struct json **ret_view, bool *ret_ran)
{
	struct mutating m = {.each = {.req = req, .p = p, .unknown = params_unknown, .with = mutate_with}, .op = op};
	enum step_result r = policy__each_begin(&m.each, op);
	struct json *was = m.each.q.obj, *doc;

	*ret_view = NULL;
	*ret_ran = false;
	if (r == STEP_NEXT && m.each.q.unconverted) {
		deny(&m, NULL, policy__unconverted(&m.each));
		return m.denied ? refuse(&m) : STEP_NEXT;
	}
	/* Nothing is left of a deleted object to be changed. */
	if (r != STEP_NEXT || !m.each.q.res || !was)
		return r;
	*ret_ran = true;
	m.doc = was;
	r = policy__each_run(&m.each, op);
	if (r != STEP_NEXT)
		return r;
	if (m.denied)
		return refuse(&m);
	if (json_equal(m.doc, was))
		return STEP_NEXT;
	r = admit_answer(req, &m.each.q, json_copy(&req->arena, m.doc), &doc);
	if (r == STEP_WAIT)
		return r;
	if (r == STEP_FAIL)
		return api_fail(req, ERR_INTERNAL, "Internal error occurred: MutatingAdmissionPolicy '%.*s': %.*s", STR_FMT(p->cel.name),
				STR_FMT(req->fail.message));
	*ret_view = doc;
	return STEP_NEXT;
}

/* --- All of them ------------------------------------------------------------------------------------------------------------------- */

/* Those that ran before `pos` and want to know of changes run again at the end. */
static void changed_behind(const struct webhook_index *ix, struct policy_progress *done, size_t pos)
{
	for (size_t i = 0; i < ix->n_policies[WEBHOOK_MUTATING]; i++)
		if (i != pos && done->ran[i] && !done->second && ix->policies[WEBHOOK_MUTATING][i].cel.reinvoke)
			done->again[i] = true;
}

void policies_changed(struct api_request *req)
{
	struct policy_progress *done = webhooks_policies(req, false);

	if (done)
		changed_behind(webhooks_index_of(req), done, SIZE_MAX);
}

bool policies_again(struct api_request *req)
{
	struct policy_progress *done = webhooks_policies(req, false);
	bool any = false;

	if (!done || done->second || !done->mutated)
		return false;
	for (size_t i = 0; i < webhooks_index_of(req)->n_policies[WEBHOOK_MUTATING]; i++)
		any |= done->again[i];
	if (any) {
		done->second = true;
		done->mutated = false;
		done->pos = 0;
	}
	return any;
}

enum step_result policies_mutate(struct api_request *req, enum admission_op op, struct json **ret_view)
{
	struct webhook_index *ix = webhooks_index_of(req);
	struct policy_progress *done;
	bool ran;

	*ret_view = NULL;
	if (ix->n_policies[WEBHOOK_MUTATING] == 0 || policy__spared(req))
		return STEP_NEXT;
	done = webhooks_policies(req, false);
	if (done && done->mutated)
		return STEP_NEXT;
	for (size_t pos = done ? done->pos : 0; pos < ix->n_policies[WEBHOOK_MUTATING]; pos++) {
		enum step_result r;

		if (done && done->second && !done->again[pos])
			continue;
		r = mutate_by(req, op, &ix->policies[WEBHOOK_MUTATING][pos], ret_view, &ran);
		if (r != STEP_NEXT)
			return r;
		if (!ran)
			continue;
		done = webhooks_policies(req, true);
		done->ran[pos] = true;
		done->pos = pos + 1;
		if (*ret_view) {
			changed_behind(ix, done, pos);
			return STEP_NEXT;
		}
	}
	if (done)
		done->mutated = true;
	return STEP_NEXT;
}
