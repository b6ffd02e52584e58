/* Deployments, ReplicaSets, Services and what stands behind them; see cli/describe.h. */
#include <string.h>

#include "base/util.h"
#include "cli/describe-priv.h"
#include "proto/selector.h"

static long long number(const struct json *j, const char *path)
{
	return (long long)json_i64_or(json_getp(j, path), 0);
}

static bool owned_by(const struct json *obj, const struct json *owner)
{
	JSON_ITEMS (ref, json_getp(obj, "metadata.ownerReferences"))
		if (json_true(json_getc(ref, "controller")) && json_equal(json_getc(ref, "uid"), json_getp(owner, "metadata.uid")))
			return true;
	return false;
}

static void conditions(struct describe *d, const struct json *list)
{
	if (json_len(list) == 0)
		return;
	describe__put(d, 0, "Conditions:\n  Type\tStatus\tReason\n");
	describe__put(d, 1, "----\t------\t------\n");
	JSON_ITEMS (c, list)
		describe__put(d, 1, "%s \t%s\t%s\n", json_cstr(json_getc(c, "type")), json_cstr(json_getc(c, "status")),
				json_cstr(json_getc(c, "reason")));
}

/* ---- Deployment ---- */

#define REVISION "deployment.kubernetes.io/revision"

static bool same_revision(const struct json *a, const struct json *b)
{
	return json_equal(json_getc(json_getp(a, "metadata.annotations"), REVISION), json_getc(json_getp(b, "metadata.annotations"), REVISION));
}

static const char *replica_sets(struct describe *d, const struct json *dep, bool current)
{
	struct buf b = BUF_INIT;
	const char *text;

	JSON_ITEMS (rs, d->more->replica_sets)
		if (owned_by(rs, dep) && same_revision(rs, dep) == current)
			buf_printf(&b, "%s%s (%lld/%lld replicas created)", b.n ? ", " : "", json_cstr(json_getp(rs, "metadata.name")),
					number(rs, "status.replicas"), number(rs, "spec.replicas"));
	text = b.n ? arena_cstr(d->arena, buf_str(&b)) : "<none>";
	buf_fini(&b);
	return text;
}

void describe__deployment(struct describe *d, const struct json *dep)
{
	const struct json *update = json_getp(dep, "spec.strategy.rollingUpdate");
	const char *old, *current;

	describe__name(d, dep, true);
	describe__put(d, 0, "CreationTimestamp:\t%s\n", describe__time(d, json_getp(dep, "metadata.creationTimestamp")));
	describe__labels(d, "Labels", json_getp(dep, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(dep, "metadata.annotations"));
	describe__put(d, 0, "Selector:\t%s\n", describe__label_selector(d, json_getp(dep, "spec.selector")));
	describe__put(d, 0, "Replicas:\t%lld desired | %lld updated | %lld total | %lld available | %lld unavailable\n",
			number(dep, "spec.replicas"), number(dep, "status.updatedReplicas"), number(dep, "status.replicas"),
			number(dep, "status.availableReplicas"), number(dep, "status.unavailableReplicas"));
	describe__put(d, 0, "StrategyType:\t%s\n", json_cstr(json_getp(dep, "spec.strategy.type")));
	describe__put(d, 0, "MinReadySeconds:\t%lld\n", number(dep, "spec.minReadySeconds"));
	if (json_is(update, JSON_OBJECT))
		describe__put(d, 0, "RollingUpdateStrategy:\t%s max unavailable, %s max surge\n",
				describe__scalar(d, json_getc(update, "maxUnavailable")), describe__scalar(d, json_getc(update, "maxSurge")));
	describe__template(d, json_getp(dep, "spec.template"));
	conditions(d, json_getp(dep, "status.conditions"));
	old = replica_sets(d, dep, false);
	current = replica_sets(d, dep, true);
	if (strcmp(old, "<none>") != 0 || strcmp(current, "<none>") != 0) {
		describe__put(d, 0, "OldReplicaSets:\t%s\n", old);
		describe__put(d, 0, "NewReplicaSet:\t%s\n", current);
	}
}

/* ---- ReplicaSet ---- */

static void pods_status(struct describe *d, const struct json *rs)
{
	static const char *const phases[] = {"Running", "Pending", "Succeeded", "Failed"};
	int n[ARRAY_LEN(phases)] = {0};

	JSON_ITEMS (pod, d->more->pods)
		for (size_t i = 0; i < ARRAY_LEN(phases); i++)
			n[i] += owned_by(pod, rs) && json_eqc(json_getp(pod, "status.phase"), phases[i]);
	describe__put(d, 0, "Pods Status:\t%d Running / %d Waiting / %d Succeeded / %d Failed\n", n[0], n[1], n[2], n[3]);
}

void describe__replica_set(struct describe *d, const struct json *rs)
{
	describe__name(d, rs, true);
	describe__put(d, 0, "Selector:\t%s\n", describe__label_selector(d, json_getp(rs, "spec.selector")));
	describe__labels(d, "Labels", json_getp(rs, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(rs, "metadata.annotations"));
	if (*describe__controller(d, rs))
		describe__put(d, 0, "Controlled By:\t%s\n", describe__controller(d, rs));
	describe__put(d, 0, "Replicas:\t%lld current / %lld desired\n", number(rs, "status.replicas"), number(rs, "spec.replicas"));
	pods_status(d, rs);
	describe__template(d, json_getp(rs, "spec.template"));
	conditions(d, json_getp(rs, "status.conditions"));
}

/* ---- Service ---- */

#define MAX_SHOWN 3

static bool is_ready(const struct json *endpoint)
{
	const struct json *ready = json_getp(endpoint, "conditions.ready");

	return json_is_null(ready) || json_true(ready);
}

static const struct json *port_named(const struct json *slice, struct str name)
{
	JSON_ITEMS (p, json_getc(slice, "ports"))
		if (str_eq(json_str(json_getc(p, "name")), name))
			return p;
	return NULL;
}

static const char *service_endpoints(struct describe *d, const struct json *svc, const struct json *port)
{
	struct buf b = BUF_INIT;
	const char *text;
	size_t n = 0;

	JSON_ITEMS (slice, d->more->slices) {
		const struct json *labels = json_getp(slice, "metadata.labels"), *p = port_named(slice, json_str(json_getc(port, "name")));

		if (!p || !json_equal(json_getc(labels, "kubernetes.io/service-name"), json_getp(svc, "metadata.name")))
			continue;
		JSON_ITEMS (ep, json_getc(slice, "endpoints"))
			JSON_ITEMS (addr, json_getc(ep, "addresses"))
				if (is_ready(ep) && n++ < MAX_SHOWN)
					buf_printf(&b, "%s%s:%s", b.n ? "," : "", json_cstr(addr), describe__scalar(d, json_getc(p, "port")));
	}
	if (n > MAX_SHOWN)
		buf_printf(&b, " + %zu more...", n - MAX_SHOWN);
	text = arena_cstr(d->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

static const char *plain_selector(struct describe *d, const struct json *labels)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, labels, &n);
	const char *text = n ? "" : "<none>";

	for (size_t i = 0; i < n; i++)
		text = arena_printf(d->arena, "%s%s%.*s=%s", text, i ? "," : "", STR_FMT(m[i].key), describe__scalar(d, m[i].value));
	return text;
}

static void service_ports(struct describe *d, const struct json *svc)
{
	JSON_ITEMS (p, json_getp(svc, "spec.ports")) {
		const char *name = describe__or(json_cstr(json_getc(p, "name")), "<unset>");
		const char *protocol = describe__or(json_cstr(json_getc(p, "protocol")), "TCP");

		describe__put(d, 0, "Port:\t%s\t%s/%s\n", name, describe__scalar(d, json_getc(p, "port")), protocol);
		describe__put(d, 0, "TargetPort:\t%s/%s\n", describe__scalar(d, json_getc(p, "targetPort")), protocol);
		if (json_i64_or(json_getc(p, "nodePort"), 0))
			describe__put(d, 0, "NodePort:\t%s\t%s/%s\n", name, describe__scalar(d, json_getc(p, "nodePort")), protocol);
		describe__put(d, 0, "Endpoints:\t%s\n", service_endpoints(d, svc, p));
	}
}

void describe__service(struct describe *d, const struct json *svc)
{
	const struct json *spec = json_getc(svc, "spec");
	static const struct {
		const char *title, *member;
	} tail[] = {{"External Traffic Policy", "externalTrafficPolicy"}, {"Internal Traffic Policy", "internalTrafficPolicy"}};

	describe__name(d, svc, true);
	describe__labels(d, "Labels", json_getp(svc, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(svc, "metadata.annotations"));
	describe__put(d, 0, "Selector:\t%s\n", plain_selector(d, json_getc(spec, "selector")));
	describe__put(d, 0, "Type:\t%s\n", json_cstr(json_getc(spec, "type")));
	if (json_str(json_getc(spec, "ipFamilyPolicy")).n)
		describe__put(d, 0, "IP Family Policy:\t%s\n", json_cstr(json_getc(spec, "ipFamilyPolicy")));
	describe__put(d, 0, "IP Families:\t%s\n", describe__or(describe__join(d, json_getc(spec, "ipFamilies"), ","), "<none>"));
	describe__put(d, 0, "IP:\t%s\n", json_cstr(json_getc(spec, "clusterIP")));
	describe__put(d, 0, "IPs:\t%s\n", describe__or(describe__join(d, json_getc(spec, "clusterIPs"), ","), "<none>"));
	if (json_len(json_getc(spec, "externalIPs")))
		describe__put(d, 0, "External IPs:\t%s\n", describe__join(d, json_getc(spec, "externalIPs"), ","));
	if (json_str(json_getc(spec, "externalName")).n)
		describe__put(d, 0, "External Name:\t%s\n", json_cstr(json_getc(spec, "externalName")));
	JSON_ITEMS (in, json_getp(svc, "status.loadBalancer.ingress"))
		describe__put(d, 0, "LoadBalancer Ingress:\t%s\n",
				describe__or(json_cstr(json_getc(in, "ip")), json_cstr(json_getc(in, "hostname"))));
	service_ports(d, svc);
	describe__put(d, 0, "Session Affinity:\t%s\n", json_cstr(json_getc(spec, "sessionAffinity")));
	for (size_t i = 0; i < ARRAY_LEN(tail); i++)
		if (json_str(json_getc(spec, tail[i].member)).n)
			describe__put(d, 0, "%s:\t%s\n", tail[i].title, json_cstr(json_getc(spec, tail[i].member)));
	if (json_i64_or(json_getc(spec, "healthCheckNodePort"), 0))
		describe__put(d, 0, "HealthCheck NodePort:\t%s\n", describe__scalar(d, json_getc(spec, "healthCheckNodePort")));
}

/* ---- Endpoints, EndpointSlice ---- */

static const char *addresses(struct describe *d, const struct json *list)
{
	const char *text = "";

	JSON_ITEMS (a, list)
		text = arena_printf(d->arena, "%s%s%s", text, *text ? "," : "", json_cstr(json_getc(a, "ip")));
	return describe__or(text, "<none>");
}

void describe__endpoints(struct describe *d, const struct json *ep)
{
	describe__name(d, ep, true);
	describe__labels(d, "Labels", json_getp(ep, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(ep, "metadata.annotations"));
	describe__put(d, 0, "Subsets:\n");
	JSON_ITEMS (s, json_getc(ep, "subsets")) {
		describe__put(d, 1, "Addresses:\t%s\n", addresses(d, json_getc(s, "addresses")));
		describe__put(d, 1, "NotReadyAddresses:\t%s\n", addresses(d, json_getc(s, "notReadyAddresses")));
		if (json_len(json_getc(s, "ports"))) {
			describe__put(d, 1, "Ports:\n");
			describe__put(d, 2, "Name\tPort\tProtocol\n");
			describe__put(d, 2, "----\t----\t--------\n");
		}
		JSON_ITEMS (p, json_getc(s, "ports"))
			describe__put(d, 2, "%s\t%s\t%s\n", describe__or(json_cstr(json_getc(p, "name")), "<unset>"),
					describe__scalar(d, json_getc(p, "port")), json_cstr(json_getc(p, "protocol")));
		describe__put(d, 0, "\n");
	}
}

void describe__endpoint_slice(struct describe *d, const struct json *slice)
{
	describe__name(d, slice, true);
	describe__labels(d, "Labels", json_getp(slice, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(slice, "metadata.annotations"));
	describe__put(d, 0, "AddressType:\t%s\n", json_cstr(json_getc(slice, "addressType")));
	if (json_len(json_getc(slice, "ports"))) {
		describe__put(d, 0, "Ports:\n");
		describe__put(d, 1, "Name\tPort\tProtocol\n");
		describe__put(d, 1, "----\t----\t--------\n");
	} else {
		describe__put(d, 0, "Ports: <unset>\n");
	}
	JSON_ITEMS (p, json_getc(slice, "ports"))
		describe__put(d, 1, "%s\t%s\t%s\n", describe__or(json_cstr(json_getc(p, "name")), "<unset>"),
				json_is_null(json_getc(p, "port")) ? "<unset>" : describe__scalar(d, json_getc(p, "port")),
				describe__or(json_cstr(json_getc(p, "protocol")), "<unset>"));
	describe__put(d, 0, "Endpoints:%s\n", json_len(json_getc(slice, "endpoints")) ? "" : " <none>");
	JSON_ITEMS (e, json_getc(slice, "endpoints")) {
		const struct json *ready = json_getp(e, "conditions.ready"), *target = json_getc(e, "targetRef");

		describe__put(d, 1, "- Addresses:\t%s\n", describe__join(d, json_getc(e, "addresses"), ", "));
		describe__put(d, 2, "Conditions:\n");
		describe__put(d, 3, "Ready:\t%s\n", json_is_null(ready) ? "<unset>" : describe__scalar(d, ready));
		describe__put(d, 2, "Hostname:\t%s\n", describe__or(json_cstr(json_getc(e, "hostname")), "<unset>"));
		if (target)
			describe__put(d, 2, "TargetRef:\t%s/%s\n", json_cstr(json_getc(target, "kind")), json_cstr(json_getc(target, "name")));
		describe__put(d, 2, "NodeName:\t%s\n", describe__or(json_cstr(json_getc(e, "nodeName")), "<unset>"));
		describe__put(d, 2, "Zone:\t%s\n", describe__or(json_cstr(json_getc(e, "zone")), "<unset>"));
	}
}
