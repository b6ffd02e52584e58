#include <string.h>

#include "base/util.h"
#include "proto/selector.h"
#include "proto/validate-priv.h"

const char *validate__go_selector(struct arena *a, const struct json *sel)
{
	struct buf b = BUF_INIT;
	const char *text;
	bool first = true;

	buf_printf(&b,
		"v1.LabelSelector{MatchLabels:%s, MatchExpressions:[]v1.LabelSelectorRequirement",
		validate__go_map(a, json_getc(sel, "matchLabels")));
	if (json_len(json_getc(sel, "matchExpressions")) == 0)
		buf_addc(&b, "(nil)");
	else
		buf_add1(&b, '{');
	JSON_ITEMS (x, json_getc(sel, "matchExpressions")) {
		buf_printf(&b,
			"%sv1.LabelSelectorRequirement{Key:\"%s\", Operator:\"%s\", "
			"Values:[]string{",
			first ? "" : ", ", json_cstr(json_getc(x, "key")),
			json_cstr(json_getc(x, "operator")));
		for (size_t i = 0; i < json_len(json_getc(x, "values")); i++)
			buf_printf(&b, "%s\"%s\"", i ? ", " : "",
				json_cstr(json_at(json_getc(x, "values"), i)));
		buf_addc(&b, "}}");
		first = false;
	}
	buf_addc(&b, first ? "}" : "}}");
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

/* The template of pods that a controller keeps alive, and the selector that must find them. */
void validate__template_and_selector(struct field_errs *e, const struct field_path *path,
	const struct json *spec, const char *what, const char *kind)
{
	static const char *const always[] = {"Always", NULL};
	struct field_path sel_path = field_child(path, "selector"),
			  template = field_child(path, "template");
	struct field_path meta = field_child(&template, "metadata"),
			  labels = field_child(&meta, "labels"),
			  pod = field_child(&template, "spec");
	struct field_path restart = field_child(&pod, "restartPolicy"),
			  deadline = field_child(&pod, "activeDeadlineSeconds");
	struct json *sel = json_getc(spec, "selector"),
		    *have = json_getp(spec, "template.metadata.labels"),
		    *pod_spec = json_getp(spec, "template.spec");
	struct json *policy = json_getc(pod_spec, "restartPolicy");
	struct selector compiled = SELECTOR_NOTHING;

	/* Without a selector nothing is selected: upstream tells both. */
	if (json_is_null(sel)) {
		field_required(e, &sel_path, "");
		field_err_add(e, &labels, FIELD_INVALID, "Invalid value: %s: `selector` does not match template `labels`",
			validate__go_map(e->arena, have));
	} else {
		validate__label_selector(e, &sel_path, sel);
		if (json_len(json_getc(sel, "matchLabels")) +
				json_len(json_getc(sel, "matchExpressions")) ==
			0)
			field_err_add(e, &sel_path, FIELD_INVALID,
				"Invalid value: %s: empty selector is invalid for %s",
				validate__go_selector(e->arena, sel), what);
		else if (selector_from_json(e->arena, sel, &compiled, NULL) == 0 &&
			 !selector_matches_json(&compiled, have))
			field_err_add(e, &labels, FIELD_INVALID,
				"Invalid value: %s: `selector` does not match template `labels`",
				validate__go_map(e->arena, have));
	}
	validate__template_meta(e, &meta, json_getp(spec, "template.metadata"));
	validate__pod_spec(e, &pod, pod_spec, json_getp(spec, "template.metadata"));
	if (json_eqc(policy, "Never") || json_eqc(policy, "OnFailure"))
		field_not_supported(e, &restart, json_str(policy), always);
	if (!json_is_null(json_getc(pod_spec, "activeDeadlineSeconds")))
		field_forbidden(e, &deadline, "activeDeadlineSeconds in %s is not Supported", kind);
}

void validate__selector_update(const struct validate__ctx *c, const struct field_path *path)
{
	struct field_path sel_path = field_child(path, "selector");
	struct json *now = json_getp(c->obj, "spec.selector"),
		    *was = json_getp(c->old, "spec.selector");

	if (c->old && !json_equal(now, was))
		field_err_add(c->errs, &sel_path, FIELD_INVALID,
			"Invalid value: %s: field is immutable", validate__go_selector(c->errs->arena, now));
}

static void rolling_update(
	struct field_errs *e, const struct field_path *path, const struct json *r)
{
	struct field_path unavailable = field_child(path, "maxUnavailable"),
			  surge = field_child(path, "maxSurge");
	struct json *u = json_getc(r, "maxUnavailable"), *s = json_getc(r, "maxSurge");
	struct str text = json_str(u);
	int64_t percent;

	validate__int_or_percent(e, &unavailable, u);
	validate__int_or_percent(e, &surge, s);
	if (validate__is_zero(u) && validate__is_zero(s))
		field_err_add(e, &unavailable, FIELD_INVALID,
			"Invalid value: %s: may not be 0 when `maxSurge` is 0",
			validate__go_int_or_string(e->arena, u));
	if (text.n > 1 && str_to_i64(str_sub(text, 0, text.n - 1), &percent) && percent > 100)
		field_err_add(e, &unavailable, FIELD_INVALID,
			"Invalid value: %s: must not be greater than 100%%",
			validate__go_int_or_string(e->arena, u));
}

static void strategy(struct field_errs *e, const struct field_path *up, const struct json *s)
{
	static const char *const types[] = {"Recreate", "RollingUpdate", NULL};
	struct field_path path = field_child(up, "strategy"),
			  rolling = field_child(&path, "rollingUpdate"),
			  type = field_child(&path, "type");
	struct json *r = json_getc(s, "rollingUpdate");

	if (json_eqc(json_getc(s, "type"), "Recreate")) {
		if (!json_is_null(r))
			field_forbidden(e, &rolling,
				"may not be specified when strategy `type` is 'Recreate'");
	} else if (json_eqc(json_getc(s, "type"), "RollingUpdate")) {
		if (json_is_null(r))
			field_required(e, &rolling, "this should be defaulted and never be nil");
		else
			rolling_update(e, &rolling, r);
	} else {
		field_not_supported(e, &type, json_str(json_getc(s, "type")), types);
	}
}

void validate__deployment(const struct validate__ctx *c)
{
	static const char *const counts[] = {
		"minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"};
	struct field_path path = field_child(NULL, "spec"),
			  deadline = field_child(&path, "progressDeadlineSeconds");
	const struct json *spec = json_getc(c->obj, "spec");
	struct json *d = json_getc(spec, "progressDeadlineSeconds");

	if (c->sub[0] != '\0')
		return;
	validate__nonneg(c->errs, &path, spec, "replicas");
	validate__template_and_selector(c->errs, &path, spec, "deployment", "ReplicaSet");
	strategy(c->errs, &path, json_getc(spec, "strategy"));
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		validate__nonneg(c->errs, &path, spec, counts[i]);
	if (json_is(d, JSON_NUMBER) &&
		json_i64_or(d, 0) <= json_i64_or(json_getc(spec, "minReadySeconds"), 0))
		field_invalid(c->errs, &deadline, d, "must be greater than minReadySeconds");
	validate__selector_update(c, &path);
}

void validate__replica_set(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec");
	const struct json *spec = json_getc(c->obj, "spec");

	if (c->sub[0] != '\0')
		return;
	validate__nonneg(c->errs, &path, spec, "replicas");
	validate__nonneg(c->errs, &path, spec, "minReadySeconds");
	validate__template_and_selector(c->errs, &path, spec, "deployment", "ReplicaSet");
	validate__selector_update(c, &path);
}
