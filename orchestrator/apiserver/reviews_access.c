/*
 * Access reviews: may somebody do something, and what may I do in a namespace? Answered by the same authorization that
 * requests go through; nothing is stored.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/authz_node.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/rbac_index.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"

/* Requirements {key, operator In, values [v]} as the text of a selector; others select nothing that matters here. */
static struct str field_selector(struct arena *a, const struct json *resource)
{
	struct str out = json_strp(resource, "fieldSelector.rawSelector");

	JSON_ITEMS (q, json_getp(resource, "fieldSelector.requirements"))
		if (json_eqc(json_getc(q, "operator"), "In") && json_len(json_getc(q, "values")) == 1)
			out = arena_sprintf(a, "%.*s%s%.*s=%.*s", STR_FMT(out), out.n ? "," : "",
					STR_FMT(json_str(json_getc(q, "key"))),
					STR_FMT(json_str(json_at(json_getc(q, "values"), 0))));
	return out;
}

static void review_attrs(struct arena *a, const struct json *spec, struct authz_attrs *at)
{
	const struct json *r = json_getc(spec, "resourceAttributes"), *p = json_getc(spec, "nonResourceAttributes");

	memset(at, 0, sizeof(*at));
	at->is_resource = !json_is_null(r);
	at->verb = json_str(json_getc(at->is_resource ? r : p, "verb"));
	at->group = json_str(json_getc(r, "group"));
	at->version = json_str(json_getc(r, "version"));
	at->resource = json_str(json_getc(r, "resource"));
	at->sub = json_str(json_getc(r, "subresource"));
	at->ns = json_str(json_getc(r, "namespace"));
	at->name = json_str(json_getc(r, "name"));
	at->path = json_str(json_getc(p, "path"));
	at->field_selector = field_selector(a, r);
}

static void review_user(struct arena *a, const struct json *spec, struct api_user *u)
{
	const struct json *groups = json_getc(spec, "groups"), *extra = json_getc(spec, "extra");

	*u = (struct api_user){.name = json_str(json_getc(spec, "user")), .uid = json_str(json_getc(spec, "uid"))};
	u->groups = arena_new_array(a, struct str, json_len(groups) + 1);
	JSON_ITEMS (g, groups)
		u->groups[u->n_groups++] = json_str(g);
	JSON_MEMBERS (m, extra)
		JSON_ITEMS (v, m->value)
			authn_extra(a, u, arena_cstr(a, m->key), json_str(v));
}

static enum step_result review_valid(struct api_request *req, bool self)
{
	struct json *spec = json_getc(req->sent, "spec");
	struct field_path at = field_child(NULL, "spec"), res = field_child(&at, "resourceAttributes"),
			  path = field_child(&at, "nonResourceAttributes"), user = field_child(&at, "user");
	bool has_res = !json_is_null(json_getc(spec, "resourceAttributes"));
	bool has_path = !json_is_null(json_getc(spec, "nonResourceAttributes"));
	struct field_errs errs;

	field_errs_init(&errs, &req->arena);
	if (has_res && has_path)
		field_invalid(&errs, &path, json_getc(spec, "nonResourceAttributes"),
				"cannot be specified in combination with resourceAttributes");
	if (!has_res && !has_path)
		field_invalid(&errs, &res, json_getc(spec, "resourceAttributes"),
				"exactly one of nonResourceAttributes or resourceAttributes must be specified");
	if (!self && json_str(json_getc(spec, "user")).n == 0 && json_len(json_getc(spec, "groups")) == 0)
		field_invalid_str(&errs, &user, STR_NULL, "at least one of user or group must be specified");
	req->obj = req->sent;
	if (errs.n > 0)
		return api_fail_invalid(req, &errs);
	if (req->res->namespaced && has_res &&
			!str_eq(json_strp(spec, "resourceAttributes.namespace"), req->at.ns))
		return api_fail(req, ERR_BAD_REQUEST, "spec.resourceAttributes.namespace must match namespace: %.*s",
				STR_FMT(req->at.ns));
	return STEP_NEXT;
}

static enum step_result access_review(struct api_request *req)
{
	bool self = str_has_prefix(str_from(req->res->kind), STR("Self"));
	const char *type = arena_printf(&req->arena, "authorization.v1.%s", req->res->kind);
	struct arena *a = &req->arena;
	struct api_user u = req->user;
	struct authz_answer answer;
	struct authz_attrs at;
	struct json *status = json_new_object(a);

	if (review_valid(req, self) != STEP_NEXT)
		return STEP_FAIL;
	review_attrs(a, json_getc(req->sent, "spec"), &at);
	if (!self)
		review_user(a, json_getc(req->sent, "spec"), &u);
	if (authz_decide(req, &u, &at, true, &answer) == STEP_WAIT)
		return STEP_WAIT;
	json_setc(a, status, "allowed", json_new_bool(a, answer.allowed));
	if (answer.denied)
		json_setc(a, status, "denied", json_new_bool(a, true));
	if (answer.reason.n > 0)
		json_setc(a, status, "reason", json_new_str(a, answer.reason));
	json_setc(a, req->sent, "status", status);
	return api_answer_dom(req, 201, schema_type_find(type), req->sent);
}

const struct api_step strategy_access_review[] = {{"admit", admit_review}, {"review", access_review}, {NULL, NULL}};

/* --- SelfSubjectRulesReview ------------------------------------------------------------------------------------ */

static void set_list(struct arena *a, struct json *o, const char *key, const struct str *list, size_t n)
{
	struct json *out = json_new_array(a);

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		json_push(a, out, json_new_str(a, list[i]));
	json_setc(a, o, key, out);
}

static void rule_dom(struct arena *a, const struct rbac_rule *r, struct json *objects, struct json *urls)
{
	struct json *o = json_new_object(a);

	set_list(a, o, "verbs", r->verbs, r->n_verbs);
	if (r->n_resources > 0) {
		set_list(a, o, "apiGroups", r->groups, r->n_groups);
		set_list(a, o, "resources", r->resources, r->n_resources);
		set_list(a, o, "resourceNames", r->names, r->n_names);
		json_push(a, objects, o);
	}
	if (r->n_urls > 0) {
		o = json_new_object(a);
		set_list(a, o, "verbs", r->verbs, r->n_verbs);
		set_list(a, o, "nonResourceURLs", r->urls, r->n_urls);
		json_push(a, urls, o);
	}
}

static enum step_result rules_review(struct api_request *req)
{
	static const struct str star = STR_INIT("*");
	const struct rbac_rule everything[] = {
			{.verbs = (struct str *)&star, .groups = (struct str *)&star, .resources = (struct str *)&star,
					.n_verbs = 1, .n_groups = 1, .n_resources = 1},
			{.verbs = (struct str *)&star, .urls = (struct str *)&star, .n_verbs = 1, .n_urls = 1},
	};
	struct arena *a = &req->arena;
	struct json *objects = json_new_array(a), *urls = json_new_array(a), *status = json_new_object(a);
	struct rbac_rules list = {0};
	struct str ns;

	ns = json_strp(req->sent, "spec.namespace");
	if (ns.n == 0)
		return api_fail(req, ERR_BAD_REQUEST, "no namespace on request");
	if (api_refresh(req))
		return STEP_WAIT;
	if (api_user_in_group(&req->user, "system:masters"))
		for (size_t i = 0; i < ARRAY_LEN(everything); i++)
			rbac_rules_add(a, &list, &everything[i]);
	rbac_rules_of_user(authz_rbac(req), &req->user, ns, a, &list);
	for (size_t i = 0; i < list.n; i++)
		rule_dom(a, &list.v[i], objects, urls);
	json_setc(a, status, "resourceRules", objects);
	json_setc(a, status, "nonResourceRules", urls);
	json_setc(a, status, "incomplete", json_new_bool(a, authz_node_name(&req->user).n > 0));
	if (authz_node_name(&req->user).n > 0)
		json_setc(a, status, "evaluationError",
				json_newc(a, "node authorizer does not support user rule resolution"));
	json_setc(a, req->sent, "status", status);
	return api_answer_dom(req, 201, schema_type_find("authorization.v1.SelfSubjectRulesReview"), req->sent);
}

const struct api_step strategy_rules_review[] = {{"admit", admit_review}, {"review", rules_review}, {NULL, NULL}};
