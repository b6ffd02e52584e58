/* EndpointSlice: for each Service with a selector, slices of at most 100 of its pods. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/backends.h"
#include "proto/discovery.pb-c.h"
#include "proto/pb.h"

#define SLICE_MAX 100
#define LABEL_SERVICE "kubernetes.io/service-name"
#define LABEL_MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER "endpointslice-controller.k8s.io"

/* Slices as they should be, without names yet. */
struct wanted {
	Discovery__EndpointSlice **v;
	size_t n;
};

static void add_endpoint(struct arena *a, Discovery__EndpointSlice *slice, const struct backend *b)
{
	Discovery__Endpoint *ep = pb_add(a, slice, "endpoints");
	Discovery__EndpointConditions *c = pb_sub(a, ep, "conditions");
	Core__ObjectReference *ref = pb_sub(a, ep, "target_ref");

	pb_add_str(a, ep, "addresses", b->ip);
	c->has_ready = c->has_serving = c->has_terminating = true;
	c->ready = b->ready;
	c->serving = b->serving;
	c->terminating = b->terminating;
	ep->hostname = (char *)b->hostname;
	ep->node_name = pb_s(b->pod->spec->node_name)[0] ? b->pod->spec->node_name : NULL;
	ep->zone = (char *)b->zone;
	ref->kind = (char *)"Pod";
	ref->namespace_ = b->o->meta->namespace_;
	ref->name = b->o->meta->name;
	ref->uid = b->o->meta->uid;
}

static Discovery__EndpointSlice *new_slice(struct reconcile *r, const struct informer_obj *so, const struct backend *like)
{
	const Core__Service *s = so->msg;
	struct arena *a = r->arena;
	Discovery__EndpointSlice *slice = pb_new_of(a, discovery__endpoint_slice, Discovery__EndpointSlice);
	Meta__ObjectMeta *meta = pb_sub(a, slice, "metadata");

	meta->namespace_ = so->meta->namespace_;
	meta->generate_name = arena_printf(a, "%s-", so->meta->name);
	for (size_t i = 0; i < so->meta->n_labels; i++)
		pb_map_set(a, meta, "labels", so->meta->labels[i]->key, pb_s(so->meta->labels[i]->value));
	pb_map_set(a, meta, "labels", LABEL_SERVICE, so->meta->name);
	pb_map_set(a, meta, "labels", LABEL_MANAGED_BY, MANAGER);
	if (pb_streq(s->spec->cluster_ip, "None"))
		pb_map_set(a, meta, "labels", "service.kubernetes.io/headless", "");
	owner_set(a, slice, so, "v1", "Service");
	slice->address_type = (char *)"IPv4";
	for (size_t i = 0; like && i < like->n_ports; i++) {
		Discovery__EndpointPort *p = pb_add(a, slice, "ports");

		p->name = (char *)like->ports[i].name;
		p->protocol = (char *)like->ports[i].protocol;
		p->has_port = true;
		p->port = like->ports[i].port;
		p->app_protocol = (char *)like->ports[i].app_protocol;
	}
	return slice;
}

static struct wanted want_slices(struct reconcile *r, const struct informer_obj *so)
{
	struct backends bs = backends_of(r, so);
	struct wanted w = {arena_new_array(r->arena, Discovery__EndpointSlice *, bs.n + 1), 0};
	bool *taken = arena_new_array(r->arena, bool, bs.n + 1);

	for (size_t i = 0; i < bs.n; i++) {
		Discovery__EndpointSlice *slice = NULL;

		for (size_t k = i; !taken[i] && k < bs.n; k++) {
			if (taken[k] || !same_ports(&bs.v[i], &bs.v[k]))
				continue;
			if (slice == NULL || slice->n_endpoints == SLICE_MAX)
				w.v[w.n++] = slice = new_slice(r, so, &bs.v[i]);
			add_endpoint(r->arena, slice, &bs.v[k]);
			taken[k] = k != i;
		}
		taken[i] = true;
	}
	/* A Service without pods has one empty slice, so that its readers know that it is empty. */
	if (w.n == 0)
		w.v[w.n++] = new_slice(r, so, NULL);
	return w;
}

static bool is_managed(const struct informer_obj *o)
{
	return pb_streq(pb_map_get(o->meta->labels, o->meta->n_labels, LABEL_MANAGED_BY), MANAGER);
}

static bool same_content(struct arena *a, const Discovery__EndpointSlice *have, const Discovery__EndpointSlice *want)
{
	Discovery__EndpointSlice x = *have, y = *want;
	Meta__ObjectMeta mx = META__OBJECT_META__INIT, my = META__OBJECT_META__INIT;

	mx.n_labels = have->metadata->n_labels;
	my.n_labels = want->metadata->n_labels;
	if (mx.n_labels != my.n_labels)
		return false;
	for (size_t i = 0; i < my.n_labels; i++) {
		const char *v = pb_map_get(have->metadata->labels, have->metadata->n_labels, want->metadata->labels[i]->key);

		if (v == NULL || !pb_streq(v, want->metadata->labels[i]->value))
			return false;
	}
	x.metadata = y.metadata = NULL;
	return pb_equal(&x, &y);
}

static int by_name(const void *a, const void *b)
{
	return str_cmp((*(const struct informer_obj *const *)a)->key, (*(const struct informer_obj *const *)b)->key);
}

/* The old slice takes the new content under its own identity. */
static void update_slice(struct reconcile *r, const struct informer_obj *have, Discovery__EndpointSlice *want)
{
	Meta__ObjectMeta *meta;

	if (same_content(r->arena, have->msg, want))
		return;
	meta = pb_copy(r->arena, have->meta);
	meta->n_labels = want->metadata->n_labels;
	meta->labels = want->metadata->labels;
	want->metadata = meta;
	plan_update(r, VIEW_ENDPOINTSLICES, want);
}

static void reconcile_slices(struct reconcile *r)
{
	const struct informer_obj *so = view_get(r->view, VIEW_SERVICES, r->ns, r->name);
	const Core__Service *s = informer_msg(so);
	struct informer_objs all = informer_index_get(r->view->slices_by_service, str_from(r->key));
	const struct informer_obj **have = arena_new_array(r->arena, const struct informer_obj *, all.n + 1);
	struct wanted want = {NULL, 0};
	size_t n_have = 0;

	for (size_t i = 0; i < all.n; i++)
		if (is_managed(all.v[i]) && all.v[i]->meta->deletion_timestamp == NULL)
			have[n_have++] = all.v[i];
	qsort(have, n_have, sizeof(*have), by_name);
	if (s && s->spec && s->spec->n_selector > 0 && !pb_streq(s->spec->type, "ExternalName") && so->meta->deletion_timestamp == NULL)
		want = want_slices(r, so);
	else if (s && s->spec && so->meta->deletion_timestamp == NULL)
		return; /* Somebody else's slices, or a selector that was taken away: left as they are. */
	for (size_t i = 0; i < MAX(n_have, want.n); i++) {
		if (i >= want.n)
			plan_delete(r, VIEW_ENDPOINTSLICES, have[i], -1, NULL);
		else if (i >= n_have)
			plan_create(r, VIEW_ENDPOINTSLICES, r->ns, want.v[i]);
		else
			update_slice(r, have[i], want.v[i]);
	}
}

static void map_slice(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const char *service = pb_map_get(o->meta->labels, o->meta->n_labels, LABEL_SERVICE);

	if (service && is_managed(o))
		enqueue_name(q, o->meta->namespace_, service);
}

const struct controller_row controller_endpointslice = {
	.name = "endpointslice-controller",
	.account = "endpointslice-controller",
	.watches = {{VIEW_SERVICES, map_self}, {VIEW_PODS, map_pod_to_services}, {VIEW_ENDPOINTSLICES, map_slice}},
	.reconcile = reconcile_slices,
};
