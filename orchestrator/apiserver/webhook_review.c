/* The question to a webhook: an AdmissionReview of a request. */
#include "base/clock.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/webhooks-priv.h"
#include "proto/resource.h"
#include "proto/schema.h"

static struct json *gvk(struct arena *a, struct str group, struct str version, const char *key, struct str last)
{
	struct json *o = json_new_object(a);

	json_setc(a, o, "group", json_new_str(a, group));
	json_setc(a, o, "version", json_new_str(a, version));
	json_setc(a, o, key, json_new_str(a, last));
	return o;
}

static struct json *kind_of(struct arena *a, struct str api_version, struct str kind)
{
	struct str group, version;

	if (!str_cut(api_version, '/', &group, &version)) {
		group = STR("");
		version = api_version;
	}
	return gvk(a, group, version, "kind", kind);
}

static struct json *user_info(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *u = json_new_object(a), *groups = json_new_array(a), *extra = json_new_object(a);

	json_setc(a, u, "username", json_new_str(a, req->user.name));
	if (req->user.uid.n > 0)
		json_setc(a, u, "uid", json_new_str(a, req->user.uid));
	for (size_t i = 0; i < req->user.n_groups; i++)
		json_push(a, groups, json_new_str(a, req->user.groups[i]));
	json_setc(a, u, "groups", groups);
	for (size_t i = 0; i < req->user.n_extra; i++) {
		struct json *list = json_get(extra, req->user.extra[i].key);

		if (!list) {
			list = json_new_array(a);
			json_set(a, extra, req->user.extra[i].key, list);
		}
		json_push(a, list, json_new_str(a, req->user.extra[i].value));
	}
	if (json_len(extra) > 0)
		json_setc(a, u, "extra", extra);
	return u;
}

static struct json *options(struct api_request *req, enum webhook_op op)
{
	struct arena *a = &req->arena;
	struct json *o = op == WEBHOOK_CONNECT ? json_new_null(a) : op == WEBHOOK_DELETE ? json_copy(a, req->sent) : json_new_object(a);
	const char *kind = op == WEBHOOK_DELETE		   ? "DeleteOptions" :
			   op == WEBHOOK_CREATE		   ? "CreateOptions" :
			   req->at.verb == API_PATCH	   ? "PatchOptions" :
							     "UpdateOptions";

	if (op == WEBHOOK_CONNECT)
		return o;
	json_setc(a, o, "kind", json_newc(a, kind));
	json_setc(a, o, "apiVersion", json_newc(a, "meta.k8s.io/v1"));
	if (op != WEBHOOK_DELETE && req->opt.field_manager.n > 0)
		json_setc(a, o, "fieldManager", json_new_str(a, req->opt.field_manager));
	if (req->opt.dry_run) {
		struct json *all = json_new_array(a);

		json_push(a, all, json_newc(a, "All"));
		json_setc(a, o, "dryRun", all);
	}
	return o;
}

struct json *admit_request_json(struct api_request *req, const struct admit_question *q)
{
	static const char *const ops[] = {[WEBHOOK_CREATE] = "CREATE", [WEBHOOK_UPDATE] = "UPDATE", [WEBHOOK_DELETE] = "DELETE",
			[WEBHOOK_CONNECT] = "CONNECT"};
	struct arena *a = &req->arena;
	struct json *r = json_new_object(a);
	struct str name = req->at.name.n > 0 ? req->at.name : api_name(q->obj);
	/* What was asked of the server, in the request's own version. */
	const char *asked_kind = req->special ? req->special->kind : api_view_kind(req);
	const char *asked_version = req->special				     ? req->special->api_version :
				    req->as_it_lies && !req->subres ? req->asked->api_version :
								      api_view_version(req);

	json_setc(a, r, "kind", kind_of(a, str_from(q->api_version), str_from(q->kind)));
	json_setc(a, r, "resource", gvk(a, str_from(q->res->group), str_from(q->res->version), "resource", req->at.resource));
	json_setc(a, r, "requestKind", kind_of(a, str_from(asked_version), str_from(asked_kind)));
	json_setc(a, r, "requestResource", gvk(a, req->at.group, req->at.version, "resource", req->at.resource));
	if (req->at.sub.n > 0) {
		json_setc(a, r, "subResource", json_new_str(a, req->at.sub));
		json_setc(a, r, "requestSubResource", json_new_str(a, req->at.sub));
	}
	json_setc(a, r, "name", json_new_str(a, name));
	if (admit_namespace(req).n > 0)
		json_setc(a, r, "namespace", json_new_str(a, admit_namespace(req)));
	json_setc(a, r, "operation", json_newc(a, ops[q->op]));
	json_setc(a, r, "userInfo", user_info(req));
	json_setc(a, r, "dryRun", json_new_bool(a, req->opt.dry_run));
	json_setc(a, r, "options", options(req, q->op));
	return r;
}

struct str webhook__review(struct api_request *req, const struct webhook *h, const struct admit_question *q, const char *uid)
{
	struct arena *a = &req->arena;
	struct json *doc = json_new_object(a), *r = admit_request_json(req, q), *null = json_new_null(a);

	json_setc(a, doc, "kind", json_newc(a, "AdmissionReview"));
	json_setc(a, doc, "apiVersion", json_newc(a, h->v1beta1 ? "admission.k8s.io/v1beta1" : "admission.k8s.io/v1"));
	json_setc(a, r, "uid", json_newc(a, uid));
	json_setc(a, r, "object", q->obj ? q->obj : null);
	json_setc(a, r, "oldObject", q->old ? q->old : null);
	json_setc(a, doc, "request", r);
	return json_text(a, doc);
}
