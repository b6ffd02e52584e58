#include "orchestrator/apiserver/authz_hook.h"

#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/rbac.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"
#include "proto/selector.h"

static void set(struct arena *a, struct json *o, const char *key, struct str value)
{
	if (value.n > 0)
		json_setc(a, o, key, json_new_str(a, value));
}

/* --- Selectors: what is no requirement for them is left out; the rest only narrows what is asked for ------------------------------ */

static void require(struct arena *a, struct json *list, struct str key, const char *op, const struct str *values, size_t n)
{
	struct json *o = json_new_object(a), *words = json_new_array(a);

	json_setc(a, o, "key", json_new_str(a, key));
	json_setc(a, o, "operator", json_newc(a, op));
	for (size_t i = 0; i < n; i++)
		json_push(a, words, json_new_str(a, values[i]));
	if (n > 0)
		json_setc(a, o, "values", words);
	json_push(a, list, o);
}

static void set_requirements(struct arena *a, struct json *what, const char *member, struct json *list)
{
	struct json *o = json_new_object(a);

	json_setc(a, o, "requirements", list);
	if (json_len(list) > 0)
		json_setc(a, what, member, o);
}

static void set_selectors(struct arena *a, struct json *what, const struct authz_attrs *at)
{
	static const char *const ops[] = {[SELECTOR_IN] = "In", [SELECTOR_NOT_IN] = "NotIn", [SELECTOR_EXISTS] = "Exists",
			[SELECTOR_NOT_EXISTS] = "DoesNotExist", [SELECTOR_GT] = NULL, [SELECTOR_LT] = NULL};
	struct json *fields = json_new_array(a), *labels = json_new_array(a);
	struct field_selector fs;
	struct selector ls;
	struct err e = ERR_INIT;

	if (at->field_selector.n > 0 && field_selector_parse(a, at->field_selector, &fs, &e) == 0)
		for (size_t i = 0; i < fs.n_terms; i++)
			require(a, fields, fs.terms[i].field, fs.terms[i].equal ? "In" : "NotIn", &fs.terms[i].value, 1);
	err_clear(&e);
	if (at->label_selector.n > 0 && selector_parse(a, at->label_selector, &ls, &e) == 0)
		for (size_t i = 0; i < ls.n_reqs; i++)
			if (ops[ls.reqs[i].op])
				require(a, labels, ls.reqs[i].key, ops[ls.reqs[i].op], ls.reqs[i].values, ls.reqs[i].n_values);
	set_requirements(a, what, "fieldSelector", fields);
	set_requirements(a, what, "labelSelector", labels);
}

struct str authz_hook_question(struct arena *a, const struct api_user *u, const struct authz_attrs *at)
{
	struct json *o = json_new_object(a), *spec = json_new_object(a), *what = json_new_object(a), *user = api_user_dom(a, u);

	json_setc(a, o, "kind", json_newc(a, "SubjectAccessReview"));
	json_setc(a, o, "apiVersion", json_newc(a, "authorization.k8s.io/v1"));
	json_setp(a, o, "metadata.creationTimestamp", json_new_null(a));
	if (at->is_resource) {
		set(a, what, "namespace", at->ns);
		set(a, what, "verb", at->verb);
		set(a, what, "group", at->group);
		set(a, what, "version", at->version);
		set(a, what, "resource", at->resource);
		set(a, what, "subresource", at->sub);
		set(a, what, "name", at->name);
		set_selectors(a, what, at);
	} else {
		set(a, what, "path", at->path);
		set(a, what, "verb", at->verb);
	}
	json_setc(a, spec, at->is_resource ? "resourceAttributes" : "nonResourceAttributes", what);
	set(a, spec, "user", u->name);
	set(a, spec, "uid", u->uid);
	if (u->n_groups > 0)
		json_setc(a, spec, "groups", json_getc(user, "groups"));
	if (json_len(json_getc(user, "extra")) > 0)
		json_setc(a, spec, "extra", json_getc(user, "extra"));
	json_setc(a, o, "spec", spec);
	json_setp(a, o, "status.allowed", json_new_bool(a, false));
	return json_text(a, o);
}

enum authz_opinion authz_hook_answer(struct arena *a, struct str body, struct str *ret_reason)
{
	const struct json *status;
	struct json *doc;

	if (json_parse(a, body, NULL, &doc, NULL) < 0 || !json_is(doc, JSON_OBJECT) || !json_eqc(json_getc(doc, "kind"), "SubjectAccessReview") ||
			!json_eqc(json_getc(doc, "apiVersion"), "authorization.k8s.io/v1") || !json_is(json_getc(doc, "status"), JSON_OBJECT))
		return AUTHZ_NONE;
	status = json_getc(doc, "status");
	if (ret_reason)
		*ret_reason = json_str(json_getc(status, "reason"));
	/* Both at once is nonsense, and no yes. */
	if (json_true(json_getc(status, "allowed")) && json_true(json_getc(status, "denied")))
		return AUTHZ_NONE;
	if (json_true(json_getc(status, "allowed")))
		return AUTHZ_YES;
	if (json_true(json_getc(status, "denied")))
		return AUTHZ_DENY;
	return json_str(json_getc(status, "evaluationError")).n > 0 ? AUTHZ_NONE : AUTHZ_NO;
}
