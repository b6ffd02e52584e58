/*
 * The addresses under which the Ingresses of our classes are served: those of the ready nodes that say at their Node that they do
 * (orchestrator/ingress/ingress.h). What other controllers' Ingresses say is theirs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/ingress/ingress.h"
#include "orchestrator/ingress/ingress_routes.h"
#include "proto/networking.pb-c.h"
#include "proto/pb.h"

static const char *address_of(const Core__Node *n)
{
	bool ready = false;

	for (size_t i = 0; n->status && i < n->status->n_conditions; i++)
		if (pb_streq(n->status->conditions[i]->type, "Ready"))
			ready = pb_streq(n->status->conditions[i]->status, "True");
	if (!ready || !pb_map_get(n->metadata->annotations, n->metadata->n_annotations, INGRESS_ANNOTATION) || n->metadata->deletion_timestamp)
		return NULL;
	for (size_t i = 0; i < n->status->n_addresses; i++)
		if (pb_streq(n->status->addresses[i]->type, "InternalIP"))
			return n->status->addresses[i]->address;
	return NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_ours(const struct view *v, struct arena *a, const Networking__Ingress *i)
{
	const Networking__IngressClass **classes = arena_new_array(a, const Networking__IngressClass *, informer_len(v->inf[VIEW_INGRESSCLASSES]) + 1);
	size_t n = 0;

	INFORMER_FOR_EACH (o, v->inf[VIEW_INGRESSCLASSES])
		classes[n++] = o->msg;
	return ingress_is_ours(i, classes, n);
}

static void reconcile(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_INGRESSES, r->ns, r->name);
	const struct informer *nodes = r->view->inf[VIEW_NODES];
	const char **addresses;
	Networking__Ingress *copy;
	Networking__IngressLoadBalancerStatus *lb;
	size_t n = 0;

	if (!o || !is_ours(r->view, r->arena, o->msg))
		return;
	addresses = arena_new_array(r->arena, const char *, informer_len(nodes) + 1);
	INFORMER_FOR_EACH (node, nodes) {
		const char *address = address_of(node->msg);

		if (address)
			addresses[n++] = address;
	}
	qsort(addresses, n, sizeof(*addresses), by_text);
	copy = pb_copy(r->arena, o->msg);
	lb = pb_sub(r->arena, pb_sub(r->arena, copy, "status"), "load_balancer");
	lb->n_ingress = 0;
	lb->ingress = NULL;
	for (size_t i = 0; i < n; i++)
		((Networking__IngressLoadBalancerIngress *)pb_add(r->arena, lb, "ingress"))->ip = addresses[i];
	if (!pb_equal(((const Networking__Ingress *)o->msg)->status, copy->status))
		plan_update_status(r, VIEW_INGRESSES, copy);
}

/* A node or a class may be about any of them. */
static void map_all(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)o;
	INFORMER_FOR_EACH (i, v->inf[VIEW_INGRESSES])
		enqueue_key(q, i->key);
}

const struct controller_row controller_ingress_status = {
	.name = "ingress-status",
	.watches = {{VIEW_INGRESSES, map_self}, {VIEW_INGRESSCLASSES, map_all}, {VIEW_NODES, map_all}},
	.reconcile = reconcile,
};
