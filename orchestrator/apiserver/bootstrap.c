#include "orchestrator/apiserver/bootstrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/flow.h"
#include "orchestrator/apiserver/flow_boot.h"
#include "orchestrator/apiserver/rbac_boot.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/client/client.h"
#include "proto/json.h"
#include "proto/resource.h"

/* Until the first objects exist we look often, afterwards once a second. */
#define LOOK_FAST_MS 20
#define LOOK_MS 1000
/* Flow schemas and levels are looked at after each change, and this often. */
#define FLOW_MS 60000
/* A member that has not been heard of for so many looks is taken out of the endpoints. */
#define MISSED_LOOKS 3

static const char *const namespaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

/* The priority classes that every cluster has; the highest a user may define is a billion. */
static const struct {
	const char *name;
	unsigned value;
	const char *what;
} classes[] = {
		{"system-cluster-critical", 2000000000, "For pods that the cluster needs, on whichever node."},
		{"system-node-critical", 2000001000, "For pods that a node needs."},
};

/* What is written, in this order. Creates that find the object there are fine. */
enum job { JOB_NAMESPACE, JOB_CLASSES, JOB_STORAGE, JOB_INGRESS, JOB_ROLES, JOB_FLOW, JOB_SERVICE, JOB_ENDPOINTS, JOB_SLICE, JOB_NONE };

struct api_bootstrap {
	struct apiserver *srv;
	struct loop *loop;
	struct client *client;
	struct loop_timer timer;
	struct client_req req;
	bool busy, stopping, leads;
	enum job job;
	unsigned index; /* of the namespace or class */
	bool created;   /* first objects written by us as leader */
	uint64_t flow_seen, flow_due_ms; /* changes of flow schemas and levels that were looked at; the next look anyway */
	char *written;  /* addresses as last written: "10.0.0.1:6443," ... */
	char *pending;  /* being written */
	uint8_t missed[KV_MAX_MEMBERS];
	uint64_t member[KV_MAX_MEMBERS];
	void (*stopped)(void *);
	void *stopped_arg;
};

static void look(struct loop_timer *t);
static void job_start(struct api_bootstrap *b);

static bool exists(struct apiserver *srv, const char *plural, const char *ns, const char *name)
{
	struct arena a;
	struct str raw;
	struct err e = ERR_INIT;
	uint64_t rv;
	bool found;

	arena_init(&a);
	found = storage_load(srv->store, &a, storage_key(&a, resource_find("", "v1", plural), str_from(ns), str_from(name)),
				&raw, &rv, &e) == 0;
	arena_fini(&a);
	return found;
}

/* --- Writing, one object at a time -------------------------------------------------------------------------- */

static bool flow_changed(const struct api_bootstrap *b)
{
	return b->flow_seen != flow_state_changes(b->srv->serve[0]->flow);
}

static void next_look(struct api_bootstrap *b)
{
	bool soon = !atomic_load(&b->srv->ready) || (b->leads && flow_changed(b));

	loop_timer_start(&b->timer, b->loop, soon ? LOOK_FAST_MS : LOOK_MS, look);
}

/* Of jobs that write many objects by themselves. */
static void many_done(void *arg, bool ok)
{
	struct api_bootstrap *b = arg;

	b->busy = false;
	if (b->stopping)
		return;
	if (!ok) {
		next_look(b);
		return;
	}
	/* That was only a change looked at; go on where the look left off. */
	if (b->created) {
		loop_timer_start(&b->timer, b->loop, LOOK_FAST_MS, look);
		return;
	}
	b->job++;
	job_start(b);
}

static void put_roles(struct api_bootstrap *b)
{
	client_req_fini(&b->req);
	b->busy = true;
	rbac_boot(b->srv, b->client, many_done, b);
}

static void put_flow(struct api_bootstrap *b)
{
	client_req_fini(&b->req);
	b->busy = true;
	b->flow_seen = flow_state_changes(b->srv->serve[0]->flow);
	b->flow_due_ms = clock_mono_ms() + FLOW_MS;
	flow_boot(b->srv, b->client, many_done, b);
}

static void job_done(struct client_req *req)
{
	struct api_bootstrap *b = container_of(req, struct api_bootstrap, req);
	struct err e = req->err;

	client_req_fini(req);
	b->busy = false;
	if (b->stopping)
		return;
	/* PUT of what is not there yet answers 404 only for kinds that cannot be made so: not these. */
	if (e.code && e.code != ERR_ALREADY_EXISTS) {
		log_debug("apiserver", "bootstrap job=%d: %s", b->job, e.text);
		next_look(b);
		return;
	}
	if ((b->job == JOB_NAMESPACE && ++b->index < ARRAY_LEN(namespaces)) ||
			(b->job == JOB_CLASSES && ++b->index < ARRAY_LEN(classes))) {
		job_start(b);
		return;
	}
	b->index = 0;
	if (b->job == JOB_SERVICE)
		b->created = true;
	if (b->job == JOB_SLICE) {
		free(b->written);
		b->written = TAKE(b->pending);
	}
	b->job++;
	if (b->job == JOB_ENDPOINTS || b->job == JOB_NONE)
		next_look(b);
	else
		job_start(b);
}

static void put(struct api_bootstrap *b, enum client_verb verb, const char *group, const char *plural, const char *ns,
		const char *name, struct json *doc)
{
	struct arena *a = &b->req.arena;

	b->req.verb = verb;
	b->req.resource = resource_find(group, "v1", plural);
	b->req.ns = ns;
	b->req.name = name;
	b->req.body = json_text(a, doc);
	b->req.content_type = CLIENT_JSON;
	b->req.done = job_done;
	b->req.timeout_ms = 5000;
	b->busy = true;
	client_do(b->client, &b->req);
}

static struct json *parse(struct arena *a, const char *text)
{
	struct json *doc;

	ASSERT(json_parse(a, str_from(text), NULL, &doc, NULL) == 0);
	return doc;
}

static void put_namespace(struct api_bootstrap *b)
{
	struct arena *a = &b->req.arena;

	put(b, CLIENT_CREATE, "", "namespaces", NULL, NULL,
			parse(a, arena_printf(a, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
						 namespaces[b->index])));
}

static void put_class(struct api_bootstrap *b)
{
	struct arena *a = &b->req.arena;

	put(b, CLIENT_CREATE, "scheduling.k8s.io", "priorityclasses", NULL, NULL,
			parse(a, arena_printf(a,
					"{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{\"name\":\"%s\"},"
					"\"value\":%u,\"description\":\"%s\"}",
					classes[b->index].name, classes[b->index].value, classes[b->index].what)));
}

/* Not the job of a later leader or a later start: what a user deleted or changed stays so. Its mark is that there is a cluster. */
static bool is_first_start(struct api_bootstrap *b)
{
	return !exists(b->srv, "services", "default", "kubernetes");
}

static void put_storage(struct api_bootstrap *b)
{
	put(b, CLIENT_CREATE, "storage.k8s.io", "storageclasses", NULL, NULL,
			parse(&b->req.arena,
					"{\"apiVersion\":\"storage.k8s.io/v1\",\"kind\":\"StorageClass\",\"metadata\":{\"name\":\"local-path\","
					"\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}},"
					"\"provisioner\":\"kontiki.dev/local-path\",\"reclaimPolicy\":\"Delete\","
					"\"volumeBindingMode\":\"WaitForFirstConsumer\"}"));
}

/* Who wants another class to be the default says so at this one; deleted, it comes back. */
static void put_ingress_class(struct api_bootstrap *b)
{
	put(b, CLIENT_CREATE, "networking.k8s.io", "ingressclasses", NULL, NULL,
			parse(&b->req.arena,
					"{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"IngressClass\",\"metadata\":{\"name\":\"kontiki\","
					"\"annotations\":{\"ingressclass.kubernetes.io/is-default-class\":\"true\"}},"
					"\"spec\":{\"controller\":\"kontiki.dev/ingress\"}}"));
}

static void put_service(struct api_bootstrap *b)
{
	struct arena *a = &b->req.arena;
	uint32_t ip = b->srv->service_net + 1;
	unsigned port = b->srv->cfg.advertise_port ? b->srv->cfg.advertise_port : b->srv->port;

	put(b, CLIENT_CREATE, "", "services", "default", NULL,
			parse(a, arena_printf(a,
					"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"kubernetes\","
					"\"labels\":{\"component\":\"apiserver\",\"provider\":\"kubernetes\"}},\"spec\":{"
					"\"clusterIP\":\"%u.%u.%u.%u\",\"ports\":[{\"name\":\"https\",\"port\":443,"
					"\"protocol\":\"TCP\",\"targetPort\":%u}],\"type\":\"ClusterIP\"}}",
					ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, port)));
}

/* The addresses in `pending`, and the port of the first: an Endpoints subset has one port for all. */
static struct json *address_list(struct arena *a, const char *text, bool slice, int64_t *ret_port)
{
	struct json *list = json_new_array(a);
	struct str one, rest = str_from(text), ip, port;

	while (rest.n > 0) {
		struct json *o = json_new_object(a), *ips;

		str_cut(rest, ',', &one, &rest);
		str_cut(one, ':', &ip, &port);
		str_to_i64(port, ret_port);
		if (slice) {
			ips = json_new_array(a);
			json_push(a, ips, json_new_str(a, ip));
			json_setc(a, o, "addresses", ips);
			json_setp(a, o, "conditions.ready", json_new_bool(a, true));
		} else {
			json_setc(a, o, "ip", json_new_str(a, ip));
		}
		json_push(a, list, o);
	}
	return list;
}

static struct json *ports(struct arena *a, int64_t port)
{
	struct json *list = json_new_array(a), *p = json_new_object(a);

	json_setc(a, p, "name", json_newc(a, "https"));
	json_setc(a, p, "port", json_new_int(a, port));
	json_setc(a, p, "protocol", json_newc(a, "TCP"));
	json_push(a, list, p);
	return list;
}

static void put_endpoints(struct api_bootstrap *b)
{
	struct arena *a = &b->req.arena;
	struct json *doc = parse(a, "{\"apiVersion\":\"v1\",\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"kubernetes\","
				    "\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}}}");
	struct json *subsets = json_new_array(a), *s = json_new_object(a);
	int64_t port = 0;

	json_setc(a, s, "addresses", address_list(a, b->pending, false, &port));
	json_setc(a, s, "ports", ports(a, port));
	json_push(a, subsets, s);
	json_setc(a, doc, "subsets", subsets);
	put(b, CLIENT_UPDATE, "", "endpoints", "default", "kubernetes", doc);
}

static void put_slice(struct api_bootstrap *b)
{
	struct arena *a = &b->req.arena;
	struct json *doc = parse(a, "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{"
				    "\"name\":\"kubernetes\",\"labels\":{\"kubernetes.io/service-name\":\"kubernetes\"}},"
				    "\"addressType\":\"IPv4\"}");
	int64_t port = 0;

	json_setc(a, doc, "endpoints", address_list(a, b->pending, true, &port));
	json_setc(a, doc, "ports", ports(a, port));
	put(b, CLIENT_UPDATE, "discovery.k8s.io", "endpointslices", "default", "kubernetes", doc);
}

static void job_start(struct api_bootstrap *b)
{
	static void (*const jobs[])(struct api_bootstrap *) = {
			[JOB_NAMESPACE] = put_namespace,
			[JOB_CLASSES] = put_class,
			[JOB_STORAGE] = put_storage,
			[JOB_INGRESS] = put_ingress_class,
			[JOB_ROLES] = put_roles,
			[JOB_FLOW] = put_flow,
			[JOB_SERVICE] = put_service,
			[JOB_ENDPOINTS] = put_endpoints,
			[JOB_SLICE] = put_slice,
	};

	if (b->job == JOB_STORAGE && !is_first_start(b))
		b->job++;
	client_req_init(&b->req, CLIENT_GET, NULL);
	jobs[b->job](b);
}

/* --- Looking ----------------------------------------------------------------------------------------------------- */

static bool is_missing(struct api_bootstrap *b, size_t i, const struct kv_member *m)
{
	if (b->member[i] != m->id) {
		b->member[i] = m->id;
		b->missed[i] = 0;
	}
	if (m->reachable || m->self)
		b->missed[i] = 0;
	else if (b->missed[i] < MISSED_LOOKS)
		b->missed[i]++;
	return b->missed[i] >= MISSED_LOOKS;
}

/* "ip:port," of every member that is there. A member without a URL can only be ourselves, as configured. */
static char *addresses(struct api_bootstrap *b, const struct kv_status *st)
{
	const struct apiserver_cfg *c = &b->srv->cfg;
	struct buf out = BUF_INIT;
	size_t n;

	for (size_t i = 0; i < st->n_members; i++) {
		const struct kv_member *m = &st->members[i];
		struct str url = str_from(m->url), scheme = STR("https://");

		if (is_missing(b, i, m))
			continue;
		if (m->self && c->advertise)
			buf_printf(&out, "%s%s:%u", out.n ? "," : "", c->advertise,
					c->advertise_port ? c->advertise_port : b->srv->port);
		else if (str_has_prefix(url, scheme))
			buf_printf(&out, "%s%.*s", out.n ? "," : "", STR_FMT(str_skip(url, scheme.n)));
	}
	return buf_take(&out, &n);
}

static void look_ready(struct api_bootstrap *b)
{
	if (atomic_load(&b->srv->ready))
		return;
	if (exists(b->srv, "namespaces", "", "kube-node-lease") && exists(b->srv, "services", "default", "kubernetes")) {
		atomic_store(&b->srv->ready, true);
		log_info("apiserver", "ready");
	}
}

static void look(struct loop_timer *t)
{
	struct api_bootstrap *b = container_of(t, struct api_bootstrap, timer);
	_cleanup_(freep) struct kv_status *st = xmalloc(sizeof(*st));

	kv_status(b->srv->kv, st);
	look_ready(b);
	b->leads = st->role.leader;
	if (!b->leads || b->busy) {
		/* What another leader writes is not known here. */
		free(TAKE(b->written));
		next_look(b);
		return;
	}
	if (!b->created) {
		b->job = JOB_NAMESPACE;
		b->index = 0;
		job_start(b);
		return;
	}
	if (flow_changed(b) || clock_mono_ms() >= b->flow_due_ms) {
		b->job = JOB_FLOW;
		job_start(b);
		return;
	}
	free(b->pending);
	b->pending = addresses(b, st);
	if (!b->pending || b->pending[0] == '\0' || (b->written && strcmp(b->pending, b->written) == 0)) {
		next_look(b);
		return;
	}
	b->job = JOB_ENDPOINTS;
	job_start(b);
}

void bootstrap_start(struct apiserver *srv)
{
	struct api_bootstrap *b = xcalloc(1, sizeof(*b));

	b->srv = srv;
	b->loop = srv->serve[0]->loop;
	b->client = apiserver_client(srv, b->loop, "system:apiserver");
	srv->bootstrap = b;
	loop_timer_start(&b->timer, b->loop, 0, look);
}

static void client_gone(void *arg)
{
	struct api_bootstrap *b = arg;
	void (*stopped)(void *) = b->stopped;
	void *stopped_arg = b->stopped_arg;

	b->srv->bootstrap = NULL;
	free(b->written);
	free(b->pending);
	free(b);
	stopped(stopped_arg);
}

void bootstrap_stop(struct apiserver *srv, void (*stopped)(void *arg), void *arg)
{
	struct api_bootstrap *b = srv->bootstrap;

	b->stopping = true;
	b->stopped = stopped;
	b->stopped_arg = arg;
	loop_timer_stop(&b->timer);
	client_close(b->client, client_gone, b);
}
