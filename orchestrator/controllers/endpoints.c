/* Endpoints: the older form of the same news, one object a Service, for those who still read it. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/backends.h"
#include "proto/pb.h"

/* Upstream's limit; what is more is told only in slices. */
#define MAX_ADDRESSES 1000
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"

static void add_address(struct arena *a, Core__EndpointSubset *subset, const struct backend *b)
{
	Core__EndpointAddress *ad = pb_add(a, subset, b->ready ? "addresses" : "not_ready_addresses");
	Core__ObjectReference *ref = pb_sub(a, ad, "target_ref");

	ad->ip = (char *)b->ip;
	ad->hostname = (char *)b->hostname;
	ad->node_name = pb_s(b->pod->spec->node_name)[0] ? b->pod->spec->node_name : NULL;
	ref->kind = (char *)"Pod";
	ref->namespace_ = b->o->meta->namespace_;
	ref->name = b->o->meta->name;
	ref->uid = b->o->meta->uid;
}

static void add_port(struct arena *a, Core__EndpointSubset *subset, const struct backend_port *bp)
{
	Core__EndpointPort *p = pb_add(a, subset, "ports");

	p->name = bp->name[0] ? (char *)bp->name : NULL;
	p->protocol = (char *)bp->protocol;
	p->has_port = true;
	p->port = bp->port;
	p->app_protocol = (char *)bp->app_protocol;
}

static Core__Endpoints *want_endpoints(struct reconcile *r, const struct informer_obj *so)
{
	const Core__Service *s = so->msg;
	struct arena *a = r->arena;
	struct backends bs = backends_of(r, so);
	Core__Endpoints *ep = pb_new_of(a, core__endpoints, Core__Endpoints);
	Meta__ObjectMeta *meta = pb_sub(a, ep, "metadata");
	bool *taken = arena_new_array(a, bool, bs.n + 1);
	size_t n = 0;

	meta->name = so->meta->name;
	meta->namespace_ = so->meta->namespace_;
	for (size_t i = 0; i < so->meta->n_labels; i++)
		pb_map_set(a, meta, "labels", so->meta->labels[i]->key, pb_s(so->meta->labels[i]->value));
	if (pb_streq(s->spec->cluster_ip, "None"))
		pb_map_set(a, meta, "labels", "service.kubernetes.io/headless", "");
	pb_map_set(a, meta, "labels", "endpoints.kubernetes.io/managed-by", "endpoint-controller");
	for (size_t i = 0; i < bs.n && n < MAX_ADDRESSES; i++) {
		Core__EndpointSubset *subset;

		if (taken[i] || (bs.v[i].terminating && !bs.v[i].ready))
			continue;
		subset = pb_add(a, ep, "subsets");
		for (size_t k = i; k < bs.n && n < MAX_ADDRESSES; k++) {
			if (taken[k] || (bs.v[k].terminating && !bs.v[k].ready) || !same_ports(&bs.v[i], &bs.v[k]))
				continue;
			add_address(a, subset, &bs.v[k]);
			taken[k] = true;
			n++;
		}
		for (size_t k = 0; k < bs.v[i].n_ports; k++)
			add_port(a, subset, &bs.v[i].ports[k]);
	}
	if (bs.n > MAX_ADDRESSES)
		pb_map_set(a, meta, "annotations", OVER_CAPACITY, "truncated");
	return ep;
}

static bool same_subsets(const Core__Endpoints *x, const Core__Endpoints *y)
{
	if (x->n_subsets != y->n_subsets)
		return false;
	for (size_t i = 0; i < x->n_subsets; i++)
		if (!pb_equal(x->subsets[i], y->subsets[i]))
			return false;
	return true;
}

static bool has_labels(const Meta__ObjectMeta *have, const Meta__ObjectMeta *want)
{
	for (size_t i = 0; i < want->n_labels; i++) {
		const char *v = pb_map_get(have->labels, have->n_labels, want->labels[i]->key);

		if (v == NULL || !pb_streq(v, want->labels[i]->value))
			return false;
	}
	return have->n_labels == want->n_labels;
}

static void reconcile_endpoints(struct reconcile *r)
{
	const struct informer_obj *so = view_get(r->view, VIEW_SERVICES, r->ns, r->name);
	const struct informer_obj *have = view_get(r->view, VIEW_ENDPOINTS, r->ns, r->name);
	const Core__Service *s = informer_msg(so);
	Core__Endpoints *want;
	Meta__ObjectMeta *meta;

	if (s == NULL || so->meta->deletion_timestamp != NULL) {
		/* Only what this controller made: others may keep Endpoints without a Service (leader election does). */
		if (s == NULL && have && pb_map_get(have->meta->labels, have->meta->n_labels, "endpoints.kubernetes.io/managed-by"))
			plan_delete(r, VIEW_ENDPOINTS, have, -1, NULL);
		return;
	}
	if (s->spec == NULL || s->spec->n_selector == 0 || pb_streq(s->spec->type, "ExternalName"))
		return;
	want = want_endpoints(r, so);
	if (have == NULL) {
		plan_create(r, VIEW_ENDPOINTS, r->ns, want);
		return;
	}
	if (same_subsets(have->msg, want) && has_labels(have->meta, want->metadata))
		return;
	meta = pb_copy(r->arena, have->meta);
	meta->labels = want->metadata->labels;
	meta->n_labels = want->metadata->n_labels;
	want->metadata = meta;
	plan_update(r, VIEW_ENDPOINTS, want);
}

const struct controller_row controller_endpoints = {
	.name = "endpoints-controller",
	.account = "endpoint-controller",
	.watches = {{VIEW_SERVICES, map_self}, {VIEW_PODS, map_pod_to_services}, {VIEW_ENDPOINTS, map_self}},
	.reconcile = reconcile_endpoints,
};
