/* The scale subresource: the number of replicas of workloads (and where a custom resource says it is) as an autoscaling/v1 Scale. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategies.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "proto/selector.h"

struct json *strategy_scale_to_view(struct api_request *req, struct json *obj)
{
	static const char *const copied[] = {"name", "namespace", "uid", "creationTimestamp"};
	const struct custom *c = req->res->custom;
	struct arena *a = &req->arena;
	struct json *view = json_new_object(a), *meta = json_new_object(a), *v;
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct selector sel;

	json_setc(a, view, "kind", json_newc(a, "Scale"));
	json_setc(a, view, "apiVersion", json_newc(a, "autoscaling/v1"));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		v = json_getc(json_getc(obj, "metadata"), copied[i]);
		if (v)
			json_setc(a, meta, copied[i], v);
	}
	json_setc(a, view, "metadata", meta);
	v = json_getp(obj, c ? c->spec_replicas : "spec.replicas");
	json_setp(a, view, "spec.replicas", json_new_int(a, json_i64_or(v, 0)));
	v = json_getp(obj, c ? c->status_replicas : "status.replicas");
	json_setp(a, view, "status.replicas", json_new_int(a, json_i64_or(v, 0)));
	if (c) {
		v = c->label_selector ? json_getp(obj, c->label_selector) : NULL;
		if (json_is(v, JSON_STRING))
			json_setp(a, view, "status.selector", v);
		return view;
	}
	/* That of a ReplicationController is a map of labels, those of the others are such selectors. */
	v = json_getp(obj, "spec.selector");
	if (strcmp(req->res->plural, "replicationcontrollers") == 0) {
		struct json *labels = json_new_object(a);

		json_setc(a, labels, "matchLabels", v ? v : json_new_object(a));
		v = labels;
	}
	if (selector_from_json(a, v, &sel, NULL) == 0 && !sel.nothing) {
		selector_print(&text, &sel);
		json_setp(a, view, "status.selector", json_new_str(a, buf_str(&text)));
	}
	return view;
}

enum step_result strategy_scale_from_view(struct api_request *req, struct json *view)
{
	int64_t n = json_i64_or(json_getp(view, "spec.replicas"), 0);

	if (n < 0) {
		req->fail.has_details = true;
		req->fail.name = req->at.name;
		req->fail.group = STR("autoscaling");
		req->fail.kind = STR("Scale");
		return api_fail(req, ERR_INVALID,
				"Scale.autoscaling \"%.*s\" is invalid: spec.replicas: Invalid value: %lld: must be greater "
				"than or equal to 0",
				STR_FMT(req->at.name), (long long)n);
	}
	req->obj = json_copy(&req->arena, req->old);
	json_setp(&req->arena, req->obj, req->res->custom ? req->res->custom->spec_replicas : "spec.replicas", json_new_int(&req->arena, n));
	return STEP_NEXT;
}
