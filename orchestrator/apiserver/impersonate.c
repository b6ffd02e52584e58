/*
 * Impersonation: a user who may "impersonate" acts as another, by the headers Impersonate-User, -Uid, -Group (may be repeated) and
 * -Extra-KEY. Each of them is a question to authorization of its own. Source: "User impersonation" of the Kubernetes documentation.
 */
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz.h"
#include "proto/json.h"

#define PREFIX "impersonate-"
#define EXTRA "impersonate-extra-"

static enum step_result may(struct api_request *req, const struct authz_attrs *at)
{
	struct authz_answer answer;

	if (authz_decide(req, &req->user, at, false, &answer) == STEP_WAIT)
		return STEP_WAIT;
	if (answer.allowed)
		return STEP_NEXT;
	api_count(req->srv, COUNT_authz_denials);
	return authz_forbid(req, &req->user, at, answer.reason);
}

/* "system:serviceaccount:NAMESPACE:NAME" */
static bool account_name(struct str user, struct str *ret_ns, struct str *ret_name)
{
	struct str prefix = STR("system:serviceaccount:");

	return str_has_prefix(user, prefix) && str_cut(str_skip(user, prefix.n), ':', ret_ns, ret_name) && ret_ns->n > 0 &&
	       ret_name->n > 0 && str_find(*ret_name, ':') < 0;
}

static void add_group(struct api_user *u, struct str group)
{
	u->groups[u->n_groups++] = group;
}

/* What every account is in, and everybody whom we know. */
static void standing_groups(struct arena *a, struct api_user *u, bool had_groups)
{
	struct str ns, name;
	bool stranger = str_eqc(u->name, "system:anonymous") || api_user_in_group(u, "system:unauthenticated");

	if (!had_groups && account_name(u->name, &ns, &name)) {
		add_group(u, STR("system:serviceaccounts"));
		add_group(u, arena_sprintf(a, "system:serviceaccounts:%.*s", STR_FMT(ns)));
	}
	if (stranger && !api_user_in_group(u, "system:unauthenticated"))
		add_group(u, STR("system:unauthenticated"));
	if (!stranger && !api_user_in_group(u, "system:authenticated"))
		add_group(u, STR("system:authenticated"));
}

static enum step_result may_be_user(struct api_request *req, struct str user)
{
	struct authz_attrs at = {.is_resource = true, .verb = STR("impersonate"), .resource = STR("users"), .name = user};

	if (account_name(user, &at.ns, &at.name))
		at.resource = STR("serviceaccounts");
	return may(req, &at);
}

/* One header of the family: its question, and its part of the new user. */
static enum step_result take_header(struct api_request *req, const struct http_header *h, struct api_user *u)
{
	struct authz_attrs at = {.is_resource = true, .verb = STR("impersonate"), .name = h->value};
	enum step_result r;

	if (str_ieq(h->name, STR("impersonate-group"))) {
		at.resource = STR("groups");
		r = may(req, &at);
		if (r == STEP_NEXT)
			add_group(u, h->value);
		return r;
	}
	at.group = STR("authentication.k8s.io");
	if (str_ieq(h->name, STR("impersonate-uid"))) {
		at.resource = STR("uids");
		u->uid = h->value;
		return may(req, &at);
	}
	if (h->name.n > strlen(EXTRA) && str_ieq(str_sub(h->name, 0, strlen(EXTRA)), STR(EXTRA))) {
		struct str key;

		if (!api_unescape(&req->arena, str_skip(h->name, strlen(EXTRA)), &key))
			return api_fail(req, ERR_BAD_REQUEST, "header %.*s: broken percent escape", STR_FMT(h->name));
		for (size_t i = 0; i < key.n; i++)
			if (key.p[i] >= 'A' && key.p[i] <= 'Z')
				((char *)(uintptr_t)key.p)[i] += 'a' - 'A';
		at.resource = STR("userextras");
		at.sub = key;
		u->extra[u->n_extra++] = (struct api_extra){key, h->value};
		return may(req, &at);
	}
	return STEP_NEXT;
}

static bool is_impersonation(const struct http_header *h)
{
	return h->name.n > strlen(PREFIX) && str_ieq(str_sub(h->name, 0, strlen(PREFIX)), STR(PREFIX));
}

enum step_result authz_impersonate(struct api_request *req)
{
	struct str name = http_header_get(&req->headers, "impersonate-user");
	struct api_user u = {.name = name, .method = "impersonated"};
	enum step_result r;
	size_t n = 0;

	/* Done already: this is the second look at the question itself. */
	if (req->local || req->real_user.name.n > 0)
		return STEP_NEXT;
	for (size_t i = 0; i < req->headers.n; i++) {
		const struct http_header *h = &req->headers.h[i];

		if (!is_impersonation(h))
			continue;
		n++;
		if (!json_utf8_valid(h->value))
			return api_fail(req, ERR_BAD_REQUEST, "header %.*s: its value is not UTF-8", STR_FMT(h->name));
	}
	if (n == 0)
		return STEP_NEXT;
	if (name.n == 0)
		return api_fail(req, ERR_BAD_REQUEST,
				"impersonation of groups, uid or extra attributes needs the header Impersonate-User too");
	r = may_be_user(req, name);
	u.groups = arena_new_array(&req->arena, struct str, n + 3);
	u.extra = arena_new_array(&req->arena, struct api_extra, n);
	for (size_t i = 0; r == STEP_NEXT && i < req->headers.n; i++)
		if (is_impersonation(&req->headers.h[i]))
			r = take_header(req, &req->headers.h[i], &u);
	if (r != STEP_NEXT)
		return r;
	standing_groups(&req->arena, &u, u.n_groups > 0);
	req->real_user = req->user;
	req->user = u;
	req->fresh = false;
	return STEP_NEXT;
}
