#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/duration.h"
#include "proto/table-priv.h"
#include "proto/table.h"

/* ---- cells ---- */

void table__add(struct table__row *r, struct json *v)
{
	json_push(r->a, r->cells, v);
}

void table__add_str(struct table__row *r, struct str s)
{
	table__add(r, json_new_str(r->a, s));
}

void table__add_or(struct table__row *r, struct str s, const char *otherwise)
{
	table__add_str(r, s.n ? s : str_from(otherwise));
}

void table__add_int(struct table__row *r, int64_t v)
{
	table__add(r, json_new_int(r->a, v));
}

/* Seconds since a timestamp as people say it. */
struct str table__since(struct table__row *r, struct str time)
{
	char out[DURATION_SIZE];
	int64_t t;

	if (time.n == 0 || !time_parse(time, &t, NULL))
		return STR("<unknown>");
	duration_human(r->now - t, out);
	return arena_str(r->a, str_from(out));
}

void table__add_age(struct table__row *r, const struct json *obj)
{
	table__add_str(r, table__since(r, json_strp(obj, "metadata.creationTimestamp")));
}

void table__add_name(struct table__row *r, const struct json *obj)
{
	table__add_str(r, json_strp(obj, "metadata.name"));
}

/* What is printed into the buf, or `otherwise` when that is nothing. Frees the buf. */
void table__add_buf(struct table__row *r, struct buf *b, const char *otherwise)
{
	table__add_or(r, buf_str(b), otherwise);
	buf_fini(b);
}

void table__comma(struct buf *b)
{
	if (b->n > 0)
		buf_add1(b, ',');
}

static int member_cmp(const void *a, const void *b)
{
	return str_cmp((*(const struct json_member *const *)a)->key,
		(*(const struct json_member *const *)b)->key);
}

/* "a=b,c=d", sorted. */
void table__print_labels(struct table__row *r, struct buf *b, const struct json *labels)
{
	size_t n = 0;
	const struct json_member **sorted =
		arena_new_array(r->a, const struct json_member *, json_len(labels));

	JSON_MEMBERS (m, labels)
		sorted[n++] = m;
	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), member_cmp);
	for (size_t i = 0; i < n; i++) {
		table__comma(b);
		buf_printf(b, "%.*s=%.*s", STR_FMT(sorted[i]->key),
			STR_FMT(json_str(sorted[i]->value)));
	}
}

/* A LabelSelector as metav1.FormatLabelSelector writes it. */
void table__add_selector(struct table__row *r, const struct json *sel)
{
	static const char *const ops[][2] = {{"In", " in "}, {"NotIn", " notin "}};
	struct buf b = BUF_INIT;

	table__print_labels(r, &b, json_getc(sel, "matchLabels"));
	JSON_ITEMS (x, json_getc(sel, "matchExpressions")) {
		const char *word = NULL;

		table__comma(&b);
		for (size_t i = 0; i < ARRAY_LEN(ops); i++)
			if (json_eqc(json_getc(x, "operator"), ops[i][0]))
				word = ops[i][1];
		if (json_eqc(json_getc(x, "operator"), "DoesNotExist"))
			buf_add1(&b, '!');
		buf_adds(&b, json_str(json_getc(x, "key")));
		if (word == NULL)
			continue;
		buf_printf(&b, "%s(", word);
		for (size_t i = 0; i < json_len(json_getc(x, "values")); i++)
			buf_printf(&b, "%s%s", i ? "," : "",
				json_cstr(json_at(json_getc(x, "values"), i)));
		buf_add1(&b, ')');
	}
	table__add_buf(r, &b, "<none>");
}

/* Names, then images of a pod template's containers. */
void table__add_containers(struct table__row *r, const struct json *containers)
{
	static const char *const fields[] = {"name", "image"};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		struct buf b = BUF_INIT;

		JSON_ITEMS (c, containers) {
			table__comma(&b);
			buf_adds(&b, json_str(json_getc(c, fields[i])));
		}
		table__add_buf(r, &b, "");
	}
}

int64_t table__count_of(const struct json *obj, const char *path)
{
	return json_i64_or(json_getp(obj, path), 0);
}

/* ---- pods ---- */

struct pod_state {
	struct str reason;
	int64_t restarts;
	struct str last_restart;
	size_t ready, total;
	bool initializing;
};

static bool condition_true(const struct json *obj, const char *type)
{
	JSON_ITEMS (c, json_getp(obj, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return json_eqc(json_getc(c, "status"), "True");
	return false;
}

static void note_restart(struct pod_state *s, const struct json *status)
{
	struct str t = json_strp(status, "lastState.terminated.finishedAt");

	s->restarts += table__count_of(status, "restartCount");
	/* RFC 3339 in UTC sorts as text. */
	if (str_cmp(t, s->last_restart) > 0)
		s->last_restart = t;
}

static struct str exit_reason(struct arena *a, const char *prefix, const struct json *terminated)
{
	struct str reason = json_str(json_getc(terminated, "reason"));

	if (reason.n > 0)
		return arena_sprintf(a, "%s%.*s", prefix, STR_FMT(reason));
	if (table__count_of(terminated, "signal") != 0)
		return arena_sprintf(
			a, "%sSignal:%lld", prefix, (long long)table__count_of(terminated, "signal"));
	return arena_sprintf(
		a, "%sExitCode:%lld", prefix, (long long)table__count_of(terminated, "exitCode"));
}

static bool is_sidecar(const struct json *pod, struct str name)
{
	JSON_ITEMS (c, json_getp(pod, "spec.initContainers"))
		if (str_eq(json_str(json_getc(c, "name")), name))
			return json_eqc(json_getc(c, "restartPolicy"), "Always");
	return false;
}

/* True when this init container is done (or a sidecar that runs), and the next one may be looked
 * at. */
static bool init_done(struct arena *a, const struct json *pod, const struct json *st, size_t i,
	bool sidecar, struct pod_state *s)
{
	struct json *terminated = json_getp(st, "state.terminated");
	struct str waiting = json_strp(st, "state.waiting.reason");

	if (terminated && table__count_of(terminated, "exitCode") == 0)
		return true;
	if (sidecar && json_true(json_getc(st, "started"))) {
		s->ready += json_true(json_getc(st, "ready"));
		return true;
	}
	if (terminated)
		s->reason = exit_reason(a, "Init:", terminated);
	else if (waiting.n > 0 && !str_eqc(waiting, "PodInitializing"))
		s->reason = arena_sprintf(a, "Init:%.*s", STR_FMT(waiting));
	else
		s->reason = arena_sprintf(
			a, "Init:%zu/%zu", i, json_len(json_getp(pod, "spec.initContainers")));
	return false;
}

static void init_states(
	struct arena *a, const struct json *pod, struct pod_state *s, struct pod_state *sidecars)
{
	struct json *list = json_getp(pod, "status.initContainerStatuses");

	for (size_t i = 0; i < json_len(list); i++) {
		struct json *st = json_at(list, i);
		bool sidecar = is_sidecar(pod, json_str(json_getc(st, "name")));

		note_restart(s, st);
		if (sidecar)
			note_restart(sidecars, st);
		if (!init_done(a, pod, st, i, sidecar, s)) {
			s->initializing = true;
			return;
		}
	}
}

static void main_states(struct arena *a, const struct json *pod, struct pod_state *s)
{
	struct json *list = json_getp(pod, "status.containerStatuses");
	bool running = false;

	for (size_t i = json_len(list); i-- > 0;) {
		struct json *st = json_at(list, i), *terminated = json_getp(st, "state.terminated");
		struct str waiting = json_strp(st, "state.waiting.reason");

		note_restart(s, st);
		if (waiting.n > 0) {
			s->reason = waiting;
		} else if (terminated) {
			s->reason = exit_reason(a, "", terminated);
		} else if (json_true(json_getc(st, "ready")) && json_getp(st, "state.running")) {
			running = true;
			s->ready++;
		}
	}
	/* One of several that ended does not end the pod. */
	if (running && str_eqc(s->reason, "Completed"))
		s->reason = condition_true(pod, "Ready") ? STR("Running") : STR("NotReady");
}

static void pod_state(struct arena *a, const struct json *pod, struct pod_state *ret)
{
	struct str phase = json_strp(pod, "status.phase"), why = json_strp(pod, "status.reason");
	struct pod_state s = {.reason = why.n ? why : phase}, sidecars = {0};

	s.total = json_len(json_getp(pod, "spec.containers"));
	JSON_ITEMS (c, json_getp(pod, "spec.initContainers"))
		s.total += json_eqc(json_getc(c, "restartPolicy"), "Always");
	JSON_ITEMS (c, json_getp(pod, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "PodScheduled") &&
			json_eqc(json_getc(c, "reason"), "SchedulingGated"))
			s.reason = STR("SchedulingGated");
	init_states(a, pod, &s, &sidecars);
	if (!s.initializing || condition_true(pod, "Initialized")) {
		s.restarts = sidecars.restarts;
		s.last_restart = sidecars.last_restart;
		main_states(a, pod, &s);
	}
	if (!json_is_null(json_getp(pod, "metadata.deletionTimestamp"))) {
		if (str_eqc(why, "NodeLost"))
			s.reason = STR("Unknown");
		else if (!str_eqc(phase, "Failed") && !str_eqc(phase, "Succeeded"))
			s.reason = STR("Terminating");
	}
	*ret = s;
}

static void add_gates(struct table__row *r, const struct json *pod)
{
	struct json *gates = json_getp(pod, "spec.readinessGates");
	size_t met = 0;

	JSON_ITEMS (g, gates)
		met += condition_true(pod, json_cstr(json_getc(g, "conditionType")));
	if (json_len(gates) == 0)
		table__add_str(r, STR("<none>"));
	else
		table__add(r, json_newf(r->a, "%zu/%zu", met, json_len(gates)));
}

static void row_pod(struct table__row *r, const struct json *pod)
{
	struct str ip = json_str(json_getc(json_at(json_getp(pod, "status.podIPs"), 0), "ip"));
	struct pod_state s;

	pod_state(r->a, pod, &s);
	table__add_name(r, pod);
	table__add(r, json_newf(r->a, "%zu/%zu", s.ready, s.total));
	table__add_str(r, s.reason);
	if (s.restarts != 0 && s.last_restart.n > 0)
		table__add(r, json_newf(r->a, "%lld (%s ago)", (long long)s.restarts,
			       table__since(r, s.last_restart).p));
	else
		table__add(r, json_newf(r->a, "%lld", (long long)s.restarts));
	table__add_age(r, pod);
	table__add_or(r, ip.n ? ip : json_strp(pod, "status.podIP"), "<none>");
	table__add_or(r, json_strp(pod, "spec.nodeName"), "<none>");
	table__add_or(r, json_strp(pod, "status.nominatedNodeName"), "<none>");
	add_gates(r, pod);
}

/* ---- workloads ---- */

static void row_deployment(struct table__row *r, const struct json *d)
{
	table__add_name(r, d);
	table__add(r, json_newf(r->a, "%lld/%lld", (long long)table__count_of(d, "status.readyReplicas"),
		       (long long)table__count_of(d, "spec.replicas")));
	table__add_int(r, table__count_of(d, "status.updatedReplicas"));
	table__add_int(r, table__count_of(d, "status.availableReplicas"));
	table__add_age(r, d);
	table__add_containers(r, json_getp(d, "spec.template.spec.containers"));
	table__add_selector(r, json_getp(d, "spec.selector"));
}

static void row_replica_set(struct table__row *r, const struct json *rs)
{
	table__add_name(r, rs);
	table__add_int(r, table__count_of(rs, "spec.replicas"));
	table__add_int(r, table__count_of(rs, "status.replicas"));
	table__add_int(r, table__count_of(rs, "status.readyReplicas"));
	table__add_age(r, rs);
	table__add_containers(r, json_getp(rs, "spec.template.spec.containers"));
	table__add_selector(r, json_getp(rs, "spec.selector"));
}

static void row_replication_controller(struct table__row *r, const struct json *rc)
{
	struct buf b = BUF_INIT;

	table__add_name(r, rc);
	table__add_int(r, table__count_of(rc, "spec.replicas"));
	table__add_int(r, table__count_of(rc, "status.replicas"));
	table__add_int(r, table__count_of(rc, "status.readyReplicas"));
	table__add_age(r, rc);
	table__add_containers(r, json_getp(rc, "spec.template.spec.containers"));
	table__print_labels(r, &b, json_getp(rc, "spec.selector"));
	table__add_buf(r, &b, "<none>");
}

static void row_stateful_set(struct table__row *r, const struct json *s)
{
	table__add_name(r, s);
	table__add(r, json_newf(r->a, "%lld/%lld", (long long)table__count_of(s, "status.readyReplicas"),
		       (long long)table__count_of(s, "spec.replicas")));
	table__add_age(r, s);
	table__add_containers(r, json_getp(s, "spec.template.spec.containers"));
}

static void row_daemon_set(struct table__row *r, const struct json *d)
{
	static const char *const counts[] = {
		"status.desiredNumberScheduled",
		"status.currentNumberScheduled",
		"status.numberReady",
		"status.updatedNumberScheduled",
		"status.numberAvailable",
	};
	struct buf b = BUF_INIT;

	table__add_name(r, d);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		table__add_int(r, table__count_of(d, counts[i]));
	table__print_labels(r, &b, json_getp(d, "spec.template.spec.nodeSelector"));
	table__add_buf(r, &b, "<none>");
	table__add_age(r, d);
	table__add_containers(r, json_getp(d, "spec.template.spec.containers"));
	table__add_selector(r, json_getp(d, "spec.selector"));
}

/* ---- services and their endpoints ---- */

void table__print_strings(struct buf *b, const struct json *list)
{
	JSON_ITEMS (it, list) {
		table__comma(b);
		buf_adds(b, json_str(it));
	}
}

static void add_external_ip(struct table__row *r, const struct json *svc)
{
	struct json *type = json_getp(svc, "spec.type");
	struct buf b = BUF_INIT;

	if (json_eqc(type, "ExternalName")) {
		table__add_str(r, json_strp(svc, "spec.externalName"));
		return;
	}
	if (json_eqc(type, "LoadBalancer")) {
		JSON_ITEMS (in, json_getp(svc, "status.loadBalancer.ingress")) {
			struct str ip = json_str(json_getc(in, "ip"));

			table__comma(&b);
			buf_adds(&b, ip.n ? ip : json_str(json_getc(in, "hostname")));
		}
	}
	table__print_strings(&b, json_getp(svc, "spec.externalIPs"));
	table__add_buf(r, &b, json_eqc(type, "LoadBalancer") ? "<pending>" : "<none>");
}

static void row_service(struct table__row *r, const struct json *svc)
{
	struct buf ports = BUF_INIT, labels = BUF_INIT;
	struct str ip = json_str(json_at(json_getp(svc, "spec.clusterIPs"), 0));

	table__add_name(r, svc);
	table__add_str(r, json_strp(svc, "spec.type"));
	table__add_or(r, ip.n ? ip : json_strp(svc, "spec.clusterIP"), "<none>");
	add_external_ip(r, svc);
	JSON_ITEMS (p, json_getp(svc, "spec.ports")) {
		table__comma(&ports);
		buf_printf(&ports, "%lld", (long long)table__count_of(p, "port"));
		if (table__count_of(p, "nodePort") > 0)
			buf_printf(&ports, ":%lld", (long long)table__count_of(p, "nodePort"));
		buf_printf(&ports, "/%s", json_cstr(json_getc(p, "protocol")));
	}
	table__add_buf(r, &ports, "<none>");
	table__add_age(r, svc);
	table__print_labels(r, &labels, json_getp(svc, "spec.selector"));
	table__add_buf(r, &labels, "<none>");
}

/* Three are shown, the rest counted. */
#define SHOWN 3u

static void add_some(struct table__row *r, struct buf *b, size_t n, const char *none)
{
	if (n > SHOWN)
		buf_printf(b, " + %zu more...", n - SHOWN);
	table__add_buf(r, b, none);
}

static void row_endpoints(struct table__row *r, const struct json *ep)
{
	struct buf b = BUF_INIT;
	size_t n = 0;

	table__add_name(r, ep);
	JSON_ITEMS (ss, json_getc(ep, "subsets")) {
		struct json *ports = json_getc(ss, "ports");

		JSON_ITEMS (addr, json_getc(ss, "addresses")) {
			const char *ip = json_cstr(json_getc(addr, "ip"));

			for (size_t i = 0; i < MAX(json_len(ports), (size_t)1); i++) {
				if (n++ >= SHOWN)
					continue;
				table__comma(&b);
				buf_printf(
					&b, strchr(ip, ':') && json_len(ports) ? "[%s]" : "%s", ip);
				if (json_len(ports))
					buf_printf(&b, ":%lld",
						(long long)table__count_of(json_at(ports, i), "port"));
			}
		}
	}
	add_some(r, &b, n, "<none>");
	table__add_age(r, ep);
}

static void row_endpoint_slice(struct table__row *r, const struct json *es)
{
	struct buf ports = BUF_INIT, addrs = BUF_INIT;
	size_t n = 0;

	table__add_name(r, es);
	table__add_str(r, json_str(json_getc(es, "addressType")));
	JSON_ITEMS (p, json_getc(es, "ports")) {
		struct json *port = json_getc(p, "port");

		if (n++ >= SHOWN)
			continue;
		table__comma(&ports);
		if (json_is(port, JSON_NUMBER))
			buf_adds(&ports, port->s);
		else
			buf_add1(&ports, '*');
	}
	add_some(r, &ports, n, "<unset>");
	n = 0;
	JSON_ITEMS (ep, json_getc(es, "endpoints")) {
		JSON_ITEMS (addr, json_getc(ep, "addresses")) {
			if (n++ >= SHOWN)
				continue;
			table__comma(&addrs);
			buf_adds(&addrs, json_str(addr));
		}
	}
	add_some(r, &addrs, n, "<unset>");
	table__add_age(r, es);
}

/* ---- nodes and the rest ---- */

#define ROLE_PREFIX "node-role.kubernetes.io/"

static int json_str_cmp(const void *a, const void *b)
{
	return str_cmp(json_str(*(struct json *const *)a), json_str(*(struct json *const *)b));
}

static void add_roles(struct table__row *r, const struct json *node)
{
	struct json *roles = json_new_array(r->a);
	struct buf b = BUF_INIT;

	JSON_MEMBERS (m, json_getp(node, "metadata.labels")) {
		if (str_has_prefix(m->key, STR(ROLE_PREFIX)) && m->key.n > sizeof(ROLE_PREFIX) - 1)
			json_push(r->a, roles,
				json_new_str(r->a, str_skip(m->key, sizeof(ROLE_PREFIX) - 1)));
		else if (str_eqc(m->key, "kubernetes.io/role") && json_str(m->value).n > 0)
			json_push(r->a, roles, m->value);
	}
	if (roles->n > 1)
		qsort(roles->items, roles->n, sizeof(*roles->items), json_str_cmp);
	table__print_strings(&b, roles);
	table__add_buf(r, &b, "<none>");
}

static void add_address(struct table__row *r, const struct json *node, const char *type)
{
	JSON_ITEMS (addr, json_getp(node, "status.addresses")) {
		if (json_eqc(json_getc(addr, "type"), type)) {
			table__add_str(r, json_str(json_getc(addr, "address")));
			return;
		}
	}
	table__add_str(r, STR("<none>"));
}

static void row_node(struct table__row *r, const struct json *node)
{
	const char *state = "Unknown";

	JSON_ITEMS (c, json_getp(node, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "Ready"))
			state = json_eqc(json_getc(c, "status"), "True") ? "Ready" : "NotReady";
	table__add_name(r, node);
	table__add(r, json_newf(r->a, "%s%s", state,
		       json_true(json_getp(node, "spec.unschedulable")) ? ",SchedulingDisabled"
									: ""));
	add_roles(r, node);
	table__add_age(r, node);
	table__add_str(r, json_strp(node, "status.nodeInfo.kubeletVersion"));
	add_address(r, node, "InternalIP");
	add_address(r, node, "ExternalIP");
	table__add_or(r, json_strp(node, "status.nodeInfo.osImage"), "<unknown>");
	table__add_or(r, json_strp(node, "status.nodeInfo.kernelVersion"), "<unknown>");
	table__add_or(r, json_strp(node, "status.nodeInfo.containerRuntimeVersion"), "<unknown>");
}

static void row_namespace(struct table__row *r, const struct json *ns)
{
	table__add_name(r, ns);
	table__add_str(r, json_strp(ns, "status.phase"));
	table__add_age(r, ns);
}

static void row_config_map(struct table__row *r, const struct json *cm)
{
	table__add_name(r, cm);
	table__add_int(r,
		(int64_t)(json_len(json_getc(cm, "data")) + json_len(json_getc(cm, "binaryData"))));
	table__add_age(r, cm);
}

static void row_secret(struct table__row *r, const struct json *s)
{
	table__add_name(r, s);
	table__add_str(r, json_str(json_getc(s, "type")));
	table__add_int(r, (int64_t)json_len(json_getc(s, "data")));
	table__add_age(r, s);
}

static void row_service_account(struct table__row *r, const struct json *sa)
{
	table__add_name(r, sa);
	table__add_int(r, (int64_t)json_len(json_getc(sa, "secrets")));
	table__add_age(r, sa);
}

static void row_lease(struct table__row *r, const struct json *l)
{
	table__add_name(r, l);
	table__add_str(r, json_strp(l, "spec.holderIdentity"));
	table__add_age(r, l);
}

static struct str first_of(struct str a, struct str b)
{
	return a.n ? a : b;
}

static void add_object_ref(struct table__row *r, const struct json *ref)
{
	char *kind = arena_cstr(r->a, json_str(json_getc(ref, "kind")));
	struct str name = json_str(json_getc(ref, "name"));

	for (char *c = kind; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	table__add(r, json_newf(r->a, "%s%s%.*s", kind, name.n ? "/" : "", STR_FMT(name)));
}

static void add_source(struct table__row *r, const struct json *ev)
{
	struct str who = json_strp(ev, "source.component"), where = json_strp(ev, "source.host");

	if (who.n == 0) {
		who = first_of(
			json_strp(ev, "reportingComponent"), json_strp(ev, "reportingController"));
		where = json_strp(ev, "reportingInstance");
	}
	table__add(r, json_newf(r->a, "%.*s%s%.*s", STR_FMT(who), where.n ? ", " : "", STR_FMT(where)));
}

/* Both Event kinds: events.k8s.io has other names for the same fields. */
static void row_event(struct table__row *r, const struct json *ev)
{
	struct str message = str_trim(first_of(json_strp(ev, "message"), json_strp(ev, "note")));
	struct str first = first_of(
		json_strp(ev, "firstTimestamp"), json_strp(ev, "deprecatedFirstTimestamp"));
	struct str last =
		first_of(json_strp(ev, "lastTimestamp"), json_strp(ev, "deprecatedLastTimestamp"));
	struct json *object = json_getc(ev, "involvedObject");
	int64_t count = table__count_of(ev, json_getc(ev, "count") ? "count" : "deprecatedCount");

	object = object ? object : json_getc(ev, "regarding");
	first = first_of(first, json_strp(ev, "eventTime"));
	last = first_of(last, first);
	if (json_is(json_getc(ev, "series"), JSON_OBJECT)) {
		last = first_of(json_strp(ev, "series.lastObservedTime"), last);
		count = table__count_of(ev, "series.count");
	}
	table__add_str(r, table__since(r, last));
	table__add_str(r, json_strp(ev, "type"));
	table__add_str(r, json_strp(ev, "reason"));
	add_object_ref(r, object);
	table__add_str(r, json_strp(object, "fieldPath"));
	add_source(r, ev);
	table__add_str(r, message);
	table__add_str(r, table__since(r, first));
	table__add_int(r, MAX(count, 1));
	table__add_name(r, ev);
}

/* ---- the table of rows ---- */

static const struct {
	const char *api_version, *kind;
	table__fn *fn;
} rows[] = {
	{"v1", "Pod", row_pod},
	{"v1", "Service", row_service},
	{"v1", "Endpoints", row_endpoints},
	{"v1", "Node", row_node},
	{"v1", "Namespace", row_namespace},
	{"v1", "ConfigMap", row_config_map},
	{"v1", "Secret", row_secret},
	{"v1", "ServiceAccount", row_service_account},
	{"v1", "Event", row_event},
	{"v1", "ReplicationController", row_replication_controller},
	{"events.k8s.io/v1", "Event", row_event},
	{"apps/v1", "Deployment", row_deployment},
	{"apps/v1", "ReplicaSet", row_replica_set},
	{"apps/v1", "StatefulSet", row_stateful_set},
	{"apps/v1", "DaemonSet", row_daemon_set},
	{"coordination.k8s.io/v1", "Lease", row_lease},
	{"discovery.k8s.io/v1", "EndpointSlice", row_endpoint_slice},
	{"v1", "PersistentVolume", table__row_pv},
	{"v1", "PersistentVolumeClaim", table__row_pvc},
	{"v1", "ResourceQuota", table__row_quota},
	{"v1", "PodTemplate", table__row_pod_template},
	{"v1", "ComponentStatus", table__row_component_status},
	{"v1", "LimitRange", table__row_created},
	{"apps/v1", "ControllerRevision", table__row_controller_revision},
	{"batch/v1", "Job", table__row_job},
	{"batch/v1", "CronJob", table__row_cron_job},
	{"autoscaling/v2", "HorizontalPodAutoscaler", table__row_hpa},
	{"autoscaling/v1", "HorizontalPodAutoscaler", table__row_hpa},
	{"certificates.k8s.io/v1", "CertificateSigningRequest", table__row_csr},
	{"networking.k8s.io/v1", "Ingress", table__row_ingress},
	{"networking.k8s.io/v1", "IngressClass", table__row_ingress_class},
	{"networking.k8s.io/v1", "NetworkPolicy", table__row_network_policy},
	{"networking.k8s.io/v1", "IPAddress", table__row_ip_address},
	{"networking.k8s.io/v1", "ServiceCIDR", table__row_service_cidr},
	{"policy/v1", "PodDisruptionBudget", table__row_pdb},
	{"rbac.authorization.k8s.io/v1", "Role", table__row_created},
	{"rbac.authorization.k8s.io/v1", "ClusterRole", table__row_created},
	{"rbac.authorization.k8s.io/v1", "RoleBinding", table__row_binding},
	{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", table__row_binding},
	{"scheduling.k8s.io/v1", "PriorityClass", table__row_priority_class},
	{"node.k8s.io/v1", "RuntimeClass", table__row_runtime_class},
	{"storage.k8s.io/v1", "StorageClass", table__row_storage_class},
	{"storage.k8s.io/v1", "CSIDriver", table__row_csi_driver},
	{"storage.k8s.io/v1", "CSINode", table__row_csi_node},
	{"storage.k8s.io/v1", "CSIStorageCapacity", table__row_created},
	{"storage.k8s.io/v1", "VolumeAttachment", table__row_volume_attachment},
	{"storage.k8s.io/v1", "VolumeAttributesClass", table__row_attributes_class},
	{"admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", table__row_webhooks},
	{"admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", table__row_webhooks},
	{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", table__row_admission_policy},
	{"admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy", table__row_admission_policy},
	{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", table__row_admission_binding},
	{"admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding", table__row_admission_binding},
	{"apiextensions.k8s.io/v1", "CustomResourceDefinition", table__row_created},
	{"apiregistration.k8s.io/v1", "APIService", table__row_api_service},
	{"flowcontrol.apiserver.k8s.io/v1", "FlowSchema", table__row_flow_schema},
	{"flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", table__row_priority_level},
	{"resource.k8s.io/v1", "ResourceClaim", table__row_claim},
	{"resource.k8s.io/v1", "ResourceSlice", table__row_slice},
	{"metrics.k8s.io/v1beta1", "NodeMetrics", table__row_metrics},
	{"metrics.k8s.io/v1beta1", "PodMetrics", table__row_metrics},
};

table__fn *table__row_fn(const char *api_version, const char *kind)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].api_version, api_version) == 0 &&
			strcmp(rows[i].kind, kind) == 0)
			return rows[i].fn;
	return NULL;
}
