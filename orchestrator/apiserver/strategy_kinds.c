/* What the server fills in by itself when objects of single kinds are made or changed. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/flow_default.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/tables.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"

static void add_finalizer(struct api_request *req, const char *name)
{
	struct arena *a = &req->arena;
	struct json *meta = api_meta(a, req->obj), *list = json_getc(meta, "finalizers");

	if (api_has_string(list, name))
		return;
	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setc(a, meta, "finalizers", list);
	}
	json_push(a, list, json_newc(a, name));
}

/* --- Volumes and claims: pending, and not removed while they are in use ----------------------------------------- */

enum step_result strategy_pv_create(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.phase", json_newc(&req->arena, "Pending"));
	json_setp(&req->arena, req->obj, "status.lastPhaseTransitionTime", api_now(&req->arena));
	add_finalizer(req, "kubernetes.io/pv-protection");
	return STEP_NEXT;
}

enum step_result strategy_pv_update(struct api_request *req)
{
	const struct json *was = json_getp(req->old, "status.phase"), *now = json_getp(req->obj, "status.phase");

	if (req->subres && !json_equal(was, now) &&
			json_equal(json_getp(req->old, "status.lastPhaseTransitionTime"),
					json_getp(req->obj, "status.lastPhaseTransitionTime")))
		json_setp(&req->arena, req->obj, "status.lastPhaseTransitionTime", api_now(&req->arena));
	return STEP_NEXT;
}

enum step_result strategy_pvc_create(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.phase", json_newc(&req->arena, "Pending"));
	add_finalizer(req, "kubernetes.io/pvc-protection");
	return STEP_NEXT;
}

/* --- Daemon sets: an old number of the template, kept as an annotation -------------------------------------------- */

#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

static void template_generation(struct api_request *req, int64_t n)
{
	struct json *notes = json_object_at(&req->arena, api_meta(&req->arena, req->obj), "annotations");

	if (notes)
		json_setc(&req->arena, notes, TEMPLATE_GENERATION, json_newf(&req->arena, "%lld", (long long)n));
}

static int64_t template_generation_of(const struct json *obj)
{
	int64_t n;

	return str_to_i64(json_str(json_getc(json_getp(obj, "metadata.annotations"), TEMPLATE_GENERATION)), &n) ? n : 0;
}

enum step_result strategy_daemon_set_create(struct api_request *req)
{
	template_generation(req, MAX(template_generation_of(req->obj), (int64_t)1));
	return STEP_NEXT;
}

enum step_result strategy_daemon_set_update(struct api_request *req)
{
	int64_t n = template_generation_of(req->old);

	if (!req->subres && !json_equal(json_getp(req->old, "spec.template"), json_getp(req->obj, "spec.template")))
		n++;
	template_generation(req, MAX(n, (int64_t)1));
	return STEP_NEXT;
}

/* --- Jobs: pods are told apart by the job's uid, unless the user wants to select them ------------------------------- */

static void set_label(struct api_request *req, struct json *labels, const char *key, const char *value)
{
	if (labels && !json_getc(labels, key))
		json_setc(&req->arena, labels, key, json_newc(&req->arena, value));
}

enum step_result strategy_job_create(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec"), *template = json_getc(spec, "template"), *meta, *labels, *sel;
	const char *name = json_cstr(json_getp(req->obj, "metadata.name"));

	if (!json_is(template, JSON_OBJECT) || json_true(json_getc(spec, "manualSelector")))
		return STEP_NEXT;
	meta = json_object_at(a, template, "metadata");
	labels = meta ? json_object_at(a, meta, "labels") : NULL;
	set_label(req, labels, "job-name", name);
	set_label(req, labels, "batch.kubernetes.io/job-name", name);
	set_label(req, labels, "controller-uid", req->uid);
	set_label(req, labels, "batch.kubernetes.io/controller-uid", req->uid);
	sel = json_object_at(a, spec, "selector");
	set_label(req, sel ? json_object_at(a, sel, "matchLabels") : NULL, "batch.kubernetes.io/controller-uid", req->uid);
	return STEP_NEXT;
}

/* --- Cron jobs ------------------------------------------------------------------------------------------------------- */

#define ZONES "/usr/share/zoneinfo"

/* A time zone is known when this machine has it; without the data of zones nothing can be said. Its syntax was checked. */
enum step_result strategy_cron_job_check(struct api_request *req)
{
	struct field_path spec = field_child(NULL, "spec"), path = field_child(&spec, "timeZone");
	struct str zone = json_strp(req->obj, "spec.timeZone");
	struct field_errs errs;

	if (zone.n == 0 || req->subres || str_eqc(zone, "UTC") || str_eq(zone, json_strp(req->old, "spec.timeZone")) ||
			access(ZONES, F_OK) < 0 || access(arena_printf(&req->arena, ZONES "/%.*s", STR_FMT(zone)), R_OK) == 0)
		return STEP_NEXT;
	field_errs_init(&errs, &req->arena);
	field_invalid_str(&errs, &path, zone, "unknown time zone %.*s", STR_FMT(zone));
	return api_fail_invalid(req, &errs);
}

/* --- Certificate signing requests: who asks is what the server saw -------------------------------------------------- */

enum step_result strategy_csr_create(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *spec = json_object_at(a, req->obj, "spec"), *groups = json_new_array(a);

	if (!spec)
		return STEP_NEXT;
	json_setc(a, spec, "username", json_new_str(a, req->user.name));
	json_delc(spec, "extra");
	json_delc(spec, "uid");
	if (req->user.uid.n > 0)
		json_setc(a, spec, "uid", json_new_str(a, req->user.uid));
	for (size_t i = 0; i < req->user.n_groups; i++)
		json_push(a, groups, json_new_str(a, req->user.groups[i]));
	json_setc(a, spec, "groups", groups);
	return STEP_NEXT;
}

enum step_result strategy_csr_update(struct api_request *req)
{
	json_setc(&req->arena, req->obj, "spec", json_getc(req->old, "spec"));
	return STEP_NEXT;
}

/* A request that nobody could sign is refused at once. */
enum step_result strategy_csr_check(struct api_request *req)
{
	struct field_path spec = field_child(NULL, "spec"), path = field_child(&spec, "request");
	struct str text = json_strp(req->obj, "spec.request"), pem;
	struct field_errs errs;
	struct x509_info info;
	struct err e = ERR_INIT;

	if (req->old)
		return STEP_NEXT;
	if (api_base64_decode(&req->arena, text, &pem) && x509_info_from_csr(pem, &req->arena, &info, &e) == 0)
		return STEP_NEXT;
	field_errs_init(&errs, &req->arena);
	field_invalid_str(&errs, &path, text, "%s", e.code ? e.text : "it is no base64");
	return api_fail_invalid(req, &errs);
}

/* The approval subresource changes the conditions alone. */
enum step_result strategy_csr_approval(struct api_request *req, struct json *view)
{
	struct json *conditions = json_getp(view, "status.conditions");

	req->obj = json_copy(&req->arena, req->old);
	if (conditions)
		json_setp(&req->arena, req->obj, "status.conditions", conditions);
	else
		json_delp(req->obj, "status.conditions");
	return STEP_NEXT;
}

/* --- Component statuses ----------------------------------------------------------------------------------------------- */

/* All parts run where the leader is: they are well when there is one. Old scripts still ask. */
static enum step_result component_statuses(struct api_request *req)
{
	static const char *const names[] = {"controller-manager", "etcd-0", "scheduler"};
	struct arena *a = &req->arena;
	struct json *list = json_new_array(a);
	struct kv_status *st = xmalloc(sizeof(*st));
	bool well;

	kv_status(req->srv->kv, st);
	well = st->role.leader_id != 0;
	free(st);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct json *s = json_new_object(a), *conditions = json_new_array(a), *c = json_new_object(a);

		if (req->at.name.n > 0 && !str_eqc(req->at.name, names[i]))
			continue;
		json_setc(a, s, "kind", json_newc(a, "ComponentStatus"));
		json_setc(a, s, "apiVersion", json_newc(a, "v1"));
		json_setp(a, s, "metadata.name", json_newc(a, names[i]));
		json_setc(a, c, "type", json_newc(a, "Healthy"));
		json_setc(a, c, "status", json_newc(a, well ? "True" : "False"));
		json_setc(a, c, "message", json_newc(a, well ? "ok" : "no leader"));
		json_push(a, conditions, c);
		json_setc(a, s, "conditions", conditions);
		json_push(a, list, s);
	}
	api_warn(req, "v1 ComponentStatus is deprecated in v1.19+");
	return api_answer_made(req, list);
}

const struct api_step strategy_component_statuses[] = {{"answer", component_statuses}, {NULL, NULL}};

/* --- flowcontrol ------------------------------------------------------------------------------------------------------------- */

/* Mandatory ones are as they are, but for the seats of the exempt level. */
enum step_result strategy_flow_check(struct api_request *req)
{
	struct field_path path = field_child(NULL, "spec");
	struct field_errs errs;
	struct flow_default d;

	if (req->subres)
		return STEP_NEXT;
	field_errs_init(&errs, &req->arena);
	for (size_t pos = 0; flow_default_next(&req->arena, &pos, &d);) {
		const struct json *spec = json_getc(req->obj, "spec"), *right;

		if (!d.mandatory || strcmp(d.plural, req->res->plural) != 0 || !str_eqc(api_name(req->obj), d.name))
			continue;
		right = flow_default_merge(&req->arena, &d, req->obj);
		if (right && !json_equal(json_getc(right, "spec"), spec))
			field_invalid(&errs, &path, spec, json_eqc(json_getc(spec, "type"), "Exempt") ?
					"spec of '%s' except the 'spec.exempt' field must equal the fixed value" : "spec of '%s' must equal the fixed value", d.name);
	}
	return errs.n > 0 ? api_fail_invalid(req, &errs) : STEP_NEXT;
}
