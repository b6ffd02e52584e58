/* Workloads that no Deployment makes: daemon sets, stateful sets, replication controllers, and what they remember. */
#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

/* ---- daemon sets ---- */

static void daemon_strategy(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const types[] = {"RollingUpdate", "OnDelete", NULL};
	struct field_path path = field_child(up, "updateStrategy"), rolling = field_child(&path, "rollingUpdate"),
			  unavailable = field_child(&rolling, "maxUnavailable"), surge = field_child(&rolling, "maxSurge");
	const struct json *s = json_getc(spec, "updateStrategy"), *r = json_getc(s, "rollingUpdate"),
			  *u = json_getc(r, "maxUnavailable"), *more = json_getc(r, "maxSurge");

	if (json_eqc(json_getc(s, "type"), "OnDelete"))
		return;
	if (!json_eqc(json_getc(s, "type"), "RollingUpdate")) {
		field_not_supported(e, &path, json_str(json_getc(s, "type")), types);
		return;
	}
	if (json_is_null(r)) {
		field_required(e, &rolling, "");
		return;
	}
	validate__part_of_all(e, &unavailable, u);
	validate__part_of_all(e, &surge, more);
	if (!validate__is_zero(u) && !validate__is_zero(more))
		field_err_add(e, &surge, FIELD_INVALID, "Invalid value: %s: may not be set when maxUnavailable is non-zero",
			validate__go_int_or_string(e->arena, more));
	else if (validate__is_zero(u) && validate__is_zero(more))
		field_required(e, &unavailable, "cannot be 0 when maxSurge is 0");
}

void validate__daemon_set(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec");
	const struct json *spec = json_getc(c->obj, "spec");

	if (c->sub[0] != '\0')
		return;
	validate__template_and_selector(c->errs, &path, spec, "daemonset", "DaemonSet");
	validate__nonneg(c->errs, &path, spec, "minReadySeconds");
	daemon_strategy(c->errs, &path, spec);
	validate__nonneg(c->errs, &path, spec, "revisionHistoryLimit");
	validate__selector_update(c, &path);
}

/* ---- stateful sets ---- */

static void stateful_strategy(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path path = field_child(up, "updateStrategy"), rolling = field_child(&path, "rollingUpdate"),
			  unavailable = field_child(&rolling, "maxUnavailable");
	const struct json *s = json_getc(spec, "updateStrategy"), *r = json_getc(s, "rollingUpdate");
	struct str type = json_str(json_getc(s, "type"));

	if (type.n == 0) {
		field_required(e, &path, "");
	} else if (str_eqc(type, "OnDelete")) {
		if (!json_is_null(r))
			field_invalid(e, &rolling, r, "only allowed for updateStrategy 'RollingUpdate'");
	} else if (str_eqc(type, "RollingUpdate")) {
		validate__nonneg(e, &rolling, r, "partition");
		validate__part_of_all(e, &unavailable, json_getc(r, "maxUnavailable"));
		if (!json_is_null(json_getc(r, "maxUnavailable")) && validate__is_zero(json_getc(r, "maxUnavailable")))
			field_err_add(e, &unavailable, FIELD_INVALID, "Invalid value: %s: cannot be 0",
				validate__go_int_or_string(e->arena, json_getc(r, "maxUnavailable")));
	} else {
		field_invalid(e, &path, s, "must be 'RollingUpdate' or 'OnDelete'");
	}
}

static void retention(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const keys[] = {"whenDeleted", "whenScaled"};
	static const char *const values[] = {"Retain", "Delete", NULL};
	struct field_path path = field_child(up, "persistentVolumeClaimRetentionPolicy");
	const struct json *p = json_getc(spec, "persistentVolumeClaimRetentionPolicy");

	for (size_t i = 0; !json_is_null(p) && i < ARRAY_LEN(keys); i++)
		validate__one_of(e, &path, p, keys[i], values);
}

static void stateful_update(const struct validate__ctx *c, const struct field_path *path)
{
	static const char *const open[] = {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
		"persistentVolumeClaimRetentionPolicy", "minReadySeconds"};
	struct json *now = json_copy(c->errs->arena, json_getc(c->obj, "spec")),
		    *was = json_copy(c->errs->arena, json_getc(c->old, "spec"));

	for (size_t i = 0; i < ARRAY_LEN(open); i++) {
		json_delc(now, open[i]);
		json_delc(was, open[i]);
	}
	if (!json_equal(now, was))
		field_forbidden(c->errs, path,
			"updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
			"'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
			"'minReadySeconds' are forbidden");
}

/* The spec as its pods will have it: with a volume for each claim template, which takes the place of one of the same name. */
static const struct json *with_claims(struct arena *a, const struct json *spec)
{
	struct json *copy, *pod, *volumes;

	if (json_len(json_getc(spec, "volumeClaimTemplates")) == 0 || !json_is(json_getp(spec, "template.spec"), JSON_OBJECT))
		return spec;
	copy = json_copy(a, spec);
	pod = json_getp(copy, "template.spec");
	volumes = json_new_array(a);
	JSON_ITEMS (v, json_getc(pod, "volumes")) {
		bool replaced = false;

		JSON_ITEMS (t, json_getc(spec, "volumeClaimTemplates"))
			replaced = replaced || str_eq(json_str(json_getp(t, "metadata.name")), json_str(json_getc(v, "name")));
		if (!replaced)
			json_push(a, volumes, v);
	}
	JSON_ITEMS (t, json_getc(spec, "volumeClaimTemplates")) {
		struct json *v = json_new_object(a);

		json_setc(a, v, "name", json_new_str(a, json_str(json_getp(t, "metadata.name"))));
		json_setp(a, v, "persistentVolumeClaim.claimName", json_newc(a, "claim"));
		json_push(a, volumes, v);
	}
	json_setc(a, pod, "volumes", volumes);
	return copy;
}

void validate__stateful_set(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), ordinals = field_child(&path, "ordinals"),
			  management = field_child(&path, "podManagementPolicy");
	const struct json *spec = json_getc(c->obj, "spec");
	struct str policy = json_str(json_getc(spec, "podManagementPolicy"));

	if (c->sub[0] != '\0')
		return;
	if (policy.n == 0)
		field_required(c->errs, &management, "");
	else if (!str_eqc(policy, "OrderedReady") && !str_eqc(policy, "Parallel"))
		field_invalid_str(c->errs, &management, policy, "must be 'OrderedReady' or 'Parallel'");
	stateful_strategy(c->errs, &path, spec);
	retention(c->errs, &path, spec);
	validate__nonneg(c->errs, &path, spec, "replicas");
	validate__nonneg(c->errs, &path, spec, "minReadySeconds");
	validate__nonneg(c->errs, &ordinals, json_getc(spec, "ordinals"), "start");
	validate__nonneg(c->errs, &path, spec, "revisionHistoryLimit");
	validate__template_and_selector(c->errs, &path, with_claims(c->errs->arena, spec), "statefulset", "StatefulSet");
	if (c->old)
		stateful_update(c, &path);
}

/* ---- replication controllers ---- */

void validate__replication_controller(const struct validate__ctx *c)
{
	static const char *const always[] = {"Always", NULL};
	struct field_path path = field_child(NULL, "spec"), template = field_child(&path, "template"),
			  meta = field_child(&template, "metadata"), labels = field_child(&meta, "labels"),
			  pod = field_child(&template, "spec"), selector = field_child(&path, "selector");
	const struct json *spec = json_getc(c->obj, "spec"), *t = json_getc(spec, "template"),
			  *sel = json_getc(spec, "selector"), *have = json_getp(t, "metadata.labels");
	bool matches = true;

	if (c->sub[0] != '\0')
		return;
	validate__nonneg(c->errs, &path, spec, "minReadySeconds");
	if (json_len(sel) == 0)
		field_required(c->errs, &selector, "");
	validate__nonneg(c->errs, &path, spec, "replicas");
	if (json_is_null(t)) {
		field_required(c->errs, &template, "");
		return;
	}
	JSON_MEMBERS (m, sel)
		matches &= json_equal(m->value, json_get(have, m->key));
	if (json_len(sel) > 0 && !matches)
		field_err_add(c->errs, &labels, FIELD_INVALID,
			"Invalid value: %s: `selector` does not match template `labels`",
			validate__go_map(c->errs->arena, have));
	validate__template_meta(c->errs, &meta, json_getc(t, "metadata"));
	validate__pod_spec(c->errs, &pod, json_getc(t, "spec"), json_getc(t, "metadata"));
	if (json_eqc(json_getp(t, "spec.restartPolicy"), "Never") || json_eqc(json_getp(t, "spec.restartPolicy"), "OnFailure"))
		validate__one_of(c->errs, &pod, json_getc(t, "spec"), "restartPolicy", always);
	if (!json_is_null(json_getp(t, "spec.activeDeadlineSeconds")))
		validate__forbid(c->errs, &pod, "activeDeadlineSeconds",
			"activeDeadlineSeconds in ReplicationController is not Supported");
}

void validate__pod_template(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "template"), meta = field_child(&path, "metadata"),
			  spec = field_child(&path, "spec");
	const struct json *t = json_getc(c->obj, "template");

	validate__template_meta(c->errs, &meta, json_getc(t, "metadata"));
	validate__pod_spec(c->errs, &spec, json_getc(t, "spec"), json_getc(t, "metadata"));
}

void validate__controller_revision(const struct validate__ctx *c)
{
	if (json_is_null(json_getc(c->obj, "data")))
		validate__missing(c->errs, NULL, "data", "data is mandatory");
	validate__nonneg(c->errs, NULL, c->obj, "revision");
	if (c->old)
		validate__immutable(c->errs, NULL, c->obj, c->old, "data");
}
