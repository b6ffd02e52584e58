/* Pods and pod templates; see cli/describe.h. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/describe-priv.h"
#include "proto/quantity.h"

static const struct json *by_name(const struct json *array, const struct json *name)
{
	JSON_ITEMS (it, array)
		if (json_equal(json_getc(it, "name"), name))
			return it;
	return NULL;
}

/* ---- containers ---- */

static void ports(struct describe *d, const struct json *list, const char *title, const char *key)
{
	struct buf b = BUF_INIT;

	JSON_ITEMS (p, list)
		buf_printf(&b, "%s%lld/%s", b.n ? ", " : "", (long long)json_i64_or(json_getc(p, key), 0),
				describe__or(json_cstr(json_getc(p, "protocol")), "TCP"));
	describe__put(d, 2, "%s%s:\t%s\n", title, json_len(list) > 1 ? "s" : "", describe__or(b.p, "<none>"));
	buf_fini(&b);
}

static void words(struct describe *d, const char *title, const struct json *list)
{
	if (json_len(list))
		describe__put(d, 2, "%s:\n", title);
	JSON_ITEMS (it, list) {
		struct str line, rest = json_str(it);
		bool more = true;

		while (more) {
			more = str_cut(rest, '\n', &line, &rest);
			describe__put(d, 3, "%.*s\n", STR_FMT(line));
		}
	}
}

static void state(struct describe *d, const char *title, const struct json *s)
{
	const struct json *running = json_getc(s, "running"), *ended = json_getc(s, "terminated"), *waiting = json_getc(s, "waiting");

	if (json_is(running, JSON_OBJECT)) {
		describe__put(d, 2, "%s:\tRunning\n", title);
		describe__put(d, 3, "Started:\t%s\n", describe__time(d, json_getc(running, "startedAt")));
	} else if (json_is(ended, JSON_OBJECT)) {
		describe__put(d, 2, "%s:\tTerminated\n", title);
		if (json_str(json_getc(ended, "reason")).n)
			describe__put(d, 3, "Reason:\t%s\n", json_cstr(json_getc(ended, "reason")));
		if (json_str(json_getc(ended, "message")).n)
			describe__put(d, 3, "Message:\t%s\n", json_cstr(json_getc(ended, "message")));
		describe__put(d, 3, "Exit Code:\t%lld\n", (long long)json_i64_or(json_getc(ended, "exitCode"), 0));
		if (json_i64_or(json_getc(ended, "signal"), 0) > 0)
			describe__put(d, 3, "Signal:\t%lld\n", (long long)json_i64_or(json_getc(ended, "signal"), 0));
		describe__put(d, 3, "Started:\t%s\n", describe__time(d, json_getc(ended, "startedAt")));
		describe__put(d, 3, "Finished:\t%s\n", describe__time(d, json_getc(ended, "finishedAt")));
	} else {
		describe__put(d, 2, "%s:\tWaiting\n", title);
		if (json_str(json_getc(waiting, "reason")).n)
			describe__put(d, 3, "Reason:\t%s\n", json_cstr(json_getc(waiting, "reason")));
	}
}

static void status(struct describe *d, const struct json *s)
{
	state(d, "State", json_getc(s, "state"));
	if (json_is(json_getp(s, "lastState.terminated"), JSON_OBJECT))
		state(d, "Last State", json_getc(s, "lastState"));
	describe__put(d, 2, "Ready:\t%s\n", json_true(json_getc(s, "ready")) ? "True" : "False");
	describe__put(d, 2, "Restart Count:\t%lld\n", (long long)json_i64_or(json_getc(s, "restartCount"), 0));
}

static void resource_list(struct describe *d, const char *title, const struct json *list)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, list, &n);

	if (n)
		describe__put(d, 2, "%s:\n", title);
	for (size_t i = 0; i < n; i++)
		describe__put(d, 3, "%.*s:\t%s\n", STR_FMT(m[i].key), describe__scalar(d, m[i].value));
}

static const char *http_url(struct describe *d, const struct json *get)
{
	const char *path = json_cstr(json_getc(get, "path")), *scheme = json_cstr(json_getc(get, "scheme"));

	return arena_printf(d->arena, "%s://%s:%s%s%s", strcmp(scheme, "HTTPS") == 0 ? "https" : "http", json_cstr(json_getc(get, "host")),
			describe__scalar(d, json_getc(get, "port")), *path && *path != '/' ? "/" : "", path);
}

static void probe(struct describe *d, const char *title, const struct json *p)
{
	const struct json *exec = json_getc(p, "exec"), *http = json_getc(p, "httpGet"), *tcp = json_getc(p, "tcpSocket"),
			  *grpc = json_getc(p, "grpc");

	if (!json_is(p, JSON_OBJECT))
		return;
	describe__put(d, 2, "%s:\t", title);
	if (exec)
		describe__put(d, 0, "exec [%s] ", describe__join(d, json_getc(exec, "command"), " "));
	else if (http)
		describe__put(d, 0, "http-get %s ", http_url(d, http));
	else if (tcp)
		describe__put(d, 0, "tcp-socket %s:%s ", json_cstr(json_getc(tcp, "host")), describe__scalar(d, json_getc(tcp, "port")));
	else if (grpc)
		describe__put(d, 0, "grpc <pod>:%s %s ", describe__scalar(d, json_getc(grpc, "port")), json_cstr(json_getc(grpc, "service")));
	else
		describe__put(d, 0, "unknown ");
	describe__put(d, 0, "delay=%llds timeout=%llds period=%llds #success=%lld #failure=%lld\n",
			(long long)json_i64_or(json_getc(p, "initialDelaySeconds"), 0), (long long)json_i64_or(json_getc(p, "timeoutSeconds"), 0),
			(long long)json_i64_or(json_getc(p, "periodSeconds"), 0), (long long)json_i64_or(json_getc(p, "successThreshold"), 0),
			(long long)json_i64_or(json_getc(p, "failureThreshold"), 0));
}

static void env_from(struct describe *d, const struct json *list)
{
	if (json_len(list))
		describe__put(d, 2, "Environment Variables from:\n");
	JSON_ITEMS (e, list) {
		const struct json *map = json_getc(e, "configMapRef"), *ref = map ? map : json_getc(e, "secretRef");
		const char *prefix = json_cstr(json_getc(e, "prefix"));

		describe__put(d, 3, "%s\t%s", json_cstr(json_getc(ref, "name")), map ? "ConfigMap" : "Secret");
		if (*prefix)
			describe__put(d, 0, " with prefix '%s'", prefix);
		describe__put(d, 0, "\tOptional: %s\n", json_true(json_getc(ref, "optional")) ? "true" : "false");
	}
}

/* Only metadata can be told from the object alone. */
static const char *field_value(struct describe *d, const struct json *pod, struct str path)
{
	struct str head, key;

	if (!str_has_prefix(path, STR("metadata.")) || !pod)
		return "";
	if (str_cut(path, '[', &head, &key) && key.n > 3)
		return json_cstr(json_get(json_getp(pod, arena_cstr(d->arena, head)), str_sub(key, 1, key.n - 2)));
	return json_cstr(json_getp(pod, arena_cstr(d->arena, path)));
}

/* As the container sees it: whole units of the divisor (one core, one byte), rounded up. */
static const char *in_units(struct describe *d, const struct json *v, const char *what, const char *divisor)
{
	struct quantity q = quantity_of(describe__scalar(d, v)), by = quantity_of(divisor);
	bool milli = str_has_suffix(str_from(what), STR(".cpu"));
	int64_t n = milli ? quantity_milli(q) : quantity_value(q), unit;

	if (quantity_sign(by) <= 0)
		by = quantity_from_i64(1, QUANTITY_DECIMAL_SI);
	unit = MAX(milli ? quantity_milli(by) : quantity_value(by), (int64_t)1);
	return arena_printf(d->arena, "%lld", (long long)(n / unit + (n % unit != 0)));
}

static void env_value_from(struct describe *d, const char *name, const struct json *from, const struct json *pod, const struct json *container)
{
	const struct json *field = json_getc(from, "fieldRef"), *resource = json_getc(from, "resourceFieldRef"),
			  *secret = json_getc(from, "secretKeyRef"), *map = json_getc(from, "configMapKeyRef"), *key = secret ? secret : map;

	if (field) {
		describe__put(d, 3, "%s:\t%s (%s:%s)\n", name, field_value(d, pod, json_str(json_getc(field, "fieldPath"))),
				describe__or(json_cstr(json_getc(field, "apiVersion")), "v1"), json_cstr(json_getc(field, "fieldPath")));
	} else if (resource) {
		const char *what = json_cstr(json_getc(resource, "resource")), *dot = strchr(what, '.');
		const struct json *lists = json_getc(container, "resources");
		const struct json *v = dot ? json_get(json_get(lists, str_of(what, (size_t)(dot - what))), str_from(dot + 1)) : NULL;

		describe__put(d, 3, "%s:\t%s (%s)\n", name, v ? in_units(d, v, what, json_cstr(json_getc(resource, "divisor"))) : "node allocatable",
				what);
	} else if (key) {
		describe__put(d, 3, "%s:\t<set to the key '%s' %s '%s'>\tOptional: %s\n", name, json_cstr(json_getc(key, "key")),
				secret ? "in secret" : "of config map", json_cstr(json_getc(key, "name")),
				json_true(json_getc(key, "optional")) ? "true" : "false");
	}
}

static void env(struct describe *d, const struct json *container, const struct json *pod)
{
	const struct json *list = json_getc(container, "env");

	describe__put(d, 2, "Environment:%s\n", json_len(list) ? "" : "\t<none>");
	JSON_ITEMS (e, list) {
		const char *name = json_cstr(json_getc(e, "name"));
		struct str line, rest = json_str(json_getc(e, "value"));
		bool more = true;

		if (json_is(json_getc(e, "valueFrom"), JSON_OBJECT)) {
			env_value_from(d, name, json_getc(e, "valueFrom"), pod, container);
			continue;
		}
		for (int i = 0; more; i++) {
			more = str_cut(rest, '\n', &line, &rest);
			describe__put(d, 3, "%s%s\t%.*s\n", i ? "" : name, i ? "" : ":", STR_FMT(line));
		}
	}
}

static int by_mount_path(const void *a, const void *b)
{
	return str_cmp(json_str(json_getc(*(const struct json *const *)a, "mountPath")), json_str(json_getc(*(const struct json *const *)b, "mountPath")));
}

static void mounts(struct describe *d, const struct json *list)
{
	size_t n = json_len(list);
	struct json **sorted = n ? arena_memdup(d->arena, list->items, n * sizeof(*sorted)) : NULL;

	describe__put(d, 2, "Mounts:%s\n", n ? "" : "\t<none>");
	if (n)
		qsort(sorted, n, sizeof(*sorted), by_mount_path);
	for (size_t i = 0; i < n; i++) {
		const struct json *m = sorted[i];
		const char *sub = json_cstr(json_getc(m, "subPath"));

		describe__put(d, 3, "%s from %s (%s", json_cstr(json_getc(m, "mountPath")), json_cstr(json_getc(m, "name")),
				json_true(json_getc(m, "readOnly")) ? "ro" : "rw");
		if (*sub)
			describe__put(d, 0, ",path=\"%s\"", sub);
		describe__put(d, 0, ")\n");
	}
}

static void container(struct describe *d, const struct json *c, const struct json *s, const struct json *pod, const char *space)
{
	const char *seccomp = json_cstr(json_getp(c, "securityContext.seccompProfile.type"));

	describe__put(d, 1, "%s%s:\n", *space ? " " : "", json_cstr(json_getc(c, "name")));
	if (s)
		describe__put(d, 2, "Container ID:\t%s\n", json_cstr(json_getc(s, "containerID")));
	describe__put(d, 2, "Image:\t%s\n", json_cstr(json_getc(c, "image")));
	if (s)
		describe__put(d, 2, "Image ID:\t%s\n", json_cstr(json_getc(s, "imageID")));
	ports(d, json_getc(c, "ports"), "Port", "containerPort");
	ports(d, json_getc(c, "ports"), "Host Port", "hostPort");
	if (*seccomp)
		describe__put(d, 2, "SeccompProfile:\t%s\n", seccomp);
	words(d, "Command", json_getc(c, "command"));
	words(d, "Args", json_getc(c, "args"));
	if (s)
		status(d, s);
	resource_list(d, "Limits", json_getp(c, "resources.limits"));
	resource_list(d, "Requests", json_getp(c, "resources.requests"));
	probe(d, "Liveness", json_getc(c, "livenessProbe"));
	probe(d, "Readiness", json_getc(c, "readinessProbe"));
	probe(d, "Startup", json_getc(c, "startupProbe"));
	env_from(d, json_getc(c, "envFrom"));
	env(d, c, pod);
	mounts(d, json_getc(c, "volumeMounts"));
}

void describe__containers(struct describe *d, const char *title, const struct json *containers, const struct json *statuses,
		const struct json *pod, const char *space)
{
	describe__put(d, 0, "%s%s:%s\n", space, title, json_len(containers) ? "" : " <none>");
	JSON_ITEMS (c, containers)
		container(d, c, by_name(statuses, json_getc(c, "name")), pod, space);
}

/* ---- volumes ---- */

static const char *flag(const struct json *v)
{
	return json_true(v) ? "true" : "false";
}

static void volume_host_path(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tHostPath (bare host directory volume)\n");
	describe__put(d, 2, "Path:\t%s\n", json_cstr(json_getc(v, "path")));
	describe__put(d, 2, "HostPathType:\t%s\n", json_is(json_getc(v, "type"), JSON_STRING) ? json_cstr(json_getc(v, "type")) : "<none>");
}

static void volume_empty_dir(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)\n");
	describe__put(d, 2, "Medium:\t%s\n", json_cstr(json_getc(v, "medium")));
	describe__put(d, 2, "SizeLimit:\t%s\n", json_is_null(json_getc(v, "sizeLimit")) ? "<unset>" : describe__scalar(d, json_getc(v, "sizeLimit")));
}

static void volume_secret(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tSecret (a volume populated by a Secret)\n");
	describe__put(d, 2, "SecretName:\t%s\n", json_cstr(json_getc(v, "secretName")));
	describe__put(d, 2, "Optional:\t%s\n", flag(json_getc(v, "optional")));
}

static void volume_config_map(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tConfigMap (a volume populated by a ConfigMap)\n");
	describe__put(d, 2, "Name:\t%s\n", json_cstr(json_getc(v, "name")));
	describe__put(d, 2, "Optional:\t%s\n", flag(json_getc(v, "optional")));
}

static void volume_downward(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tDownwardAPI (a volume populated by information about the pod)\n");
	describe__put(d, 2, "Items:\n");
	JSON_ITEMS (it, json_getc(v, "items")) {
		if (json_getc(it, "fieldRef"))
			describe__put(d, 3, "%s -> %s\n", json_cstr(json_getp(it, "fieldRef.fieldPath")), json_cstr(json_getc(it, "path")));
		if (json_getc(it, "resourceFieldRef"))
			describe__put(d, 3, "%s -> %s\n", json_cstr(json_getp(it, "resourceFieldRef.resource")), json_cstr(json_getc(it, "path")));
	}
}

static void volume_claim(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tPersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)\n");
	describe__put(d, 2, "ClaimName:\t%s\n", json_cstr(json_getc(v, "claimName")));
	describe__put(d, 2, "ReadOnly:\t%s\n", flag(json_getc(v, "readOnly")));
}

static void volume_projected(struct describe *d, const struct json *v)
{
	describe__put(d, 2, "Type:\tProjected (a volume that contains injected data from multiple sources)\n");
	JSON_ITEMS (s, json_getc(v, "sources")) {
		const struct json *secret = json_getc(s, "secret"), *map = json_getc(s, "configMap"), *token = json_getc(s, "serviceAccountToken");

		if (secret) {
			describe__put(d, 2, "SecretName:\t%s\n", json_cstr(json_getc(secret, "name")));
			describe__put(d, 2, "SecretOptionalName:\t%s\n", describe__scalar(d, json_getc(secret, "optional")));
		} else if (json_getc(s, "downwardAPI")) {
			describe__put(d, 2, "DownwardAPI:\ttrue\n");
		} else if (map) {
			describe__put(d, 2, "ConfigMapName:\t%s\n", json_cstr(json_getc(map, "name")));
			describe__put(d, 2, "ConfigMapOptional:\t%s\n", describe__scalar(d, json_getc(map, "optional")));
		} else if (token) {
			describe__put(d, 2, "TokenExpirationSeconds:\t%lld\n", (long long)json_i64_or(json_getc(token, "expirationSeconds"), 3600));
		}
	}
}

static const struct {
	const char *member;
	void (*fn)(struct describe *, const struct json *);
} volume_kinds[] = {
	{"hostPath", volume_host_path}, {"emptyDir", volume_empty_dir}, {"secret", volume_secret}, {"configMap", volume_config_map},
	{"downwardAPI", volume_downward}, {"persistentVolumeClaim", volume_claim}, {"projected", volume_projected},
};

void describe__volumes(struct describe *d, const struct json *volumes, const char *space)
{
	describe__put(d, 0, "%sVolumes:%s\n", space, json_len(volumes) ? "" : "\t<none>");
	JSON_ITEMS (v, volumes) {
		bool found = false;

		describe__put(d, 1, "%s%s:\n", *space ? " " : "", json_cstr(json_getc(v, "name")));
		for (size_t i = 0; !found && i < ARRAY_LEN(volume_kinds); i++) {
			const struct json *source = json_getc(v, volume_kinds[i].member);

			found = json_is(source, JSON_OBJECT);
			if (found)
				volume_kinds[i].fn(d, source);
		}
		if (!found)
			describe__put(d, 1, "<unknown>\n");
	}
}

/* ---- placement ---- */

static int by_toleration_key(const void *a, const void *b)
{
	return str_cmp(json_str(json_getc(*(const struct json *const *)a, "key")), json_str(json_getc(*(const struct json *const *)b, "key")));
}

void describe__tolerations(struct describe *d, const char *title, const struct json *list)
{
	size_t n = json_len(list);
	struct json **sorted = n ? arena_memdup(d->arena, list->items, n * sizeof(*sorted)) : NULL;

	describe__put(d, 0, "%s:\t%s", title, n ? "" : "<none>\n");
	if (n)
		qsort(sorted, n, sizeof(*sorted), by_toleration_key);
	for (size_t i = 0; i < n; i++) {
		const struct json *t = sorted[i], *seconds = json_getc(t, "tolerationSeconds");
		const char *key = json_cstr(json_getc(t, "key")), *value = json_cstr(json_getc(t, "value")), *effect = json_cstr(json_getc(t, "effect"));

		describe__put(d, 0, "%s%s%s%s%s%s", i ? "\t" : "", key, *value ? "=" : "", value, *effect ? ":" : "", effect);
		if (json_eqc(json_getc(t, "operator"), "Exists") && !*value)
			describe__put(d, 0, "%sop=Exists", *key || *effect ? " " : "");
		if (!json_is_null(seconds))
			describe__put(d, 0, " for %ss", describe__scalar(d, seconds));
		describe__put(d, 0, "\n");
	}
}

void describe__spread(struct describe *d, const struct json *constraints, const char *space)
{
	size_t i = 0;

	if (json_len(constraints))
		describe__put(d, 0, "%sTopology Spread Constraints:\t", space);
	JSON_ITEMS (c, constraints) {
		describe__put(d, 0, "%s%s:%s when max skew %s is exceeded", i++ ? "\t" : "", json_cstr(json_getc(c, "topologyKey")),
				json_cstr(json_getc(c, "whenUnsatisfiable")), describe__scalar(d, json_getc(c, "maxSkew")));
		if (json_getc(c, "labelSelector"))
			describe__put(d, 0, " for selector %s", describe__label_selector(d, json_getc(c, "labelSelector")));
		describe__put(d, 0, "\n");
	}
}

void describe__template(struct describe *d, const struct json *t)
{
	const struct json *spec = json_getc(t, "spec");

	describe__put(d, 0, "Pod Template:\n");
	describe__labels(d, "  Labels", json_getp(t, "metadata.labels"));
	if (json_len(json_getp(t, "metadata.annotations")))
		describe__annotations(d, "  Annotations", json_getp(t, "metadata.annotations"));
	if (json_str(json_getc(spec, "serviceAccountName")).n)
		describe__put(d, 1, "Service Account:\t%s\n", json_cstr(json_getc(spec, "serviceAccountName")));
	if (json_len(json_getc(spec, "initContainers")))
		describe__containers(d, "Init Containers", json_getc(spec, "initContainers"), NULL, NULL, "  ");
	describe__containers(d, "Containers", json_getc(spec, "containers"), NULL, NULL, "  ");
	describe__volumes(d, json_getc(spec, "volumes"), "  ");
	describe__spread(d, json_getc(spec, "topologySpreadConstraints"), "  ");
	if (json_str(json_getc(spec, "priorityClassName")).n)
		describe__put(d, 1, "Priority Class Name:\t%s\n", json_cstr(json_getc(spec, "priorityClassName")));
	describe__labels(d, "  Node-Selectors", json_getc(spec, "nodeSelector"));
	describe__tolerations(d, "  Tolerations", json_getc(spec, "tolerations"));
}

/* ---- the pod ---- */

static void pod_state(struct describe *d, const struct json *pod)
{
	const struct json *deleted = json_getp(pod, "metadata.deletionTimestamp");
	const char *phase = json_cstr(json_getp(pod, "status.phase"));

	if (json_is(deleted, JSON_STRING) && strcmp(phase, "Failed") != 0 && strcmp(phase, "Succeeded") != 0) {
		describe__put(d, 0, "Status:\tTerminating (lasts %s)\n", describe__age(d, deleted));
		describe__put(d, 0, "Termination Grace Period:\t%llds\n",
				(long long)json_i64_or(json_getp(pod, "metadata.deletionGracePeriodSeconds"), 0));
	} else {
		describe__put(d, 0, "Status:\t%s\n", phase);
	}
	if (json_strp(pod, "status.reason").n)
		describe__put(d, 0, "Reason:\t%s\n", json_cstr(json_getp(pod, "status.reason")));
	if (json_strp(pod, "status.message").n)
		describe__put(d, 0, "Message:\t%s\n", json_cstr(json_getp(pod, "status.message")));
	if (json_strp(pod, "spec.securityContext.seccompProfile.type").n)
		describe__put(d, 0, "SeccompProfile:\t%s\n", json_cstr(json_getp(pod, "spec.securityContext.seccompProfile.type")));
	describe__put(d, 0, "IP:\t%s\n", json_cstr(json_getp(pod, "status.podIP")));
	describe__put(d, 0, "IPs:%s\n", json_len(json_getp(pod, "status.podIPs")) ? "" : "\t<none>");
	JSON_ITEMS (ip, json_getp(pod, "status.podIPs"))
		describe__put(d, 1, "IP:\t%s\n", json_cstr(json_getc(ip, "ip")));
}

static void pod_conditions(struct describe *d, const struct json *list)
{
	if (json_len(list))
		describe__put(d, 0, "Conditions:\n  Type\tStatus\n");
	JSON_ITEMS (c, list)
		describe__put(d, 1, "%s \t%s \n", json_cstr(json_getc(c, "type")), json_cstr(json_getc(c, "status")));
}

void describe__pod(struct describe *d, const struct json *pod)
{
	const struct json *spec = json_getc(pod, "spec"), *st = json_getc(pod, "status");

	describe__name(d, pod, true);
	if (!json_is_null(json_getc(spec, "priority")))
		describe__put(d, 0, "Priority:\t%s\n", describe__scalar(d, json_getc(spec, "priority")));
	if (json_str(json_getc(spec, "priorityClassName")).n)
		describe__put(d, 0, "Priority Class Name:\t%s\n", json_cstr(json_getc(spec, "priorityClassName")));
	if (json_str(json_getc(spec, "runtimeClassName")).n)
		describe__put(d, 0, "Runtime Class Name:\t%s\n", json_cstr(json_getc(spec, "runtimeClassName")));
	if (json_str(json_getc(spec, "serviceAccountName")).n)
		describe__put(d, 0, "Service Account:\t%s\n", json_cstr(json_getc(spec, "serviceAccountName")));
	if (json_str(json_getc(spec, "nodeName")).n)
		describe__put(d, 0, "Node:\t%s/%s\n", json_cstr(json_getc(spec, "nodeName")), json_cstr(json_getc(st, "hostIP")));
	else
		describe__put(d, 0, "Node:\t<none>\n");
	if (json_str(json_getc(st, "startTime")).n)
		describe__put(d, 0, "Start Time:\t%s\n", describe__time(d, json_getc(st, "startTime")));
	describe__labels(d, "Labels", json_getp(pod, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(pod, "metadata.annotations"));
	pod_state(d, pod);
	if (*describe__controller(d, pod))
		describe__put(d, 0, "Controlled By:\t%s\n", describe__controller(d, pod));
	if (json_str(json_getc(st, "nominatedNodeName")).n)
		describe__put(d, 0, "NominatedNodeName:\t%s\n", json_cstr(json_getc(st, "nominatedNodeName")));
	if (json_len(json_getc(spec, "initContainers")))
		describe__containers(d, "Init Containers", json_getc(spec, "initContainers"), json_getc(st, "initContainerStatuses"), pod, "");
	describe__containers(d, "Containers", json_getc(spec, "containers"), json_getc(st, "containerStatuses"), pod, "");
	if (json_len(json_getc(spec, "ephemeralContainers")))
		describe__containers(d, "Ephemeral Containers", json_getc(spec, "ephemeralContainers"),
				json_getc(st, "ephemeralContainerStatuses"), pod, "");
	pod_conditions(d, json_getc(st, "conditions"));
	describe__volumes(d, json_getc(spec, "volumes"), "");
	describe__put(d, 0, "QoS Class:\t%s\n", describe__or(json_cstr(json_getc(st, "qosClass")), "BestEffort"));
	describe__labels(d, "Node-Selectors", json_getc(spec, "nodeSelector"));
	describe__tolerations(d, "Tolerations", json_getc(spec, "tolerations"));
	describe__spread(d, json_getc(spec, "topologySpreadConstraints"), "");
}
