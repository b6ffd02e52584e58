#include "orchestrator/controllers/disruption.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/pods.h"
#include "proto/apps.pb-c.h"
#include "proto/json.h"
#include "proto/pb.h"

#define ALLOWED "DisruptionAllowed"
#define TARGET "DisruptionTarget"
#define SET(m, field, value) ((m)->has_##field = true, (m)->field = (value))

/* --- Deciding ------------------------------------------------------------------------------------------------------------ */

bool disruption_concerns(const Policy__PodDisruptionBudget *b, const Meta__ObjectMeta *pod)
{
	const Meta__LabelSelector *s = b->spec ? b->spec->selector : NULL;

	if (s == NULL || !pb_streq(b->metadata->namespace_, pod->namespace_))
		return false;
	return (s->n_match_labels == 0 && s->n_match_expressions == 0) || label_selector_matches(s, pod);
}

bool disruption_wants_scale(const Policy__PodDisruptionBudget *b)
{
	const Intstr__IntOrString *min = b->spec ? b->spec->min_available : NULL;

	return b->spec && (b->spec->max_unavailable || (min && pb_or(min, type, 0) != 0));
}

static void wanted(const Policy__PodDisruptionBudget *b, size_t n_pods, const struct disruption_scale *scale,
		Policy__PodDisruptionBudgetStatus *s)
{
	int32_t expected = 0, healthy = 0;

	if (b->spec && b->spec->max_unavailable) {
		expected = scale->expected;
		healthy = MAX(expected - pods_scaled(b->spec->max_unavailable, expected, true), 0);
	} else if (b->spec && b->spec->min_available) {
		expected = disruption_wants_scale(b) ? scale->expected : (int32_t)n_pods;
		healthy = pods_scaled(b->spec->min_available, expected, true);
	}
	SET(s, expected_pods, expected);
	SET(s, desired_healthy, healthy);
}

static const Meta__Time *noted(const Policy__PodDisruptionBudget *b, const char *pod)
{
	const Policy__PodDisruptionBudgetStatus *s = b->status;

	for (size_t i = 0; s && i < s->n_disrupted_pods; i++)
		if (pb_streq(s->disrupted_pods[i]->key, pod))
			return s->disrupted_pods[i]->value;
	return NULL;
}

/* Healthy pods, and those noted as disrupted that are still to be waited for. */
static void count_pods(struct arena *a, const Policy__PodDisruptionBudget *b, const struct informer_obj *const *pods, size_t n, int64_t now_s,
		struct disruption *d)
{
	int32_t healthy = 0;

	for (size_t i = 0; i < n; i++) {
		const Meta__Time *since = noted(b, pods[i]->meta->name);
		int64_t left = since ? time_s(since) + DISRUPTION_TIMEOUT_S - now_s : 0;

		if (pods[i]->meta->deletion_timestamp != NULL)
			continue;
		if (since && left > 0) {
			Policy__PodDisruptionBudgetStatus__DisruptedPodsEntry *e = pb_add(a, d->status, "disrupted_pods");

			e->key = pods[i]->meta->name;
			e->value = (Meta__Time *)since;
			d->again_s = d->again_s ? MIN(d->again_s, left) : left;
			continue;
		}
		if (since)
			d->late = pods[i]->meta->name;
		healthy += pod_is_ready(pods[i]->msg);
	}
	SET(d->status, current_healthy, healthy);
}

static const Meta__Condition *condition_of(const Policy__PodDisruptionBudgetStatus *s)
{
	for (size_t i = 0; s && i < s->n_conditions; i++)
		if (pb_streq(s->conditions[i]->type, ALLOWED))
			return s->conditions[i];
	return NULL;
}

static void allowed_condition(struct arena *a, const Policy__PodDisruptionBudget *b, Policy__PodDisruptionBudgetStatus *s, const char *error,
		int64_t now_s)
{
	const Meta__Condition *old = condition_of(b->status);
	Meta__Condition *c;
	bool on = !error && s->disruptions_allowed > 0;

	/* Others' conditions stay. */
	s->n_conditions = 0;
	for (size_t i = 0; b->status && i < b->status->n_conditions; i++)
		if (b->status->conditions[i] != old)
			pb_add_msg(a, s, "conditions", b->status->conditions[i]);
	c = pb_add(a, s, "conditions");
	c->type = ALLOWED;
	c->status = on ? "True" : "False";
	c->reason = error ? "SyncFailed" : on ? "SufficientPods" : "InsufficientPods";
	c->message = error ? error : "";
	c->last_transition_time = old && pb_streq(old->status, c->status) && old->last_transition_time ? old->last_transition_time
												       : time_now(a, now_s);
	SET(c, observed_generation, s->observed_generation);
}

struct disruption disruption_count(struct arena *a, const Policy__PodDisruptionBudget *b, const struct informer_obj *const *pods, size_t n,
		const struct disruption_scale *scale, int64_t now_s)
{
	struct disruption d = {.status = pb_new_of(a, policy__pod_disruption_budget_status, Policy__PodDisruptionBudgetStatus)};
	Policy__PodDisruptionBudgetStatus *s = d.status;
	const char *error = disruption_wants_scale(b) ? scale->error : NULL;

	if (error) {
		/* What was counted last stays; nothing is allowed. */
		if (b->status)
			d.status = s = pb_copy(a, b->status);
	} else {
		wanted(b, n, scale, s);
		count_pods(a, b, pods, n, now_s, &d);
	}
	SET(s, observed_generation, pb_or(b->metadata, generation, 0));
	SET(s, disruptions_allowed, error || s->expected_pods <= 0 ? 0 : MAX(s->current_healthy - s->desired_healthy, 0));
	allowed_condition(a, b, s, error, now_s);
	return d;
}

bool disruption_same(const Policy__PodDisruptionBudget *b, const Policy__PodDisruptionBudgetStatus *now)
{
	const Policy__PodDisruptionBudgetStatus *was = b->status;
	const Meta__Condition *x = condition_of(was), *y = condition_of(now);

	if (was == NULL || x == NULL || pb_or(was, observed_generation, 0) != now->observed_generation ||
			pb_or(was, disruptions_allowed, 0) != now->disruptions_allowed || pb_or(was, current_healthy, 0) != pb_or(now, current_healthy, 0) ||
			pb_or(was, desired_healthy, 0) != pb_or(now, desired_healthy, 0) || pb_or(was, expected_pods, 0) != pb_or(now, expected_pods, 0) ||
			was->n_disrupted_pods != now->n_disrupted_pods || pb_or(x, observed_generation, 0) != y->observed_generation)
		return false;
	for (size_t i = 0; i < now->n_disrupted_pods; i++)
		if (noted(b, now->disrupted_pods[i]->key) == NULL)
			return false;
	return pb_streq(x->status, y->status) && pb_streq(x->reason, y->reason) && strcmp(pb_s(x->message), y->message) == 0;
}

int64_t disruption_stale_s(const Core__Pod *p, int64_t now_s)
{
	const Core__PodCondition *c = pod_condition(p, TARGET);

	/* A kubelet may take as long as it likes, and what has ended is left as it is. */
	if (c == NULL || !pb_streq(c->status, "True") || pb_streq(c->reason, "TerminationByKubelet") || !pod_is_active(p))
		return -1;
	return MAX(time_s(c->last_transition_time) + DISRUPTION_TIMEOUT_S - now_s, (int64_t)0);
}

/* --- Who owns the pods ----------------------------------------------------------------------------------------------------- */

struct owner {
	const char *uid;
	int32_t replicas;
};

static const struct informer_obj *owner_in(const struct reconcile *r, enum view_id view, const Meta__ObjectMeta *of, const char *kind,
		const char *group)
{
	const Meta__OwnerReference *ref = owner_of(of);
	const struct informer_obj *o;

	if (ref == NULL || !pb_streq(ref->kind, kind) ||
			(group[0] ? !str_has_prefix(str_from(pb_s(ref->api_version)), str_from(group)) : !pb_streq(ref->api_version, "v1")))
		return NULL;
	o = view_get(r->view, view, r->ns, pb_s(ref->name));
	return o && pb_streq(o->meta->uid, ref->uid) ? o : NULL;
}

/* The scale of what a pod belongs to; false: that is not known here. */
static bool scale_of(const struct reconcile *r, const struct informer_obj *pod, struct owner *ret)
{
	const struct informer_obj *o = owner_in(r, VIEW_REPLICASETS, pod->meta, "ReplicaSet", "apps/"), *above;

	if (o && owner_of(o->meta)) {
		above = owner_in(r, VIEW_DEPLOYMENTS, o->meta, "Deployment", "apps/");
		if (above == NULL)
			return false;
		*ret = (struct owner){above->meta->uid, pb_or(((const Apps__Deployment *)above->msg)->spec, replicas, 1)};
		return true;
	}
	if (o) {
		*ret = (struct owner){o->meta->uid, pb_or(((const Apps__ReplicaSet *)o->msg)->spec, replicas, 1)};
		return true;
	}
	if ((o = owner_in(r, VIEW_STATEFULSETS, pod->meta, "StatefulSet", "apps/")) != NULL) {
		*ret = (struct owner){o->meta->uid, pb_or(((const Apps__StatefulSet *)o->msg)->spec, replicas, 1)};
		return true;
	}
	if ((o = owner_in(r, VIEW_REPLICATIONCONTROLLERS, pod->meta, "ReplicationController", "")) != NULL) {
		*ret = (struct owner){o->meta->uid, pb_or(((const Core__ReplicationController *)o->msg)->spec, replicas, 1)};
		return true;
	}
	return false;
}

static struct disruption_scale find_scale(const struct reconcile *r, const struct informer_obj *const *pods, size_t n)
{
	struct disruption_scale s = {0};
	struct owner *seen = arena_new_array(r->arena, struct owner, n + 1);
	size_t n_seen = 0;

	for (size_t i = 0; i < n && s.error == NULL; i++) {
		struct owner o;
		bool known = false;

		if (owner_of(pods[i]->meta) == NULL) {
			s.unmanaged = pods[i]->meta->name;
		} else if (!scale_of(r, pods[i], &o)) {
			s.error = arena_printf(r->arena, "found no controllers for pod \"%s\"", pods[i]->meta->name);
		} else {
			for (size_t k = 0; k < n_seen; k++)
				known = known || pb_streq(seen[k].uid, o.uid);
			if (!known) {
				s.expected += o.replicas;
				seen[n_seen++] = o;
			}
		}
	}
	return s;
}

/* --- Budgets --------------------------------------------------------------------------------------------------------------- */

static const struct informer_obj **select_pods(struct reconcile *r, const Policy__PodDisruptionBudget *b, size_t *ret_n)
{
	struct informer_objs all = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));
	const struct informer_obj **v = arena_new_array(r->arena, const struct informer_obj *, all.n + 1);

	*ret_n = 0;
	for (size_t i = 0; i < all.n; i++)
		if (disruption_concerns(b, all.v[i]->meta))
			v[(*ret_n)++] = all.v[i];
	return v;
}

static void reconcile_budget(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_BUDGETS, r->ns, r->name);
	const Policy__PodDisruptionBudget *b = informer_msg(o);
	const struct informer_obj **pods;
	struct disruption_scale scale = {0};
	struct disruption d;
	Policy__PodDisruptionBudget *copy;
	size_t n;

	if (b == NULL)
		return;
	pods = select_pods(r, b, &n);
	if (disruption_wants_scale(b))
		scale = find_scale(r, pods, n);
	d = disruption_count(r->arena, b, pods, n, &scale, r->now_s);
	if (d.again_s)
		plan_again(r, (uint64_t)d.again_s * 1000);
	if (disruption_same(b, d.status))
		return;
	copy = pb_copy(r->arena, b);
	copy->status = d.status;
	plan_update_status(r, VIEW_BUDGETS, copy);
	if (d.late)
		plan_event(r, VIEW_BUDGETS, o, "Warning", "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", r->ns, d.late);
	if (n == 0)
		plan_event(r, VIEW_BUDGETS, o, "Normal", "NoPods", "No matching pods found");
	if (scale.error)
		plan_event(r, VIEW_BUDGETS, o, "Warning", "CalculateExpectedPodCountFailed",
				"Failed to calculate the number of expected pods: %s", scale.error);
	if (scale.unmanaged)
		plan_event(r, VIEW_BUDGETS, o, "Warning", "UnmanagedPods",
				"Pod %s has no controller that says how many there should be: set .spec.minAvailable to a number to count it",
				scale.unmanaged);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *pod)
{
	INFORMER_FOR_EACH (o, v->inf[VIEW_BUDGETS])
		if (disruption_concerns(o->msg, pod->meta))
			enqueue_key(q, o->key);
}

/* Its scale may have changed. */
static void map_owner_of_pods(struct enqueue *q, const struct view *v, const struct informer_obj *owner)
{
	INFORMER_FOR_EACH (o, v->inf[VIEW_BUDGETS])
		if (pb_streq(o->meta->namespace_, owner->meta->namespace_) && disruption_wants_scale(o->msg))
			enqueue_key(q, o->key);
}

const struct controller_row controller_disruption = {
	.name = "disruption-controller",
	.account = "disruption-controller",
	.component = "controllermanager",
	.watches = {{VIEW_BUDGETS, map_self}, {VIEW_PODS, map_pod}, {VIEW_REPLICASETS, map_owner_of_pods}, {VIEW_DEPLOYMENTS, map_owner_of_pods},
		{VIEW_STATEFULSETS, map_owner_of_pods}, {VIEW_REPLICATIONCONTROLLERS, map_owner_of_pods}},
	.reconcile = reconcile_budget,
};

/* --- Targets that were spared ------------------------------------------------------------------------------------------------ */

static void reconcile_stale(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_PODS, r->ns, r->name);
	int64_t left = o ? disruption_stale_s(o->msg, r->now_s) : -1;
	Core__PodCondition *c;
	Core__Pod *copy;

	if (left > 0)
		plan_again(r, (uint64_t)left * 1000);
	if (left != 0)
		return;
	copy = pb_copy(r->arena, o->msg);
	c = (Core__PodCondition *)pod_condition(copy, TARGET);
	c->status = "False";
	c->reason = NULL;
	c->message = NULL;
	c->last_transition_time = time_now(r->arena, r->now_s);
	plan_update_status(r, VIEW_PODS, copy);
}

static void map_target(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)v;
	if (disruption_stale_s(o->msg, 0) >= 0)
		enqueue_key(q, o->key);
}

const struct controller_row controller_stale_disruption = {
	.name = "stale-disruption-controller",
	.account = "disruption-controller",
	.watches = {{VIEW_PODS, map_target}},
	.reconcile = reconcile_stale,
};
