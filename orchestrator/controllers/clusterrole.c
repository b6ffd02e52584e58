/*
 * Aggregated ClusterRoles: one with an aggregationRule holds the rules of all others whose labels its selectors match, in the order
 * of their names, each rule once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/pb.h"
#include "proto/rbac.pb-c.h"

static bool selects(const Rbac__ClusterRole *whole, const struct informer_obj *part)
{
	const Rbac__AggregationRule *rule = whole->aggregation_rule;

	for (size_t i = 0; i < rule->n_cluster_role_selectors; i++)
		if (label_selector_matches(rule->cluster_role_selectors[i], part->meta))
			return true;
	return false;
}

static int by_name(const void *a, const void *b)
{
	const struct informer_obj *const *x = a, *const *y = b;

	return strcmp((*x)->meta->name, (*y)->meta->name);
}

static bool has_rule(const Rbac__ClusterRole *role, const Rbac__PolicyRule *rule)
{
	for (size_t i = 0; i < role->n_rules; i++)
		if (pb_equal(role->rules[i], rule))
			return true;
	return false;
}

static bool same_rules(const Rbac__ClusterRole *a, const Rbac__ClusterRole *b)
{
	if (a->n_rules != b->n_rules)
		return false;
	for (size_t i = 0; i < a->n_rules; i++)
		if (!pb_equal(a->rules[i], b->rules[i]))
			return false;
	return true;
}

static void reconcile(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CLUSTERROLES, NULL, r->name), **parts;
	Rbac__ClusterRole *role = informer_msg(o), *copy;
	size_t n = 0;

	if (!role || !role->aggregation_rule || o->meta->deletion_timestamp)
		return;
	parts = arena_new_array(r->arena, const struct informer_obj *, informer_len(r->view->inf[VIEW_CLUSTERROLES]));
	INFORMER_FOR_EACH (part, r->view->inf[VIEW_CLUSTERROLES])
		if (part != o && selects(role, part))
			parts[n++] = part;
	qsort(parts, n, sizeof(parts[0]), by_name);
	copy = pb_copy(r->arena, role);
	copy->n_rules = 0;
	copy->rules = NULL;
	for (size_t i = 0; i < n; i++) {
		const Rbac__ClusterRole *part = informer_msg(parts[i]);

		for (size_t k = 0; k < part->n_rules; k++)
			if (!has_rule(copy, part->rules[k]))
				pb_add_msg(r->arena, copy, "rules", part->rules[k]);
	}
	if (!same_rules(role, copy))
		plan_update(r, VIEW_CLUSTERROLES, copy);
}

/* A change of any role may concern every role that aggregates. */
static void map_role(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)o;
	INFORMER_FOR_EACH (whole, v->inf[VIEW_CLUSTERROLES]) {
		const Rbac__ClusterRole *role = informer_msg(whole);

		if (role->aggregation_rule)
			enqueue_name(q, NULL, whole->meta->name);
	}
}

const struct controller_row controller_clusterrole_aggregation = {
	.name = "clusterrole-aggregation-controller",
	.account = "clusterrole-aggregation-controller",
	.watches = {{VIEW_CLUSTERROLES, map_role}},
	.reconcile = reconcile,
};
