#include "orchestrator/apiserver/webhook.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/objects.h"

#define DEFAULT_TIMEOUT_S 10
#define REVIEW_GROUP "admission.k8s.io"

/* --- Configurations ------------------------------------------------------------------------------------------------------- */

static struct str *strings(struct arena *a, const struct json *list, size_t *ret_n)
{
	struct str *v = arena_new_array(a, struct str, json_len(list));
	size_t n = 0;

	JSON_ITEMS (it, list)
		v[n++] = json_str(it);
	*ret_n = n;
	return v;
}

static unsigned ops_of(const struct json *list)
{
	static const struct {
		const char *name;
		unsigned bits;
	} names[] = {{"CREATE", WEBHOOK_CREATE}, {"UPDATE", WEBHOOK_UPDATE}, {"DELETE", WEBHOOK_DELETE},
			{"CONNECT", WEBHOOK_CONNECT}, {"*", WEBHOOK_CREATE | WEBHOOK_UPDATE | WEBHOOK_DELETE | WEBHOOK_CONNECT}};
	unsigned ops = 0;

	JSON_ITEMS (it, list)
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (json_eqc(it, names[i].name))
				ops |= names[i].bits;
	return ops;
}

static void compile_rule(struct arena *a, const struct json *r, struct webhook_rule *ret)
{
	const struct json *scope = json_getc(r, "scope");

	ret->ops = ops_of(json_getc(r, "operations"));
	ret->groups = strings(a, json_getc(r, "apiGroups"), &ret->n_groups);
	ret->versions = strings(a, json_getc(r, "apiVersions"), &ret->n_versions);
	ret->resources = strings(a, json_getc(r, "resources"), &ret->n_resources);
	ret->names = strings(a, json_getc(r, "resourceNames"), &ret->n_names);
	ret->scope = json_eqc(scope, "Cluster")	     ? WEBHOOK_CLUSTER :
		     json_eqc(scope, "Namespaced")   ? WEBHOOK_NAMESPACED :
						       WEBHOOK_ANY_SCOPE;
}

static struct selector selector_of(struct arena *a, const struct json *sel)
{
	struct selector s = SELECTOR_EVERYTHING;

	if (!json_is_null(sel) && selector_from_json(a, sel, &s, NULL) < 0)
		s = SELECTOR_NOTHING;
	return s;
}

/* The first of those it likes that we speak. */
static bool wants_v1beta1(const struct json *versions)
{
	JSON_ITEMS (v, versions)
		if (json_eqc(v, "v1") || json_eqc(v, "v1beta1"))
			return json_eqc(v, "v1beta1");
	return false;
}

static struct webhook_rule *compile_rules(struct arena *a, const struct json *list, size_t *ret_n)
{
	struct webhook_rule *rules = arena_new_array(a, struct webhook_rule, json_len(list));
	size_t n = 0;

	JSON_ITEMS (r, list)
		compile_rule(a, r, &rules[n++]);
	*ret_n = n;
	return rules;
}

static void compile_selectors(struct arena *a, const struct json *j, struct webhook_match *m)
{
	m->namespaces = selector_of(a, json_getc(j, "namespaceSelector"));
	m->objects = selector_of(a, json_getc(j, "objectSelector"));
	m->exact = json_eqc(json_getc(j, "matchPolicy"), "Exact");
}

void webhook_match_compile(struct arena *a, const struct json *j, struct webhook_match *m)
{
	*m = (struct webhook_match){.no_rules = json_len(json_getc(j, "resourceRules")) == 0};
	m->rules = compile_rules(a, json_getc(j, "resourceRules"), &m->n_rules);
	m->excluded = compile_rules(a, json_getc(j, "excludeResourceRules"), &m->n_excluded);
	compile_selectors(a, j, m);
}

static void compile(struct arena *a, const struct json *j, struct webhook *h)
{
	struct json *effects = json_getc(j, "sideEffects");

	h->name = json_str(json_getc(j, "name"));
	h->match.rules = compile_rules(a, json_getc(j, "rules"), &h->match.n_rules);
	compile_selectors(a, j, &h->match);
	h->ignore = json_eqc(json_getc(j, "failurePolicy"), "Ignore");
	h->reinvoke = json_eqc(json_getc(j, "reinvocationPolicy"), "IfNeeded");
	h->dry_run = json_eqc(effects, "None") || json_eqc(effects, "NoneOnDryRun");
	admission_conditions_compile(a, json_getc(j, "matchConditions"), NULL, NULL, &h->conditions);
	h->v1beta1 = wants_v1beta1(json_getc(j, "admissionReviewVersions"));
	h->timeout_s = (unsigned)MAX(1, MIN(30, json_i64_or(json_getc(j, "timeoutSeconds"), DEFAULT_TIMEOUT_S)));
	hook_target_read(a, json_getc(j, "clientConfig"), &h->target);
}

void webhook_compile(struct arena *a, const struct json *config, struct webhook **ret, size_t *ret_n)
{
	const struct json *list = json_getc(config, "webhooks");
	size_t i = 0;

	*ret_n = json_len(list);
	*ret = arena_new_array(a, struct webhook, *ret_n);
	JSON_ITEMS (j, list) {
		(*ret)[i].config = api_name(config);
		compile(a, j, &(*ret)[i++]);
	}
}

/* --- Matching --------------------------------------------------------------------------------------------------------------- */

static bool holds(const struct str *v, size_t n, struct str s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqc(v[i], "*") || str_eq(v[i], s))
			return true;
	return false;
}

/* "pods", "pods/log", "pods/" with a star (then the object too), a star alone (no subresource), stars on both sides. */
static bool resource_matches(const struct webhook_rule *r, const struct webhook_target *t)
{
	for (size_t i = 0; i < r->n_resources; i++) {
		struct str res = r->resources[i], sub = STR(""), head, tail;

		if (str_cut(res, '/', &head, &tail)) {
			res = head;
			sub = tail;
		}
		if ((str_eqc(res, "*") || str_eq(res, t->resource)) && (str_eqc(sub, "*") || str_eq(sub, t->sub)))
			return true;
	}
	return false;
}

static bool scope_matches(const struct webhook_rule *r, const struct webhook_target *t)
{
	return r->scope == WEBHOOK_ANY_SCOPE || (r->scope == WEBHOOK_NAMESPACED) == t->namespaced;
}

static bool any_matches(const struct webhook_rule *rules, size_t n, const struct webhook_target *t)
{
	for (size_t i = 0; i < n; i++) {
		const struct webhook_rule *r = &rules[i];

		if ((r->ops & t->op) && scope_matches(r, t) && holds(r->groups, r->n_groups, t->group) &&
				holds(r->versions, r->n_versions, t->version) && resource_matches(r, t) &&
				(r->n_names == 0 || holds(r->names, r->n_names, t->name)))
			return true;
	}
	return false;
}

bool webhook_rules_match(const struct webhook_match *m, const struct webhook_target *t)
{
	return !any_matches(m->excluded, m->n_excluded, t) && (m->no_rules || any_matches(m->rules, m->n_rules, t));
}

bool webhook_is_everything(const struct selector *s)
{
	return s->n_reqs == 0 && !s->nothing;
}

bool webhook_objects_match(const struct webhook_match *h, const struct json *obj, const struct json *old)
{
	if (webhook_is_everything(&h->objects))
		return true;
	/* What has no metadata has no labels to be chosen by, nor to be without. */
	return (json_getc(obj, "metadata") && selector_matches_json(&h->objects, json_getp(obj, "metadata.labels"))) ||
	       (json_getc(old, "metadata") && selector_matches_json(&h->objects, json_getp(old, "metadata.labels")));
}

/* --- Answers ---------------------------------------------------------------------------------------------------------------- */

static int kind_check(const struct json *doc, bool v1beta1, struct err *e)
{
	const char *want = v1beta1 ? "v1beta1" : "v1";
	struct str version = json_str(json_getc(doc, "apiVersion")), kind = json_str(json_getc(doc, "kind")), head, tail;

	if (str_cut(version, '/', &head, &tail) && str_eqc(head, REVIEW_GROUP) && str_eqc(tail, want) &&
			str_eqc(kind, "AdmissionReview"))
		return 0;
	return err_set(e, ERR_INVALID, "expected webhook response of " REVIEW_GROUP "/%s, Kind=AdmissionReview, got %.*s, Kind=%.*s",
			want, STR_FMT(version), STR_FMT(kind));
}

static int patch_read(struct arena *a, const struct json *response, bool v1beta1, bool mutating, struct webhook_answer *ret,
		struct err *e)
{
	const struct json *patch = json_getc(response, "patch"), *type = json_getc(response, "patchType");
	bool typed = !json_is_null(type), some = json_str(patch).n > 0;
	struct json *ops;
	struct str text;

	if (!json_is_null(patch) && !json_is(patch, JSON_STRING))
		return err_set(e, ERR_INVALID, "response.patch must be base64");
	if (!mutating && !v1beta1 && some)
		return err_set(e, ERR_INVALID, "validating webhook may not return response.patch");
	if (!mutating && !v1beta1 && typed)
		return err_set(e, ERR_INVALID, "validating webhook may not return response.patchType");
	if (!mutating)
		return 0;
	if (some && !typed && !v1beta1)
		return err_set(e, ERR_INVALID, "webhook returned response.patch but not response.patchType");
	if (!some && typed && !v1beta1)
		return err_set(e, ERR_INVALID, "webhook returned response.patchType but not response.patch");
	if (!some)
		return 0;
	if (typed && !json_eqc(type, "JSONPatch"))
		return err_set(e, ERR_INVALID, "unsupported patch type \"%.*s\"", STR_FMT(json_str(type)));
	if (!api_base64_decode(a, json_str(patch), &text))
		return err_set(e, ERR_INVALID, "response.patch is no base64");
	if (json_parse(a, text, NULL, &ops, e) < 0)
		return err_prefix(e, "response.patch");
	if (json_is_null(ops))
		return 0;
	if (!json_is(ops, JSON_ARRAY))
		return err_set(e, ERR_INVALID, "response.patch is no list of operations");
	ret->patch = json_len(ops) > 0 ? ops : NULL;
	return 0;
}

int webhook_answer_read(struct arena *a, struct str body, bool v1beta1, bool mutating, struct str uid, struct webhook_answer *ret,
		struct err *e)
{
	const struct json *response, *allowed;
	struct json *doc;
	int r;

	*ret = (struct webhook_answer){0};
	r = json_parse(a, body, NULL, &doc, e);
	if (r == 0 && (!v1beta1 || json_getc(doc, "kind")))
		r = kind_check(doc, v1beta1, e);
	if (r < 0)
		return r;
	response = json_getc(doc, "response");
	if (!json_is(response, JSON_OBJECT))
		return err_set(e, ERR_INVALID, "webhook response was absent");
	if (!v1beta1 && !str_eq(json_str(json_getc(response, "uid")), uid))
		return err_set(e, ERR_INVALID, "expected response.uid=\"%.*s\", got \"%.*s\"", STR_FMT(uid),
				STR_FMT(json_str(json_getc(response, "uid"))));
	allowed = json_getc(response, "allowed");
	if (!json_is_null(allowed) && !json_is(allowed, JSON_BOOL))
		return err_set(e, ERR_INVALID, "response.allowed must be true or false");
	ret->allowed = json_true(allowed);
	ret->status = json_getc(response, "status");
	ret->warnings = json_getc(response, "warnings");
	ret->annotations = json_getc(response, "auditAnnotations");
	return patch_read(a, response, v1beta1, mutating, ret, e);
}

int webhook_refusal(struct arena *a, struct str name, const struct json *status, struct str *ret)
{
	struct str message = json_str(json_getc(status, "message")), reason = json_str(json_getc(status, "reason"));
	int64_t code = json_i64_or(json_getc(status, "code"), 0);

	if (message.n == 0)
		message = reason;
	if (message.n > 0)
		*ret = arena_sprintf(a, "admission webhook \"%.*s\" denied the request: %.*s", STR_FMT(name), STR_FMT(message));
	else
		*ret = arena_sprintf(a, "admission webhook \"%.*s\" denied the request without explanation", STR_FMT(name));
	return code < 400 || code > 599 ? 400 : (int)code;
}
