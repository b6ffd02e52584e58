#include "orchestrator/scheduler/decide.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/node_match.h"
#include "proto/pb.h"

#define MAX_SCORE 100

struct attempt {
	const struct snapshot *snap;
	const struct informer_obj *o;
	const Core__Pod *pod;
	const struct pod_volumes *volumes;
	struct resources req;
	struct arena *arena;
};

/* --- Filters: NULL when the node is possible, else why not ------------------------------------------------- */

typedef const char *filter_fn(const struct attempt *, const struct node_info *);

static const Core__Node *node_of(const struct node_info *n)
{
	return n->node->msg;
}

static const char *filter_unschedulable(const struct attempt *a, const struct node_info *n)
{
	static const Core__Taint taint = {.key = (char *)"node.kubernetes.io/unschedulable", .effect = (char *)"NoSchedule"};
	const Core__Node *node = node_of(n);

	if (node->spec && pb_or(node->spec, unschedulable, false) && !taint_tolerated(a->pod->spec, &taint))
		return "node(s) were unschedulable";
	return NULL;
}

static const char *filter_affinity(const struct attempt *a, const struct node_info *n)
{
	return node_matches(a->pod->spec, node_of(n)) ? NULL : "node(s) didn't match Pod's node affinity/selector";
}

static const char *filter_taints(const struct attempt *a, const struct node_info *n)
{
	const Core__Node *node = node_of(n);

	for (size_t i = 0; node->spec && i < node->spec->n_taints; i++) {
		const Core__Taint *t = node->spec->taints[i];

		if (pb_streq(t->effect, "PreferNoSchedule") || taint_tolerated(a->pod->spec, t))
			continue;
		return arena_printf(a->arena, "node(s) had untolerated taint {%s: %s}", pb_s(t->key), pb_s(t->value));
	}
	return NULL;
}

static bool ports_clash(const Core__ContainerPort *x, const Core__ContainerPort *y)
{
	const char *ip_x = pb_s(x->host_ip), *ip_y = pb_s(y->host_ip);
	bool any = ip_x[0] == '\0' || ip_y[0] == '\0' || strcmp(ip_x, "0.0.0.0") == 0 || strcmp(ip_y, "0.0.0.0") == 0;

	return pb_or(x, host_port, 0) == pb_or(y, host_port, 0) && (any || strcmp(ip_x, ip_y) == 0) &&
	       strcmp(x->protocol ? x->protocol : "TCP", y->protocol ? y->protocol : "TCP") == 0;
}

static bool port_is_taken(const Core__Pod *other, const Core__ContainerPort *port)
{
	for (size_t i = 0; other->spec && i < other->spec->n_containers; i++)
		for (size_t k = 0; k < other->spec->containers[i]->n_ports; k++) {
			const Core__ContainerPort *p = other->spec->containers[i]->ports[k];

			if (pb_or(p, host_port, 0) != 0 && ports_clash(p, port))
				return true;
		}
	return false;
}

static const char *filter_ports(const struct attempt *a, const struct node_info *n)
{
	for (size_t i = 0; i < a->pod->spec->n_containers; i++)
		for (size_t k = 0; k < a->pod->spec->containers[i]->n_ports; k++) {
			const Core__ContainerPort *p = a->pod->spec->containers[i]->ports[k];

			if (pb_or(p, host_port, 0) == 0)
				continue;
			LIST_FOR_EACH (np, &n->pods, struct node_pod, link)
				if (port_is_taken(np->o->msg, p))
					return "node(s) didn't have free ports for the requested pod ports";
		}
	return NULL;
}

/* What is kept on the node for pods that others make room for there, and that come first. */
static struct resources promised(const struct attempt *a, const struct node_info *n, int64_t *ret_pods)
{
	struct resources sum = {0};

	*ret_pods = 0;
	MAP_FOR_EACH (e, &a->snap->nominees) {
		const struct nominee *other = e->value;

		if (strcmp(other->node, n->name) != 0 || pb_streq(other->o->meta->uid, a->o->meta->uid) ||
				pb_or(((const Core__Pod *)other->o->msg)->spec, priority, 0) < pb_or(a->pod->spec, priority, 0))
			continue;
		sum.milli_cpu += other->req.milli_cpu;
		sum.memory += other->req.memory;
		sum.ephemeral += other->req.ephemeral;
		++*ret_pods;
	}
	return sum;
}

static const char *filter_resources(const struct attempt *a, const struct node_info *n)
{
	const struct resources *r = &a->req;
	int64_t more_pods;
	struct resources more = promised(a, n, &more_pods);

	if ((int64_t)n->n_pods + more_pods + 1 > n->max_pods)
		return "Too many pods";
	if (r->milli_cpu > 0 && n->used.milli_cpu + more.milli_cpu + r->milli_cpu > n->can.milli_cpu)
		return "Insufficient cpu";
	if (r->memory > 0 && n->used.memory + more.memory + r->memory > n->can.memory)
		return "Insufficient memory";
	if (r->ephemeral > 0 && n->used.ephemeral + more.ephemeral + r->ephemeral > n->can.ephemeral)
		return "Insufficient ephemeral-storage";
	for (unsigned i = 0; i < r->n_extra; i++)
		if (r->extra[i].n > 0 && resources_extra(&n->used, r->extra[i].name) + r->extra[i].n >
						 resources_extra(&n->can, r->extra[i].name))
			return arena_printf(a->arena, "Insufficient %s", r->extra[i].name);
	return NULL;
}

/* --- Required inter-pod rules ------------------------------------------------------------------------------ */

/* A term's selector and namespaces (empty: the pod's own) against another pod. */
static bool term_selects(const Core__PodAffinityTerm *t, const char *own_ns, const struct informer_obj *other)
{
	bool in_ns = t->n_namespaces == 0 && t->namespace_selector == NULL && pb_streq(own_ns, other->meta->namespace_);

	for (size_t i = 0; i < t->n_namespaces; i++)
		in_ns = in_ns || pb_streq(t->namespaces[i], other->meta->namespace_);
	/* An empty namespaceSelector means every namespace. */
	if (t->namespace_selector && t->namespace_selector->n_match_labels == 0 && t->namespace_selector->n_match_expressions == 0)
		in_ns = true;
	return in_ns && label_selector_matches(t->label_selector, other->meta);
}

static const char *label(const struct node_info *n, const char *key)
{
	const Core__Node *node = node_of(n);

	return pb_map_get(node->metadata->labels, node->metadata->n_labels, key);
}

static bool same_domain(const struct node_info *x, const struct node_info *y, const char *key)
{
	const char *a = label(x, key), *b = label(y, key);

	return a && b && strcmp(a, b) == 0;
}

static bool domain_has_match(const struct attempt *a, const struct node_info *n, const Core__PodAffinityTerm *t)
{
	MAP_FOR_EACH (e, &a->snap->nodes) {
		const struct node_info *other = e->value;

		if (other->node == NULL || !same_domain(n, other, pb_s(t->topology_key)))
			continue;
		LIST_FOR_EACH (np, &other->pods, struct node_pod, link)
			if (term_selects(t, a->o->meta->namespace_, np->o))
				return true;
	}
	return false;
}

static bool anywhere_has_match(const struct attempt *a, const Core__PodAffinityTerm *t)
{
	MAP_FOR_EACH (e, &a->snap->nodes) {
		const struct node_info *other = e->value;

		LIST_FOR_EACH (np, &other->pods, struct node_pod, link)
			if (term_selects(t, a->o->meta->namespace_, np->o))
				return true;
	}
	return false;
}

/* Anti-affinity holds both ways: what runs there already may not want us. */
static bool is_repelled(const struct attempt *a, const struct node_info *n)
{
	MAP_FOR_EACH (e, &a->snap->nodes) {
		const struct node_info *other = e->value;

		if (other->node == NULL)
			continue;
		LIST_FOR_EACH (np, &other->pods, struct node_pod, link) {
			const Core__Pod *p = np->o->msg;
			const Core__PodAntiAffinity *anti = p->spec->affinity ? p->spec->affinity->pod_anti_affinity : NULL;

			for (size_t i = 0; anti && i < anti->n_required_during_scheduling_ignored_during_execution; i++) {
				const Core__PodAffinityTerm *t = anti->required_during_scheduling_ignored_during_execution[i];

				if (term_selects(t, np->o->meta->namespace_, a->o) && same_domain(n, other, pb_s(t->topology_key)))
					return true;
			}
		}
	}
	return false;
}

static const char *filter_pod_affinity(const struct attempt *a, const struct node_info *n)
{
	const Core__Affinity *af = a->pod->spec->affinity;
	const Core__PodAffinity *pa = af ? af->pod_affinity : NULL;
	const Core__PodAntiAffinity *anti = af ? af->pod_anti_affinity : NULL;

	for (size_t i = 0; pa && i < pa->n_required_during_scheduling_ignored_during_execution; i++) {
		const Core__PodAffinityTerm *t = pa->required_during_scheduling_ignored_during_execution[i];
		/* The first pod of a group that wants to be together may go anywhere. */
		bool first = term_selects(t, a->o->meta->namespace_, a->o) && label(n, pb_s(t->topology_key)) && !anywhere_has_match(a, t);

		if (!first && !domain_has_match(a, n, t))
			return "node(s) didn't match pod affinity rules";
	}
	for (size_t i = 0; anti && i < anti->n_required_during_scheduling_ignored_during_execution; i++)
		if (domain_has_match(a, n, anti->required_during_scheduling_ignored_during_execution[i]))
			return "node(s) didn't match pod anti-affinity rules";
	return is_repelled(a, n) ? "node(s) didn't satisfy existing pods anti-affinity rules" : NULL;
}

/* --- Topology spread ---------------------------------------------------------------------------------------- */

/* Pods of the group in the domain of `n`, and the fewest over all domains that the pod could use. */
static void count_domain(const struct attempt *a, const struct node_info *n, const Core__TopologySpreadConstraint *c, int64_t *ret_here,
		int64_t *ret_min)
{
	const char *key = pb_s(c->topology_key);
	struct map counts = MAP_INIT;

	MAP_FOR_EACH (e, &a->snap->nodes) {
		const struct node_info *other = e->value;
		const char *domain = other->node ? label(other, key) : NULL;
		intptr_t count;

		if (domain == NULL || !node_matches(a->pod->spec, node_of(other)))
			continue;
		count = (intptr_t)map_get(&counts, str_from(domain));
		LIST_FOR_EACH (np, &other->pods, struct node_pod, link)
			count += pb_streq(np->o->meta->namespace_, a->o->meta->namespace_) && np->o->meta->deletion_timestamp == NULL &&
				 label_selector_matches(c->label_selector, np->o->meta);
		map_put(&counts, str_from(domain), (void *)count);
	}
	*ret_here = (intptr_t)map_get(&counts, str_from(label(n, key)));
	*ret_min = INT64_MAX;
	MAP_FOR_EACH (e, &counts)
		*ret_min = MIN(*ret_min, (int64_t)(intptr_t)e->value);
	map_fini(&counts);
}

static const char *filter_spread(const struct attempt *a, const struct node_info *n)
{
	for (size_t i = 0; i < a->pod->spec->n_topology_spread_constraints; i++) {
		const Core__TopologySpreadConstraint *c = a->pod->spec->topology_spread_constraints[i];
		int64_t here, min;

		if (!pb_streq(c->when_unsatisfiable, "DoNotSchedule"))
			continue;
		if (label(n, pb_s(c->topology_key)) == NULL)
			return "node(s) didn't match pod topology spread constraints (missing required label)";
		count_domain(a, n, c, &here, &min);
		if (here + label_selector_matches(c->label_selector, a->o->meta) - min > pb_or(c, max_skew, 1))
			return "node(s) didn't match pod topology spread constraints";
	}
	return NULL;
}

static const char *filter_volumes(const struct attempt *a, const struct node_info *n)
{
	return pod_volumes_filter(a->volumes, n);
}

static filter_fn *const filters[] = {
	filter_unschedulable, filter_taints, filter_affinity, filter_ports, filter_resources, filter_volumes, filter_spread,
	filter_pod_affinity,
};

/* --- Scores: 0 (worst) to 100 --------------------------------------------------------------------------------- */

typedef int64_t score_fn(const struct attempt *, const struct node_info *);

static int64_t free_share(int64_t used, int64_t asked, int64_t can)
{
	return can <= 0 || used + asked > can ? 0 : (can - used - asked) * MAX_SCORE / can;
}

/* Pods without requests count as small ones, so that they spread too. */
static int64_t asked_cpu(const struct attempt *a)
{
	return a->req.milli_cpu ? a->req.milli_cpu : 100;
}

static int64_t asked_memory(const struct attempt *a)
{
	return a->req.memory ? a->req.memory : 200 << 20;
}

static int64_t score_least_allocated(const struct attempt *a, const struct node_info *n)
{
	return (free_share(n->used.milli_cpu, asked_cpu(a), n->can.milli_cpu) +
			       free_share(n->used.memory, asked_memory(a), n->can.memory)) / 2;
}

static int64_t score_balanced(const struct attempt *a, const struct node_info *n)
{
	int64_t cpu = free_share(n->used.milli_cpu, asked_cpu(a), n->can.milli_cpu);
	int64_t mem = free_share(n->used.memory, asked_memory(a), n->can.memory);

	return MAX_SCORE - llabs(cpu - mem) / 2;
}

static int64_t score_taints(const struct attempt *a, const struct node_info *n)
{
	const Core__Node *node = node_of(n);
	int64_t bad = 0;

	for (size_t i = 0; node->spec && i < node->spec->n_taints; i++)
		bad += pb_streq(node->spec->taints[i]->effect, "PreferNoSchedule") && !taint_tolerated(a->pod->spec, node->spec->taints[i]);
	return MAX(MAX_SCORE - bad * 50, 0);
}

static int64_t score_affinity(const struct attempt *a, const struct node_info *n)
{
	const Core__NodeAffinity *na = a->pod->spec->affinity ? a->pod->spec->affinity->node_affinity : NULL;
	int64_t sum = 0, all = 0;

	for (size_t i = 0; na && i < na->n_preferred_during_scheduling_ignored_during_execution; i++) {
		const Core__PreferredSchedulingTerm *t = na->preferred_during_scheduling_ignored_during_execution[i];

		all += pb_or(t, weight, 0);
		if (t->preference && node_term_holds(t->preference, node_of(n)))
			sum += pb_or(t, weight, 0);
	}
	return all > 0 ? sum * MAX_SCORE / all : 0;
}

/* Preferred inter-pod terms: what attracts less what repels. */
static int64_t score_pod_affinity(const struct attempt *a, const struct node_info *n)
{
	const Core__Affinity *af = a->pod->spec->affinity;
	int64_t sum = 0, all = 0;

	for (size_t i = 0; af && af->pod_affinity && i < af->pod_affinity->n_preferred_during_scheduling_ignored_during_execution; i++) {
		const Core__WeightedPodAffinityTerm *t = af->pod_affinity->preferred_during_scheduling_ignored_during_execution[i];

		all += pb_or(t, weight, 0);
		sum += t->pod_affinity_term && domain_has_match(a, n, t->pod_affinity_term) ? pb_or(t, weight, 0) : 0;
	}
	for (size_t i = 0; af && af->pod_anti_affinity && i < af->pod_anti_affinity->n_preferred_during_scheduling_ignored_during_execution; i++) {
		const Core__WeightedPodAffinityTerm *t = af->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution[i];

		all += pb_or(t, weight, 0);
		sum += t->pod_affinity_term && domain_has_match(a, n, t->pod_affinity_term) ? 0 : pb_or(t, weight, 0);
	}
	return all > 0 ? sum * MAX_SCORE / all : 0;
}

static bool is_sibling(const struct attempt *a, const struct informer_obj *other)
{
	const Meta__OwnerReference *mine = owner_of(a->o->meta), *its = owner_of(other->meta);

	return mine && its && pb_streq(mine->uid, its->uid) && other->meta->deletion_timestamp == NULL;
}

/* Pods of one owner want different nodes; and soft topology constraints. */
static int64_t score_spread(const struct attempt *a, const struct node_info *n)
{
	int64_t score, siblings = 0;

	LIST_FOR_EACH (np, &n->pods, struct node_pod, link)
		siblings += is_sibling(a, np->o);
	score = MAX_SCORE / (1 + siblings);
	for (size_t i = 0; i < a->pod->spec->n_topology_spread_constraints; i++) {
		const Core__TopologySpreadConstraint *c = a->pod->spec->topology_spread_constraints[i];
		int64_t here, min;

		if (label(n, pb_s(c->topology_key)) == NULL)
			return 0;
		count_domain(a, n, c, &here, &min);
		score = MIN(score, MAX_SCORE / (1 + here - MIN(min, here)));
	}
	return score;
}

/* The image is there already, so the pod starts at once. */
static int64_t score_image(const struct attempt *a, const struct node_info *n)
{
	const Core__Node *node = node_of(n);
	size_t have = 0;

	for (size_t i = 0; i < a->pod->spec->n_containers; i++) {
		const char *want = pb_s(a->pod->spec->containers[i]->image);
		bool found = false;

		for (size_t k = 0; node->status && !found && k < node->status->n_images; k++)
			found = pb_has_str((const char *const *)node->status->images[k]->names, node->status->images[k]->n_names, want);
		have += found;
	}
	return a->pod->spec->n_containers ? (int64_t)(have * MAX_SCORE / a->pod->spec->n_containers) : 0;
}

static const struct {
	score_fn *fn;
	int64_t weight;
} scores[] = {
	{score_least_allocated, 1}, {score_balanced, 1}, {score_taints, 3}, {score_affinity, 2}, {score_pod_affinity, 2},
	{score_spread, 2}, {score_image, 1},
};

/* --- The decision ------------------------------------------------------------------------------------------- */

static const char *why_not(const struct attempt *a, const struct node_info *n)
{
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_LEN(filters) && why == NULL; i++)
		why = filters[i](a, n);
	return why;
}

const char *decide_why_not(const struct snapshot *s, const struct informer_obj *o, const struct pod_volumes *volumes, const struct node_info *n,
		struct arena *arena)
{
	struct attempt a = {.snap = s, .o = o, .pod = o->msg, .volumes = volumes, .req = pod_requests(o->msg), .arena = arena};

	return why_not(&a, n);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *explain(struct arena *a, const struct map *reasons, size_t n_nodes)
{
	const char **parts = arena_new_array(a, const char *, reasons->n + 1);
	struct buf b = BUF_INIT;
	size_t n = 0;
	char *text;

	MAP_FOR_EACH (e, reasons)
		parts[n++] = arena_printf(a, "%zu %.*s", (size_t)(uintptr_t)e->value, STR_FMT(e->key));
	qsort(parts, n, sizeof(*parts), by_text);
	buf_printf(&b, "0/%zu nodes are available%s", n_nodes, n ? ": " : ".");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s", parts[i], i + 1 < n ? ", " : ".");
	text = arena_strdup(a, b.p);
	buf_fini(&b);
	return text;
}

/* What no node can help is said without counting nodes. */
static const char *explain_all(struct arena *a, const struct snapshot *s, const char *why)
{
	size_t n = 0;

	MAP_FOR_EACH (e, &s->nodes)
		n += ((const struct node_info *)e->value)->node != NULL;
	return arena_printf(a, "0/%zu nodes are available: %s.", n, why);
}

struct decision decide(const struct snapshot *s, const struct informer_obj *o, const struct pod_volumes *volumes, uint64_t seed,
		struct arena *arena)
{
	struct attempt a = {.snap = s, .o = o, .pod = o->msg, .volumes = volumes, .req = pod_requests(o->msg), .arena = arena};
	struct decision d = {NULL, NULL, 0};
	struct map reasons = MAP_INIT;
	int64_t best = -1;
	uint64_t best_tie = 0;
	size_t n_nodes = 0;

	if (volumes->message) {
		d.message = explain_all(arena, s, volumes->message);
		return d;
	}
	MAP_FOR_EACH (e, &s->nodes) {
		const struct node_info *n = e->value;
		const char *why;
		int64_t score = 0;
		uint64_t tie;

		if (n->node == NULL)
			continue;
		n_nodes++;
		why = why_not(&a, n);
		if (why != NULL) {
			map_put(&reasons, str_from(why), (void *)((uintptr_t)map_get(&reasons, str_from(why)) + 1));
			continue;
		}
		d.n_feasible++;
		for (size_t i = 0; i < ARRAY_LEN(scores); i++)
			score += scores[i].weight * scores[i].fn(&a, n);
		tie = str_hash(str_from(n->name)) ^ seed;
		if (score > best || (score == best && tie > best_tie)) {
			best = score;
			best_tie = tie;
			d.node = n;
		}
	}
	if (d.node == NULL)
		d.message = explain(arena, &reasons, n_nodes);
	map_fini(&reasons);
	return d;
}
