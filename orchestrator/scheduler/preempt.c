#include "orchestrator/scheduler/preempt.h"

#include <limits.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/disruption.h"
#include "orchestrator/scheduler/decide.h"
#include "proto/pb.h"

struct victim {
	struct node_pod *pod; /* of the trial */
	bool violates;        /* its budget allows no more */
	bool goes;
};

/* What it costs to take a node. */
struct cost {
	int64_t violations, highest, sum, n;
	int64_t youngest; /* of those with the highest priority: the later the better, so it is negative */
};

static int64_t priority_of(const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;

	return pb_or(p->spec, priority, 0);
}

/* When it was started; one that was not yet is younger than all. */
static int64_t started(const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;

	return p->status && p->status->start_time ? time_s(p->status->start_time) : INT64_MAX;
}

bool preempt_may(const struct snapshot *s, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;
	const struct nominee *mine = map_get(&s->nominees, str_from(pb_s(o->meta->uid)));
	const struct node_info *n = mine ? map_get(&s->nodes, str_from(mine->node)) : NULL;

	if (pb_streq(p->spec->preemption_policy, "Never"))
		return false;
	if (n == NULL)
		return true;
	LIST_FOR_EACH (np, &n->pods, struct node_pod, link)
		if (np->o->meta->deletion_timestamp != NULL && priority_of(np->o) < priority_of(o))
			return false;
	return true;
}

/* --- One node ------------------------------------------------------------------------------------------------------------ */

static int by_importance(const void *a, const void *b)
{
	const struct victim *x = a, *y = b;
	int64_t px = priority_of(x->pod->o), py = priority_of(y->pod->o), sx = started(x->pod->o), sy = started(y->pod->o);

	if (px != py)
		return px > py ? -1 : 1;
	if (sx != sy)
		return sx < sy ? -1 : 1;
	return str_cmp(x->pod->o->key, y->pod->o->key);
}

static bool is_noted(const Policy__PodDisruptionBudget *b, const char *pod)
{
	for (size_t i = 0; b->status && i < b->status->n_disrupted_pods; i++)
		if (pb_streq(b->status->disrupted_pods[i]->key, pod))
			return true;
	return false;
}

/* The most important ones use a budget up first. What is on its way out already, or noted as evicted, uses up nothing. */
static void judge_budgets(struct victim *v, size_t n, const struct informer_obj *const *budgets, size_t n_budgets, struct arena *a)
{
	int64_t *left = arena_new_array(a, int64_t, n_budgets + 1);

	for (size_t k = 0; k < n_budgets; k++) {
		const Policy__PodDisruptionBudget *b = budgets[k]->msg;

		left[k] = b->status ? pb_or(b->status, disruptions_allowed, 0) : 0;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n_budgets && v[i].pod->o->meta->deletion_timestamp == NULL; k++) {
			const Policy__PodDisruptionBudget *b = budgets[k]->msg;

			if (disruption_concerns(b, v[i].pod->o->meta) && !is_noted(b, v[i].pod->o->meta->name) && --left[k] < 0)
				v[i].violates = true;
		}
}

static struct cost cost_of(const struct victim *v, size_t n)
{
	struct cost c = {.highest = INT64_MIN, .youngest = INT64_MIN};
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < n; i++) {
		int64_t p = priority_of(v[i].pod->o);

		if (!v[i].goes)
			continue;
		c.violations += v[i].violates;
		c.sum += p + (int64_t)INT32_MAX + 1; /* no priority is worth less than nothing */
		c.n++;
		if (p > c.highest)
			oldest = INT64_MAX;
		if (p >= c.highest)
			oldest = MIN(oldest, started(v[i].pod->o));
		c.highest = MAX(c.highest, p);
	}
	c.youngest = -oldest;
	return c;
}

static bool cheaper(const struct cost *x, const struct cost *y)
{
	const int64_t a[] = {x->violations, x->highest, x->sum, x->n, x->youngest}, b[] = {y->violations, y->highest, y->sum, y->n, y->youngest};

	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		if (a[i] != b[i])
			return a[i] < b[i];
	return false;
}

/* Most clusters know one priority only: then there is nothing to try. */
static bool has_lesser(const struct node_info *n, int64_t priority)
{
	LIST_FOR_EACH (np, &n->pods, struct node_pod, link)
		if (priority_of(np->o) < priority)
			return true;
	return false;
}

/* Those who must go from this node; false when that would not help. */
static bool try_node(struct snapshot *s, const struct informer_obj *pod, const struct pod_volumes *volumes, struct node_info *real,
		const struct informer_obj *const *budgets, size_t n_budgets, struct arena *a, struct victim **ret, size_t *ret_n)
{
	struct victim *v = arena_new_array(a, struct victim, real->n_pods + 1);
	struct node_trial t;
	size_t n = 0;
	bool fits;

	node_trial_begin(&t, s, real, a);
	LIST_FOR_EACH_SAFE (np, next, &t.node.pods, struct node_pod, link)
		if (priority_of(np->o) < priority_of(pod)) {
			v[n++] = (struct victim){.pod = np};
			node_trial_drop(&t, np);
		}
	fits = n > 0 && decide_why_not(s, pod, volumes, &t.node, a) == NULL;
	if (fits) {
		qsort(v, n, sizeof(*v), by_importance);
		judge_budgets(v, n, budgets, n_budgets, a);
		for (int violates = 1; violates >= 0; violates--)
			for (size_t i = 0; i < n; i++) {
				if (v[i].violates != violates)
					continue;
				node_trial_add(&t, v[i].pod);
				v[i].goes = decide_why_not(s, pod, volumes, &t.node, a) != NULL;
				if (v[i].goes)
					node_trial_drop(&t, v[i].pod);
			}
	}
	node_trial_end(&t);
	*ret = v;
	*ret_n = n;
	return fits;
}

struct preemption preempt(struct snapshot *s, const struct informer_obj *pod, const struct pod_volumes *volumes,
		const struct informer_obj *const *budgets, size_t n_budgets, struct arena *a)
{
	struct node_info **nodes = arena_new_array(a, struct node_info *, map_len(&s->nodes) + 1);
	struct preemption best = {NULL, NULL, 0};
	struct cost least = {0};
	size_t n_nodes = 0;

	/* A trial takes a node's place in the map: first all of them, then the trials. */
	MAP_FOR_EACH (e, &s->nodes)
		nodes[n_nodes++] = e->value;
	for (size_t i = 0; i < n_nodes; i++) {
		struct victim *v;
		struct cost c;
		size_t n;

		if (nodes[i]->node == NULL || !has_lesser(nodes[i], priority_of(pod)) || !try_node(s, pod, volumes, nodes[i], budgets, n_budgets, a, &v, &n))
			continue;
		c = cost_of(v, n);
		if (best.node && !cheaper(&c, &least))
			continue;
		best = (struct preemption){nodes[i], arena_new_array(a, const struct informer_obj *, n + 1), 0};
		least = c;
		for (size_t k = 0; k < n; k++)
			if (v[k].goes)
				best.victims[best.n++] = v[k].pod->o;
	}
	return best;
}
