#include "orchestrator/apiserver/managed.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/write.h"
#include "proto/custom.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/fieldmanager.h"
#include "proto/json.h"
#include "proto/resource.h"

#define MANAGER_MAX 128u

/* --- Names --------------------------------------------------------------------------------------------------------------- */

static struct str manager_name(struct api_request *req)
{
	struct str agent = http_header_get(&req->headers, "user-agent"), name, rest;

	if (req->opt.field_manager.n > 0)
		return req->opt.field_manager;
	str_cut(agent, '/', &name, &rest);
	return arena_str(&req->arena, str_sub(name, 0, MIN(name.n, MANAGER_MAX)));
}

static struct fieldmanager manager_of(struct api_request *req)
{
	char *now = arena_alloc(&req->arena, CLOCK_RFC3339_SIZE);

	clock_rfc3339(clock_wall_s(), now);
	return (struct fieldmanager){
			.a = &req->arena,
			.type = resource_type(req->res),
			.api_version = req->res->api_version,
			.manager = manager_name(req),
			.subresource = req->at.sub,
			.now = str_from(now),
			.without_status = !req->strat->no_status && !str_eqc(req->at.sub, "status"),
	};
}

/* What may stand in a name: Go's unicode.IsPrint, for what has no letters beyond ASCII. */
static bool printable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return json_utf8_valid(s);
}

enum step_result managed_check_options(struct api_request *req)
{
	struct field_path manager = field_child(NULL, "fieldManager"), force = field_child(NULL, "force");
	bool apply = req->at.verb == API_PATCH && req->patch_type == PATCH_APPLY;
	struct str name = req->opt.field_manager;
	struct field_errs errs;
	static const char *const kinds[] = {[API_CREATE] = "CreateOptions", [API_UPDATE] = "UpdateOptions",
			[API_PATCH] = "PatchOptions"};

	field_errs_init(&errs, &req->arena);
	if (apply && name.n == 0)
		field_required(&errs, &manager, "is required for apply patch");
	if (!apply && req->at.verb == API_PATCH && req->opt.force_set)
		field_forbidden(&errs, &force, "may not be specified for non-apply patch");
	if (name.n > MANAGER_MAX)
		field_too_long(&errs, &manager, MANAGER_MAX);
	else if (!printable(name))
		field_invalid(&errs, &manager, json_new_str(&req->arena, name), "should only contain printable characters");
	if (errs.n == 0)
		return STEP_NEXT;
	return api_fail_invalid_as(req, "meta.k8s.io", kinds[req->at.verb], &errs);
}

/* --- Updates ----------------------------------------------------------------------------------------------------------------- */

void managed_track(struct api_request *req)
{
	struct fieldmanager fm = manager_of(req);

	if (!req->applied)
		fieldmanager_update(&fm, req->old, req->obj);
}

void managed_keep_times(struct api_request *req)
{
	struct json *meta = json_getc(req->obj, "metadata"), *new = json_getc(meta, "managedFields");
	struct json *old = json_getp(req->old, "metadata.managedFields");

	if (!new || !old || json_equal(new, old) || !fieldmanager_same_but_time(new, old))
		return;
	json_setc(&req->arena, meta, "managedFields", old);
	if (!json_equal(req->obj, req->old))
		json_setc(&req->arena, meta, "managedFields", new);
}

/* --- Apply ------------------------------------------------------------------------------------------------------------------- */

static enum step_result conflict(struct api_request *req, const struct fieldmanager_conflicts *c)
{
	struct str text = fieldmanager_conflict_text(&req->arena, c);

	req->fail.has_details = true;
	req->fail.causes = arena_new_array(&req->arena, struct api_cause, c->n);
	req->fail.n_causes = c->n;
	for (size_t i = 0; i < c->n; i++) {
		req->fail.causes[i].reason = STR("FieldManagerConflict");
		req->fail.causes[i].message = arena_sprintf(&req->arena, "conflict with %.*s", STR_FMT(c->v[i].manager));
		req->fail.causes[i].field = c->v[i].field;
	}
	return api_fail(req, ERR_CONFLICT, "%.*s", STR_FMT(text));
}

/* The members of a configuration that this endpoint takes. */
static struct json *only(struct api_request *req, struct json *config, const char *keep, const char *drop)
{
	struct json *out = json_new_object(&req->arena);

	JSON_MEMBERS (m, config) {
		bool frame = str_eqc(m->key, "apiVersion") || str_eqc(m->key, "kind") || str_eqc(m->key, "metadata");

		if (frame || (keep ? str_eqc(m->key, keep) : !str_eqc(m->key, drop)))
			json_set(&req->arena, out, m->key, m->value);
	}
	return out;
}

/* The configuration as one of the object itself. */
static enum step_result object_config(struct api_request *req, struct json **ret)
{
	struct arena *a = &req->arena;
	struct str version = json_str(json_getc(req->sent, "apiVersion")), kind = json_str(json_getc(req->sent, "kind"));
	struct json *config, *n;

	if (kind.n == 0 || version.n == 0)
		return api_fail(req, ERR_BAD_REQUEST, "the applied configuration must have apiVersion and kind");
	if (!str_eqc(kind, api_view_kind(req)))
		return api_fail(req, ERR_BAD_REQUEST, "the kind of the applied configuration (%.*s) does not match the expected kind (%s)",
				STR_FMT(kind), api_view_kind(req));
	if (!str_eqc(req->at.sub, "scale")) {
		*ret = req->at.sub.n == 0 && req->strat->no_status ? req->sent
		       : str_eqc(req->at.sub, "status")		     ? only(req, req->sent, "status", NULL)
								     : only(req, req->sent, NULL, "status");
		return STEP_NEXT;
	}
	if (!str_eqc(version, "autoscaling/v1"))
		return api_fail(req, ERR_BAD_REQUEST,
				"Incorrect version specified in apply patch. Specified patch version: %.*s, expected: autoscaling/v1",
				STR_FMT(version));
	config = json_new_object(a);
	json_setc(a, config, "apiVersion", json_newc(a, req->res->api_version));
	json_setc(a, config, "kind", json_newc(a, req->res->kind));
	n = json_getp(req->sent, "spec.replicas");
	if (n)
		json_setp(a, config, req->res->custom ? req->res->custom->spec_replicas : "spec.replicas", n);
	*ret = config;
	return STEP_NEXT;
}

static enum step_result run(struct api_request *req, struct json *live, struct json **ret)
{
	struct fieldmanager fm = manager_of(req);
	struct fieldmanager_conflicts conflicts;
	struct err e = ERR_INIT;
	struct json *config = NULL;
	struct str why;
	enum step_result r = object_config(req, &config);

	if (r != STEP_NEXT)
		return r;
	if (fieldmanager_apply(&fm, live, config, req->opt.force, ret, &conflicts, &why, &e) < 0) {
		if (conflicts.n > 0)
			return conflict(req, &conflicts);
		if (why.n > 0) {
			req->fail.reason = "";
			return api_fail(req, ERR_INTERNAL, "%.*s", STR_FMT(why));
		}
		return api_fail_err(req, &e);
	}
	req->applied = true;
	/* Keys that came twice are told when all else is well. */
	if (req->n_strict > 0 && req->opt.field_validation == FIELDS_STRICT)
		return api_fail(req, ERR_BAD_REQUEST, "%.*s", STR_FMT(req->strict[0]));
	for (size_t i = 0; i < req->n_strict && req->opt.field_validation == FIELDS_WARN; i++)
		api_warn(req, "%.*s", STR_FMT(req->strict[i]));
	req->n_strict = 0;
	return api_normalize(req, fm.type, ret);
}

enum step_result managed_apply(struct api_request *req)
{
	struct json *merged, *managed;
	enum step_result r;

	/* What an earlier try said counts no more. */
	req->applied = false;
	r = run(req, req->old, &merged);
	if (r != STEP_NEXT)
		return r;
	if (str_eqc(req->at.sub, "status") || str_eqc(req->at.sub, "scale")) {
		req->obj = merged;
		return STEP_NEXT;
	}
	managed = json_getp(merged, "metadata.managedFields");
	r = api_take_view(req, merged);
	if (r == STEP_NEXT && managed)
		json_setp(&req->arena, req->obj, "metadata.managedFields", managed);
	return r;
}

enum step_result managed_apply_new(struct api_request *req)
{
	static const struct api_step program[] = {{"load", api__load_parent}, {"lease", api__lease},
			{"prepare", api__prepare_create}, {"commit", api__commit}, {"encode", api__encode_written}, {NULL, NULL}};
	struct str uid = json_strp(req->sent, "metadata.uid");
	struct authz_attrs attrs = authz_attrs_of(req);
	struct authz_answer answer;
	struct json *merged;
	enum step_result r;

	if (uid.n > 0)
		return api_fail_conflict(req, req->res, req->at.name,
				arena_printf(&req->arena, "uid mismatch: the provided object specified uid %.*s, and no existing object was found",
						STR_FMT(uid)));
	attrs.verb = STR("create");
	r = authz_decide(req, &req->user, &attrs, false, &answer);
	if (r != STEP_NEXT || !answer.allowed)
		return r != STEP_NEXT ? r : authz_forbid(req, &req->user, &attrs, answer.reason);
	r = run(req, NULL, &merged);
	if (r != STEP_NEXT)
		return r;
	req->config = req->sent;
	req->sent = merged;
	req->ok_status = 201;
	return api_program(req, program);
}

enum step_result managed_apply_again(struct api_request *req)
{
	static const struct api_step program[] = {{"load", api__load}, {"lease", api__lease}, {"merge", api__patch_apply},
			{"prepare", api__prepare_update}, {"commit", api__commit}, {"encode", api__encode_written}, {NULL, NULL}};

	req->sent = TAKE(req->config);
	req->ok_status = 0;
	req->uid[0] = '\0';
	return api_program(req, program);
}
