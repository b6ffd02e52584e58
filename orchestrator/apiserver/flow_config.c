#include "orchestrator/apiserver/flow_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/flow_default.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"

/* The mandatory schema and level for what nothing else matches. */
#define FALLBACK "catch-all"

struct words {
	struct str *v;
	size_t n;
	bool all; /* "*" is among them */
};

struct subject {
	enum { SUBJECT_USER, SUBJECT_GROUP, SUBJECT_ACCOUNT } kind;
	struct str name, ns;
	bool any; /* the name is "*" */
};

struct resource_rule {
	struct words verbs, groups, resources, namespaces;
	bool cluster;
};

struct path_rule {
	struct words verbs, urls;
};

struct flow_rules {
	struct subject *subjects;
	struct resource_rule *resources;
	struct path_rule *paths;
	size_t n_subjects, n_resources, n_paths;
};

/* --- Compiling ------------------------------------------------------------------------------------------------ */

struct flow_config *flow_config_new(void)
{
	struct flow_config *c = xcalloc(1, sizeof(*c));

	arena_init(&c->arena);
	return c;
}

void flow_config_free(struct flow_config *c)
{
	if (!c)
		return;
	arena_fini(&c->arena);
	free(c);
}

static struct words words_of(struct arena *a, const struct json *list)
{
	struct words w = {.v = arena_new_array(a, struct str, json_len(list))};

	JSON_ITEMS (it, list) {
		w.v[w.n++] = arena_str(a, json_str(it));
		w.all |= json_eqc(it, "*");
	}
	return w;
}

static struct subject subject_of(struct arena *a, const struct json *o)
{
	static const char *const parts[] = {"user", "group", "serviceAccount"};
	struct subject s = {.kind = SUBJECT_USER};
	const struct json *part;

	if (json_eqc(json_getc(o, "kind"), "Group"))
		s.kind = SUBJECT_GROUP;
	if (json_eqc(json_getc(o, "kind"), "ServiceAccount"))
		s.kind = SUBJECT_ACCOUNT;
	part = json_getc(o, parts[s.kind]);
	s.name = arena_str(a, json_str(json_getc(part, "name")));
	s.ns = arena_str(a, json_str(json_getc(part, "namespace")));
	s.any = str_eqc(s.name, "*");
	return s;
}

static void rules_of(struct arena *a, const struct json *o, struct flow_rules *r)
{
	const struct json *subjects = json_getc(o, "subjects"), *resources = json_getc(o, "resourceRules"),
			  *paths = json_getc(o, "nonResourceRules");

	r->subjects = arena_new_array(a, struct subject, json_len(subjects));
	r->resources = arena_new_array(a, struct resource_rule, json_len(resources));
	r->paths = arena_new_array(a, struct path_rule, json_len(paths));
	JSON_ITEMS (it, subjects)
		r->subjects[r->n_subjects++] = subject_of(a, it);
	JSON_ITEMS (it, resources)
		r->resources[r->n_resources++] = (struct resource_rule){words_of(a, json_getc(it, "verbs")),
				words_of(a, json_getc(it, "apiGroups")), words_of(a, json_getc(it, "resources")),
				words_of(a, json_getc(it, "namespaces")), json_true(json_getc(it, "clusterScope"))};
	JSON_ITEMS (it, paths)
		r->paths[r->n_paths++] = (struct path_rule){
				words_of(a, json_getc(it, "verbs")), words_of(a, json_getc(it, "nonResourceURLs"))};
}

static unsigned number(const struct json *v, int64_t dflt, int64_t min, int64_t max)
{
	return (unsigned)MAX(MIN(json_i64_or(v, dflt), max), min);
}

void flow_config_add_level(struct flow_config *c, const struct json *doc)
{
	struct arena *a = &c->arena;
	const struct json *spec = json_getc(doc, "spec"), *part, *queuing;
	struct flow_level_config l = {.name = arena_str(a, json_strp(doc, "metadata.name")),
			.uid = arena_str(a, json_strp(doc, "metadata.uid"))};

	l.exempt = json_eqc(json_getc(spec, "type"), "Exempt");
	part = json_getc(spec, l.exempt ? "exempt" : "limited");
	queuing = json_getp(part, "limitResponse.queuing");
	l.queues = !l.exempt && json_eqc(json_getp(part, "limitResponse.type"), "Queue");
	l.n_queues = number(json_getc(queuing, "queues"), 64, 1, FLOW_MAX_QUEUES);
	l.hand_size = number(json_getc(queuing, "handSize"), 8, 1, l.n_queues);
	l.queue_limit = number(json_getc(queuing, "queueLengthLimit"), 50, 1, INT32_MAX);
	l.share.shares = number(json_getc(part, "nominalConcurrencyShares"), l.exempt ? 0 : 30, 0, INT32_MAX);
	l.share.lendable_percent = number(json_getc(part, "lendablePercent"), 0, 0, 100);
	l.share.borrowing_percent = (int)MAX(MIN(json_i64_or(json_getc(part, "borrowingLimitPercent"), -1), INT32_MAX), -1);
	/* Two places are the mandatory ones'. */
	if (c->n_levels >= FLOW_MAX_PARTS - 2 && !str_eqc(l.name, FALLBACK) && !str_eqc(l.name, "exempt"))
		return;
	c->levels = arena_grow(a, c->levels, c->n_levels * sizeof(l), (c->n_levels + 1) * sizeof(l));
	c->levels[c->n_levels++] = l;
}

void flow_config_add_schema(struct flow_config *c, const struct json *doc)
{
	struct arena *a = &c->arena;
	const struct json *spec = json_getc(doc, "spec"), *rules = json_getc(spec, "rules"),
			  *by = json_getp(spec, "distinguisherMethod.type");
	struct flow_schema s = {.name = arena_str(a, json_strp(doc, "metadata.name")),
			.uid = arena_str(a, json_strp(doc, "metadata.uid")),
			.level_name = arena_str(a, json_strp(spec, "priorityLevelConfiguration.name")),
			.precedence = json_i64_or(json_getc(spec, "matchingPrecedence"), 1000),
			.by = json_eqc(by, "ByUser") ? FLOW_BY_USER : json_eqc(by, "ByNamespace") ? FLOW_BY_NAMESPACE : FLOW_BY_NOTHING};

	s.rules = arena_new_array(a, struct flow_rules, json_len(rules));
	JSON_ITEMS (it, rules)
		rules_of(a, it, &s.rules[s.n_rules++]);
	c->schemas = arena_grow(a, c->schemas, c->n_schemas * sizeof(s), (c->n_schemas + 1) * sizeof(s));
	c->schemas[c->n_schemas++] = s;
}

static int by_precedence(const void *x, const void *y)
{
	const struct flow_schema *a = x, *b = y;

	return a->precedence != b->precedence ? (a->precedence < b->precedence ? -1 : 1) : str_cmp(a->name, b->name);
}

static struct flow_level_config *level_named(struct flow_config *c, struct str name)
{
	for (size_t i = 0; i < c->n_levels; i++)
		if (str_eq(c->levels[i].name, name))
			return &c->levels[i];
	return NULL;
}

static bool has_schema(const struct flow_config *c, const char *name)
{
	for (size_t i = 0; i < c->n_schemas; i++)
		if (str_eqc(c->schemas[i].name, name))
			return true;
	return false;
}

static void add_mandatory(struct flow_config *c)
{
	struct flow_default d;

	for (size_t pos = 0; flow_default_next(&c->arena, &pos, &d);) {
		bool level = strcmp(d.plural, FLOW_LEVELS) == 0;

		if (d.mandatory && level && !level_named(c, str_from(d.name)))
			flow_config_add_level(c, d.doc);
		if (d.mandatory && !level && !has_schema(c, d.name))
			flow_config_add_schema(c, d.doc);
	}
}

void flow_config_done(struct flow_config *c, unsigned total_seats)
{
	struct flow_share shares[FLOW_MAX_PARTS];
	struct flow_bounds bounds[FLOW_MAX_PARTS];

	add_mandatory(c);
	qsort(c->schemas, c->n_schemas, sizeof(*c->schemas), by_precedence);
	for (size_t i = 0; i < c->n_levels; i++)
		shares[i] = c->levels[i].share;
	flow_bounds(total_seats, shares, c->n_levels, bounds);
	for (size_t i = 0; i < c->n_levels; i++)
		c->levels[i].bounds = bounds[i];
	for (size_t i = 0; i < c->n_schemas; i++) {
		struct flow_schema *s = &c->schemas[i];

		s->level = level_named(c, s->level_name);
		if (str_eqc(s->name, FALLBACK)) {
			c->fallback = i;
			/* Somebody changed it; until it is put right it is where it belongs. */
			s->level = s->level ? s->level : level_named(c, STR(FALLBACK));
		}
		s->level_index = s->level ? (size_t)(s->level - c->levels) : 0;
	}
	ASSERT(c->schemas[c->fallback].level);
}

/* --- Matching -------------------------------------------------------------------------------------------------- */

static bool has(const struct words *w, struct str s)
{
	if (w->all)
		return true;
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->v[i], s))
			return true;
	return false;
}

/* "pods", or "pods/status" for a subresource. */
static bool has_resource(const struct words *w, const struct flow_question *q)
{
	if (w->all)
		return true;
	for (size_t i = 0; i < w->n; i++) {
		struct str s = w->v[i];

		if (q->sub.n == 0 ? str_eq(s, q->resource) :
				    s.n == q->resource.n + 1 + q->sub.n && str_has_prefix(s, q->resource) &&
						    s.p[q->resource.n] == '/' && str_has_suffix(s, q->sub))
			return true;
	}
	return false;
}

static bool has_path(const struct words *w, struct str path)
{
	if (w->all)
		return true;
	for (size_t i = 0; i < w->n; i++) {
		struct str s = w->v[i];

		if (str_eq(s, path) || (s.n > 0 && s.p[s.n - 1] == '*' && str_has_prefix(path, str_sub(s, 0, s.n - 1))))
			return true;
	}
	return false;
}

static bool is_account(const struct subject *s, struct str user)
{
	struct str prefix = STR("system:serviceaccount:"), ns, name;

	return str_has_prefix(user, prefix) && str_cut(str_skip(user, prefix.n), ':', &ns, &name) && str_eq(ns, s->ns) &&
	       (s->any || str_eq(name, s->name));
}

static bool is_subject(const struct subject *s, const struct api_user *u)
{
	if (s->kind == SUBJECT_ACCOUNT)
		return is_account(s, u->name);
	if (s->any)
		return true;
	if (s->kind == SUBJECT_USER)
		return str_eq(s->name, u->name);
	for (size_t i = 0; i < u->n_groups; i++)
		if (str_eq(s->name, u->groups[i]))
			return true;
	return false;
}

static bool rules_match(const struct flow_rules *r, const struct flow_question *q)
{
	bool who = false;

	for (size_t i = 0; i < r->n_subjects && !who; i++)
		who = is_subject(&r->subjects[i], q->user);
	for (size_t i = 0; who && q->is_resource && i < r->n_resources; i++) {
		const struct resource_rule *x = &r->resources[i];

		if (has(&x->verbs, q->verb) && has_resource(&x->resources, q) && has(&x->groups, q->group) &&
				(q->ns.n == 0 ? x->cluster : has(&x->namespaces, q->ns)))
			return true;
	}
	for (size_t i = 0; who && !q->is_resource && i < r->n_paths; i++)
		if (has(&r->paths[i].verbs, q->verb) && has_path(&r->paths[i].urls, q->path))
			return true;
	return false;
}

const struct flow_schema *flow_config_match(const struct flow_config *c, const struct flow_question *q)
{
	for (size_t i = 0; i < c->n_schemas; i++) {
		const struct flow_schema *s = &c->schemas[i];

		for (size_t k = 0; s->level && k < s->n_rules; k++)
			if (rules_match(&s->rules[k], q))
				return s;
	}
	return &c->schemas[c->fallback];
}
