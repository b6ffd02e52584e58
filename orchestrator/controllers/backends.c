#include "orchestrator/controllers/backends.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/pods.h"
#include "proto/intstr.pb-c.h"
#include "proto/pb.h"

static bool service_selects(const Core__Service *s, const Meta__ObjectMeta *pod)
{
	if (s->spec == NULL || s->spec->n_selector == 0)
		return false;
	for (size_t i = 0; i < s->spec->n_selector; i++) {
		const char *v = pb_map_get(pod->labels, pod->n_labels, s->spec->selector[i]->key);

		if (v == NULL || !pb_streq(v, s->spec->selector[i]->value))
			return false;
	}
	return true;
}

static int32_t named_port(const Core__Container *c, const char *name, const char *protocol)
{
	for (size_t i = 0; i < c->n_ports; i++)
		if (pb_streq(c->ports[i]->name, name) && strcmp(c->ports[i]->protocol ? c->ports[i]->protocol : "TCP", protocol) == 0)
			return pb_or(c->ports[i], container_port, 0);
	return 0;
}

/* Where this service port leads in the pod; 0: nowhere. */
static int32_t target_port(const Core__ServicePort *sp, const Core__Pod *pod)
{
	const Intstr__IntOrString *t = sp->target_port;
	const char *protocol = sp->protocol ? sp->protocol : "TCP";
	int32_t port = 0;

	if (t == NULL || (pb_or(t, type, 0) == 0 && pb_or(t, int_val, 0) == 0))
		return pb_or(sp, port, 0);
	if (pb_or(t, type, 0) == 0)
		return t->int_val;
	for (size_t i = 0; i < pod->spec->n_containers && port == 0; i++)
		port = named_port(pod->spec->containers[i], pb_s(t->str_val), protocol);
	for (size_t i = 0; i < pod->spec->n_init_containers && port == 0; i++)
		if (pb_streq(pod->spec->init_containers[i]->restart_policy, "Always"))
			port = named_port(pod->spec->init_containers[i], pb_s(t->str_val), protocol);
	return port;
}

static void fill_ports(struct reconcile *r, const Core__Service *s, struct backend *b)
{
	b->ports = arena_new_array(r->arena, struct backend_port, s->spec->n_ports + 1);
	for (size_t i = 0; i < s->spec->n_ports; i++) {
		const Core__ServicePort *sp = s->spec->ports[i];
		int32_t port = target_port(sp, b->pod);

		if (port != 0)
			b->ports[b->n_ports++] = (struct backend_port){pb_s(sp->name), sp->protocol ? sp->protocol : "TCP", sp->app_protocol, port};
	}
}

static int by_address(const void *a, const void *b)
{
	const struct backend *x = a, *y = b;
	struct in_addr ax = {0}, ay = {0};
	uint32_t hx, hy;

	inet_pton(AF_INET, x->ip, &ax);
	inet_pton(AF_INET, y->ip, &ay);
	hx = ntohl(ax.s_addr);
	hy = ntohl(ay.s_addr);
	return hx != hy ? (hx < hy ? -1 : 1) : strcmp(x->ip, y->ip);
}

struct backends backends_of(struct reconcile *r, const struct informer_obj *so)
{
	const Core__Service *s = so->msg;
	struct informer_objs pods = informer_index_get(r->view->pods_by_namespace, str_from(pb_s(so->meta->namespace_)));
	bool publish = pb_or(s->spec, publish_not_ready_addresses, false);
	struct backends bs = {arena_new_array(r->arena, struct backend, pods.n + 1), 0};

	for (size_t i = 0; i < pods.n; i++) {
		const Core__Pod *p = pods.v[i]->msg;
		struct backend *b = &bs.v[bs.n];
		const char *phase = p->status ? pb_s(p->status->phase) : "";
		const struct informer_obj *node;

		if (!service_selects(s, pods.v[i]->meta) || p->spec == NULL || p->status == NULL || pb_s(p->status->pod_ip)[0] == '\0' ||
				strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0)
			continue;
		b->o = pods.v[i];
		b->pod = p;
		b->ip = p->status->pod_ip;
		b->terminating = pods.v[i]->meta->deletion_timestamp != NULL;
		b->serving = pod_is_ready(p);
		b->ready = publish || (b->serving && !b->terminating);
		b->hostname = pb_s(p->spec->hostname)[0] && pb_streq(p->spec->subdomain, so->meta->name) ? p->spec->hostname : NULL;
		node = view_get(r->view, VIEW_NODES, NULL, pb_s(p->spec->node_name));
		b->zone = node ? pb_map_get(node->meta->labels, node->meta->n_labels, "topology.kubernetes.io/zone") : NULL;
		fill_ports(r, s, b);
		bs.n++;
	}
	qsort(bs.v, bs.n, sizeof(*bs.v), by_address);
	return bs;
}

bool same_ports(const struct backend *x, const struct backend *y)
{
	if (x->n_ports != y->n_ports)
		return false;
	for (size_t i = 0; i < x->n_ports; i++)
		if (x->ports[i].port != y->ports[i].port || !pb_streq(x->ports[i].name, y->ports[i].name))
			return false;
	return true;
}

void map_pod_to_services(struct enqueue *q, const struct view *v, const struct informer_obj *pod)
{
	INFORMER_FOR_EACH (s, v->inf[VIEW_SERVICES])
		if (pb_streq(s->meta->namespace_, pod->meta->namespace_) && service_selects(s->msg, pod->meta))
			enqueue_key(q, s->key);
}
