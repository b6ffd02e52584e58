/* Jobs and cron jobs. */
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "proto/cron.h"
#include "proto/selector.h"
#include "proto/validate-priv.h"

#define INDEXED_PARALLELISM_MAX 100000
#define FAILURE_RULES_MAX 20u
#define CRON_NAME_MAX 52u

/* ---- what a job does with failures ---- */

static void failure_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
	static const char *const ops[] = {"In", "NotIn", NULL};
	struct field_path codes = field_child(at, "onExitCodes"), values = field_child(&codes, "values");
	const struct json *on = json_getc(r, "onExitCodes");
	bool conditions = json_len(json_getc(r, "onPodConditions")) > 0;

	validate__one_of(e, at, r, "action", actions);
	if (!json_is_null(on) && conditions)
		field_invalid_str(e, at, STR(""), "specifying both OnExitCodes and OnPodConditions is not supported");
	if (json_is_null(on) && !conditions)
		field_invalid_str(e, at, STR(""), "specifying one of OnExitCodes and OnPodConditions is required");
	if (json_is_null(on))
		return;
	validate__one_of(e, &codes, on, "operator", ops);
	if (json_len(json_getc(on, "values")) == 0)
		field_invalid(e, &values, json_getc(on, "values"), "at least one value is required");
	for (size_t i = 0; i < json_len(json_getc(on, "values")); i++) {
		struct field_path one = field_index(&values, i);
		const struct json *v = json_at(json_getc(on, "values"), i);

		if (json_eqc(json_getc(on, "operator"), "In") && json_i64_or(v, 1) == 0)
			field_invalid(e, &one, v, "must not be 0 for the In operator");
		if (i > 0 && json_i64_or(v, 0) <= json_i64_or(json_at(json_getc(on, "values"), i - 1), 0))
			field_invalid(e, &values, json_getc(on, "values"), "must be ordered");
	}
}

static void failure_policy(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	struct field_path policy = field_child(path, "podFailurePolicy"), rules = field_child(&policy, "rules"),
			  template = field_child(path, "template"), pod = field_child(&template, "spec");
	const struct json *p = json_getc(spec, "podFailurePolicy");

	if (json_is_null(p))
		return;
	if (json_len(json_getc(p, "rules")) > FAILURE_RULES_MAX)
		field_too_many(e, &rules, json_len(json_getc(p, "rules")), FAILURE_RULES_MAX);
	validate__each(e, &policy, p, "rules", failure_rule);
	if (!json_eqc(json_getp(spec, "template.spec.restartPolicy"), "Never"))
		validate__bad(e, &pod, json_getp(spec, "template.spec"), "restartPolicy",
			"only \"Never\" is supported when podFailurePolicy is specified");
}

/* ---- jobs ---- */

static void indexed(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const index_only[] = {"backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"};

	if (json_eqc(json_getc(spec, "completionMode"), "Indexed")) {
		if (json_is_null(json_getc(spec, "completions")))
			validate__missing(e, path, "completions", "when completion mode is Indexed");
		validate__range(e, path, spec, "parallelism", 0, INDEXED_PARALLELISM_MAX,
			"must be less than or equal to 100000 when completion mode is Indexed");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(index_only); i++)
		if (!json_is_null(json_getc(spec, index_only[i])))
			validate__bad(e, path, spec, index_only[i], "requires indexed completion mode");
}

static void restart_policy(struct field_errs *e, const struct field_path *pod, const struct json *pod_spec)
{
	static const char *const policies[] = {"OnFailure", "Never", NULL};
	struct field_path path = field_child(pod, "restartPolicy");
	struct str policy = json_str(json_getc(pod_spec, "restartPolicy"));

	if (str_eqc(policy, "Always"))
		field_required(e, &path, "valid values: \"OnFailure\", \"Never\"");
	else if (!str_eqc(policy, "OnFailure") && !str_eqc(policy, "Never"))
		field_not_supported(e, &path, policy, policies);
}

/* What jobs and the templates of cron jobs share. */
static void job_spec(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const counts[] = {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
		"ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"};
	static const char *const completion_modes[] = {"Indexed", "NonIndexed", NULL};
	static const char *const replacements[] = {"Failed", "TerminatingOrFailed", NULL};
	struct field_path template = field_child(path, "template"), meta = field_child(&template, "metadata"),
			  pod = field_child(&template, "spec");
	const struct json *t = json_getc(spec, "template");

	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		validate__nonneg(e, path, spec, counts[i]);
	validate__one_of_opt(e, path, spec, "completionMode", completion_modes);
	indexed(e, path, spec);
	failure_policy(e, path, spec);
	if (!json_is_null(json_getc(spec, "podFailurePolicy")) &&
		json_eqc(json_getc(spec, "podReplacementPolicy"), "TerminatingOrFailed"))
		validate__bad(e, path, spec, "podReplacementPolicy",
			"only \"Failed\" is supported when podFailurePolicy is specified");
	validate__one_of_opt(e, path, spec, "podReplacementPolicy", replacements);
	if (str_find(json_str(json_getc(spec, "managedBy")), '/') < 0 && json_str(json_getc(spec, "managedBy")).n > 0)
		validate__bad(e, path, spec, "managedBy", "must be a domain-prefixed path (such as \"acme.io/foo\")");
	validate__template_meta(e, &meta, json_getc(t, "metadata"));
	validate__pod_spec(e, &pod, json_getc(t, "spec"), json_getc(t, "metadata"));
	restart_policy(e, &pod, json_getc(t, "spec"));
}

/* The labels that the server gives must be its own. */
static void generated_labels(const struct validate__ctx *c, const struct field_path *path)
{
	struct field_path template = field_child(path, "template"), meta = field_child(&template, "metadata"),
			  labels = field_child(&meta, "labels"), sel = field_child(path, "selector");
	const struct json *have = json_getp(c->obj, "spec.template.metadata.labels");
	const struct {
		const char *key;
		struct str want;
	} rows[] = {
		{"batch.kubernetes.io/controller-uid", json_strp(c->obj, "metadata.uid")},
		{"batch.kubernetes.io/job-name", json_strp(c->obj, "metadata.name")},
	};

	if (json_true(json_getp(c->obj, "spec.manualSelector")) || rows[0].want.n == 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct field_path at = field_key(&labels, str_from(rows[i].key));
		struct str v = json_str(json_getc(have, rows[i].key));

		if (v.n == 0)
			field_required(c->errs, &at, arena_printf(c->errs->arena, "must be '%.*s'", STR_FMT(rows[i].want)));
		else if (!str_eq(v, rows[i].want))
			field_invalid(c->errs, &labels, have, "must be '%.*s'", STR_FMT(rows[i].want));
	}
	if (!str_eq(json_str(json_getc(json_getp(c->obj, "spec.selector.matchLabels"), rows[0].key)), rows[0].want))
		field_err_add(c->errs, &sel, FIELD_INVALID, "Invalid value: %s: `selector` not auto-generated",
			validate__go_selector(c->errs->arena, json_getp(c->obj, "spec.selector")));
}

static void job_update(const struct validate__ctx *c, const struct field_path *path)
{
	static const char *const fixed[] = {"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex",
		"managedBy", "successPolicy"};
	const struct json *now = json_getc(c->obj, "spec"), *was = json_getc(c->old, "spec");
	struct json *t = json_copy(c->errs->arena, json_getc(now, "template")),
		    *old_t = json_copy(c->errs->arena, json_getc(was, "template"));
	bool elastic = json_eqc(json_getc(now, "completionMode"), "Indexed") && !json_is_null(json_getc(was, "completions")) &&
		       json_i64_or(json_getc(now, "completions"), -1) == json_i64_or(json_getc(now, "parallelism"), -2);

	if (!elastic)
		validate__immutable(c->errs, path, now, was, "completions");
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		validate__immutable(c->errs, path, now, was, fixed[i]);
	/* Where pods may run can still be said while none runs. */
	if (json_true(json_getc(was, "suspend")) && json_is_null(json_getp(c->old, "status.startTime"))) {
		static const char *const open[] = {"spec.nodeSelector", "spec.affinity", "spec.tolerations",
			"spec.schedulingGates", "metadata.annotations", "metadata.labels"};

		for (size_t i = 0; i < ARRAY_LEN(open); i++) {
			json_delp(t, open[i]);
			json_delp(old_t, open[i]);
		}
	}
	if (!json_equal(t, old_t))
		validate__bad(c->errs, path, now, "template", "field is immutable");
}

void validate__job(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), sel_path = field_child(&path, "selector"),
			  template = field_child(&path, "template"), meta = field_child(&template, "metadata"),
			  labels_path = field_child(&meta, "labels");
	const struct json *spec = json_getc(c->obj, "spec"), *labels = json_getp(spec, "template.metadata.labels");
	struct json *sel = json_getc(spec, "selector");
	struct selector compiled = SELECTOR_NOTHING;

	if (c->sub[0] != '\0')
		return;
	if (!c->old)
		generated_labels(c, &path);
	if (json_is_null(sel)) {
		field_required(c->errs, &sel_path, "");
	} else {
		validate__label_selector(c->errs, &sel_path, sel);
		if (selector_from_json(c->errs->arena, sel, &compiled, NULL) == 0 && !selector_matches_json(&compiled, labels))
			field_err_add(c->errs, &labels_path, FIELD_INVALID,
				"Invalid value: %s: `selector` does not match template `labels`",
				validate__go_map(c->errs->arena, labels));
	}
	job_spec(c->errs, &path, spec);
	if (c->old)
		job_update(c, &path);
}

/* ---- cron jobs ---- */

static void schedule(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct str text = json_str(json_getc(spec, "schedule"));
	struct err why = ERR_INIT;
	struct cron c;

	if (!validate__required(e, up, spec, "schedule"))
		return;
	if (str_search(text, STR("TZ=")) >= 0)
		validate__bad(e, up, spec, "schedule",
			"cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
	else if (cron_parse(text, &c, &why) < 0)
		validate__bad(e, up, spec, "schedule", "%s", why.text);
}

static bool zone_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!str_has_prefix(str_skip(s, i), STR("..")) && (s.p[i] > ' ' && s.p[i] < 0x7f && s.p[i] != '\\'))
			continue;
		else
			return false;
	return s.p[0] != '/';
}

static void time_zone(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct json *zone = json_getc(spec, "timeZone");
	struct str s = json_str(zone);

	if (json_is_null(zone))
		return;
	if (s.n == 0)
		validate__bad(e, up, spec, "timeZone", "timeZone must be nil or non-empty string");
	else if (str_ieq(s, STR("Local")))
		validate__bad(e, up, spec, "timeZone",
			"timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
	else if (!zone_name(s))
		validate__bad(e, up, spec, "timeZone", "unknown time zone %.*s", STR_FMT(s));
}

void validate__cron_job(const struct validate__ctx *c)
{
	static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
	static const char *const counts[] = {
		"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"};
	struct field_path path = field_child(NULL, "spec"), template = field_child(&path, "jobTemplate"),
			  meta = field_child(&template, "metadata"), job = field_child(&template, "spec"),
			  top = field_child(NULL, "metadata");
	const struct json *spec = json_getc(c->obj, "spec"), *t = json_getc(spec, "jobTemplate");

	if (c->sub[0] != '\0')
		return;
	/* The names of its jobs are eleven longer. */
	if (!c->old && json_strp(c->obj, "metadata.name").n > CRON_NAME_MAX)
		validate__bad(c->errs, &top, json_getc(c->obj, "metadata"), "name", "must be no more than %u characters",
			CRON_NAME_MAX);
	schedule(c->errs, &path, spec);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		validate__nonneg(c->errs, &path, spec, counts[i]);
	if (!c->old || !json_equal(json_getc(spec, "timeZone"), json_getp(c->old, "spec.timeZone")))
		time_zone(c->errs, &path, spec);
	validate__one_of(c->errs, &path, spec, "concurrencyPolicy", policies);
	validate__template_meta(c->errs, &meta, json_getc(t, "metadata"));
	if (json_true(json_getp(t, "spec.manualSelector")))
		field_not_supported(c->errs, &(struct field_path){.up = &job, .name = STR("manualSelector")}, STR("true"),
			(const char *const[]){"nil", "false", NULL});
	job_spec(c->errs, &job, json_getc(t, "spec"));
}
