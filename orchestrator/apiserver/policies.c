#include "orchestrator/apiserver/policies-priv.h"

#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/webhook_state.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/json.h"
#include "proto/resource.h"

#define MESSAGE_MAX 5120
#define AUDIT_MAX 10240
#define FAILURE_NOTE "validation.policy.admission.k8s.io/validation_failure"

bool policy__spared(const struct api_request *req)
{
	return admit_exempt(req) || admit_is_review(req);
}

/* --- Refusals -------------------------------------------------------------------------------------------------------------------- */

/* The first refusal counts; all are looked for, so that everything is told to who asked to be warned. */
struct verdict {
	struct api_request *req;
	bool denied;
	struct str message, reason;
	struct json *failures; /* for the audit log */
};

static void deny(struct verdict *v, const struct policy *p, const struct policy_binding *b, struct str message, struct str reason)
{
	struct arena *a = &v->req->arena;
	static const char kind[] = "ValidatingAdmissionPolicy";

	if (v->denied)
		return;
	v->denied = true;
	v->reason = arena_str(a, reason);
	if (b)
		v->message = arena_sprintf(a, "%s '%.*s' with binding '%.*s' denied request: %.*s", kind, STR_FMT(p->cel.name), STR_FMT(b->name),
				STR_FMT(message));
	else
		v->message = arena_sprintf(a, "%s '%.*s' denied request: %.*s", kind, STR_FMT(p->cel.name), STR_FMT(message));
}

/* What could not be told counts as the failure policy says. */
static void cannot_tell(struct verdict *v, const struct policy *p, const struct policy_binding *b, struct str why, bool configuration)
{
	struct arena *a = &v->req->arena;

	if (p->cel.ignore)
		log_debug("apiserver", "policy %.*s: %.*s (ignored)", STR_FMT(p->cel.name), STR_FMT(why));
	else
		deny(v, p, b, configuration ? arena_sprintf(a, "failed to configure binding: %.*s", STR_FMT(why)) : why, STR(""));
}

static enum step_result refuse(struct verdict *v)
{
	static const struct {
		const char *reason;
		int code;
	} codes[] = {{"Forbidden", 403}, {"Unauthorized", 401}, {"RequestEntityTooLarge", 413}, {"Invalid", 422}};
	struct api_request *req = v->req;
	struct str name = req->at.name.n > 0 ? req->at.name : api_name(req->special ? req->sent : req->obj);
	struct api_cause *cause = arena_new_of(&req->arena, struct api_cause);

	api_fail_forbidden(req, req->res, name, "%.*s", STR_FMT(v->message));
	req->fail.reason = v->reason.n > 0 ? arena_cstr(&req->arena, v->reason) : "Invalid";
	req->fail.http_status = 422;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (strcmp(req->fail.reason, codes[i].reason) == 0)
			req->fail.http_status = codes[i].code;
	*cause = (struct api_cause){.message = v->message};
	req->fail.causes = cause;
	req->fail.n_causes = 1;
	return STEP_FAIL;
}

/* --- Validating ------------------------------------------------------------------------------------------------------------------ */

static struct str message_of(struct admit_cel *c, const struct admission_validation *v)
{
	struct cel_value value;
	struct str why, text;

	if (v->message_expr.program && admit_cel_run(c, &v->message_expr, &value, &why) == ADMIT_CEL_VALUE && value.kind == CEL_STRING) {
		text = str_trim(value.s);
		if (text.n > 0 && text.n <= MESSAGE_MAX && str_find(text, '\n') < 0)
			return text;
	}
	return v->message.n > 0 ? v->message : arena_sprintf(&c->arena, "failed expression: %.*s", STR_FMT(str_trim(v->expr.text)));
}

static void note_failure(struct verdict *v, const struct policy *p, const struct policy_binding *b, size_t index, struct str message)
{
	struct arena *a = &v->req->arena;
	struct json *o = json_new_object(a), *actions = json_new_array(a);

	if (!v->failures)
		v->failures = json_new_array(a);
	json_setc(a, o, "message", json_new_str(a, message));
	json_setc(a, o, "policy", json_new_str(a, p->cel.name));
	json_setc(a, o, "binding", json_new_str(a, b->name));
	json_setc(a, o, "expressionIndex", json_new_int(a, (int64_t)index));
	if (b->deny)
		json_push(a, actions, json_newc(a, "Deny"));
	if (b->warn)
		json_push(a, actions, json_newc(a, "Warn"));
	json_push(a, actions, json_newc(a, "Audit"));
	json_setc(a, o, "validationActions", actions);
	json_push(a, v->failures, o);
}

static void broken(struct verdict *v, const struct policy *p, const struct policy_binding *b, size_t index, struct str message, struct str reason)
{
	if (b->deny)
		deny(v, p, b, message, reason);
	if (b->audit)
		note_failure(v, p, b, index, message);
	if (b->warn)
		api_warn(v->req, "Validation failed for ValidatingAdmissionPolicy '%.*s' with binding '%.*s': %.*s", STR_FMT(p->cel.name),
				STR_FMT(b->name), STR_FMT(message));
}

static void audit(struct verdict *v, struct admit_cel *c, const struct policy *p, const struct policy_binding *b)
{
	struct arena *a = &v->req->arena;

	for (size_t i = 0; i < p->cel.audits.n; i++) {
		const struct admission_expr *e = &p->cel.audits.v[i];
		struct cel_value value;
		struct str why, text;

		if (admit_cel_run(c, e, &value, &why) != ADMIT_CEL_VALUE) {
			cannot_tell(v, p, b, why, false);
			continue;
		}
		text = value.kind == CEL_STRING ? str_trim(value.s) : STR_NULL;
		if (text.n > 0)
			api_audit_note(v->req, arena_printf(a, "%.*s/%.*s", STR_FMT(p->cel.name), STR_FMT(e->name)),
					arena_str(a, str_sub(text, 0, MIN(text.n, (size_t)AUDIT_MAX))));
	}
}

/* With one object of parameters. */
static void validate_with(struct verdict *v, struct admit_cel *c, const struct policy *p, const struct policy_binding *b)
{
	struct str why = STR_NULL;

	switch (admit_cel_conditions(c, &p->cel.conditions, p->cel.ignore, &why)) {
	case ADMIT_CEL_DOES_NOT: return;
	case ADMIT_CEL_CANNOT_TELL: broken(v, p, b, 0, why, STR("")); return;
	case ADMIT_CEL_MATCHES: break;
	}
	for (size_t i = 0; i < p->cel.n_validations; i++) {
		const struct admission_validation *one = &p->cel.validations[i];
		struct cel_value value;
		enum admit_cel_result r = admit_cel_run(c, &one->expr, &value, &why);

		if (r == ADMIT_CEL_VALUE && value.kind == CEL_BOOL && value.b)
			continue;
		if (r == ADMIT_CEL_VALUE)
			broken(v, p, b, i, message_of(c, one), one->reason);
		else if (!p->cel.ignore)
			broken(v, p, b, i, why, STR(""));
		if (r == ADMIT_CEL_SPENT)
			return;
	}
	audit(v, c, p, b);
}

/* Whether a binding wants its policy run about this request. */
static enum step_result binding_matches(struct api_request *req, enum admission_op op, const struct policy_binding *b, bool *ret)
{
	struct admit_question q;
	enum step_result r;

	*ret = true;
	if (b->everything)
		return STEP_NEXT;
	r = admit_question(req, op, &b->match, false, &q);
	*ret = q.res != NULL;
	return r;
}

static enum step_result each_binding(struct policy__each *each, const struct policy_binding *b)
{
	struct json **params;
	struct str why;
	bool waits;
	size_t n;
	enum step_result r = policy_params(each->req, each->p, b, &params, &n, &why);

	if (r != STEP_NEXT)
		return r;
	if (why.n > 0)
		each->unknown(each, b, why);
	for (size_t i = 0; i < n; i++) {
		struct admit_cel c;

		admit_cel_begin(&c, each->req, &each->q, &each->p->cel, params[i], each->ns, CEL_RUNTIME_COST_BUDGET);
		each->with(each, &c, b);
		waits = admit_cel_waits(&c);
		admit_cel_end(&c);
		if (waits) {
			/* The object stays what it is meanwhile, its generated name too: the same question will be asked. */
			webhooks_policies(each->req, true);
			return STEP_WAIT;
		}
	}
	return STEP_NEXT;
}

enum step_result policy__each_begin(struct policy__each *each, enum admission_op op)
{
	enum step_result r = admit_question(each->req, op, &each->p->match, true, &each->q);

	return r == STEP_NEXT && each->q.res ? admit_cel_namespace(each->req, &each->ns) : r;
}

struct str policy__unconverted(const struct policy__each *each)
{
	return arena_sprintf(&each->req->arena, "failed to configure policy: failed to convert object version: %s", each->q.unconverted);
}

enum step_result policy__each_run(struct policy__each *each, enum admission_op op)
{
	for (size_t i = 0; i < each->p->n_bindings; i++) {
		const struct policy_binding *b = &each->p->bindings[i];
		bool matches;
		enum step_result r = binding_matches(each->req, op, b, &matches);

		if (r == STEP_NEXT && matches)
			r = each_binding(each, b);
		if (r != STEP_NEXT)
			return r;
	}
	return STEP_NEXT;
}

struct validating {
	struct policy__each each;
	struct verdict *verdict;
};

static void params_unknown(struct policy__each *e, const struct policy_binding *b, struct str why)
{
	cannot_tell(container_of(e, struct validating, each)->verdict, e->p, b, why, true);
}

static void validate_each(struct policy__each *e, struct admit_cel *c, const struct policy_binding *b)
{
	validate_with(container_of(e, struct validating, each)->verdict, c, e->p, b);
}

enum step_result policies_validate(struct api_request *req, enum admission_op op)
{
	struct webhook_index *ix = webhooks_index_of(req);
	size_t n_warnings = req->n_warnings;
	struct policy_progress *done;
	struct verdict v = {.req = req};
	bool any = false;

	if (ix->n_policies[WEBHOOK_VALIDATING] == 0 || policy__spared(req))
		return STEP_NEXT;
	done = webhooks_policies(req, false);
	if (done && done->validated)
		return STEP_NEXT;
	for (size_t i = 0; i < ix->n_policies[WEBHOOK_VALIDATING]; i++) {
		struct validating one = {.each = {.req = req, .p = &ix->policies[WEBHOOK_VALIDATING][i], .unknown = params_unknown, .with = validate_each},
				.verdict = &v};
		enum step_result r = policy__each_begin(&one.each, op);

		if (r == STEP_NEXT && one.each.q.unconverted) {
			cannot_tell(&v, one.each.p, NULL, policy__unconverted(&one.each), false);
		} else if (r == STEP_NEXT && one.each.q.res) {
			any = true;
			r = policy__each_run(&one.each, op);
		}
		if (r != STEP_NEXT) {
			/* It is all said again. */
			req->n_warnings = n_warnings;
			return r;
		}
	}
	if (v.failures)
		api_audit_note(req, FAILURE_NOTE, json_text(&req->arena, v.failures));
	if (v.denied)
		return refuse(&v);
	if (any)
		webhooks_policies(req, true)->validated = true;
	return STEP_NEXT;
}
