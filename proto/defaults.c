#include "proto/defaults.h"

#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/quantity.h"
#include "proto/schema.h"
#include "proto/structural.h"
#include "proto/pod_resources.h"

/*
 * A constant for a field that is left out. A field that cannot tell empty from absent (no pointer
 * upstream) gets it when it holds an empty value, too.
 */
static const struct row {
	const char *type, *field, *value;
} rows[] = {
	{"core.v1.PodSpec", "restartPolicy", "\"Always\""},
	{"core.v1.PodSpec", "dnsPolicy", "\"ClusterFirst\""},
	{"core.v1.PodSpec", "schedulerName", "\"default-scheduler\""},
	{"core.v1.PodSpec", "terminationGracePeriodSeconds", "30"},
	{"core.v1.PodSpec", "securityContext", "{}"},
	{"core.v1.Container", "terminationMessagePath", "\"/dev/termination-log\""},
	{"core.v1.Container", "terminationMessagePolicy", "\"File\""},
	{"core.v1.EphemeralContainerCommon", "terminationMessagePath", "\"/dev/termination-log\""},
	{"core.v1.EphemeralContainerCommon", "terminationMessagePolicy", "\"File\""},
	{"core.v1.Probe", "timeoutSeconds", "1"},
	{"core.v1.Probe", "periodSeconds", "10"},
	{"core.v1.Probe", "successThreshold", "1"},
	{"core.v1.Probe", "failureThreshold", "3"},
	{"core.v1.HTTPGetAction", "path", "\"/\""},
	{"core.v1.HTTPGetAction", "scheme", "\"HTTP\""},
	{"core.v1.GRPCAction", "service", "\"\""},
	{"core.v1.ObjectFieldSelector", "apiVersion", "\"v1\""},
	{"core.v1.ResourceFieldSelector", "divisor", "\"0\""},
	{"core.v1.SecretVolumeSource", "defaultMode", "420"},
	{"core.v1.ConfigMapVolumeSource", "defaultMode", "420"},
	{"core.v1.DownwardAPIVolumeSource", "defaultMode", "420"},
	{"core.v1.ProjectedVolumeSource", "defaultMode", "420"},
	{"core.v1.ServiceAccountTokenProjection", "expirationSeconds", "3600"},
	{"core.v1.HostPathVolumeSource", "type", "\"\""},
	{"core.v1.PersistentVolumeClaimSpec", "volumeMode", "\"Filesystem\""},
	{"core.v1.PersistentVolumeClaimStatus", "phase", "\"Pending\""},
	{"core.v1.PersistentVolumeSpec", "volumeMode", "\"Filesystem\""},
	{"core.v1.PersistentVolumeSpec", "persistentVolumeReclaimPolicy", "\"Retain\""},
	{"core.v1.PersistentVolumeStatus", "phase", "\"Pending\""},
	{"core.v1.ServiceSpec", "sessionAffinity", "\"None\""},
	{"core.v1.ServiceSpec", "type", "\"ClusterIP\""},
	{"core.v1.EndpointPort", "protocol", "\"TCP\""},
	{"core.v1.Secret", "type", "\"Opaque\""},
	{"core.v1.NamespaceStatus", "phase", "\"Active\""},
	{"core.v1.Namespace", "status", "{}"},
	{"core.v1.PersistentVolume", "status", "{}"},
	{"core.v1.PersistentVolumeClaim", "status", "{}"},
	{"core.v1.ReplicationControllerSpec", "replicas", "1"},
	{"networking.v1.IngressClassParametersReference", "scope", "\"Cluster\""},
	{"scheduling.v1.PriorityClass", "preemptionPolicy", "\"PreemptLowerPriority\""},
	{"apps.v1.DeploymentSpec", "replicas", "1"},
	{"apps.v1.DeploymentSpec", "revisionHistoryLimit", "10"},
	{"apps.v1.DeploymentSpec", "progressDeadlineSeconds", "600"},
	{"apps.v1.DeploymentSpec", "strategy", "{}"},
	{"apps.v1.DeploymentStrategy", "type", "\"RollingUpdate\""},
	{"apps.v1.RollingUpdateDeployment", "maxUnavailable", "\"25%\""},
	{"apps.v1.RollingUpdateDeployment", "maxSurge", "\"25%\""},
	{"apps.v1.ReplicaSetSpec", "replicas", "1"},
	{"apps.v1.StatefulSetSpec", "replicas", "1"},
	{"apps.v1.StatefulSetSpec", "revisionHistoryLimit", "10"},
	{"apps.v1.StatefulSetSpec", "podManagementPolicy", "\"OrderedReady\""},
	{"apps.v1.StatefulSetSpec", "updateStrategy", "{}"},
	{"apps.v1.StatefulSetSpec", "persistentVolumeClaimRetentionPolicy", "{}"},
	{"apps.v1.StatefulSetUpdateStrategy", "type", "\"RollingUpdate\""},
	{"apps.v1.RollingUpdateStatefulSetStrategy", "partition", "0"},
	{"apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy", "whenDeleted", "\"Retain\""},
	{"apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy", "whenScaled", "\"Retain\""},
	{"apps.v1.DaemonSetSpec", "revisionHistoryLimit", "10"},
	{"apps.v1.DaemonSetSpec", "updateStrategy", "{}"},
	{"apps.v1.DaemonSetUpdateStrategy", "type", "\"RollingUpdate\""},
	{"apps.v1.RollingUpdateDaemonSet", "maxUnavailable", "1"},
	{"apps.v1.RollingUpdateDaemonSet", "maxSurge", "0"},
	{"batch.v1.CronJobSpec", "concurrencyPolicy", "\"Allow\""},
	{"batch.v1.CronJobSpec", "suspend", "false"},
	{"batch.v1.CronJobSpec", "successfulJobsHistoryLimit", "3"},
	{"batch.v1.CronJobSpec", "failedJobsHistoryLimit", "1"},
	{"batch.v1.PodFailurePolicyOnPodConditionsPattern", "status", "\"True\""},
	{"autoscaling.v1.HorizontalPodAutoscalerSpec", "minReplicas", "1"},
	{"autoscaling.v2.HorizontalPodAutoscalerSpec", "minReplicas", "1"},
	{"autoscaling.v2.HorizontalPodAutoscalerSpec", "metrics",
		"[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","
		"\"averageUtilization\":80}}}]"},
	{"flowcontrol.v1.FlowSchemaSpec", "matchingPrecedence", "1000"},
	{"flowcontrol.v1.LimitedPriorityLevelConfiguration", "nominalConcurrencyShares", "30"},
	{"flowcontrol.v1.LimitedPriorityLevelConfiguration", "lendablePercent", "0"},
	{"flowcontrol.v1.ExemptPriorityLevelConfiguration", "nominalConcurrencyShares", "0"},
	{"flowcontrol.v1.ExemptPriorityLevelConfiguration", "lendablePercent", "0"},
	{"flowcontrol.v1.QueuingConfiguration", "handSize", "8"},
	{"flowcontrol.v1.QueuingConfiguration", "queues", "64"},
	{"flowcontrol.v1.QueuingConfiguration", "queueLengthLimit", "50"},
	{"admissionregistration.v1.ValidatingWebhook", "failurePolicy", "\"Fail\""},
	{"admissionregistration.v1.ValidatingWebhook", "matchPolicy", "\"Equivalent\""},
	{"admissionregistration.v1.ValidatingWebhook", "namespaceSelector", "{}"},
	{"admissionregistration.v1.ValidatingWebhook", "objectSelector", "{}"},
	{"admissionregistration.v1.ValidatingWebhook", "timeoutSeconds", "10"},
	{"admissionregistration.v1.MutatingWebhook", "failurePolicy", "\"Fail\""},
	{"admissionregistration.v1.MutatingWebhook", "matchPolicy", "\"Equivalent\""},
	{"admissionregistration.v1.MutatingWebhook", "namespaceSelector", "{}"},
	{"admissionregistration.v1.MutatingWebhook", "objectSelector", "{}"},
	{"admissionregistration.v1.MutatingWebhook", "timeoutSeconds", "10"},
	{"admissionregistration.v1.MutatingWebhook", "reinvocationPolicy", "\"Never\""},
	{"admissionregistration.v1.Rule", "scope", "\"*\""},
	{"admissionregistration.v1.ServiceReference", "port", "443"},
	{"admissionregistration.v1.ValidatingAdmissionPolicySpec", "failurePolicy", "\"Fail\""},
	{"admissionregistration.v1.MutatingAdmissionPolicySpec", "failurePolicy", "\"Fail\""},
	{"admissionregistration.v1.MutatingAdmissionPolicySpec", "reinvocationPolicy", "\"Never\""},
	{"admissionregistration.v1.MatchResources", "matchPolicy", "\"Equivalent\""},
	{"admissionregistration.v1.MatchResources", "namespaceSelector", "{}"},
	{"admissionregistration.v1.MatchResources", "objectSelector", "{}"},
	{"apiregistration.v1.ServiceReference", "port", "443"},
	{"apiextensions.v1.ServiceReference", "port", "443"},
	{"apiextensions.v1.CustomResourceDefinitionSpec", "conversion", "{}"},
	{"apiextensions.v1.CustomResourceConversion", "strategy", "\"None\""},
	{"discovery.v1.EndpointPort", "name", "\"\""},
	{"discovery.v1.EndpointPort", "protocol", "\"TCP\""},
	{"networking.v1.NetworkPolicyPort", "protocol", "\"TCP\""},
	{"rbac.v1.RoleRef", "apiGroup", "\"rbac.authorization.k8s.io\""},
	{"storage.v1.CSIDriver", "spec", "{}"},
	{"storage.v1.CSIDriverSpec", "attachRequired", "true"},
	{"storage.v1.CSIDriverSpec", "podInfoOnMount", "false"},
	{"storage.v1.CSIDriverSpec", "storageCapacity", "false"},
	{"storage.v1.CSIDriverSpec", "fsGroupPolicy", "\"ReadWriteOnceWithFSType\""},
	{"storage.v1.CSIDriverSpec", "requiresRepublish", "false"},
	{"storage.v1.CSIDriverSpec", "seLinuxMount", "false"},
	{"storage.v1.CSIDriverSpec", "volumeLifecycleModes", "[\"Persistent\"]"},
	{"storage.v1.StorageClass", "reclaimPolicy", "\"Delete\""},
	{"storage.v1.StorageClass", "volumeBindingMode", "\"Immediate\""},
};

static bool is_empty(const struct json *v)
{
	switch (json_type(v)) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return !v->b;
	case JSON_NUMBER:
		return str_eqc(v->s, "0");
	case JSON_STRING:
		return v->s.n == 0;
	default:
		return false;
	}
}

static struct json *constant(struct arena *a, const char *text)
{
	struct json *j;

	ASSERT(json_parse(a, str_from(text), NULL, &j, NULL) == 0);
	return j;
}

static void set_if_missing(
	struct arena *a, const struct schema_field *f, struct json *obj, const char *value)
{
	struct json *have = json_getc(obj, f->json), *v;

	if (schema_is(f, SCHEMA_POINTER) || f->kind == SCHEMA_MESSAGE ? !json_is_null(have)
								      : !is_empty(have))
		return;
	v = constant(a, value);
	/* An empty default of a field that cannot show it says nothing. */
	if (!schema_is(f, SCHEMA_POINTER) && is_empty(v))
		return;
	json_setc(a, obj, f->json, v);
}

static void setc_if_missing(struct arena *a, struct json *obj, const char *key, const char *value)
{
	if (json_is_null(json_getc(obj, key)))
		json_setc(a, obj, key, constant(a, value));
}

/* ---- what depends on other fields ---- */

/* The tag of an image name; "latest" when it has neither tag nor digest. */
static struct str image_tag(struct str image)
{
	ptrdiff_t at = str_find(image, '@'), slash, colon;

	if (at >= 0)
		image = str_sub(image, 0, (size_t)at);
	slash = str_rfind(image, '/');
	colon = str_rfind(image, ':');
	if (colon > slash)
		return str_skip(image, (size_t)colon + 1);
	return at >= 0 ? STR("") : STR("latest");
}

static void container(struct arena *a, struct json *c)
{
	if (json_str(json_getc(c, "imagePullPolicy")).n == 0)
		json_setc(a, c, "imagePullPolicy",
			json_newc(a, str_eqc(image_tag(json_str(json_getc(c, "image"))), "latest")
					     ? "Always"
					     : "IfNotPresent"));
}

/* A volume of nothing is an empty directory. */
static void volume(struct arena *a, struct json *v)
{
	JSON_MEMBERS (m, v)
		if (!str_eqc(m->key, "name") && !json_is_null(m->value))
			return;
	json_setc(a, v, "emptyDir", json_new_object(a));
}

/* A limit is its own request. */
static void requests_from_limits(struct arena *a, struct json *container)
{
	struct json *res = json_getc(container, "resources");

	JSON_MEMBERS (m, json_getc(res, "limits")) {
		struct json *requests = json_object_at(a, res, "requests");

		if (requests && json_get(requests, m->key) == NULL)
			json_set(a, requests, m->key, json_copy(a, m->value));
	}
}

static void host_ports(struct arena *a, struct json *container)
{
	JSON_ITEMS (port, json_getc(container, "ports"))
		if (is_empty(json_getc(port, "hostPort")) &&
			!is_empty(json_getc(port, "containerPort")))
			json_setc(a, port, "hostPort",
				json_copy(a, json_getc(port, "containerPort")));
}

/* A pod itself, not the template of one. */
static void pod(struct arena *a, struct json *obj)
{
	static const char *const lists[] = {"containers", "initContainers"};
	struct json *spec = json_getc(obj, "spec");

	if (!json_is(spec, JSON_OBJECT))
		return;
	setc_if_missing(a, spec, "enableServiceLinks", "true");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		JSON_ITEMS (c, json_getc(spec, lists[i])) {
			requests_from_limits(a, c);
			if (json_true(json_getc(spec, "hostNetwork")))
				host_ports(a, c);
		}
	}
	pod_resources_default(a, spec);
}

static void service_spec(struct arena *a, struct json *spec)
{
	struct json *type = json_getc(spec, "type");
	bool outside = json_eqc(type, "NodePort") || json_eqc(type, "LoadBalancer"), cluster = json_eqc(type, "ClusterIP");

	if (json_eqc(json_getc(spec, "sessionAffinity"), "ClientIP") &&
		json_is_null(json_getp(spec, "sessionAffinityConfig.clientIP.timeoutSeconds")))
		json_setp(a, spec, "sessionAffinityConfig.clientIP.timeoutSeconds",
			json_new_int(a, 10800));
	if (json_eqc(json_getc(spec, "sessionAffinity"), "None"))
		json_delc(spec, "sessionAffinityConfig");
	if ((outside || (cluster && json_len(json_getc(spec, "externalIPs")) > 0)) && is_empty(json_getc(spec, "externalTrafficPolicy")))
		json_setc(a, spec, "externalTrafficPolicy", json_newc(a, "Cluster"));
	if (outside || cluster)
		setc_if_missing(a, spec, "internalTrafficPolicy", "\"Cluster\"");
	if (json_eqc(type, "LoadBalancer"))
		setc_if_missing(a, spec, "allocateLoadBalancerNodePorts", "true");
	JSON_ITEMS (p, json_getc(spec, "ports")) {
		if (is_empty(json_getc(p, "protocol")))
			json_setc(a, p, "protocol", json_newc(a, "TCP"));
		if (is_empty(json_getc(p, "targetPort")) &&
			json_is(json_getc(p, "port"), JSON_NUMBER))
			json_setc(a, p, "targetPort", json_copy(a, json_getc(p, "port")));
	}
}

static void name_space(struct arena *a, struct json *obj)
{
	struct json *meta = json_object_at(a, obj, "metadata"), *labels;
	struct str name = json_strp(obj, "metadata.name");

	if (meta == NULL || name.n == 0)
		return;
	labels = json_object_at(a, meta, "labels");
	if (labels)
		json_setc(a, labels, "kubernetes.io/metadata.name", json_new_str(a, name));
}

static void node(struct arena *a, struct json *obj)
{
	struct json *status = json_getc(obj, "status"), *capacity = json_getc(status, "capacity");

	if (json_is(capacity, JSON_OBJECT) && json_is_null(json_getc(status, "allocatable")))
		json_setc(a, status, "allocatable", json_copy(a, capacity));
}

static void rolling(struct arena *a, struct json *strategy)
{
	if (json_eqc(json_getc(strategy, "type"), "RollingUpdate"))
		setc_if_missing(a, strategy, "rollingUpdate", "{}");
}

/* Jobs and replication controllers without labels take those of their pods. */
static void labels_of_template(struct arena *a, struct json *obj)
{
	struct json *labels = json_getp(obj, "spec.template.metadata.labels"), *meta = json_object_at(a, obj, "metadata");

	if (json_len(labels) > 0 && meta && json_len(json_getc(meta, "labels")) == 0)
		json_setc(a, meta, "labels", json_copy(a, labels));
}

static void replication_controller(struct arena *a, struct json *obj)
{
	struct json *spec = json_getc(obj, "spec"), *labels = json_getp(spec, "template.metadata.labels");

	if (!json_is(spec, JSON_OBJECT))
		return;
	if (json_len(labels) > 0 && json_len(json_getc(spec, "selector")) == 0)
		json_setc(a, spec, "selector", json_copy(a, labels));
	labels_of_template(a, obj);
}

/* What `from` says and `to` (made when missing) does not. */
static void fill_quantities(struct arena *a, struct json *item, const char *from, const char *to)
{
	JSON_MEMBERS (m, json_getc(item, from)) {
		struct json *map = json_object_at(a, item, to);

		if (map && !json_get(map, m->key))
			json_set(a, map, m->key, json_copy(a, m->value));
	}
}

static void limit_range_item(struct arena *a, struct json *item)
{
	if (!json_eqc(json_getc(item, "type"), "Container"))
		return;
	fill_quantities(a, item, "max", "default");
	fill_quantities(a, item, "default", "defaultRequest");
	fill_quantities(a, item, "min", "defaultRequest");
}

static void network_policy_spec(struct arena *a, struct json *spec)
{
	if (json_len(json_getc(spec, "policyTypes")) == 0)
		json_setc(a, spec, "policyTypes",
			constant(a, json_len(json_getc(spec, "egress")) > 0
					    ? "[\"Ingress\",\"Egress\"]"
					    : "[\"Ingress\"]"));
}

/* Up in big steps at once; down slowly. */
static void scaling_behavior(struct arena *a, struct json *behavior)
{
	static const struct {
		const char *side, *rules;
	} sides[] = {
		{"scaleUp",
			"{\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\",\"policies\":["
			"{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":15},"
			"{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}]}"},
		{"scaleDown",
			"{\"selectPolicy\":\"Max\",\"policies\":["
			"{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}]}"},
	};

	for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
		struct json *rules = json_object_at(a, behavior, sides[i].side);

		JSON_MEMBERS (m, constant(a, sides[i].rules))
			if (rules && json_is_null(json_get(rules, m->key)))
				json_set(a, rules, m->key, m->value);
	}
}

/* Of requests for devices: one, unless all are meant. */
static void device_count(struct arena *a, struct json *r)
{
	if (json_str(json_getc(r, "allocationMode")).n == 0)
		json_setc(a, r, "allocationMode", json_newc(a, "ExactCount"));
	if (json_eqc(json_getc(r, "allocationMode"), "ExactCount") && is_empty(json_getc(r, "count")))
		json_setc(a, r, "count", json_new_int(a, 1));
}

static void crd_spec(struct arena *a, struct json *spec)
{
	struct json *names = json_getc(spec, "names");
	struct str kind = json_str(json_getc(names, "kind"));

	if (!json_is(names, JSON_OBJECT) || kind.n == 0)
		return;
	if (json_str(json_getc(names, "singular")).n == 0) {
		char *lower = arena_cstr(a, kind);

		for (char *c = lower; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		json_setc(a, names, "singular", json_newc(a, lower));
	}
	if (json_str(json_getc(names, "listKind")).n == 0)
		json_setc(a, names, "listKind", json_newf(a, "%.*sList", STR_FMT(kind)));
}

/* A job itself, not the template in a cron job. */
static void job(struct arena *a, struct json *obj)
{
	struct json *spec = json_getc(obj, "spec");

	if (!json_is(spec, JSON_OBJECT))
		return;
	/* Neither given: one pod. Parallelism alone: a work queue. */
	if (json_is_null(json_getc(spec, "completions")) &&
		json_is_null(json_getc(spec, "parallelism")))
		setc_if_missing(a, spec, "completions", "1");
	setc_if_missing(a, spec, "parallelism", "1");
	setc_if_missing(a, spec, "backoffLimit", "6");
	setc_if_missing(a, spec, "completionMode", "\"NonIndexed\"");
	setc_if_missing(a, spec, "suspend", "false");
	setc_if_missing(a, spec, "manualSelector", "false");
	labels_of_template(a, obj);
	setc_if_missing(a, spec, "podReplacementPolicy",
		json_is(json_getc(spec, "podFailurePolicy"), JSON_OBJECT)
			? "\"Failed\""
			: "\"TerminatingOrFailed\"");
}

static struct json *base64(struct arena *a, struct str s)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = arena_alloc(a, (s.n + 2) / 3 * 4 + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i += 3) {
		unsigned left = (unsigned)MIN(s.n - i, (size_t)3);
		unsigned v = (unsigned char)s.p[i] << 16;

		v |= left > 1 ? (unsigned)(unsigned char)s.p[i + 1] << 8 : 0;
		v |= left > 2 ? (unsigned char)s.p[i + 2] : 0;
		for (unsigned k = 0; k < 4; k++)
			out[n++] = k <= left ? alphabet[v >> (18 - 6 * k) & 63] : '=';
	}
	return json_new_str(a, str_of(out, n));
}

/* stringData is write-only: it wins over data, and is not stored. */
static void secret(struct arena *a, struct json *obj)
{
	struct json *text = json_delc(obj, "stringData");

	JSON_MEMBERS (m, text) {
		struct json *data = json_object_at(a, obj, "data");

		if (data && json_is(m->value, JSON_STRING))
			json_set(a, data, m->key, base64(a, m->value->s));
	}
}

static void role_subject(struct arena *a, struct json *subject)
{
	struct json *kind = json_getc(subject, "kind");

	if (is_empty(json_getc(subject, "apiGroup")) &&
		(json_eqc(kind, "User") || json_eqc(kind, "Group")))
		json_setc(a, subject, "apiGroup", json_newc(a, "rbac.authorization.k8s.io"));
}

/* Run after the constants of their type, before the types below. */
static const struct hook {
	const char *type;
	void (*fn)(struct arena *, struct json *);
} hooks[] = {
	{"core.v1.Container", container},
	{"core.v1.EphemeralContainerCommon", container},
	{"core.v1.Pod", pod},
	{"core.v1.Volume", volume},
	{"core.v1.ServiceSpec", service_spec},
	{"core.v1.Namespace", name_space},
	{"core.v1.Node", node},
	{"apps.v1.DeploymentStrategy", rolling},
	{"apps.v1.StatefulSetUpdateStrategy", rolling},
	{"apps.v1.DaemonSetUpdateStrategy", rolling},
	{"batch.v1.Job", job},
	{"core.v1.Secret", secret},
	{"rbac.v1.Subject", role_subject},
	{"core.v1.ReplicationController", replication_controller},
	{"core.v1.LimitRangeItem", limit_range_item},
	{"networking.v1.NetworkPolicySpec", network_policy_spec},
	{"resource.v1.ExactDeviceRequest", device_count},
	{"resource.v1.DeviceSubRequest", device_count},
	{"autoscaling.v2.HorizontalPodAutoscalerBehavior", scaling_behavior},
	{"apiextensions.v1.CustomResourceDefinitionSpec", crd_spec},
};

/* ---- the walk ---- */

/*
 * For each schema type: its first row and its first hook, plus 1; 0: none. And whether it, or anything in it, has a default at all: most have
 * not, and are not walked through. Made once.
 */
static struct {
	pthread_once_t once;
	uint16_t *row, *hook;
	bool *deep;
} start = {.once = PTHREAD_ONCE_INIT};

/* A field whose value is walked into. */
static bool has_walk(const struct schema_field *f)
{
	return f->kind == SCHEMA_MESSAGE && f->type != NULL && f->type->json == SCHEMA_PLAIN;
}

static bool is_deep(const struct schema_type *t)
{
	if (start.row[t - schema_types] > 0 || start.hook[t - schema_types] > 0)
		return true;
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct schema_field *f = &t->fields[i];

		if (f->more->default_json ||
			((has_walk(f) || schema_is(f, SCHEMA_INLINE)) && start.deep[f->type - schema_types]))
			return true;
	}
	return false;
}

/* Types hold each other, some themselves: until nothing changes any more. */
static void find_deep(void)
{
	bool changed = true;

	start.deep = xcalloc(n_schema_types, sizeof(*start.deep));
	while (changed) {
		changed = false;
		for (size_t i = 0; i < n_schema_types; i++)
			if (!start.deep[i] && is_deep(&schema_types[i]))
				changed = start.deep[i] = true;
	}
}

static void find_starts(void)
{
	start.row = xcalloc(n_schema_types, sizeof(*start.row));
	start.hook = xcalloc(n_schema_types, sizeof(*start.hook));
	for (size_t i = ARRAY_LEN(rows); i-- > 0;)
		start.row[schema_type_find(rows[i].type) - schema_types] = (uint16_t)(i + 1);
	for (size_t i = ARRAY_LEN(hooks); i-- > 0;)
		start.hook[schema_type_find(hooks[i].type) - schema_types] = (uint16_t)(i + 1);
	find_deep();
}

static void apply(struct arena *a, const struct schema_type *t, struct json *obj);

static void field(struct arena *a, const struct schema_field *f, struct json *obj)
{
	struct json *v;

	if (schema_is(f, SCHEMA_INLINE)) {
		apply(a, f->type, obj);
		return;
	}
	if (f->more->default_json)
		set_if_missing(a, f, obj, f->more->default_json);
	if (!has_walk(f) || !start.deep[f->type - schema_types])
		return;
	v = json_getc(obj, f->json);
	if (v == NULL)
		return;
	if (schema_is(f, SCHEMA_REPEATED)) {
		JSON_ITEMS (it, v)
			apply(a, f->type, it);
	} else if (schema_is(f, SCHEMA_MAP)) {
		JSON_MEMBERS (m, v)
			apply(a, f->type, m->value);
	} else {
		apply(a, f->type, v);
	}
}

static void apply(struct arena *a, const struct schema_type *t, struct json *obj)
{
	size_t row = start.row[t - schema_types], hook = start.hook[t - schema_types];

	if (!start.deep[t - schema_types] || !json_is(obj, JSON_OBJECT))
		return;
	/* The rows of one type stand together. */
	for (size_t i = row; i > 0 && i <= ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i - 1].type, t->name) != 0)
			break;
		set_if_missing(a, schema_field_find(t, str_from(rows[i - 1].field)), obj,
			rows[i - 1].value);
	}
	if (hook > 0)
		hooks[hook - 1].fn(a, obj);
	for (size_t i = 0; i < t->n_fields; i++)
		field(a, &t->fields[i], obj);
}

void defaults_apply(struct arena *a, const struct schema_type *type, struct json *obj)
{
	pthread_once(&start.once, find_starts);
	if (type && type->json == SCHEMA_CUSTOM)
		structural_default(a, type->custom, obj);
	else if (type)
		apply(a, type, obj);
}
