#include "orchestrator/controllers/node_match.h"

#include <string.h>

#include "base/str.h"
#include "proto/pb.h"

static bool requirement_holds(const Core__NodeSelectorRequirement *q, const char *value)
{
	const char *op = pb_s(q->operator_);
	int64_t have, limit;
	bool in = false;

	for (size_t i = 0; value && i < q->n_values; i++)
		in = in || strcmp(q->values[i], value) == 0;
	if (strcmp(op, "In") == 0)
		return in;
	if (strcmp(op, "NotIn") == 0)
		return !in;
	if (strcmp(op, "Exists") == 0)
		return value != NULL;
	if (strcmp(op, "DoesNotExist") == 0)
		return value == NULL;
	if (value == NULL || q->n_values != 1 || !str_to_i64(str_from(value), &have) || !str_to_i64(str_from(q->values[0]), &limit))
		return false;
	return strcmp(op, "Gt") == 0 ? have > limit : strcmp(op, "Lt") == 0 && have < limit;
}

bool node_term_holds(const Core__NodeSelectorTerm *t, const Core__Node *n)
{
	const Meta__ObjectMeta *m = n->metadata;

	/* A term without any requirement matches nothing. */
	if (t->n_match_expressions == 0 && t->n_match_fields == 0)
		return false;
	for (size_t i = 0; i < t->n_match_expressions; i++)
		if (!requirement_holds(t->match_expressions[i], pb_map_get(m->labels, m->n_labels, t->match_expressions[i]->key)))
			return false;
	for (size_t i = 0; i < t->n_match_fields; i++)
		if (!pb_streq(t->match_fields[i]->key, "metadata.name") || !requirement_holds(t->match_fields[i], m->name))
			return false;
	return true;
}

bool node_matches(const Core__PodSpec *s, const Core__Node *n)
{
	const Core__NodeAffinity *na = s->affinity ? s->affinity->node_affinity : NULL;
	const Core__NodeSelector *req = na ? na->required_during_scheduling_ignored_during_execution : NULL;

	for (size_t i = 0; i < s->n_node_selector; i++) {
		const char *v = pb_map_get(n->metadata->labels, n->metadata->n_labels, s->node_selector[i]->key);

		if (v == NULL || !pb_streq(v, s->node_selector[i]->value))
			return false;
	}
	for (size_t i = 0; req && i < req->n_node_selector_terms; i++)
		if (node_term_holds(req->node_selector_terms[i], n))
			return true;
	return req == NULL;
}

bool taint_tolerated(const Core__PodSpec *s, const Core__Taint *taint)
{
	for (size_t i = 0; i < s->n_tolerations; i++) {
		const Core__Toleration *t = s->tolerations[i];
		bool exists = pb_streq(t->operator_, "Exists");

		if (pb_s(t->effect)[0] && !pb_streq(t->effect, taint->effect))
			continue;
		if (pb_s(t->key)[0] ? !pb_streq(t->key, taint->key) : !exists)
			continue;
		if (exists || pb_streq(t->value, taint->value))
			return true;
	}
	return false;
}
