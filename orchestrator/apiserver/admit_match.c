#include "orchestrator/apiserver/admit_match.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/convert.h"
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

/* The version of the request's resource that the rules name: its own, or another of the same kind; NULL: none. */
static const struct resource *resource_for(const struct api_request *req, const struct webhook_match *h, enum webhook_op op)
{
	struct webhook_target t = {.op = op, .resource = req->at.resource, .sub = req->at.sub, .group = str_from(req->res->group),
			.version = str_from(req->res->version), .name = req->at.name.n > 0 ? req->at.name : api_name(req->special ? req->sent : req->obj),
			.namespaced = req->res->namespaced};

	if (webhook_rules_match(h, &t))
		return req->res;
	if (h->exact || req->special)
		return NULL;
	t.any_version = req->res->custom;
	if (t.any_version)
		return webhook_rules_match(h, &t) ? req->res : NULL;
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

/* A document as clients see it, in the version of `res`. */
static struct json *view_of(struct api_request *req, const struct resource *res, struct json *doc)
{
	struct json *view;

	if (!doc)
		return NULL;
	view = json_copy(&req->arena, doc);
	if (req->special)
		return view;
	if (req->subres && req->subres->to_view)
		view = req->subres->to_view(req, view);
	else if (res != req->res)
		view = convert_from_storage(&req->arena, res, convert_to_storage(&req->arena, req->res, view));
	if (req->old_rv != 0)
		json_setc(&req->arena, api_meta(&req->arena, view), "resourceVersion",
				json_newf(&req->arena, "%llu", (unsigned long long)req->old_rv));
	return view;
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
	enum step_result r;
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
	ret->obj = view_of(req, res, obj);
	ret->old = view_of(req, res, old);
	ret->kind = req->special ? req->special->kind : api_view_kind(req);
	ret->api_version = req->special	    ? req->special->api_version :
			   res == req->res ? api_view_version(req) :
					     res->api_version;
	return STEP_NEXT;
}

struct json *admit_answer(struct api_request *req, const struct admit_question *q, struct json *doc)
{
	if (q->res != req->res)
		doc = convert_from_storage(&req->arena, req->res, convert_to_storage(&req->arena, q->res, doc));
	return api_normalize(req, req->special ? req->special : api_view_type(req), &doc) == STEP_NEXT ? doc : NULL;
}
