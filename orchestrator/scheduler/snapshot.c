#include "orchestrator/scheduler/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/pb.h"
#include "proto/quantity.h"
#include "proto/quantity.pb-c.h"

/* --- Amounts ------------------------------------------------------------------------------------------- */

static void add_extra(struct resources *r, const char *name, int64_t n)
{
	/* None of it is as good as not named, and takes no place: every node names huge pages. */
	if (n == 0)
		return;
	for (unsigned i = 0; i < r->n_extra; i++)
		if (strcmp(r->extra[i].name, name) == 0) {
			r->extra[i].n += n;
			return;
		}
	if (r->n_extra < RES_EXTRA_MAX)
		r->extra[r->n_extra++] = (struct res_extra){name, n};
}

static void add_one(struct resources *r, const char *name, const Resource__Quantity *q)
{
	struct quantity v = quantity_of(q ? q->string : NULL);

	if (strcmp(name, "cpu") == 0) {
		r->milli_cpu += quantity_milli(v);
		return;
	}
	if (strcmp(name, "memory") == 0) {
		r->memory += quantity_value(v);
		return;
	}
	if (strcmp(name, "ephemeral-storage") == 0) {
		r->ephemeral += quantity_value(v);
		return;
	}
	add_extra(r, name, quantity_value(v));
}

int64_t resources_extra(const struct resources *r, const char *name)
{
	for (unsigned i = 0; i < r->n_extra; i++)
		if (strcmp(r->extra[i].name, name) == 0)
			return r->extra[i].n;
	return 0;
}

/* sign 1 or -1; `name` pointers must outlive r: they come from the pod that is counted, so extras are re-summed. */
static void add_all(struct resources *to, const struct resources *r, int sign)
{
	to->milli_cpu += sign * r->milli_cpu;
	to->memory += sign * r->memory;
	to->ephemeral += sign * r->ephemeral;
}

static void max_all(struct resources *to, const struct resources *r)
{
	to->milli_cpu = MAX(to->milli_cpu, r->milli_cpu);
	to->memory = MAX(to->memory, r->memory);
	to->ephemeral = MAX(to->ephemeral, r->ephemeral);
	for (unsigned i = 0; i < r->n_extra; i++) {
		bool found = false;

		for (unsigned k = 0; k < to->n_extra; k++)
			if (strcmp(to->extra[k].name, r->extra[i].name) == 0) {
				to->extra[k].n = MAX(to->extra[k].n, r->extra[i].n);
				found = true;
			}
		if (!found && to->n_extra < RES_EXTRA_MAX)
			to->extra[to->n_extra++] = r->extra[i];
	}
}

/* What the kubelet has said of a container; NULL: nothing yet. */
static const Core__ContainerStatus *status_of(const Core__Pod *p, const Core__Container *c)
{
	const Core__PodStatus *s = p->status;

	for (size_t i = 0; s && i < s->n_container_statuses; i++)
		if (pb_streq(s->container_statuses[i]->name, c->name))
			return s->container_statuses[i];
	for (size_t i = 0; s && i < s->n_init_container_statuses; i++)
		if (pb_streq(s->init_container_statuses[i]->name, c->name))
			return s->init_container_statuses[i];
	return NULL;
}

/* Its kubelet has said that the node can never give the pod what it asks for. */
static bool is_infeasible(const Core__Pod *p)
{
	for (size_t i = 0; p->status && i < p->status->n_conditions; i++) {
		const Core__PodCondition *c = p->status->conditions[i];

		if (pb_streq(c->type, "PodResizePending") && pb_streq(c->reason, "Infeasible"))
			return true;
	}
	return false;
}

/* While it is resized a container counts with the largest of what it asks for, was given, and runs with. */
static void add_container(struct resources *r, const Core__Pod *p, const Core__Container *c)
{
	const Core__ContainerStatus *s = status_of(p, c);
	bool said = s && (s->n_allocated_resources > 0 || s->resources);
	struct resources most = {0}, given = {0}, actual = {0};

	for (size_t i = 0; c->resources && i < c->resources->n_requests && !(said && is_infeasible(p)); i++)
		add_one(&most, c->resources->requests[i]->key, c->resources->requests[i]->value);
	for (size_t i = 0; s && i < s->n_allocated_resources; i++)
		add_one(&given, s->allocated_resources[i]->key, s->allocated_resources[i]->value);
	for (size_t i = 0; s && s->resources && i < s->resources->n_requests; i++)
		add_one(&actual, s->resources->requests[i]->key, s->resources->requests[i]->value);
	max_all(&most, &given);
	max_all(&most, &actual);
	add_all(r, &most, 1);
	for (unsigned i = 0; i < most.n_extra; i++)
		add_extra(r, most.extra[i].name, most.extra[i].n);
}

static bool pod_level(const char *name)
{
	return strcmp(name, "cpu") == 0 || strcmp(name, "memory") == 0 || strncmp(name, "hugepages-", strlen("hugepages-")) == 0;
}

static void set_one(struct resources *r, const char *name, const Resource__Quantity *q)
{
	if (strcmp(name, "cpu") == 0)
		r->milli_cpu = 0;
	else if (strcmp(name, "memory") == 0)
		r->memory = 0;
	else
		for (unsigned i = 0; i < r->n_extra; i++)
			if (strcmp(r->extra[i].name, name) == 0)
				r->extra[i].n = 0;
	add_one(r, name, q);
}

/* The larger one of two amounts, which may be absent. */
static const Resource__Quantity *larger(const Resource__Quantity *a, const Resource__Quantity *b)
{
	if (a == NULL || b == NULL)
		return a ? a : b;
	return quantity_cmp(quantity_of(a->string), quantity_of(b->string)) >= 0 ? a : b;
}

/* What the pod as a whole asks for counts instead of its containers; on its way to other amounts, the largest of all of them. */
static void use_pod_level(struct resources *sum, const Core__Pod *p)
{
	const Core__ResourceRequirements *own = p->spec->resources, *actual = p->status ? p->status->resources : NULL;

	for (size_t i = 0; own && i < own->n_requests; i++) {
		const char *name = own->requests[i]->key;
		const Resource__Quantity *most = actual && is_infeasible(p) ? NULL : own->requests[i]->value;

		if (!pod_level(name))
			continue;
		if (actual) {
			most = larger(most, pb_map_get(actual->requests, actual->n_requests, name));
			most = larger(most, pb_map_get(p->status->allocated_resources, p->status->n_allocated_resources, name));
		}
		set_one(sum, name, most);
	}
}

struct resources pod_requests(const Core__Pod *p)
{
	struct resources sum = {0}, sidecars = {0}, peak = {0};
	const Core__PodSpec *s = p->spec;

	for (size_t i = 0; i < s->n_containers; i++)
		add_container(&sum, p, s->containers[i]);
	/* An init container runs beside the restartable ones that were started before it. */
	for (size_t i = 0; i < s->n_init_containers; i++) {
		const Core__Container *c = s->init_containers[i];
		struct resources now = sidecars;

		add_container(&now, p, c);
		max_all(&peak, &now);
		if (pb_streq(c->restart_policy, "Always")) {
			add_container(&sidecars, p, c);
			add_container(&sum, p, c);
		}
	}
	max_all(&sum, &peak);
	use_pod_level(&sum, p);
	for (size_t i = 0; i < s->n_overhead; i++)
		add_one(&sum, s->overhead[i]->key, s->overhead[i]->value);
	return sum;
}

/* --- Nodes and pods ------------------------------------------------------------------------------------ */

static struct node_info *node_get(struct snapshot *s, const char *name)
{
	struct node_info *n = map_get(&s->nodes, str_from(name));

	if (n == NULL) {
		n = xcalloc(1, sizeof(*n));
		n->name = xstrdup(name);
		list_init(&n->pods);
		map_put(&s->nodes, str_from(name), n);
	}
	return n;
}

static void node_settle(struct snapshot *s, struct node_info *n)
{
	if (n->node != NULL || !list_empty(&n->pods))
		return;
	map_del(&s->nodes, str_from(n->name));
	free(n->name);
	free(n);
}

/* Extended resources are summed afresh: few pods have any. */
static void sum_extras(struct node_info *n)
{
	n->used.n_extra = 0;
	LIST_FOR_EACH (np, &n->pods, struct node_pod, link)
		for (unsigned i = 0; i < np->req.n_extra; i++) {
			bool found = false;

			for (unsigned k = 0; k < n->used.n_extra; k++)
				if (strcmp(n->used.extra[k].name, np->req.extra[i].name) == 0) {
					n->used.extra[k].n += np->req.extra[i].n;
					found = true;
				}
			if (!found && n->used.n_extra < RES_EXTRA_MAX)
				n->used.extra[n->used.n_extra++] = np->req.extra[i];
		}
}

void snapshot_init(struct snapshot *s)
{
	map_init(&s->nodes);
	map_init(&s->placed);
	map_init(&s->nominees);
}

void snapshot_set_node(struct snapshot *s, const struct informer_obj *o)
{
	const Core__Node *node = o->msg;
	struct node_info *n = node_get(s, o->meta->name);

	informer_obj_unref(n->node);
	n->node = informer_obj_ref(o);
	n->can = (struct resources){0};
	n->max_pods = 0;
	for (size_t i = 0; node->status && i < node->status->n_allocatable; i++) {
		const Core__NodeStatus__AllocatableEntry *e = node->status->allocatable[i];

		if (strcmp(e->key, "pods") == 0)
			n->max_pods = quantity_value(quantity_of(e->value ? e->value->string : NULL));
		else
			add_one(&n->can, e->key, e->value);
	}
}

void snapshot_del_node(struct snapshot *s, const char *name)
{
	struct node_info *n = map_get(&s->nodes, str_from(name));

	if (n == NULL)
		return;
	informer_obj_unref(n->node);
	n->node = NULL;
	node_settle(s, n);
}

static void forget_nominee(struct snapshot *s, const char *uid)
{
	struct nominee *n = map_del(&s->nominees, str_from(pb_s(uid)));

	if (n == NULL)
		return;
	informer_obj_unref(n->o);
	free(n->node);
	free(n);
}

void snapshot_nominate(struct snapshot *s, const struct informer_obj *pod, const char *node)
{
	struct nominee *n;

	forget_nominee(s, pod->meta->uid);
	if (node[0] == '\0')
		return;
	n = xcalloc(1, sizeof(*n));
	n->o = informer_obj_ref(pod);
	n->node = xstrdup(node);
	n->req = pod_requests(pod->msg);
	map_put(&s->nominees, str_from(pb_s(pod->meta->uid)), n);
}

void snapshot_place(struct snapshot *s, const struct informer_obj *pod, const char *node)
{
	struct node_pod *np = xcalloc(1, sizeof(*np));
	struct node_info *n;

	snapshot_remove(s, pod->meta->uid);
	n = node_get(s, node);
	np->o = informer_obj_ref(pod);
	np->req = pod_requests(pod->msg);
	list_add_tail(&n->pods, &np->link);
	n->n_pods++;
	add_all(&n->used, &np->req, 1);
	sum_extras(n);
	map_put(&s->placed, str_from(pb_s(pod->meta->uid)), n);
}

static void drop(struct snapshot *s, struct node_info *n, const char *uid)
{
	LIST_FOR_EACH_SAFE (np, next, &n->pods, struct node_pod, link) {
		if (!pb_streq(np->o->meta->uid, uid))
			continue;
		list_del(&np->link);
		n->n_pods--;
		add_all(&n->used, &np->req, -1);
		sum_extras(n);
		informer_obj_unref(np->o);
		free(np);
	}
}

void snapshot_remove(struct snapshot *s, const char *uid)
{
	struct node_info *n = map_del(&s->placed, str_from(pb_s(uid)));

	forget_nominee(s, uid);
	if (n == NULL)
		return;
	drop(s, n, uid);
	node_settle(s, n);
}

bool snapshot_has(const struct snapshot *s, const char *uid)
{
	return map_get(&s->placed, str_from(pb_s(uid))) != NULL;
}

/* --- Trials ---------------------------------------------------------------------------------------------- */

void node_trial_begin(struct node_trial *t, struct snapshot *s, struct node_info *real, struct arena *a)
{
	*t = (struct node_trial){.node = *real, .real = real, .s = s};
	list_init(&t->node.pods);
	LIST_FOR_EACH (np, &real->pods, struct node_pod, link) {
		struct node_pod *copy = arena_memdup(a, np, sizeof(*np));

		list_init(&copy->link);
		list_add_tail(&t->node.pods, &copy->link);
	}
	map_put(&s->nodes, str_from(real->name), &t->node);
}

void node_trial_drop(struct node_trial *t, struct node_pod *np)
{
	list_del(&np->link);
	t->node.n_pods--;
	add_all(&t->node.used, &np->req, -1);
	sum_extras(&t->node);
}

void node_trial_add(struct node_trial *t, struct node_pod *np)
{
	list_add_tail(&t->node.pods, &np->link);
	t->node.n_pods++;
	add_all(&t->node.used, &np->req, 1);
	sum_extras(&t->node);
}

void node_trial_end(struct node_trial *t)
{
	map_put(&t->s->nodes, str_from(t->real->name), t->real);
}

void snapshot_fini(struct snapshot *s)
{
	MAP_FOR_EACH (e, &s->nodes) {
		struct node_info *n = e->value;

		LIST_FOR_EACH_SAFE (np, next, &n->pods, struct node_pod, link) {
			informer_obj_unref(np->o);
			free(np);
		}
		informer_obj_unref(n->node);
		free(n->name);
		free(n);
	}
	MAP_FOR_EACH (e, &s->nominees) {
		struct nominee *n = e->value;

		informer_obj_unref(n->o);
		free(n->node);
		free(n);
	}
	map_fini(&s->nominees);
	map_fini(&s->nodes);
	map_fini(&s->placed);
}
