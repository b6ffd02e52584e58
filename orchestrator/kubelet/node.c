/*
 * Our Node object and its Lease: registration, status, heartbeat, and the pod network that we are given.
 *
 *	GET --not found--> CREATE --> status --> every 5 min, or when something changed
 *	 '-----found-------'                 '--> podCIDR known? --> CNI configuration, network ready
 *
 * The Lease is what tells the node controller that we live. It is renewed every 4 s, so that one renewal that hangs until its deadline
 * and is tried again still comes well before the controller gives the node up (CONTROLLERS_NODE_GRACE_S).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "proto/coordination.pb-c.h"
#include "proto/resource.h"

#define STATUS_MS 300000
#define LEASE_MS 4000
#define LEASE_RETRY_MS 500
#define LEASE_S 40
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000
#define CIDR_POLL_MS 100

struct kubelet_node {
	struct kubelet *k;
	struct client_req req, lease_req;
	bool busy, lease_busy, closing;
	bool registered;     /* our object is there */
	bool dirty;          /* its status should be written */
	bool cidr_known, said_ready;
	uint64_t delay_ms;
	struct loop_timer timer, lease_timer;
	struct kept *lease;  /* as the API has it */
	struct kept *node;
	char *runtime_version;
	int64_t ready_since_s, trouble_since_s;
	bool was_ready;
};

void node_capacity(struct kubelet *k)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE), cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct observation disk, inodes;

	k->host.memory_capacity = pages > 0 ? (int64_t)pages * size : 0;
	k->host.cpu_milli = (cpus > 0 ? cpus : 1) * 1000;
	disk_observe(k->cfg->dir, &disk, &inodes);
	k->host.storage_capacity = disk.capacity;
	k->host.storage_allocatable = MAX(disk.capacity - eviction_reserve(&k->eviction, SIG_NODEFS, disk.capacity), (int64_t)0);
}

static const char *file_text(struct arena *a, const char *path)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	if (file_get(path, 65536, &b, NULL) < 0)
		return "";
	return arena_cstr(a, str_trim(buf_str(&b)));
}

static const char *os_image(struct arena *a)
{
	struct str rest = str_from(file_text(a, "/etc/os-release")), line;

	while (rest.n > 0) {
		str_cut(rest, '\n', &line, &rest);
		if (!str_has_prefix(line, STR("PRETTY_NAME=")))
			continue;
		line = str_skip(line, strlen("PRETTY_NAME="));
		if (line.n >= 2 && line.p[0] == '"')
			line = str_sub(line, 1, line.n - 1);
		return arena_cstr(a, line);
	}
	return "linux";
}

static const char *architecture(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#elif defined(__i386__)
	return "386";
#elif defined(__arm__)
	return "arm";
#else
	return "unknown";
#endif
}

static Core__NodeSystemInfo *system_info(struct arena *a, struct kubelet_node *n)
{
	Core__NodeSystemInfo *i = PB_NEW(a, Core__NodeSystemInfo, core__node_system_info);
	struct utsname u;

	uname(&u);
	i->machine_id = file_text(a, "/etc/machine-id");
	i->system_uuid = file_text(a, "/sys/class/dmi/id/product_uuid");
	if (!*i->system_uuid)
		i->system_uuid = i->machine_id;
	i->boot_id = file_text(a, "/proc/sys/kernel/random/boot_id");
	i->kernel_version = arena_strdup(a, u.release);
	i->os_image = os_image(a);
	i->container_runtime_version = arena_printf(a, "containerd://%s", nz(n->runtime_version));
	i->kubelet_version = nz(n->k->cfg->version);
	i->kube_proxy_version = nz(n->k->cfg->version);
	i->operating_system = "linux";
	i->architecture = architecture();
	return i;
}

static Resource__Quantity *quantity(struct arena *a, const char *text)
{
	Resource__Quantity *q = PB_NEW(a, Resource__Quantity, resource__quantity);

	q->string = text;
	return q;
}

void node_allocatable(const struct kubelet *k, int64_t *ret_cpu_milli, int64_t *ret_memory)
{
	*ret_cpu_milli = k->host.cpu_milli / 1000 * 1000;
	*ret_memory = MAX(k->host.memory_capacity - eviction_reserve(&k->eviction, SIG_MEMORY, k->host.memory_capacity), (int64_t)0) / 1024 * 1024;
}

static void capacities(struct arena *a, struct kubelet_node *n, Core__NodeStatus *s)
{
	struct kubelet *k = n->k;
	const char *pods = arena_printf(a, "%u", k->cfg->max_pods ? k->cfg->max_pods : 110);
	const char *cpu = arena_printf(a, "%" PRId64, k->host.cpu_milli / 1000);
	int64_t cpu_milli, memory;

	node_allocatable(k, &cpu_milli, &memory);
	const struct {
		const char *name, *capacity, *allocatable;
	} rows[] = {
		{"cpu", cpu, cpu},
		{"ephemeral-storage", arena_printf(a, "%" PRId64 "Ki", k->host.storage_capacity / 1024),
				arena_printf(a, "%" PRId64, k->host.storage_allocatable)},
		/* Pods are given none, as on a node of upstream's that has none. */
		{"hugepages-1Gi", "0", "0"},
		{"hugepages-2Mi", "0", "0"},
		{"memory", arena_printf(a, "%" PRId64 "Ki", k->host.memory_capacity / 1024),
				arena_printf(a, "%" PRId64 "Ki", memory / 1024)},
		{"pods", pods, pods},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		Core__NodeStatus__CapacityEntry *c = pb_add(a, s, "capacity");
		Core__NodeStatus__AllocatableEntry *al = pb_add(a, s, "allocatable");

		c->key = al->key = rows[i].name;
		c->value = quantity(a, rows[i].capacity);
		al->value = quantity(a, rows[i].allocatable);
	}
}

static Meta__Time *time_at(struct arena *a, int64_t s)
{
	Meta__Time *t = PB_NEW(a, Meta__Time, meta__time);

	PB_SET(t, seconds, s);
	return t;
}

static void condition(struct arena *a, Core__NodeStatus *s, const char *type, bool on, int64_t since, const char *reason,
		const char *message)
{
	Core__NodeCondition *c = pb_add(a, s, "conditions");

	c->type = type;
	c->status = on ? "True" : "False";
	c->reason = reason;
	c->message = message;
	c->last_heartbeat_time = time_at(a, clock_wall_s());
	c->last_transition_time = time_at(a, since);
}

static void conditions(struct arena *a, struct kubelet_node *n, Core__NodeStatus *s)
{
	struct kubelet *k = n->k;
	bool ready = k->runtime_ready && k->network_ready;
	const char *why = !k->runtime_ready ? "container runtime is down"
			  : "container runtime network not ready: the node has no pod network (spec.podCIDR) yet";

	if (ready != n->was_ready || n->ready_since_s == 0) {
		n->was_ready = ready;
		n->ready_since_s = clock_wall_s();
	}
	for (int p = 0; p < N_PRESSURES; p++) {
		struct pressure_text text;
		int64_t since_s;
		bool on = pressure_condition(k->pressure, a, (enum node_pressure)p, &text, &since_s);

		condition(a, s, text.type, on, since_s, text.reason, text.message);
	}
	condition(a, s, "Ready", ready, n->ready_since_s, ready ? "KubeletReady" : "KubeletNotReady",
			ready ? "kubelet is posting ready status" : why);
	if (!k->network_trouble)
		n->trouble_since_s = 0;
	else if (n->trouble_since_s == 0)
		n->trouble_since_s = clock_wall_s();
	/* Only where there is something to say: upstream's nodes have no such condition. */
	if (k->network_trouble)
		condition(a, s, "NetworkPolicyUnavailable", true, n->trouble_since_s, "CannotEnforce", k->network_trouble);
}

static void addresses(struct arena *a, struct kubelet_node *n, Core__NodeStatus *s)
{
	Core__NodeAddress *ip;
	Core__NodeAddress *name;

	if (is_set(n->k->host.node_ip)) {
		ip = pb_add(a, s, "addresses");
		ip->type = "InternalIP";
		ip->address = n->k->host.node_ip;
	}
	name = pb_add(a, s, "addresses");
	name->type = "Hostname";
	name->address = n->k->host.node_name;
}

static Core__NodeStatus *status(struct arena *a, struct kubelet_node *n)
{
	Core__NodeStatus *s = PB_NEW(a, Core__NodeStatus, core__node_status);

	capacities(a, n, s);
	conditions(a, n, s);
	addresses(a, n, s);
	image_keeper_tell(n->k->images, a, s);
	s->node_info = system_info(a, n);
	s->daemon_endpoints = PB_NEW(a, Core__NodeDaemonEndpoints, core__node_daemon_endpoints);
	s->daemon_endpoints->kubelet_endpoint = PB_NEW(a, Core__DaemonEndpoint, core__daemon_endpoint);
	PB_SET(s->daemon_endpoints->kubelet_endpoint, port, kubelet_port(n->k));
	return s;
}

static void set_labels(struct arena *a, struct kubelet_node *n, Meta__ObjectMeta *m)
{
	struct str rest = str_from(nz(n->k->cfg->node_labels)), one, key, value;

	pb_map_set(a, m, "labels", "beta.kubernetes.io/arch", architecture());
	pb_map_set(a, m, "labels", "beta.kubernetes.io/os", "linux");
	pb_map_set(a, m, "labels", "kubernetes.io/arch", architecture());
	pb_map_set(a, m, "labels", "kubernetes.io/hostname", n->k->host.node_name);
	pb_map_set(a, m, "labels", "kubernetes.io/os", "linux");
	/* Where volumes of the provisioner kontiki.dev/local-path are, for people who look at one. */
	pb_map_set(a, m, "annotations", "kontiki.dev/volumes", n->k->volumes_dir);
	while (rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		if (str_cut(one, '=', &key, &value))
			pb_map_set(a, m, "labels", arena_cstr(a, key), arena_cstr(a, value));
	}
}

/* "key=value:Effect" or "key:Effect", separated by commas. */
static void set_taints(struct arena *a, struct kubelet_node *n, Core__NodeSpec *spec)
{
	struct str rest = str_from(nz(n->k->cfg->node_taints)), one, left, effect, key, value;

	while (rest.n > 0) {
		Core__Taint *t;

		str_cut(rest, ',', &one, &rest);
		if (!str_cut(one, ':', &left, &effect))
			continue;
		str_cut(left, '=', &key, &value);
		t = pb_add(a, spec, "taints");
		t->key = arena_cstr(a, key);
		if (value.n)
			t->value = arena_cstr(a, value);
		t->effect = arena_cstr(a, effect);
	}
}

static void write_node(struct kubelet_node *n);

static void on_timer(struct loop_timer *t)
{
	write_node(container_of(t, struct kubelet_node, timer));
}

static void again_in(struct kubelet_node *n, uint64_t ms)
{
	if (!n->closing)
		loop_timer_start(&n->timer, n->k->loop, ms, on_timer);
}

static void maybe_free(struct kubelet_node *n)
{
	if (n->busy || n->lease_busy)
		return;
	kept_unref(n->lease);
	kept_unref(n->node);
	free(n->runtime_version);
	free(n);
}

/* The pod network: tell the agent (bridge, routes), write the CNI configuration, and pods may start. */
static void use_cidr(struct kubelet_node *n, const char *cidr)
{
	_cleanup_(buf_fini) struct buf members = BUF_INIT;
	struct kubelet *k = n->k;
	struct err e = ERR_INIT;

	if (n->cidr_known)
		return;
	if (k->cfg->pod_cidr)
		k->cfg->pod_cidr(k->cfg, cidr, &members);
	if (members.n == 0)
		buf_printf(&members, "\"podCIDR\":\"%s\",\"ipamDir\":\"%s/ipam\"", cidr, k->cfg->dir);
	if (containerd_write_cni(k->containerd_dir, "kontiki", "kontiki-cni", buf_str(&members), &e) < 0) {
		log_error("kubelet", "cni configuration: %s", e.text);
		return;
	}
	log_info("kubelet", "pod network cidr=%s", cidr);
	n->cidr_known = true;
	k->network_ready = true;
	n->dirty = true;
	MAP_FOR_EACH (entry, &k->workers)
		worker_kick(entry->value);
}

/* The node controller has not heard from us for some time, and says so in our conditions: only we can put that right. */
static bool is_called_lost(const Core__Node *node)
{
	for (size_t i = 0; node->status && i < node->status->n_conditions; i++)
		if (pb_streq(node->status->conditions[i]->status, "Unknown"))
			return true;
	return false;
}

void node_set(struct kubelet_node *n, const Core__Node *node)
{
	kept_unref(n->node);
	n->node = kept_new(node);
	n->dirty |= is_called_lost(node);
	if (node->spec && is_set(node->spec->pod_cidr))
		use_cidr(n, node->spec->pod_cidr);
	if (n->dirty)
		node_changed(n);
}

void node_changed(struct kubelet_node *n)
{
	n->dirty = true;
	if (!n->busy && n->registered)
		again_in(n, 0);
}

static void answered(struct client_req *req)
{
	struct kubelet_node *n = container_of(req, struct kubelet_node, req);
	enum err_code code = req->err.code;
	enum client_verb verb = req->verb;
	Core__Node *node = code ? NULL : client_req_unpack(req, &core__node__descriptor);

	n->busy = false;
	kubelet_idle(n->k);
	if (n->closing) {
		client_req_fini(req);
		maybe_free(n);
		return;
	}
	if (code == ERR_OK || code == ERR_ALREADY_EXISTS) {
		n->delay_ms = 0;
		n->registered = true;
	} else if (verb == CLIENT_UPDATE && code == ERR_NOT_FOUND) {
		n->registered = false; /* somebody deleted it: register anew */
	} else if (code != ERR_NOT_FOUND) {
		n->dirty = n->dirty || verb == CLIENT_UPDATE;
		log_at(n->delay_ms >= RETRY_MAX_MS ? LOG_WARN : LOG_DEBUG, "kubelet", "node %s: %s", n->k->host.node_name, req->err.text);
	}
	if (node && verb == CLIENT_UPDATE && n->was_ready && !n->said_ready) {
		n->said_ready = true;
		log_info("kubelet", "node %s is ready", n->k->host.node_name);
	}
	if (node)
		node_set(n, node);
	client_req_fini(req);
	if (code && code != ERR_NOT_FOUND && code != ERR_ALREADY_EXISTS) {
		n->delay_ms = n->delay_ms ? MIN(2 * n->delay_ms, RETRY_MAX_MS) : RETRY_MIN_MS;
		again_in(n, n->delay_ms);
	} else if (n->dirty || !n->registered) {
		again_in(n, 0);
	} else {
		again_in(n, n->cidr_known ? STATUS_MS : CIDR_POLL_MS);
	}
}

static void send(struct kubelet_node *n, enum client_verb verb, const char *sub)
{
	struct arena *a = &n->req.arena;
	Core__Node *node;

	client_req_init(&n->req, verb, resource_find("", "v1", "nodes"));
	if (verb != CLIENT_CREATE)
		n->req.name = n->k->host.node_name;
	n->req.sub = sub;
	n->req.done = answered;
	if (verb != CLIENT_GET) {
		node = PB_NEW(a, Core__Node, core__node);
		node->metadata = PB_NEW(a, Meta__ObjectMeta, meta__object_meta);
		node->metadata->name = n->k->host.node_name;
		set_labels(a, n, node->metadata);
		node->spec = PB_NEW(a, Core__NodeSpec, core__node_spec);
		if (verb == CLIENT_CREATE)
			set_taints(a, n, node->spec);
		node->status = status(a, n);
		n->req.body = pb_pack_arena(node, a);
	}
	n->busy = true;
	kubelet_busy(n->k);
	client_do(n->k->client, &n->req);
}

static void write_node(struct kubelet_node *n)
{
	if (n->busy || n->closing)
		return;
	if (!n->registered) {
		n->dirty = false;
		send(n, CLIENT_CREATE, NULL);
		n->dirty = true; /* what is there already gets our status next */
	} else if (!n->cidr_known && !n->dirty) {
		send(n, CLIENT_GET, NULL);
	} else {
		n->dirty = false;
		send(n, CLIENT_UPDATE, "status");
	}
}

/* --- lease --------------------------------------------------------------------------------------------------------- */

static void renew(struct kubelet_node *n);

static void on_lease_time(struct loop_timer *t)
{
	renew(container_of(t, struct kubelet_node, lease_timer));
}

static void renewed(struct client_req *req)
{
	struct kubelet_node *n = container_of(req, struct kubelet_node, lease_req);
	Coordination__Lease *l = req->err.code ? NULL : client_req_unpack(req, &coordination__lease__descriptor);
	enum err_code code = req->err.code;
	uint64_t next = LEASE_MS;

	n->lease_busy = false;
	kubelet_idle(n->k);
	kept_unref(TAKE(n->lease));
	if (l)
		n->lease = kept_new(l);
	if (code && code != ERR_NOT_FOUND && code != ERR_CONFLICT && code != ERR_ALREADY_EXISTS)
		log_debug("kubelet", "lease: %s", req->err.text);
	if (code || req->verb == CLIENT_GET)
		next = code == ERR_CONFLICT || code == ERR_ALREADY_EXISTS || !code ? 0
		       : code == ERR_NOT_FOUND && req->verb != CLIENT_CREATE                       ? 0
												   : LEASE_RETRY_MS;
	client_req_fini(req);
	if (n->closing)
		maybe_free(n);
	else
		loop_timer_start(&n->lease_timer, n->k->loop, next, on_lease_time);
}

static void renew(struct kubelet_node *n)
{
	enum client_verb last = n->lease_req.verb;
	bool missing = n->lease_req.err.code == ERR_NOT_FOUND && last == CLIENT_GET;
	enum client_verb verb = n->lease ? CLIENT_UPDATE : missing ? CLIENT_CREATE : CLIENT_GET;
	int64_t now = clock_wall_ns();
	struct arena *a = &n->lease_req.arena;
	Coordination__Lease *l;

	client_req_init(&n->lease_req, verb, resource_find("coordination.k8s.io", "v1", "leases"));
	n->lease_req.ns = "kube-node-lease";
	if (verb != CLIENT_CREATE)
		n->lease_req.name = n->k->host.node_name;
	n->lease_req.done = renewed;
	n->lease_req.timeout_ms = LEASE_MS;
	if (verb != CLIENT_GET) {
		l = n->lease ? pb_copy(a, n->lease->msg) : PB_NEW(a, Coordination__Lease, coordination__lease);
		if (!l->metadata)
			l->metadata = PB_NEW(a, Meta__ObjectMeta, meta__object_meta);
		l->metadata->name = n->k->host.node_name;
		l->metadata->namespace_ = "kube-node-lease";
		if (!l->spec)
			l->spec = PB_NEW(a, Coordination__LeaseSpec, coordination__lease_spec);
		l->spec->holder_identity = n->k->host.node_name;
		PB_SET(l->spec, lease_duration_seconds, LEASE_S);
		l->spec->renew_time = PB_NEW(a, Meta__MicroTime, meta__micro_time);
		PB_SET(l->spec->renew_time, seconds, now / 1000000000);
		PB_SET(l->spec->renew_time, nanos, (int32_t)(now % 1000000000 / 1000 * 1000));
		n->lease_req.body = pb_pack_arena(l, a);
	}
	n->lease_busy = true;
	kubelet_busy(n->k);
	client_do(n->k->client, &n->lease_req);
}

struct kubelet_node *node_new(struct kubelet *k)
{
	struct kubelet_node *n;

	if (!k->cfg->register_node || !k->client)
		return NULL;
	n = xcalloc(1, sizeof(*n));
	n->k = k;
	n->dirty = true;
	again_in(n, 0);
	loop_timer_start(&n->lease_timer, k->loop, 0, on_lease_time);
	return n;
}

void node_set_runtime(struct kubelet_node *n, const char *version)
{
	free(n->runtime_version);
	n->runtime_version = xstrdup(version);
	node_changed(n);
}

void node_close(struct kubelet_node *n)
{
	if (!n)
		return;
	n->closing = true;
	loop_timer_stop(&n->timer);
	loop_timer_stop(&n->lease_timer);
	if (n->busy)
		client_cancel(&n->req);
	if (n->lease_busy)
		client_cancel(&n->lease_req);
	maybe_free(n);
}
