/*
 * DaemonSet: a pod on every node that suits it. Which node a pod is for stands in its required node affinity; the scheduler
 * binds it, as any other. An update goes node by node within maxUnavailable, or, with maxSurge, lets the new pod come up beside
 * the old one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/node_match.h"
#include "orchestrator/controllers/pods.h"
#include "orchestrator/controllers/revisions.h"
#include "proto/pb.h"

#define BURST 100
/* A pod that ended is replaced after so long, and not at once for ever. */
#define ENDED_S 10

/* One node and our pods for it. */
struct spot {
	const struct informer_obj *node;
	bool should_run, may_stay;
	const struct informer_obj *current, *old; /* of today's template and of another; neither ended nor going */
	size_t n_pods;                            /* with those ended and going */
	bool current_available, old_available, ready;
};

struct daemons {
	struct reconcile *r;
	const struct informer_obj *o;
	const Apps__DaemonSet *ds;
	const Core__PodSpec *pod_spec; /* the template's, with the tolerations that all daemons have */
	struct revisions revisions;
	struct spot *spots;
	size_t n_spots;
	const struct informer_obj **pods;
	size_t n_pods;
	size_t n_created, n_deleted;
	int32_t max_unavailable, max_surge;
	int64_t again_s;
};

/* --- Reading ------------------------------------------------------------------------------------------- */

static const struct {
	const char *key, *effect;
	bool host_network; /* only for pods in the node's own network */
} tolerations[] = {
	{"node.kubernetes.io/not-ready", "NoExecute", false},
	{"node.kubernetes.io/unreachable", "NoExecute", false},
	{"node.kubernetes.io/disk-pressure", "NoSchedule", false},
	{"node.kubernetes.io/memory-pressure", "NoSchedule", false},
	{"node.kubernetes.io/pid-pressure", "NoSchedule", false},
	{"node.kubernetes.io/unschedulable", "NoSchedule", false},
	{"node.kubernetes.io/network-unavailable", "NoSchedule", true},
};

static Core__PodSpec *daemon_spec(struct arena *a, const Core__PodSpec *from)
{
	Core__PodSpec *s = pb_copy(a, from);

	for (size_t i = 0; i < ARRAY_LEN(tolerations); i++) {
		Core__Toleration *t;

		if (tolerations[i].host_network && !pb_or(from, host_network, false))
			continue;
		t = pb_add(a, s, "tolerations");
		t->key = tolerations[i].key;
		t->operator_ = "Exists";
		t->effect = tolerations[i].effect;
	}
	return s;
}

/* The node that a pod is for: the one it is bound to, or the one that its affinity names. */
static const char *node_for(const Core__Pod *p)
{
	const Core__NodeAffinity *na = p->spec && p->spec->affinity ? p->spec->affinity->node_affinity : NULL;
	const Core__NodeSelector *req = na ? na->required_during_scheduling_ignored_during_execution : NULL;

	if (p->spec && pb_s(p->spec->node_name)[0])
		return p->spec->node_name;
	for (size_t i = 0; req && i < req->n_node_selector_terms; i++) {
		const Core__NodeSelectorTerm *t = req->node_selector_terms[i];

		for (size_t k = 0; k < t->n_match_fields; k++)
			if (pb_streq(t->match_fields[k]->key, "metadata.name") && t->match_fields[k]->n_values == 1)
				return t->match_fields[k]->values[0];
	}
	return "";
}

/* A taint NoSchedule keeps new pods away; only NoExecute drives out those that run. */
static void judge_node(struct daemons *d, struct spot *s)
{
	const Core__Node *node = s->node->msg;

	s->should_run = s->may_stay = node_matches(d->pod_spec, node) &&
				      (pb_s(d->pod_spec->node_name)[0] == '\0' || pb_streq(d->pod_spec->node_name, s->node->meta->name));
	for (size_t i = 0; node->spec && i < node->spec->n_taints; i++) {
		const Core__Taint *t = node->spec->taints[i];

		if (pb_streq(t->effect, "PreferNoSchedule") || taint_tolerated(d->pod_spec, t))
			continue;
		s->should_run = false;
		s->may_stay = s->may_stay && !pb_streq(t->effect, "NoExecute");
	}
}

static struct spot *spot_of(struct daemons *d, const char *node)
{
	for (size_t i = 0; i < d->n_spots; i++)
		if (pb_streq(d->spots[i].node->meta->name, node))
			return &d->spots[i];
	return NULL;
}

static bool is_current(const struct daemons *d, const struct informer_obj *pod)
{
	return pb_streq(pb_map_get(pod->meta->labels, pod->meta->n_labels, REVISION_LABEL), d->revisions.hash);
}

static bool is_available(struct daemons *d, const Core__Pod *p)
{
	int64_t at = pod_available_at(p, pb_or(d->ds->spec, min_ready_seconds, 0));

	if (at <= d->r->now_s)
		return true;
	if (at != INT64_MAX)
		plan_again(d->r, (uint64_t)(at - d->r->now_s) * 1000);
	return false;
}

static void remove_pod(struct daemons *d, const struct informer_obj *pod)
{
	if (d->n_deleted++ >= BURST)
		return;
	plan_delete(d->r, VIEW_PODS, pod, -1, NULL);
	plan_event(d->r, VIEW_DAEMONSETS, d->o, "Normal", "SuccessfulDelete", "Deleted pod: %s", pod->meta->name);
}

/* A pod that ended on its node makes way for another. */
static void take_ended(struct daemons *d, const struct spot *s, const struct informer_obj *pod)
{
	const Core__Pod *p = pod->msg;
	bool failed = p->status && pb_streq(p->status->phase, "Failed");
	int64_t left = time_s(pod->meta->creation_timestamp) + ENDED_S - d->r->now_s;

	if (left > 0) {
		plan_again(d->r, (uint64_t)left * 1000);
		return;
	}
	plan_event(d->r, VIEW_DAEMONSETS, d->o, failed ? "Warning" : "Normal", failed ? "FailedDaemonPod" : "SucceededDaemonPod",
			"Found %s daemon pod %s on node %s, will try to kill it", failed ? "failed" : "succeeded", pod->meta->name,
			s->node->meta->name);
	remove_pod(d, pod);
}

static bool older(const struct informer_obj *a, const struct informer_obj *b)
{
	int64_t x = time_s(a->meta->creation_timestamp), y = time_s(b->meta->creation_timestamp);

	return x != y ? x < y : str_cmp(a->key, b->key) < 0;
}

/* Of two pods of one template on a node the older one stays. */
static void take_running(struct daemons *d, struct spot *s, const struct informer_obj *pod)
{
	const struct informer_obj **place = is_current(d, pod) ? &s->current : &s->old;

	if (*place == NULL) {
		*place = pod;
		return;
	}
	remove_pod(d, older(*place, pod) ? pod : *place);
	if (older(pod, *place))
		*place = pod;
}

static void take_pod(struct daemons *d, const struct informer_obj *pod)
{
	struct spot *s = spot_of(d, node_for(pod->msg));
	bool going = pod->meta->deletion_timestamp != NULL;

	d->pods[d->n_pods++] = pod;
	if (s == NULL) {
		/* Bound pods of a node that is gone are the pod cleaner's; those that never got there nobody else ends. */
		if (!going && pb_s(((const Core__Pod *)pod->msg)->spec->node_name)[0] == '\0')
			remove_pod(d, pod);
		return;
	}
	s->n_pods++;
	if (going)
		return;
	if (!s->may_stay)
		remove_pod(d, pod);
	else if (!pod_is_active(pod->msg))
		take_ended(d, s, pod);
	else
		take_running(d, s, pod);
}

static void collect(struct daemons *d)
{
	struct reconcile *r = d->r;
	struct informer_objs all = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));
	size_t n = informer_len(r->view->inf[VIEW_NODES]);

	d->spots = arena_new_array(r->arena, struct spot, n + 1);
	d->pods = arena_new_array(r->arena, const struct informer_obj *, all.n + 1);
	INFORMER_FOR_EACH (node, r->view->inf[VIEW_NODES]) {
		if (d->n_spots == n)
			break;
		d->spots[d->n_spots].node = node;
		judge_node(d, &d->spots[d->n_spots++]);
	}
	for (size_t i = 0; i < all.n; i++)
		if (pod_adopt_or_release(r, d->o, d->ds->spec->selector, "apps/v1", "DaemonSet", all.v[i]))
			take_pod(d, all.v[i]);
	for (size_t i = 0; i < d->n_spots; i++) {
		struct spot *s = &d->spots[i];

		s->current_available = s->current && is_available(d, s->current->msg);
		s->old_available = s->old && is_available(d, s->old->msg);
		s->ready = (s->current && pod_is_ready(s->current->msg)) || (s->old && pod_is_ready(s->old->msg));
	}
}

/* --- Acting -------------------------------------------------------------------------------------------- */

static void create_pod(struct daemons *d, const struct spot *s)
{
	struct arena *a = d->r->arena;
	Core__Pod *pod = pb_new_of(a, core__pod, Core__Pod);
	const Core__PodTemplateSpec *t = d->ds->spec->template_;
	Core__NodeSelector *req;
	Core__NodeSelectorRequirement *name;
	char suffix[6];

	if (d->n_created++ >= BURST)
		return;
	pod->metadata = t->metadata ? pb_copy(a, t->metadata) : pb_new_of(a, meta__object_meta, Meta__ObjectMeta);
	pod->spec = pb_copy(a, d->pod_spec);
	/* What else the affinity asks for was asked of this node already. */
	req = pb_new_of(a, core__node_selector, Core__NodeSelector);
	name = pb_add(a, pb_add(a, req, "node_selector_terms"), "match_fields");
	name->key = "metadata.name";
	name->operator_ = "In";
	pb_add_str(a, name, "values", s->node->meta->name);
	((Core__NodeAffinity *)pb_sub(a, pb_sub(a, pod->spec, "affinity"), "node_affinity"))
			->required_during_scheduling_ignored_during_execution = req;
	random_suffix(suffix, 5);
	pod->metadata->generate_name = arena_printf(a, "%.57s-", d->o->meta->name);
	pod->metadata->name = arena_printf(a, "%.57s-%s", d->o->meta->name, suffix);
	pod->metadata->namespace_ = arena_strdup(a, d->r->ns);
	pb_map_set(a, pod->metadata, "labels", REVISION_LABEL, d->revisions.hash);
	owner_set(a, pod, d->o, "apps/v1", "DaemonSet");
	plan_create(d->r, VIEW_PODS, d->r->ns, pod);
	plan_event(d->r, VIEW_DAEMONSETS, d->o, "Normal", "SuccessfulCreate", "Created pod: %s", pod->metadata->name);
}

static void limits(struct daemons *d, int32_t desired)
{
	const Apps__DaemonSetUpdateStrategy *u = d->ds->spec->update_strategy;
	const Apps__RollingUpdateDaemonSet *ru = u ? u->rolling_update : NULL;

	d->max_surge = ru && ru->max_surge ? pods_scaled(ru->max_surge, desired, true) : 0;
	d->max_unavailable = ru && ru->max_unavailable ? pods_scaled(ru->max_unavailable, desired, true) : 1;
	/* Both zero could never move. */
	if (d->max_surge == 0 && d->max_unavailable == 0)
		d->max_unavailable = 1;
}

static bool is_rolling(const struct daemons *d)
{
	const Apps__DaemonSetUpdateStrategy *u = d->ds->spec->update_strategy;

	return u == NULL || !pb_streq(u->type, "OnDelete");
}

/* Old pods go where they serve nobody, and as many more as may be missing at one time. */
static void roll_down(struct daemons *d)
{
	int32_t missing = 0;

	for (size_t i = 0; i < d->n_spots; i++) {
		const struct spot *s = &d->spots[i];

		if (!s->should_run && !(s->may_stay && s->n_pods > 0))
			continue;
		if (s->old && s->current)
			remove_pod(d, s->old);
		else if (s->old && !s->old_available)
			remove_pod(d, s->old);
		missing += s->old && !s->current ? !s->old_available : !s->current_available;
	}
	for (size_t i = 0; i < d->n_spots && missing < d->max_unavailable; i++) {
		if (d->spots[i].old == NULL || d->spots[i].current || !d->spots[i].old_available)
			continue;
		remove_pod(d, d->spots[i].old);
		missing++;
	}
}

/* The new pod comes up first; the old one goes when the new one is available. */
static void roll_beside(struct daemons *d)
{
	int32_t surging = 0;

	for (size_t i = 0; i < d->n_spots; i++) {
		const struct spot *s = &d->spots[i];

		if (s->old && s->current && s->current_available)
			remove_pod(d, s->old);
		else if (s->old && s->current)
			surging++;
		else if (s->old && !s->old_available && s->should_run)
			create_pod(d, s);
	}
	for (size_t i = 0; i < d->n_spots && surging < d->max_surge; i++) {
		const struct spot *s = &d->spots[i];

		if (s->old == NULL || s->current || !s->old_available || !s->should_run)
			continue;
		create_pod(d, s);
		surging++;
	}
}

static void act(struct daemons *d, int32_t desired)
{
	limits(d, desired);
	for (size_t i = 0; i < d->n_spots; i++)
		if (d->spots[i].should_run && d->spots[i].n_pods == 0)
			create_pod(d, &d->spots[i]);
	if (is_rolling(d) && d->max_surge > 0)
		roll_beside(d);
	else if (is_rolling(d))
		roll_down(d);
	else
		for (size_t i = 0; i < d->n_spots; i++)
			if (d->spots[i].old && d->spots[i].current)
				remove_pod(d, d->spots[i].old);
}

static int32_t count_desired(const struct daemons *d)
{
	int32_t n = 0;

	for (size_t i = 0; i < d->n_spots; i++)
		n += d->spots[i].should_run;
	return n;
}

static void update_status(struct daemons *d, int32_t desired)
{
	Apps__DaemonSet *copy = pb_copy(d->r->arena, d->ds);
	Apps__DaemonSetStatus *st = pb_sub(d->r->arena, copy, "status");
	int32_t current = 0, astray = 0, ready = 0, available = 0, updated = 0;

	for (size_t i = 0; i < d->n_spots; i++) {
		const struct spot *s = &d->spots[i];

		if (!s->should_run) {
			astray += s->current || s->old;
			continue;
		}
		current += s->n_pods > 0;
		ready += s->ready;
		available += s->current_available || s->old_available;
		updated += s->current != NULL;
	}
	/* Zero is left out where it is in what is stored, so that equal means equal. */
#define SET(field, value, always) (st->field = (value), st->has_##field = st->field != 0 || always)
	SET(desired_number_scheduled, desired, true);
	SET(current_number_scheduled, current, true);
	SET(number_misscheduled, astray, true);
	SET(number_ready, ready, true);
	SET(updated_number_scheduled, updated, false);
	SET(number_available, available, false);
	SET(number_unavailable, desired - available, false);
	SET(observed_generation, pb_or(d->o->meta, generation, 0), false);
#undef SET
	if (!pb_equal(d->ds->status, st))
		plan_update_status(d->r, VIEW_DAEMONSETS, copy);
}

static bool pod_uses(const void *arg, const struct informer_obj *revision)
{
	const struct daemons *d = arg;
	const char *hash = pb_map_get(revision->meta->labels, revision->meta->n_labels, REVISION_LABEL);

	for (size_t i = 0; i < d->n_pods; i++)
		if (pb_streq(pb_map_get(d->pods[i]->meta->labels, d->pods[i]->meta->n_labels, REVISION_LABEL), hash))
			return true;
	return false;
}

static void reconcile_daemonset(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_DAEMONSETS, r->ns, r->name);
	struct daemons d = {.r = r, .o = o, .ds = informer_msg(o)};
	int32_t desired;

	if (d.ds == NULL || d.ds->spec == NULL || d.ds->spec->template_ == NULL || d.ds->spec->template_->spec == NULL ||
			o->meta->deletion_timestamp != NULL)
		return;
	d.pod_spec = daemon_spec(r->arena, d.ds->spec->template_->spec);
	revisions_sync(r, VIEW_DAEMONSETS, o, d.ds->spec->template_, &d.revisions);
	collect(&d);
	desired = count_desired(&d);
	act(&d, desired);
	update_status(&d, desired);
	revisions_trim(r, &d.revisions, pb_or(d.ds->spec, revision_history_limit, 10), pod_uses, &d);
	/* The next hundred. */
	if (d.n_created > BURST || d.n_deleted > BURST)
		plan_again(r, 1);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	if (owner_of(o->meta) != NULL) {
		map_owner(q, o, "DaemonSet");
		return;
	}
	/* A pod without an owner may be adopted. */
	INFORMER_FOR_EACH (s, v->inf[VIEW_DAEMONSETS]) {
		const Apps__DaemonSet *ds = s->msg;

		if (pb_streq(s->meta->namespace_, o->meta->namespace_) && ds->spec && label_selector_matches(ds->spec->selector, o->meta))
			enqueue_key(q, s->key);
	}
}

static void map_node(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	INFORMER_FOR_EACH (s, v->inf[VIEW_DAEMONSETS])
		enqueue_key(q, s->key);
}

static void map_revision(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	map_owner(q, o, "DaemonSet");
}

const struct controller_row controller_daemonset = {
	.name = "daemonset-controller",
	.account = "daemon-set-controller",
	.watches = {{VIEW_DAEMONSETS, map_self}, {VIEW_PODS, map_pod}, {VIEW_NODES, map_node}, {VIEW_REVISIONS, map_revision}},
	.reconcile = reconcile_daemonset,
};
