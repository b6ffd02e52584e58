/* Flow schemas and priority levels of the API server's fairness. */
#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

#define PRECEDENCE_MAX 10000

static const char *const verbs[] = {"*", "create", "delete", "deletecollection", "get", "list", "patch", "proxy",
	"update", "watch", NULL};

/* ---- schemas ---- */

static void subject(struct field_errs *e, const struct field_path *at, const struct json *s)
{
	static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
	static const char *const fields[] = {"group", "serviceAccount", "user"};
	struct field_path path = field_child(at, "kind");
	bool known = false;

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		struct field_path who = field_child(at, fields[i]);
		bool want = json_eqc(json_getc(s, "kind"), kinds[i]);
		const struct json *v = json_getc(s, fields[i]);

		known |= want;
		if (want && json_is_null(v))
			field_required(e, &who, arena_printf(e->arena, "%s is required when subject kind is '%s'",
							fields[i], kinds[i]));
		else if (!want && !json_is_null(v))
			field_forbidden(e, &who, "%s is forbidden when subject kind is not '%s'", fields[i], kinds[i]);
		if (want && !json_is_null(v)) {
			validate__required(e, &who, v, "name");
			if (i == 1)
				validate__required(e, &who, v, "namespace");
		}
	}
	if (!known)
		field_not_supported(e, &path, json_str(json_getc(s, "kind")), kinds);
}

/* Each of these lists must say something; "*" stands alone. */
static void list_of(struct field_errs *e, const struct field_path *at, const struct json *r, const char *key,
	const char *what, const char *const *values)
{
	struct field_path path = field_child(at, key);
	struct json *list = json_getc(r, key);
	bool all = false;
	size_t i = 0;

	if (json_len(list) == 0) {
		field_required(e, &path, arena_printf(e->arena, "%s must contain at least one value", what));
		return;
	}
	JSON_ITEMS (it, list)
		all |= json_eqc(it, "*");
	if (all && json_len(list) > 1)
		validate__bad(e, at, r, key, "if '*' is present, must not specify other %s", what);
	JSON_ITEMS (it, list) {
		struct field_path one = field_index(&path, i++);
		size_t k = 0;

		while (values && values[k] && !json_eqc(it, values[k]))
			k++;
		if (values && !values[k])
			field_not_supported(e, &one, json_str(it), values);
	}
}

static void resource_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	list_of(e, at, r, "verbs", "verbs", verbs);
	list_of(e, at, r, "apiGroups", "api groups", NULL);
	list_of(e, at, r, "resources", "resources", NULL);
	if (json_len(json_getc(r, "namespaces")) == 0 && !json_true(json_getc(r, "clusterScope")))
		validate__missing(e, at, "namespaces",
			"resource rules that are not cluster scoped must supply at least one namespace");
}

static void path_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	struct field_path urls = field_child(at, "nonResourceURLs");
	size_t i = 0;

	list_of(e, at, r, "verbs", "verbs", NULL);
	list_of(e, at, r, "nonResourceURLs", "non-resource URLs", NULL);
	JSON_ITEMS (u, json_getc(r, "nonResourceURLs")) {
		struct field_path one = field_index(&urls, i++);
		struct str s = json_str(u);

		if (str_eqc(s, "*"))
			continue;
		if (s.n == 0)
			field_invalid_str(e, &one, s, "nonResourceURL must not be empty");
		else if (s.p[0] != '/')
			field_invalid_str(e, &one, s, "must start with slash");
		else if (str_find(s, ' ') >= 0)
			field_invalid_str(e, &one, s, "must not contain white-space");
		else if (str_search(s, STR("//")) >= 0)
			field_invalid_str(e, &one, s, "must not contain double slash");
	}
}

static void flow_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	if (json_len(json_getc(r, "subjects")) == 0)
		validate__missing(e, at, "subjects", "subjects must contain at least one value");
	validate__each(e, at, r, "subjects", subject);
	if (json_len(json_getc(r, "resourceRules")) + json_len(json_getc(r, "nonResourceRules")) == 0)
		field_required(e, at, "at least one of resourceRules and nonResourceRules has to be non-empty");
	validate__each(e, at, r, "resourceRules", resource_rule);
	validate__each(e, at, r, "nonResourceRules", path_rule);
}

void validate__flow_schema(const struct validate__ctx *c)
{
	static const char *const methods[] = {"ByNamespace", "ByUser", NULL};
	struct field_path path = field_child(NULL, "spec"), method = field_child(&path, "distinguisherMethod"),
			  level = field_child(&path, "priorityLevelConfiguration");
	const struct json *spec = json_getc(c->obj, "spec"), *ref = json_getc(spec, "priorityLevelConfiguration");
	int64_t precedence = json_i64_or(json_getc(spec, "matchingPrecedence"), 0);

	if (c->sub[0] != '\0')
		return;
	if (precedence <= 0)
		validate__bad_count(c->errs, &path, spec, "matchingPrecedence", "must be a positive value");
	if (precedence > PRECEDENCE_MAX)
		validate__bad(c->errs, &path, spec, "matchingPrecedence", "must not be greater than %d", PRECEDENCE_MAX);
	if (precedence == 1 && !str_eqc(json_strp(c->obj, "metadata.name"), "exempt"))
		validate__bad_count(c->errs, &path, spec, "matchingPrecedence",
			"only the schema named 'exempt' may have matchingPrecedence 1");
	if (!json_is_null(json_getc(spec, "distinguisherMethod")))
		validate__one_of(c->errs, &method, json_getc(spec, "distinguisherMethod"), "type", methods);
	if (json_str(json_getc(ref, "name")).n == 0)
		validate__missing(c->errs, &level, "name", "must reference a priority level");
	validate__name_opt(c->errs, &level, ref, "name", validate_dns1123_subdomain);
	validate__each(c->errs, &path, spec, "rules", flow_rule);
}

/* ---- priority levels ---- */

/* A flow's hand is dealt from one hash: queues to the power of the hand's size is no more than it can tell apart. */
#define HASH_BITS 60

static bool hand_fits(int64_t hand, int64_t queues)
{
	uint64_t left = (uint64_t)1 << HASH_BITS;

	for (int64_t i = 0; queues > 1 && i < hand; i++) {
		left /= (uint64_t)queues;
		if (left == 0)
			return false;
	}
	return true;
}

static void queuing(struct field_errs *e, const struct field_path *path, const struct json *q)
{
	struct json *hand = json_getc(q, "handSize"), *queues = json_getc(q, "queues");

	validate__range(e, path, q, "queueLengthLimit", 1, INT32_MAX, "must be positive");
	validate__range(e, path, q, "handSize", 1, INT32_MAX, "must be positive");
	validate__range(e, path, q, "queues", 1, 10 * 1000 * 1000, json_i64_or(queues, 0) <= 0
			? "must be positive" : "must not be greater than 10000000");
	if (json_i64_or(hand, 0) > json_i64_or(queues, 0))
		validate__bad(e, path, q, "handSize", "should not be greater than queues (%lld)",
			(long long)json_i64_or(queues, 0));
	else if (!hand_fits(json_i64_or(hand, 0), json_i64_or(queues, 0)))
		validate__bad(e, path, q, "handSize",
			"required entropy bits of deckSize %lld and handSize %lld should not be greater than %d",
			(long long)json_i64_or(queues, 0), (long long)json_i64_or(hand, 0), HASH_BITS);
}

static void limited(struct field_errs *e, const struct field_path *path, const struct json *l)
{
	static const char *const types[] = {"Queue", "Reject", NULL};
	struct field_path response = field_child(path, "limitResponse"), queue = field_child(&response, "queuing"),
			  type = field_child(&response, "type");
	const struct json *r = json_getc(l, "limitResponse"), *q = json_getc(r, "queuing");

	validate__range(e, path, l, "nominalConcurrencyShares", 0, INT32_MAX, "must be a non-negative integer");
	validate__range(e, path, l, "lendablePercent", 0, 100, "must be between 0 and 100, inclusive");
	validate__range(e, path, l, "borrowingLimitPercent", 0, INT32_MAX, "if specified, must be a non-negative integer");
	if (json_eqc(json_getc(r, "type"), "Queue")) {
		if (json_is_null(q))
			field_required(e, &queue, "must not be empty if limitResponse.type is Limited");
		else
			queuing(e, &queue, q);
	} else if (json_eqc(json_getc(r, "type"), "Reject")) {
		if (!json_is_null(q))
			field_forbidden(e, &queue, "must be nil if limitResponse.type is not Limited");
	} else {
		field_not_supported(e, &type, json_str(json_getc(r, "type")), types);
	}
}

void validate__priority_level(const struct validate__ctx *c)
{
	static const char *const types[] = {"Exempt", "Limited", NULL};
	struct field_path path = field_child(NULL, "spec"), l = field_child(&path, "limited"),
			  ex = field_child(&path, "exempt"), type_path = field_child(&path, "type");
	const struct json *spec = json_getc(c->obj, "spec"), *type = json_getc(spec, "type");

	if (c->sub[0] != '\0')
		return;
	if (json_eqc(type, "Exempt")) {
		if (!json_is_null(json_getc(spec, "limited")))
			field_forbidden(c->errs, &l, "must be nil if the type is not Limited");
		validate__range(c->errs, &ex, json_getc(spec, "exempt"), "nominalConcurrencyShares", 0, INT32_MAX,
			"must be a non-negative integer");
		validate__range(c->errs, &ex, json_getc(spec, "exempt"), "lendablePercent", 0, 100,
			"must be between 0 and 100, inclusive");
	} else if (json_eqc(type, "Limited")) {
		if (!json_is_null(json_getc(spec, "exempt")))
			field_forbidden(c->errs, &ex, "must be nil if the type is Limited");
		if (json_is_null(json_getc(spec, "limited")))
			field_required(c->errs, &l, "must not be empty when type is Limited");
		else
			limited(c->errs, &l, json_getc(spec, "limited"));
	} else {
		field_not_supported(c->errs, &type_path, json_str(type), types);
	}
}
