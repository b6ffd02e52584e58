#include "orchestrator/agent/agent.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/util.h"
#include "io/balancer.h"
#include "io/loop.h"
#include "io/tls.h"
#include "net/attach.h"
#include "orchestrator/agent/certs.h"
#include "orchestrator/agent/routes.h"
#include "orchestrator/agent/servers.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/client/client.h"
#include "orchestrator/client/client_http.h"
#include "orchestrator/dns/dns.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/ingress/ingress.h"
#include "orchestrator/kubelet/kubelet.h"
#include "orchestrator/netpol/netpol.h"
#include "orchestrator/proxy/proxy.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"
#include "proto/networking.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

enum { INF_PODS, INF_SERVICES, INF_SLICES, INF_NODES, INF_NAMESPACES, INF_POLICIES, INF_N };

struct agent {
	struct agent_cfg cfg;
	struct loop *loop;
	struct loop_msg start_msg, stop_msg;
	char pod_selector[300], pods_cgroup[512];
	struct tls_ctx *tls[CERT_N];
	struct agent_certs *certs;
	struct balancer *balancer;
	struct client *client;
	struct informer *inf[INF_N];
	struct informer_handler on_pods, on_services, on_nodes;
	struct kubelet_cfg kubelet_cfg;
	struct kubelet *kubelet;
	struct proxy *proxy;
	struct netpol *netpol;
	struct dns *dns;
	struct ingress *ingress; /* NULL: none on this node */
	char ingress_dir[512];
	struct routes *routes;
	struct servers *servers;
	char servers_file[512];
	/* Start and stop report here. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool started;
	int rv;
	struct err err;
	unsigned closing; /* parts that still close */
};

/* --- What informers tell ---------------------------------------------------------------------------------- */

static void on_pod(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct agent *a = container_of(h, struct agent, on_pods);

	if (old && (new == NULL || !pb_streq(old->meta->uid, new->meta->uid)))
		kubelet_pod_delete(a->kubelet, pb_s(old->meta->uid));
	if (new)
		kubelet_pod_set(a->kubelet, new->msg);
}

static void on_pods_synced(struct informer_handler *h)
{
	kubelet_pods_synced(container_of(h, struct agent, on_pods)->kubelet);
}

static void on_service(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct agent *a = container_of(h, struct agent, on_services);

	if (new)
		kubelet_service_set(a->kubelet, new->msg);
	else
		kubelet_service_delete(a->kubelet, old->meta->namespace_, old->meta->name);
}

static void on_node(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct agent *a = container_of(h, struct agent, on_nodes);

	if (new && strcmp(new->meta->name, a->cfg.node_name) == 0)
		kubelet_node_set(a->kubelet, new->msg);
}

/* The node's part of the pod network is known: the bridge, and what the CNI plugin needs. */
static void on_pod_cidr(struct kubelet_cfg *kc, const char *cidr, struct buf *members)
{
	struct agent *a = kc->data;
	struct ip4_net pods;
	struct err e;

	if (!ip4_net_parse(str_from(cidr), &pods)) {
		log_error("agent", "the node's podCIDR \"%s\" is no IPv4 network", cidr);
		return;
	}
	if (attach_bridge(ATTACH_BRIDGE, pods, 0, &e) < 0)
		log_error("agent", "pod bridge: %s", e.text);
	buf_printf(members, "\"podCIDR\":\"%s\",\"ipamDir\":\"%s/ipam\",\"bridge\":\"" ATTACH_BRIDGE "\"", cidr, a->cfg.dir);
}

static bool on_admit(struct kubelet_cfg *kc, const Core__Pod *pod, const char *ip, const char **ret_why)
{
	struct agent *a = kc->data;

	return netpol_admit(a->netpol, pod, ip, ret_why);
}

static void on_pod_gone(struct kubelet_cfg *kc, const char *uid)
{
	struct agent *a = kc->data;

	netpol_forget(a->netpol, uid);
}

static void on_rules_changed(void *data)
{
	struct agent *a = data;

	if (a->kubelet)
		kubelet_network_changed(a->kubelet);
}

static void on_rules_trouble(void *data, const char *why)
{
	struct agent *a = data;

	if (a->kubelet)
		kubelet_network_trouble(a->kubelet, why);
}

/* The server on this node, if there is one, comes first and by loopback. */
static const char *own_server(const struct agent *a)
{
	return a->cfg.n_servers > 0 && strncmp(a->cfg.servers[0], "127.", 4) == 0 ? a->cfg.servers[0] : NULL;
}

/* --- Start --------------------------------------------------------------------------------------------------- */

static int start_client(struct agent *a, struct err *e)
{
	char address[32];
	struct certs_cfg certs = {a->loop, a->cfg.pki_dir, a->cfg.node_name, a->cfg.node_ip};
	struct balancer_config bc = {.listen = "127.0.0.1:0", .health_path = APISERVER_WELL_PATH, .interval_ms = 1000, .timeout_ms = 1000};
	struct client_http_cfg cc = {.address = address, .user_agent = "kontiki-agent"};
	const char **known;
	struct arena arena;
	int rv;

	arena_init(&arena);
	snprintf(a->servers_file, sizeof(a->servers_file), "%s/servers", a->cfg.dir);
	bc.n_backends = servers_known(a->servers_file, a->cfg.servers, a->cfg.n_servers, &arena, &known);
	bc.backends = known;
	a->certs = certs_new(&certs);
	rv = certs_probe(a->certs, &bc.tls, e);
	if (rv == 0)
		rv = balancer_start(a->loop, &bc, &a->balancer, e);
	tls_ctx_unref(bc.tls);
	arena_fini(&arena);
	if (rv == 0)
		rv = certs_contexts(a->certs, a->tls, e);
	if (rv < 0)
		return rv;
	snprintf(address, sizeof(address), "127.0.0.1:%u", balancer_port(a->balancer));
	cc.tls = a->tls[CERT_CLIENT];
	rv = client_http_new(a->loop, &cc, &a->client, e);
	if (rv == 0)
		certs_start(a->certs, a->client);
	return rv;
}

static void make_informers(struct agent *a)
{
	static const struct {
		const char *group, *version, *plural;
		const ProtobufCMessageDescriptor *desc;
	} rows[INF_N] = {
		[INF_PODS] = {"", "v1", "pods", &core__pod__descriptor},
		[INF_SERVICES] = {"", "v1", "services", &core__service__descriptor},
		[INF_SLICES] = {"discovery.k8s.io", "v1", "endpointslices", &discovery__endpoint_slice__descriptor},
		[INF_NODES] = {"", "v1", "nodes", &core__node__descriptor},
		[INF_NAMESPACES] = {"", "v1", "namespaces", &core__namespace__descriptor},
		[INF_POLICIES] = {"networking.k8s.io", "v1", "networkpolicies", &networking__network_policy__descriptor},
	};

	snprintf(a->pod_selector, sizeof(a->pod_selector), "spec.nodeName=%s", a->cfg.node_name);
	for (int i = 0; i < INF_N; i++) {
		struct informer_cfg ic = {.client = a->client, .desc = rows[i].desc,
				.resource = resource_find(rows[i].group, rows[i].version, rows[i].plural),
				.field_selector = i == INF_PODS ? a->pod_selector : NULL};

		a->inf[i] = informer_new(&ic);
	}
}

static int start_network(struct agent *a, struct err *e)
{
	struct proxy_cfg pc = {.loop = a->loop, .services = a->inf[INF_SERVICES], .slices = a->inf[INF_SLICES],
			.pods_here = a->inf[INF_PODS], .node_name = a->cfg.node_name};
	struct netpol_cfg nc = {.loop = a->loop, .client = a->client, .policies = a->inf[INF_POLICIES],
			.namespaces = a->inf[INF_NAMESPACES], .pods_here = a->inf[INF_PODS], .changed = on_rules_changed,
			.trouble = on_rules_trouble, .data = a};
	struct dns_cfg dc = {.loop = a->loop, .services = a->inf[INF_SERVICES], .slices = a->inf[INF_SLICES],
			.namespaces = a->inf[INF_NAMESPACES], .zone = a->cfg.cluster_domain};

	if (!ip4_net_parse(str_from(a->cfg.cluster_cidr), &pc.pods) || !ip4_net_parse(str_from(a->cfg.service_cidr), &pc.service_net) ||
			!ip4_parse(str_from(a->cfg.cluster_dns), &dc.address))
		return err_set(e, ERR_BAD_REQUEST, "cluster network %s, service network %s, DNS address %s: one of them is no IPv4 address",
				a->cfg.cluster_cidr, a->cfg.service_cidr, a->cfg.cluster_dns);
	dc.pods = pc.pods;
	dc.service_net = pc.service_net;
	a->proxy = proxy_start(&pc, e);
	if (a->proxy == NULL)
		return -(int)e->code;
	a->netpol = netpol_start(&nc);
	a->dns = dns_start(&dc, e);
	if (a->dns == NULL)
		return -(int)e->code;
	a->routes = routes_start(a->inf[INF_NODES], a->cfg.node_name, a->cfg.node_ip, e);
	return a->routes ? 0 : -(int)e->code;
}

/* A node without it is still a node. */
static void start_ingress(struct agent *a)
{
	struct ingress_cfg ic = {.loop = a->loop, .client = a->client, .services = a->inf[INF_SERVICES], .slices = a->inf[INF_SLICES],
			.node_name = a->cfg.node_name, .dir = a->ingress_dir, .http_port = a->cfg.ingress_http_port,
			.https_port = a->cfg.ingress_https_port};
	struct err e = ERR_INIT;

	if (!ic.http_port && !ic.https_port)
		return;
	snprintf(a->ingress_dir, sizeof(a->ingress_dir), "%s/ingress", a->cfg.dir);
	a->ingress = ingress_start(&ic, &e);
	if (!a->ingress)
		log_error("agent", "without Ingresses: %s", e.text);
}

static int start_kubelet(struct agent *a, struct err *e)
{
	snprintf(a->pods_cgroup, sizeof(a->pods_cgroup), "%s/pods", a->cfg.cgroup_root ? a->cfg.cgroup_root : "/kubepods");
	a->kubelet_cfg = (struct kubelet_cfg){
		.loop = a->loop,
		.client = a->client,
		.node_name = a->cfg.node_name,
		.node_ip = a->cfg.node_ip,
		.dir = a->cfg.dir,
		.images_dir = a->cfg.images_dir,
		.runtime_socket = a->cfg.runtime_socket,
		.cgroup_root = a->cfg.cgroup_root ? a->pods_cgroup : NULL,
		.cluster_dns = a->cfg.cluster_dns,
		.cluster_domain = a->cfg.cluster_domain,
		.version = a->cfg.version,
		.node_labels = a->cfg.node_labels,
		.node_taints = a->cfg.node_taints,
		.image_gc = a->cfg.image_gc,
		.eviction = a->cfg.eviction,
		.register_node = true,
		.port = a->cfg.kubelet_port,
		.tls = a->tls[CERT_SERVING],
		.healthz_port = a->cfg.healthz_port,
		.pod_cidr = on_pod_cidr,
		.admit = on_admit,
		.pod_gone = on_pod_gone,
		.data = a,
	};
	return kubelet_start(&a->kubelet_cfg, &a->kubelet, e);
}

static int start_parts(struct agent *a, struct err *e)
{
	int rv = start_client(a, e);
	struct servers_cfg sc;

	if (rv < 0)
		return rv;
	make_informers(a);
	sc = (struct servers_cfg){.slices = a->inf[INF_SLICES], .balancer = a->balancer, .node_ip = a->cfg.node_ip,
			.own = own_server(a), .file = a->servers_file};
	a->servers = servers_start(&sc);
	rv = start_network(a, e);
	if (rv == 0)
		rv = start_kubelet(a, e);
	if (rv < 0)
		return rv;
	start_ingress(a);
	a->on_pods = (struct informer_handler){.changed = on_pod, .synced = on_pods_synced};
	a->on_services = (struct informer_handler){.changed = on_service};
	a->on_nodes = (struct informer_handler){.changed = on_node};
	informer_add_handler(a->inf[INF_PODS], &a->on_pods);
	informer_add_handler(a->inf[INF_SERVICES], &a->on_services);
	informer_add_handler(a->inf[INF_NODES], &a->on_nodes);
	for (int i = 0; i < INF_N; i++)
		informer_start(a->inf[i]);
	return 0;
}

static void on_start(struct loop_msg *m)
{
	struct agent *a = container_of(m, struct agent, start_msg);

	pthread_mutex_lock(&a->lock);
	a->rv = start_parts(a, &a->err);
	a->started = true;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

int agent_start(const struct agent_cfg *cfg, struct agent **ret, struct err *e)
{
	struct agent *a = xcalloc(1, sizeof(*a));

	a->cfg = *cfg;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->cond, NULL);
	a->loop = loop_new("agent");
	loop_thread_start(a->loop);
	a->start_msg.run = on_start;
	loop_post(a->loop, &a->start_msg);
	pthread_mutex_lock(&a->lock);
	while (!a->started)
		pthread_cond_wait(&a->cond, &a->lock);
	pthread_mutex_unlock(&a->lock);
	if (a->rv < 0) {
		int rv = a->rv;

		if (e)
			*e = a->err;
		agent_stop(a);
		return rv;
	}
	*ret = a;
	return 0;
}

/* --- Stop: kubelet, informers, then what they stood on --------------------------------------------------------- */

static void all_closed(void *arg)
{
	struct agent *a = arg;

	if (--a->closing == 0)
		loop_stop(a->loop);
}

static void client_closed(void *arg)
{
	struct agent *a = arg;

	certs_free(TAKE(a->certs));
	routes_stop(a->routes);
	servers_stop(a->servers);
	a->closing = 1;
	if (a->balancer) {
		a->closing++;
		balancer_close(a->balancer, all_closed, a);
	}
	all_closed(a);
}

static void network_closed(void *arg)
{
	struct agent *a = arg;

	if (--a->closing > 0)
		return;
	if (a->client)
		client_close(a->client, client_closed, a);
	else
		client_closed(a);
}

static void informers_stopped(void *arg)
{
	struct agent *a = arg;

	if (--a->closing > 0)
		return;
	a->closing = 1;
	if (a->proxy) {
		a->closing++;
		proxy_stop(a->proxy, network_closed, a);
	}
	if (a->netpol) {
		a->closing++;
		netpol_stop(a->netpol, network_closed, a);
	}
	if (a->ingress) {
		a->closing++;
		ingress_stop(a->ingress, network_closed, a);
	}
	if (a->dns) {
		a->closing++;
		dns_stop(a->dns, network_closed, a);
	}
	network_closed(a);
}

static void kubelet_stopped(void *arg)
{
	struct agent *a = arg;

	a->kubelet = NULL;
	a->closing = 1;
	for (int i = 0; i < INF_N; i++)
		if (a->inf[i]) {
			a->closing++;
			informer_stop(a->inf[i], informers_stopped, a);
		}
	informers_stopped(a);
}

static void on_stop(struct loop_msg *m)
{
	struct agent *a = container_of(m, struct agent, stop_msg);

	certs_stop(a->certs);
	/* Handlers call into the kubelet: silence them first. */
	if (a->on_pods.changed) {
		list_del(&a->on_pods.link);
		list_del(&a->on_services.link);
		list_del(&a->on_nodes.link);
	}
	if (a->kubelet)
		kubelet_stop(a->kubelet, kubelet_stopped, a);
	else
		kubelet_stopped(a);
}

void agent_stop(struct agent *a)
{
	a->stop_msg.run = on_stop;
	loop_post(a->loop, &a->stop_msg);
	loop_thread_join(a->loop);
	loop_free(a->loop);
	for (int i = 0; i < CERT_N; i++)
		tls_ctx_unref(a->tls[i]);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->cond);
	free(a);
}
