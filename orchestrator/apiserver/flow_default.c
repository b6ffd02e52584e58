#include "orchestrator/apiserver/flow_default.h"

#include <string.h>

#include "base/util.h"
#include "proto/json.h"

#define AUTOUPDATE "apf.kubernetes.io/autoupdate-spec"

enum fact { FACT_EXEMPT, FACT_LEVEL, FACT_SCHEMA, FACT_USER, FACT_GROUP, FACT_ACCOUNT, FACT_RESOURCES, FACT_PATHS };

static const struct row {
	enum fact fact;
	const char *a, *b, *c;
	int n[5];
	bool flag; /* mandatory; clusterScope */
} facts[] = {
#define EXEMPT(name, mandatory) {FACT_EXEMPT, name, NULL, NULL, {0}, mandatory},
#define LEVEL(name, mandatory, shares, lent, queues, hand, length)                                                     \
	{FACT_LEVEL, name, NULL, NULL, {shares, lent, queues, hand, length}, mandatory},
#define SCHEMA(name, mandatory, precedence, level, by) {FACT_SCHEMA, name, level, by, {precedence}, mandatory},
#define USER(name) {FACT_USER, name, NULL, NULL, {0}, false},
#define GROUP(name) {FACT_GROUP, name, NULL, NULL, {0}, false},
#define ACCOUNT(ns, name) {FACT_ACCOUNT, name, ns, NULL, {0}, false},
#define RESOURCES(groups, resources, cluster, verbs) {FACT_RESOURCES, groups, resources, verbs, {0}, cluster},
#define PATHS(urls, verbs) {FACT_PATHS, urls, NULL, verbs, {0}, false},
#include "orchestrator/apiserver/flow_default.def"
};

/* --- Facts as objects ---------------------------------------------------------------------------------------- */

static void set_words(struct arena *a, struct json *o, const char *key, const char *words)
{
	struct json *list = json_new_array(a);
	struct str word, rest = str_from(words);

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		json_push(a, list, json_new_str(a, str_eqc(word, "core") ? STR_NULL : word));
	}
	json_setc(a, o, key, list);
}

static void set_int(struct arena *a, struct json *o, const char *path, int v)
{
	json_setp(a, o, path, json_new_int(a, v));
}

static void level_spec(struct arena *a, struct json *spec, const struct row *r)
{
	if (r->fact == FACT_EXEMPT) {
		json_setc(a, spec, "type", json_newc(a, "Exempt"));
		set_int(a, spec, "exempt.nominalConcurrencyShares", r->n[0]);
		set_int(a, spec, "exempt.lendablePercent", r->n[1]);
		return;
	}
	json_setc(a, spec, "type", json_newc(a, "Limited"));
	set_int(a, spec, "limited.nominalConcurrencyShares", r->n[0]);
	set_int(a, spec, "limited.lendablePercent", r->n[1]);
	json_setp(a, spec, "limited.limitResponse.type", json_newc(a, r->n[2] ? "Queue" : "Reject"));
	if (r->n[2] == 0)
		return;
	set_int(a, spec, "limited.limitResponse.queuing.queues", r->n[2]);
	set_int(a, spec, "limited.limitResponse.queuing.handSize", r->n[3]);
	set_int(a, spec, "limited.limitResponse.queuing.queueLengthLimit", r->n[4]);
}

static struct json *list_at(struct arena *a, struct json *o, const char *key)
{
	struct json *list = json_getc(o, key);

	if (!list) {
		list = json_new_array(a);
		json_setc(a, o, key, list);
	}
	return list;
}

/* A subject or rule of a schema's one set of rules. */
static void add_part(struct arena *a, struct json *rules, const struct row *r)
{
	static const char *const lists[] = {
			[FACT_USER] = "subjects",
			[FACT_GROUP] = "subjects",
			[FACT_ACCOUNT] = "subjects",
			[FACT_RESOURCES] = "resourceRules",
			[FACT_PATHS] = "nonResourceRules",
	};
	struct json *o = json_new_object(a);

	json_push(a, list_at(a, rules, lists[r->fact]), o);
	if (r->fact == FACT_RESOURCES) {
		set_words(a, o, "verbs", r->c);
		set_words(a, o, "apiGroups", r->a);
		set_words(a, o, "resources", r->b);
		if (r->flag)
			json_setc(a, o, "clusterScope", json_new_bool(a, true));
		set_words(a, o, "namespaces", "*");
	} else if (r->fact == FACT_PATHS) {
		set_words(a, o, "verbs", r->c);
		set_words(a, o, "nonResourceURLs", r->a);
	} else if (r->fact == FACT_ACCOUNT) {
		json_setc(a, o, "kind", json_newc(a, "ServiceAccount"));
		json_setp(a, o, "serviceAccount.namespace", json_newc(a, r->b));
		json_setp(a, o, "serviceAccount.name", json_newc(a, r->a));
	} else {
		json_setc(a, o, "kind", json_newc(a, r->fact == FACT_USER ? "User" : "Group"));
		json_setp(a, o, r->fact == FACT_USER ? "user.name" : "group.name", json_newc(a, r->a));
	}
}

static void schema_spec(struct arena *a, struct json *spec, size_t i, size_t end)
{
	struct json *all = json_new_array(a), *rules = json_new_object(a);

	json_setp(a, spec, "priorityLevelConfiguration.name", json_newc(a, facts[i].b));
	set_int(a, spec, "matchingPrecedence", facts[i].n[0]);
	if (facts[i].c)
		json_setp(a, spec, "distinguisherMethod.type", json_newc(a, facts[i].c));
	json_setc(a, spec, "rules", all);
	json_push(a, all, rules);
	for (i++; i < end; i++)
		add_part(a, rules, &facts[i]);
}

bool flow_default_next(struct arena *a, size_t *pos, struct flow_default *ret)
{
	size_t i = *pos, end = i + 1;
	bool schema;
	struct json *doc, *spec;

	if (i >= ARRAY_LEN(facts))
		return false;
	schema = facts[i].fact == FACT_SCHEMA;
	while (end < ARRAY_LEN(facts) && facts[end].fact > FACT_SCHEMA)
		end++;
	doc = json_new_object(a);
	spec = json_new_object(a);
	json_setc(a, doc, "apiVersion", json_newc(a, FLOW_GROUP "/v1"));
	json_setc(a, doc, "kind", json_newc(a, schema ? "FlowSchema" : "PriorityLevelConfiguration"));
	json_setp(a, doc, "metadata.name", json_newc(a, facts[i].a));
	json_setc(a, json_object_at(a, json_getc(doc, "metadata"), "annotations"), AUTOUPDATE, json_newc(a, "true"));
	json_setc(a, doc, "spec", spec);
	if (schema)
		schema_spec(a, spec, i, end);
	else
		level_spec(a, spec, &facts[i]);
	*ret = (struct flow_default){.plural = schema ? FLOW_SCHEMAS : FLOW_LEVELS, .name = facts[i].a, .mandatory = facts[i].flag,
			.doc = doc};
	*pos = end;
	return true;
}

/* --- Putting right -------------------------------------------------------------------------------------------- */

static const struct json *annotation(const struct json *o)
{
	return json_getc(json_getp(o, "metadata.annotations"), AUTOUPDATE);
}

/* Whether the spec is ours to set. */
static bool is_ours(const struct flow_default *d, const struct json *have)
{
	const struct json *note = annotation(have);

	if (d->mandatory || json_eqc(note, "true"))
		return true;
	return !json_eqc(note, "false") && json_i64_or(json_getp(have, "metadata.generation"), 1) == 1;
}

struct json *flow_default_merge(struct arena *a, const struct flow_default *d, const struct json *have)
{
	struct json *out, *spec;
	bool ours;

	if (!have)
		return json_copy(a, d->doc);
	ours = is_ours(d, have);
	out = json_copy(a, have);
	json_setc(a, json_object_at(a, json_getc(out, "metadata"), "annotations"), AUTOUPDATE, json_newc(a, ours ? "true" : "false"));
	if (ours) {
		spec = json_copy(a, json_getc(d->doc, "spec"));
		if (json_eqc(json_getc(spec, "type"), "Exempt") && json_getp(have, "spec.exempt"))
			json_setc(a, spec, "exempt", json_copy(a, json_getp(have, "spec.exempt")));
		json_setc(a, out, "spec", spec);
	}
	return json_equal(out, have) ? NULL : out;
}

bool flow_default_stale(struct arena *a, const char *plural, const struct json *have)
{
	struct flow_default d;

	if (!json_eqc(annotation(have), "true"))
		return false;
	for (size_t pos = 0; flow_default_next(a, &pos, &d);)
		if (strcmp(d.plural, plural) == 0 && str_eqc(json_strp(have, "metadata.name"), d.name))
			return false;
	return true;
}

struct json *flow_dangling(struct arena *a, const struct json *schema, bool found, struct json *now)
{
	struct str level = json_strp(schema, "spec.priorityLevelConfiguration.name");
	struct json *out, *c = json_new_object(a), *kept = json_new_array(a);
	const char *status = found ? "False" : "True";

	JSON_ITEMS (it, json_getp(schema, "status.conditions")) {
		if (!json_eqc(json_getc(it, "type"), "Dangling"))
			json_push(a, kept, json_copy(a, it));
		else if (json_eqc(json_getc(it, "status"), status) &&
				str_search(json_str(json_getc(it, "message")), arena_sprintf(a, "\"%.*s\"", STR_FMT(level))) >= 0)
			return NULL;
	}
	json_setc(a, c, "type", json_newc(a, "Dangling"));
	json_setc(a, c, "status", json_newc(a, status));
	json_setc(a, c, "lastTransitionTime", now);
	json_setc(a, c, "reason", json_newc(a, found ? "Found" : "NotFound"));
	json_setc(a, c, "message",
			found ? json_newf(a, "This FlowSchema references the PriorityLevelConfiguration object named \"%.*s\" and it exists",
					      STR_FMT(level)) :
				json_newf(a, "This FlowSchema references the PriorityLevelConfiguration object named \"%.*s\" but there is no "
					     "such object", STR_FMT(level)));
	out = json_copy(a, schema);
	json_push(a, kept, c);
	json_setp(a, out, "status.conditions", kept);
	return out;
}
