#include "orchestrator/apiserver/admit_match.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/convert.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "proto/schema.h"

struct str admit_namespace(const struct api_request *req)
{
	return strcmp(req->res->plural, "namespaces") == 0 && req->res->group[0] == '\0' ? req->at.name : req->at.ns;
}

bool admit_exempt(const struct api_request *req)
{
	static const char *const plurals[] = {"mutatingwebhookconfigurations", "validatingwebhookconfigurations",
			"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies",
			"mutatingadmissionpolicybindings"};

	if (strcmp(req->res->group, "admissionregistration.k8s.io") != 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(plurals); i++)
		if (strcmp(req->res->plural, plurals[i]) == 0)
			return true;
	return false;
}

bool admit_is_review(const struct api_request *req)
{
	static const char *const groups[] = {"authentication.k8s.io", "authorization.k8s.io"};

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (str_eqc(req->at.group, groups[i]))
			return true;
	return false;
}

/* Another version of the custom resource that the rules name; the one in which the object lies before those that cost a conversion. */
static const struct resource *version_for(const struct api_request *req, const struct webhook_match *h, struct webhook_target *t)
{
	const struct custom_def *d = req->custom_def;

	t->version = str_from(req->res->version);
	if (webhook_rules_match(h, t))
		return req->res;
	for (size_t i = 0; i < d->n_known; i++) {
		t->version = str_from(d->versions[i].res.version);
		if (webhook_rules_match(h, t))
			return &d->versions[i].res;
	}
	return NULL;
}

/* The version of the request's resource that the rules name: its own, or another of the same kind; NULL: none. */
static const struct resource *resource_for(const struct api_request *req, const struct webhook_match *h, enum webhook_op op)
{
	const struct resource *own = req->asked ? req->asked : req->res;
	struct webhook_target t = {.op = op, .resource = req->at.resource, .sub = req->at.sub, .group = str_from(own->group),
			.version = str_from(own->version), .name = req->at.name.n > 0 ? req->at.name : api_name(req->special ? req->sent : req->obj),
			.namespaced = own->namespaced};

	if (webhook_rules_match(h, &t))
		return own;
	if (h->exact || req->special)
		return NULL;
	if (own->custom)
		return version_for(req, h, &t);
	if (req->at.sub.n > 0 && !str_eqc(req->at.sub, "status"))
		return NULL;
	RESOURCE_FOR_EACH (r) {
		if (r == req->res || resource_storage(r) != resource_storage(req->res) || strcmp(r->plural, req->res->plural) != 0)
			continue;
		t.group = str_from(r->group);
		t.version = str_from(r->version);
		if (webhook_rules_match(h, &t))
			return r;
	}
	return NULL;
}

/* The labels of the namespace: what is asked about where it is one, else the stored one's. */
static enum step_result namespace_matches(struct api_request *req, const struct webhook_match *h, bool *ret)
{
	bool itself = req->res->group[0] == '\0' && strcmp(req->res->plural, "namespaces") == 0;
	struct json *ns = req->obj && !req->special ? req->obj : req->old;
	enum step_result r;

	*ret = true;
	if (webhook_is_everything(&h->namespaces) || (!itself && !req->res->namespaced))
		return STEP_NEXT;
	if (!itself) {
		r = admission_object(req, "", "namespaces", STR_NULL, req->at.ns, &ns);
		if (r != STEP_NEXT)
			return r;
		if (!ns)
			return api_fail_not_found(req, resource_find("", "v1", "namespaces"), req->at.ns);
	}
	*ret = selector_matches_json(&h->namespaces, json_getp(ns, "metadata.labels"));
	return STEP_NEXT;
}

/* From one version of the request's kind to another. ERR_PENDING: a conversion is wanted first (convert_aside). */
static int turn(struct api_request *req, const struct resource *from, const struct resource *to, struct json **io, struct err *e)
{
	if (from == to || (req->subres && req->subres->to_view))
		return 0;
	if (from->custom)
		return custom_convert(&req->arena, from->custom, to->custom, *io, convert_asides(req), io, e);
	*io = convert_from_storage(&req->arena, to, convert_to_storage(&req->arena, from, *io));
	return 0;
}

/* A document as clients see it, in the version of `res`; likewise. */
static int view_of(struct api_request *req, const struct resource *res, struct json *doc, struct json **ret, struct err *e)
{
	struct json *view;
	int r = 0;

	if (!doc)
		return 0;
	view = json_copy(&req->arena, doc);
	if (req->subres && req->subres->to_view && !req->special)
		view = req->subres->to_view(req, view);
	else if (!req->special)
		r = turn(req, req->res, res, &view, e);
	if (r == 0 && !req->special && req->old_rv != 0)
		json_setc(&req->arena, api_meta(&req->arena, view), "resourceVersion",
				json_newf(&req->arena, "%llu", (unsigned long long)req->old_rv));
	*ret = view;
	return r;
}

/* Asks for the conversions that are wanted. What they are made from stays as it is meanwhile: a name that was generated, a time. */
static enum step_result convert_first(struct api_request *req, const char **ret_why)
{
	webhooks_policies(req, true);
	return convert_aside(req, ret_why);
}

static enum webhook_op hook_op(enum admission_op op)
{
	return op == ADMIT_CREATE ? WEBHOOK_CREATE : op == ADMIT_UPDATE ? WEBHOOK_UPDATE : op == ADMIT_CONNECT ? WEBHOOK_CONNECT : WEBHOOK_DELETE;
}

enum step_result admit_question(struct api_request *req, enum admission_op op, const struct webhook_match *m, bool full, struct admit_question *ret)
{
	struct json *obj = req->special ? req->sent : op == ADMIT_DELETE ? NULL : req->obj;
	struct json *old = op == ADMIT_CREATE || req->special ? NULL : req->old;
	const struct resource *res = resource_for(req, m, hook_op(op));
	struct err e = ERR_INIT;
	enum step_result r;
	int a, b;
	bool fits;

	*ret = (struct admit_question){.op = hook_op(op)};
	if (!res || !webhook_objects_match(m, obj, old))
		return STEP_NEXT;
	r = namespace_matches(req, m, &fits);
	if (r != STEP_NEXT || !fits)
		return r;
	ret->res = res;
	if (!full)
		return STEP_NEXT;
	a = view_of(req, res, obj, &ret->obj, &e);
	b = view_of(req, res, old, &ret->old, &e);
	ret->kind = req->special ? req->special->kind : api_view_kind(req);
	ret->api_version = req->special	    ? req->special->api_version :
			   res == req->res || (req->subres && req->subres->to_view) ? api_view_version(req) :
					     res->api_version;
	if (a == -ERR_PENDING || b == -ERR_PENDING)
		return convert_first(req, &ret->unconverted);
	return a < 0 || b < 0 ? api_fail_err(req, &e) : STEP_NEXT;
}

enum step_result admit_answer(struct api_request *req, const struct admit_question *q, struct json *doc, struct json **ret)
{
	struct err e = ERR_INIT;
	const char *why;
	enum step_result r;

	*ret = doc;
	if (turn(req, q->res, req->res, ret, &e) == 0)
		return api_normalize(req, req->special ? req->special : api_view_type(req), ret);
	if (e.code != ERR_PENDING)
		return api_fail_err(req, &e);
	r = convert_first(req, &why);
	return r == STEP_WAIT ? r : api_fail(req, ERR_INTERNAL, "%s", why);
}
