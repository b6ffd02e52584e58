#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

/* ---- nodes ---- */

static void node_requirement(
	struct field_errs *e, const struct field_path *at, const struct json *r, bool on_fields)
{
	struct field_path op_path = field_child(at, "operator"), values = field_child(at, "values");
	struct json *op = json_getc(r, "operator");
	size_t n = json_len(json_getc(r, "values"));

	if (json_eqc(op, "In") || json_eqc(op, "NotIn")) {
		if (n == 0)
			field_required(e, &values,
				"must be specified when `operator` is 'In' or 'NotIn'");
	} else if (json_eqc(op, "Exists") || json_eqc(op, "DoesNotExist")) {
		if (n > 0)
			field_forbidden(e, &values,
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
	} else if (json_eqc(op, "Gt") || json_eqc(op, "Lt")) {
		if (n != 1)
			field_required(e, &values,
				"must be specified single value when `operator` is 'Lt' or 'Gt'");
	} else {
		field_invalid_str(e, &op_path, json_str(op), "not a valid selector operator");
	}
	if (!on_fields)
		validate__name(e, at, r, "key", validate__qualified_name);
}

static void node_term(struct field_errs *e, const struct field_path *at, const struct json *term)
{
	static const char *const lists[] = {"matchExpressions", "matchFields"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct field_path all = field_child(at, lists[i]);
		size_t k = 0;

		JSON_ITEMS (r, json_getc(term, lists[i])) {
			struct field_path p = field_index(&all, k++);

			node_requirement(e, &p, r, i == 1);
		}
	}
}

static void weight(struct field_errs *e, const struct field_path *at, const struct json *preferred)
{
	struct field_path path = field_child(at, "weight");
	struct json *w = json_getc(preferred, "weight");
	int64_t v = json_i64_or(w, 0);

	if (v < 1 || v > 100)
		field_invalid(e, &path, w ? w : json_new_int(e->arena, 0),
			"must be in the range 1-100");
}

void validate__node_selector(
	struct field_errs *e, const struct field_path *path, const struct json *selector)
{
	struct field_path terms = field_child(path, "nodeSelectorTerms");

	if (json_len(json_getc(selector, "nodeSelectorTerms")) == 0)
		field_required(e, &terms, "must have at least one node selector term");
	validate__each(e, path, selector, "nodeSelectorTerms", node_term);
}

static void node_affinity(
	struct field_errs *e, const struct field_path *path, const struct json *affinity)
{
	static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution";
	static const char preferred[] = "preferredDuringSchedulingIgnoredDuringExecution";
	struct field_path req = field_child(path, required);
	struct field_path pref = field_child(path, preferred);
	struct json *selector = json_getc(affinity, required);
	size_t i = 0;

	if (!json_is_null(selector))
		validate__node_selector(e, &req, selector);
	JSON_ITEMS (p, json_getc(affinity, preferred)) {
		struct field_path at = field_index(&pref, i++);
		struct field_path term = field_child(&at, "preference");

		weight(e, &at, p);
		node_term(e, &term, json_getc(p, "preference"));
	}
}

/* ---- other pods ---- */

static void pod_term(struct field_errs *e, const struct field_path *at, const struct json *term)
{
	struct field_path key = field_child(at, "topologyKey");
	struct field_path sel = field_child(at, "labelSelector");
	struct field_path ns_sel = field_child(at, "namespaceSelector");
	struct field_path namespaces = field_child(at, "namespaces");
	size_t i = 0;

	validate__label_selector(e, &sel, json_getc(term, "labelSelector"));
	validate__label_selector(e, &ns_sel, json_getc(term, "namespaceSelector"));
	JSON_ITEMS (ns, json_getc(term, "namespaces")) {
		struct field_path p = field_index(&namespaces, i++);
		const char *bad = validate_dns1123_label(json_str(ns));

		if (bad)
			field_invalid(e, &p, ns, "%s", bad);
	}
	if (json_str(json_getc(term, "topologyKey")).n == 0)
		field_required(e, &key, "can not be empty");
	else
		validate__name(e, at, term, "topologyKey", validate__qualified_name);
}

static void pod_affinity(
	struct field_errs *e, const struct field_path *path, const struct json *affinity)
{
	static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution";
	static const char preferred[] = "preferredDuringSchedulingIgnoredDuringExecution";
	struct field_path req = field_child(path, required), pref = field_child(path, preferred);
	size_t i = 0;

	JSON_ITEMS (t, json_getc(affinity, required)) {
		struct field_path at = field_index(&req, i++);

		pod_term(e, &at, t);
	}
	i = 0;
	JSON_ITEMS (p, json_getc(affinity, preferred)) {
		struct field_path at = field_index(&pref, i++);
		struct field_path term = field_child(&at, "podAffinityTerm");

		weight(e, &at, p);
		pod_term(e, &term, json_getc(p, "podAffinityTerm"));
	}
}

void validate__affinity(
	struct field_errs *e, const struct field_path *up, const struct json *affinity)
{
	struct field_path path = field_child(up, "affinity");
	struct field_path node = field_child(&path, "nodeAffinity");
	struct field_path pod = field_child(&path, "podAffinity");
	struct field_path anti = field_child(&path, "podAntiAffinity");

	node_affinity(e, &node, json_getc(affinity, "nodeAffinity"));
	pod_affinity(e, &pod, json_getc(affinity, "podAffinity"));
	pod_affinity(e, &anti, json_getc(affinity, "podAntiAffinity"));
}
