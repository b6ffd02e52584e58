/*
 * Events. Those of events.k8s.io/v1, and those with an eventTime in either group, are held to more than the old form; the words and paths
 * are the old form's in both, as upstream has them.
 */
#include <string.h>

#include "base/util.h"
#include "proto/resource.h"
#include "proto/validate-priv.h"

#define TEXT_MAX 128
#define NOTE_MAX 1024

/* The fields as both groups have them: the key in v1 (and in paths), and in events.k8s.io/v1. */
#define SOURCE "source", "deprecatedSource"
#define FIRST "firstTimestamp", "deprecatedFirstTimestamp"
#define LAST "lastTimestamp", "deprecatedLastTimestamp"
#define COUNT "count", "deprecatedCount"
#define OBJECT "involvedObject", "regarding"
#define NOTE "message", "note"
#define REPORTER "reportingComponent", "reportingController"

static bool is_new(const struct validate__ctx *c)
{
	return strcmp(c->res->group, "events.k8s.io") == 0;
}

static struct json *get(const struct validate__ctx *c, const struct json *obj, const char *key, const char *new_key)
{
	return json_getc(obj, is_new(c) ? new_key : key);
}

static void say(const struct validate__ctx *c, const char *key, const char *text)
{
	struct field_path path = field_child(NULL, key);

	field_invalid_str(c->errs, &path, STR(""), "%s", text);
}

static void needed(const struct validate__ctx *c, const char *path_key, const struct json *value, size_t max)
{
	struct field_path path = field_child(NULL, path_key);

	if (json_str(value).n == 0)
		field_required(c->errs, &path, "");
	if (json_str(value).n > max)
		field_invalid_str(c->errs, &path, STR(""), "can have at most %zu characters", max);
}

static void timed(const struct validate__ctx *c)
{
	const char *key = is_new(c) ? "reportingController" : "reportingComponent";
	struct field_path path = field_child(NULL, key);
	struct str reporter = json_str(get(c, c->obj, REPORTER));
	const char *bad = validate__qualified_name(reporter);

	if (reporter.n == 0)
		field_required(c->errs, &path, "");
	if (bad)
		field_invalid_str(c->errs, &path, reporter, "%s", bad);
	needed(c, "reportingInstance", json_getc(c->obj, "reportingInstance"), TEXT_MAX);
	needed(c, "action", json_getc(c->obj, "action"), TEXT_MAX);
	needed(c, "reason", json_getc(c->obj, "reason"), TEXT_MAX);
	if (json_str(get(c, c->obj, NOTE)).n > NOTE_MAX)
		say(c, "message", "can have at most 1024 characters");
}

/* What has no namespace is told of in "default", of some also in "kube-system"; the old form is with its object. */
static void whereabouts(const struct validate__ctx *c, bool is_timed)
{
	struct field_path object = field_child(NULL, "involvedObject"), path = field_child(&object, "namespace");
	struct str mine = json_strp(c->obj, "metadata.namespace"), its = json_str(json_getc(get(c, c->obj, OBJECT), "namespace"));
	bool fits = its.n > 0 ? is_timed || str_eq(its, mine) : mine.n == 0 || str_eqc(mine, "default") || (is_timed && str_eqc(mine, "kube-system"));

	if (!fits)
		field_invalid_str(c->errs, &path, its, "does not match event.namespace");
}

static void series(const struct validate__ctx *c)
{
	const struct json *s = json_getc(c->obj, "series");
	struct field_path last = field_child(NULL, "series.lastObservedTime");

	if (json_is_null(s))
		return;
	if (json_i64_or(json_getc(s, "count"), 0) < 2)
		say(c, "series.count", "should be at least 2");
	if (json_is_null(json_getc(s, "lastObservedTime")))
		field_required(c->errs, &last, "");
}

static void created(const struct validate__ctx *c)
{
	static const char *const unset[][2] = {{FIRST}, {LAST}};
	const struct json *source = get(c, c->obj, SOURCE), *type = json_getc(c->obj, "type");
	struct field_path time = field_child(NULL, "eventTime"), type_path = field_child(NULL, "type");

	series(c);
	if (json_is_null(json_getc(c->obj, "eventTime")))
		field_required(c->errs, &time, "");
	if (!json_eqc(type, "Normal") && !json_eqc(type, "Warning"))
		field_invalid_str(c->errs, &type_path, STR(""), "has invalid value: %s", json_cstr(type));
	for (size_t i = 0; i < ARRAY_LEN(unset); i++)
		if (!json_is_null(get(c, c->obj, unset[i][0], unset[i][1])))
			say(c, unset[i][0], "needs to be unset");
	if (json_i64_or(get(c, c->obj, COUNT), 0) != 0)
		say(c, "count", "needs to be unset");
	if (json_str(json_getc(source, "component")).n > 0 || json_str(json_getc(source, "host")).n > 0)
		say(c, "source", "needs to be unset");
}

/* Only how often it was, and when last. */
static void updated(const struct validate__ctx *c)
{
	static const char *const kept[][2] = {{OBJECT}, {"reason", "reason"}, {NOTE}, {SOURCE}, {FIRST}, {LAST}, {COUNT}, {"type", "type"},
		{"eventTime", "eventTime"}, {"action", "action"}, {"related", "related"}, {"reportingController", "reportingController"},
		{"reportingInstance", "reportingInstance"}};

	if (!json_equal(json_getc(c->obj, "series"), json_getc(c->old, "series")))
		series(c);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const struct json *now = json_getc(c->obj, kept[i][1]), *was = json_getc(c->old, kept[i][1]);
		struct field_path path = field_child(NULL, kept[i][0]);

		if (!json_equal(now, was) && !(validate__is_nothing(now) && validate__is_nothing(was)))
			field_invalid(c->errs, &path, now, "field is immutable");
	}
}

void validate__event(const struct validate__ctx *c)
{
	bool is_timed = !json_is_null(json_getc(c->obj, "eventTime"));

	whereabouts(c, is_timed);
	if (is_timed)
		timed(c);
	if (is_new(c) && c->old)
		updated(c);
	else if (is_new(c))
		created(c);
}
