/* Nodes, namespaces, ConfigMaps, Secrets and service accounts; see cli/describe.h. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/describe-priv.h"
#include "proto/codec.h"
#include "proto/pod_resources.h"
#include "proto/quantity.h"

/* ---- Node: head ---- */

#define ROLE_LABEL "node-role.kubernetes.io/"

static const char *roles(struct describe *d, const struct json *labels)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, labels, &n);
	const char *text = "";

	for (size_t i = 0; i < n; i++)
		if (str_has_prefix(m[i].key, STR(ROLE_LABEL)) && m[i].key.n > sizeof(ROLE_LABEL) - 1)
			text = arena_printf(d->arena, "%s%s%s", text, *text ? "," : "", m[i].key.p + sizeof(ROLE_LABEL) - 1);
		else if (str_eq(m[i].key, STR("kubernetes.io/role")) && json_str(m[i].value).n)
			text = arena_printf(d->arena, "%s%s%s", text, *text ? "," : "", json_cstr(m[i].value));
	return describe__or(text, "<none>");
}

static void taints(struct describe *d, const struct json *list)
{
	size_t i = 0;

	describe__put(d, 0, "Taints:\t%s", json_len(list) ? "" : "<none>\n");
	JSON_ITEMS (t, list) {
		const char *value = json_cstr(json_getc(t, "value"));

		describe__put(d, 0, "%s%s%s%s:%s\n", i++ ? "\t" : "", json_cstr(json_getc(t, "key")), *value ? "=" : "", value,
				json_cstr(json_getc(t, "effect")));
	}
}

static void lease(struct describe *d)
{
	const struct json *spec = json_getc(d->more->lease, "spec");

	describe__put(d, 0, "Lease:\n");
	describe__put(d, 1, "HolderIdentity:\t%s\n", describe__or(json_cstr(json_getc(spec, "holderIdentity")), "<unset>"));
	describe__put(d, 1, "AcquireTime:\t%s\n", describe__time(d, json_getc(spec, "acquireTime")));
	describe__put(d, 1, "RenewTime:\t%s\n", describe__time(d, json_getc(spec, "renewTime")));
}

static void node_conditions(struct describe *d, const struct json *list)
{
	if (json_len(list) == 0)
		return;
	describe__put(d, 0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n");
	describe__put(d, 1, "----\t------\t-----------------\t------------------\t------\t-------\n");
	JSON_ITEMS (c, list)
		describe__put(d, 1, "%s \t%s \t%s \t%s \t%s \t%s\n", json_cstr(json_getc(c, "type")), json_cstr(json_getc(c, "status")),
				describe__time(d, json_getc(c, "lastHeartbeatTime")), describe__time(d, json_getc(c, "lastTransitionTime")),
				json_cstr(json_getc(c, "reason")), json_cstr(json_getc(c, "message")));
}

static void capacity(struct describe *d, const char *title, const struct json *list)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, list, &n);

	if (n)
		describe__put(d, 0, "%s:\n", title);
	for (size_t i = 0; i < n; i++)
		describe__put(d, 1, "%.*s:\t%s\n", STR_FMT(m[i].key), describe__scalar(d, m[i].value));
}

static void system_info(struct describe *d, const struct json *info)
{
	static const struct {
		const char *title, *member;
	} rows[] = {
		{"Machine ID", "machineID"}, {"System UUID", "systemUUID"}, {"Boot ID", "bootID"}, {"Kernel Version", "kernelVersion"},
		{"OS Image", "osImage"}, {"Operating System", "operatingSystem"}, {"Architecture", "architecture"},
		{"Container Runtime Version", "containerRuntimeVersion"}, {"Kubelet Version", "kubeletVersion"},
		{"Kube-Proxy Version", "kubeProxyVersion"},
	};

	describe__put(d, 0, "System Info:\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		describe__put(d, 1, "%s:\t%s\n", rows[i].title, json_cstr(json_getc(info, rows[i].member)));
}

/* ---- Node: what its pods ask for ---- */

static struct quantity amount(const struct json *list, const char *name)
{
	return quantity_of(json_cstr(json_getc(list, name)));
}

/* What a pod takes: by itself, or its containers together (proto/pod_resources.h); and the overhead. */
static struct quantity pod_amount(const struct json *pod, const char *which, const char *name)
{
	const struct json *spec = json_getc(pod, "spec");
	struct quantity sum = QUANTITY_ZERO;

	if (!resources_amount(spec, which, str_from(name), &sum))
		containers_amount(spec, which, str_from(name), &sum);
	if (strcmp(which, "requests") == 0 || quantity_sign(sum))
		sum = quantity_add(sum, amount(json_getp(pod, "spec.overhead"), name));
	return sum;
}

static const char *share(struct describe *d, struct quantity q, struct quantity of)
{
	char text[QUANTITY_SIZE];
	int64_t percent = quantity_sign(of) ? (int64_t)((double)quantity_milli(q) / (double)quantity_milli(of) * 100) : 0;

	quantity_print(q, text);
	return arena_printf(d->arena, "%s (%lld%%)", text, (long long)percent);
}

static bool is_counted(const struct json *pod, const struct json *node)
{
	return json_equal(json_getp(pod, "spec.nodeName"), json_getp(node, "metadata.name")) &&
	       !json_eqc(json_getp(pod, "status.phase"), "Succeeded") && !json_eqc(json_getp(pod, "status.phase"), "Failed");
}

static void total(struct describe *d, const struct json *node, const struct json *allocatable, const char *name)
{
	struct quantity requests = QUANTITY_ZERO, limits = QUANTITY_ZERO, of = amount(allocatable, name);

	JSON_ITEMS (pod, d->more->pods)
		if (is_counted(pod, node)) {
			requests = quantity_add(requests, pod_amount(pod, "requests", name));
			limits = quantity_add(limits, pod_amount(pod, "limits", name));
		}
	describe__put(d, 1, "%s\t%s\t%s\n", name, share(d, requests, of), share(d, limits, of));
}

static void node_pods(struct describe *d, const struct json *node)
{
	const struct json *allocatable = json_getp(node, "status.allocatable");
	struct quantity cpu, memory;
	size_t n = 0;

	if (json_len(allocatable) == 0)
		allocatable = json_getp(node, "status.capacity");
	cpu = amount(allocatable, "cpu");
	memory = amount(allocatable, "memory");
	JSON_ITEMS (pod, d->more->pods)
		n += is_counted(pod, node);
	describe__put(d, 0, "Non-terminated Pods:\t(%zu in total)\n", n);
	describe__put(d, 1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge\n");
	describe__put(d, 1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---\n");
	JSON_ITEMS (pod, d->more->pods)
		if (is_counted(pod, node))
			describe__put(d, 1, "%s\t%s\t\t%s\t%s\t%s\t%s\t%s\n", json_cstr(json_getp(pod, "metadata.namespace")),
					json_cstr(json_getp(pod, "metadata.name")), share(d, pod_amount(pod, "requests", "cpu"), cpu),
					share(d, pod_amount(pod, "limits", "cpu"), cpu), share(d, pod_amount(pod, "requests", "memory"), memory),
					share(d, pod_amount(pod, "limits", "memory"), memory),
					describe__age(d, json_getp(pod, "metadata.creationTimestamp")));
	describe__put(d, 0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n");
	describe__put(d, 1, "Resource\tRequests\tLimits\n");
	describe__put(d, 1, "--------\t--------\t------\n");
	total(d, node, allocatable, "cpu");
	total(d, node, allocatable, "memory");
	total(d, node, allocatable, "ephemeral-storage");
	JSON_MEMBERS (m, allocatable)
		if (str_has_prefix(m->key, STR("hugepages-")))
			total(d, node, allocatable, arena_cstr(d->arena, m->key));
}

void describe__node(struct describe *d, const struct json *node)
{
	const struct json *spec = json_getc(node, "spec"), *st = json_getc(node, "status");

	describe__name(d, node, false);
	describe__put(d, 0, "Roles:\t%s\n", roles(d, json_getp(node, "metadata.labels")));
	describe__labels(d, "Labels", json_getp(node, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(node, "metadata.annotations"));
	describe__put(d, 0, "CreationTimestamp:\t%s\n", describe__time(d, json_getp(node, "metadata.creationTimestamp")));
	taints(d, json_getc(spec, "taints"));
	describe__put(d, 0, "Unschedulable:\t%s\n", json_true(json_getc(spec, "unschedulable")) ? "true" : "false");
	lease(d);
	node_conditions(d, json_getc(st, "conditions"));
	describe__put(d, 0, "Addresses:\n");
	JSON_ITEMS (a, json_getc(st, "addresses"))
		describe__put(d, 1, "%s:\t%s\n", json_cstr(json_getc(a, "type")), json_cstr(json_getc(a, "address")));
	capacity(d, "Capacity", json_getc(st, "capacity"));
	capacity(d, "Allocatable", json_getc(st, "allocatable"));
	system_info(d, json_getc(st, "nodeInfo"));
	if (json_str(json_getc(spec, "podCIDR")).n)
		describe__put(d, 0, "PodCIDR:\t%s\n", json_cstr(json_getc(spec, "podCIDR")));
	if (json_len(json_getc(spec, "podCIDRs")))
		describe__put(d, 0, "PodCIDRs:\t%s\n", describe__join(d, json_getc(spec, "podCIDRs"), ","));
	if (json_str(json_getc(spec, "providerID")).n)
		describe__put(d, 0, "ProviderID:\t%s\n", json_cstr(json_getc(spec, "providerID")));
	node_pods(d, node);
}

/* ---- Namespace ---- */

static void namespace_conditions(struct describe *d, const struct json *list)
{
	if (json_len(list) == 0)
		return;
	describe__put(d, 0, "Conditions:\n");
	describe__put(d, 1, "Type\tStatus\tLastTransitionTime\tReason\tMessage\n");
	describe__put(d, 1, "----\t------\t------------------\t------\t-------\n");
	JSON_ITEMS (c, list)
		describe__put(d, 1, "%s\t%s\t%s\t%s\t%s\n", json_cstr(json_getc(c, "type")), json_cstr(json_getc(c, "status")),
				describe__time(d, json_getc(c, "lastTransitionTime")), json_cstr(json_getc(c, "reason")),
				json_cstr(json_getc(c, "message")));
}

static void quota(struct describe *d, const struct json *q)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, json_getp(q, "status.hard"), &n);

	describe__put(d, 1, "Name:\t%s\n", json_cstr(json_getp(q, "metadata.name")));
	describe__put(d, 1, "Resource\tUsed\tHard\n");
	describe__put(d, 1, "--------\t---\t---\n");
	for (size_t i = 0; i < n; i++)
		describe__put(d, 1, "%.*s\t%s\t%s\n", STR_FMT(m[i].key),
				describe__scalar(d, json_get(json_getp(q, "status.used"), m[i].key)), describe__scalar(d, m[i].value));
}

void describe__namespace(struct describe *d, const struct json *ns)
{
	describe__name(d, ns, false);
	describe__labels(d, "Labels", json_getp(ns, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(ns, "metadata.annotations"));
	describe__put(d, 0, "Status:\t%s\n", json_cstr(json_getp(ns, "status.phase")));
	namespace_conditions(d, json_getp(ns, "status.conditions"));
	if (d->more->quotas)
		describe__put(d, 0, "\n%s\n", json_len(d->more->quotas) ? "Resource Quotas" : "No resource quota.");
	JSON_ITEMS (q, d->more->quotas)
		quota(d, q);
	if (d->more->limits && json_len(d->more->limits) == 0)
		describe__put(d, 0, "\nNo LimitRange resource.\n");
}

/* ---- ConfigMap, Secret ---- */

static size_t decoded_size(const struct json *base64)
{
	struct buf b = BUF_INIT;
	size_t n;

	codec_base64_parse(json_str(base64), &b);
	n = b.n;
	buf_fini(&b);
	return n;
}

void describe__config_map(struct describe *d, const struct json *map)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, json_getc(map, "data"), &n);

	describe__name(d, map, true);
	describe__labels(d, "Labels", json_getp(map, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(map, "metadata.annotations"));
	describe__put(d, 0, "\nData\n====\n");
	for (size_t i = 0; i < n; i++)
		describe__put(d, 0, "%.*s:\n----\n%s\n\n", STR_FMT(m[i].key), json_cstr(m[i].value));
	describe__put(d, 0, "\nBinaryData\n====\n");
	m = describe__sorted(d, json_getc(map, "binaryData"), &n);
	for (size_t i = 0; i < n; i++)
		describe__put(d, 0, "%.*s: %zu bytes\n", STR_FMT(m[i].key), decoded_size(m[i].value));
	describe__put(d, 0, "\n");
}

void describe__secret(struct describe *d, const struct json *secret)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, json_getc(secret, "data"), &n);
	bool is_token = json_eqc(json_getc(secret, "type"), "kubernetes.io/service-account-token");

	describe__name(d, secret, true);
	describe__labels(d, "Labels", json_getp(secret, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(secret, "metadata.annotations"));
	describe__put(d, 0, "\nType:\t%s\n", json_cstr(json_getc(secret, "type")));
	describe__put(d, 0, "\nData\n====\n");
	for (size_t i = 0; i < n; i++) {
		if (is_token && str_eq(m[i].key, STR("token"))) {
			struct buf b = BUF_INIT;

			codec_base64_parse(json_str(m[i].value), &b);
			describe__put(d, 0, "token:\t%.*s\n", STR_FMT(buf_str(&b)));
			buf_fini(&b);
		} else {
			describe__put(d, 0, "%.*s:\t%zu bytes\n", STR_FMT(m[i].key), decoded_size(m[i].value));
		}
	}
}

/* ---- ServiceAccount ---- */

static void names(struct describe *d, const char *title, const struct json *list)
{
	size_t i = 0;

	describe__put(d, 0, "%s:\t%s", title, json_len(list) ? "" : "<none>\n");
	JSON_ITEMS (it, list)
		describe__put(d, 0, "%s%s\n", i++ ? "\t" : "", json_cstr(json_getc(it, "name")));
}

void describe__service_account(struct describe *d, const struct json *sa)
{
	describe__name(d, sa, true);
	describe__labels(d, "Labels", json_getp(sa, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(sa, "metadata.annotations"));
	names(d, "Image pull secrets", json_getc(sa, "imagePullSecrets"));
	names(d, "Mountable secrets", json_getc(sa, "secrets"));
	names(d, "Tokens", NULL);
}
