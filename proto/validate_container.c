#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

/* ---- ports ---- */

/* `hosts`: host ports of the whole pod, "TCP/ip/port". */
static void ports(struct field_errs *e, const struct field_path *up, const struct json *list,
	struct json *hosts)
{
	struct field_path all = field_child(up, "ports");
	struct json *names = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (p, list) {
		struct field_path at = field_index(&all, i++), name_path = field_child(&at, "name"),
				  port_path = field_child(&at, "containerPort");
		struct field_path host_path = field_child(&at, "hostPort");
		struct json *host = json_getc(p, "hostPort");
		struct str name = json_str(json_getc(p, "name"));
		const char *bad = name.n ? validate__port_name(name) : NULL;

		if (bad)
			field_invalid_str(e, &name_path, name, "%s", bad);
		else if (name.n && json_get(names, name))
			field_duplicate(e, &name_path, name);
		else if (name.n)
			json_set(e->arena, names, name, p);
		if (json_i64_or(json_getc(p, "containerPort"), 0) == 0)
			field_required(e, &port_path, "");
		else
			validate__port_number(e, &port_path, json_getc(p, "containerPort"));
		if (json_i64_or(host, 0) != 0) {
			struct str key = arena_sprintf(e->arena, "%s/%s/%.*s",
				json_cstr(json_getc(p, "protocol")),
				json_cstr(json_getc(p, "hostIP")), STR_FMT(host->s));

			validate__port_number(e, &host_path, host);
			if (json_get(hosts, key))
				field_duplicate(e, &host_path, key);
			json_set(e->arena, hosts, key, p);
		}
		validate__one_of(e, &at, p, "protocol", protocols);
	}
}

/* ---- environment ---- */

static bool is_pod_field(struct str path)
{
	static const char *const fields[] = {
		"metadata.name",
		"metadata.namespace",
		"metadata.uid",
		"spec.nodeName",
		"spec.serviceAccountName",
		"status.hostIP",
		"status.hostIPs",
		"status.podIP",
		"status.podIPs",
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (str_eqc(path, fields[i]))
			return true;
	return (str_has_prefix(path, STR("metadata.labels['")) ||
		       str_has_prefix(path, STR("metadata.annotations['"))) &&
	       str_has_suffix(path, STR("']"));
}

static void field_ref(struct field_errs *e, const struct field_path *path, const struct json *ref)
{
	struct field_path field = field_child(path, "fieldPath");
	struct str s = json_str(json_getc(ref, "fieldPath"));

	validate__required(e, path, ref, "apiVersion");
	if (s.n == 0)
		field_required(e, &field, "");
	else if (!is_pod_field(s))
		field_invalid_str(e, &field, s,
			"error converting fieldPath: field label not supported: %.*s", STR_FMT(s));
}

static void key_ref(struct field_errs *e, const struct field_path *path, const struct json *ref)
{
	validate__required(e, path, ref, "name");
	if (validate__required(e, path, ref, "key"))
		validate__name(e, path, ref, "key", validate__config_key);
}

static void value_from(struct field_errs *e, const struct field_path *up, const struct json *env)
{
	static const char *const sources[] = {
		"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"};
	struct json *from = json_getc(env, "valueFrom");
	struct field_path path = field_child(up, "valueFrom");
	size_t n = 0;

	if (json_is_null(from))
		return;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct json *src = json_getc(from, sources[i]);
		struct field_path p = field_child(&path, sources[i]);

		if (json_is_null(src))
			continue;
		n++;
		if (i == 0)
			field_ref(e, &p, src);
		else if (i == 1)
			validate__resource_ref(e, &p, src);
		else if (i < 4)
			key_ref(e, &p, src);
	}
	if (n == 0)
		field_invalid_str(e, &path, STR(""),
			"must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
			"`secretKeyRef`");
	else if (json_str(json_getc(env, "value")).n > 0)
		field_invalid_str(
			e, &path, STR(""), "may not be specified when `value` is not empty");
	else if (n > 1)
		field_invalid_str(
			e, &path, STR(""), "may not have more than one field specified at a time");
}

static void env(struct field_errs *e, const struct field_path *up, const struct json *list)
{
	struct field_path all = field_child(up, "env");
	size_t i = 0;

	JSON_ITEMS (v, list) {
		struct field_path at = field_index(&all, i++);

		if (validate__required(e, &at, v, "name"))
			validate__name(e, &at, v, "name", validate__env_name);
		value_from(e, &at, v);
	}
}

static void env_from(struct field_errs *e, const struct field_path *up, const struct json *list)
{
	static const char *const sources[] = {"configMapRef", "secretRef"};
	struct field_path all = field_child(up, "envFrom");
	size_t i = 0;

	JSON_ITEMS (v, list) {
		struct field_path at = field_index(&all, i++);
		size_t n = 0;

		if (json_str(json_getc(v, "prefix")).n > 0)
			validate__name(e, &at, v, "prefix", validate__env_name);
		for (size_t k = 0; k < ARRAY_LEN(sources); k++) {
			struct field_path p = field_child(&at, sources[k]);

			if (json_is_null(json_getc(v, sources[k])))
				continue;
			n++;
			validate__required(e, &p, json_getc(v, sources[k]), "name");
		}
		if (n == 0)
			field_invalid_str(e, &all, STR(""),
				"must specify one of: `configMapRef` or `secretRef`");
		else if (n > 1)
			field_invalid_str(e, &all, STR(""),
				"may not have more than one field specified at a time");
	}
}

/* ---- mounts ---- */

static void mounts(struct field_errs *e, const struct field_path *up, const struct json *list,
	const struct json *volumes)
{
	struct field_path all = field_child(up, "volumeMounts");
	struct json *paths = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (m, list) {
		struct field_path at = field_index(&all, i++), name_path = field_child(&at, "name"),
				  mount_path = field_child(&at, "mountPath");
		struct field_path expr = field_child(&at, "subPathExpr");
		struct str name = json_str(json_getc(m, "name")),
			   path = json_str(json_getc(m, "mountPath"));

		if (name.n == 0)
			field_required(e, &name_path, "");
		else if (json_get(volumes, name) == NULL)
			field_not_found(e, &name_path, name);
		if (path.n == 0)
			field_required(e, &mount_path, "");
		else if (json_get(paths, path))
			field_invalid_str(e, &mount_path, path, "must be unique");
		json_set(e->arena, paths, path, m);
		validate__below(e, &at, m, "subPath");
		validate__below(e, &at, m, "subPathExpr");
		if (json_str(json_getc(m, "subPath")).n > 0 &&
			json_str(json_getc(m, "subPathExpr")).n > 0)
			field_invalid_str(e, &expr, json_str(json_getc(m, "subPathExpr")),
				"subPathExpr and subPath are mutually exclusive");
	}
}

/* ---- probes and lifecycle ---- */

static void handler_one(
	struct field_errs *e, const struct field_path *path, const char *kind, const struct json *h)
{
	static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
	struct field_path port = field_child(path, "port"), command = field_child(path, "command");

	if (strcmp(kind, "exec") == 0) {
		if (json_len(json_getc(h, "command")) == 0)
			field_required(e, &command, "");
	} else if (strcmp(kind, "httpGet") == 0) {
		validate__required(e, path, h, "path");
		validate__port_or_name(e, &port, json_getc(h, "port"));
		validate__one_of(e, path, h, "scheme", schemes);
	} else if (strcmp(kind, "tcpSocket") == 0) {
		validate__port_or_name(e, &port, json_getc(h, "port"));
	} else if (strcmp(kind, "grpc") == 0) {
		validate__port_number(e, &port, json_getc(h, "port"));
	}
}

static void handler(struct field_errs *e, const struct field_path *path, const struct json *h)
{
	static const char *const kinds[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct json *one = json_getc(h, kinds[i]);
		struct field_path p = field_child(path, kinds[i]);

		if (json_is_null(one))
			continue;
		if (n++ > 0)
			field_forbidden(e, &p, "may not specify more than 1 handler type");
		else
			handler_one(e, &p, kinds[i], one);
	}
	if (n == 0)
		field_required(e, path, "must specify a handler type");
}

static void probe(struct field_errs *e, const struct field_path *up, const struct json *c,
	const char *key, bool once)
{
	static const char *const counts[] = {"initialDelaySeconds", "timeoutSeconds",
		"periodSeconds", "successThreshold", "failureThreshold"};
	struct field_path path = field_child(up, key),
			  success = field_child(&path, "successThreshold");
	struct field_path grace = field_child(&path, "terminationGracePeriodSeconds");
	struct json *p = json_getc(c, key), *g = json_getc(p, "terminationGracePeriodSeconds");

	if (json_is_null(p))
		return;
	handler(e, &path, p);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		validate__nonneg(e, &path, p, counts[i]);
	if (json_is(g, JSON_NUMBER) && json_i64_or(g, 0) <= 0)
		field_invalid(e, &grace, g, "must be greater than 0");
	if (once && json_i64_or(json_getc(p, "successThreshold"), 1) != 1)
		field_invalid(e, &success, json_getc(p, "successThreshold"), "must be 1");
}

static void lifecycle(struct field_errs *e, const struct field_path *up, const struct json *l)
{
	static const char *const hooks[] = {"postStart", "preStop"};
	struct field_path path = field_child(up, "lifecycle");

	for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
		struct field_path p = field_child(&path, hooks[i]);

		if (!json_is_null(json_getc(l, hooks[i])))
			handler(e, &p, json_getc(l, hooks[i]));
	}
}

/* ---- a container ---- */

enum container_kind { CONTAINER, INIT_CONTAINER, EPHEMERAL_CONTAINER };

static void container(struct field_errs *e, const struct field_path *at, const struct json *c,
	const struct json *volumes, struct json *hosts, enum container_kind kind, bool never)
{
	static const char *const pulls[] = {"Always", "IfNotPresent", "Never", NULL};
	static const char *const policies[] = {"FallbackToLogsOnError", "File", NULL};
	struct field_path image_path = field_child(at, "image"),
			  resources = field_child(at, "resources");
	struct str image = json_str(json_getc(c, "image"));
	bool sidecar = json_eqc(json_getc(c, "restartPolicy"), "Always");

	if (validate__required(e, at, c, "name"))
		validate__name(e, at, c, "name", validate_dns1123_label);
	if (image.n == 0)
		field_required(e, &image_path, "");
	else if (str_trim(image).n != image.n)
		field_invalid_str(
			e, &image_path, image, "must not have leading or trailing whitespace");
	validate__one_of_opt(e, at, c, "terminationMessagePolicy", policies);
	ports(e, at, json_getc(c, "ports"), hosts);
	env(e, at, json_getc(c, "env"));
	env_from(e, at, json_getc(c, "envFrom"));
	mounts(e, at, json_getc(c, "volumeMounts"), volumes);
	validate__one_of(e, at, c, "imagePullPolicy", pulls);
	validate__resources(e, &resources, json_getc(c, "resources"));
	validate__container_security(e, at, json_getc(c, "securityContext"));
	/* Which fields it may have at all: validate__ephemeral_containers. */
	if (kind == EPHEMERAL_CONTAINER)
		return;
	if (kind == INIT_CONTAINER && !sidecar) {
		struct field_path resize = field_child(at, "resizePolicy");
		static const char *const not_here[] = {
			"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};

		for (size_t i = 0; i < ARRAY_LEN(not_here); i++) {
			struct field_path p = field_child(at, not_here[i]);

			if (!json_is_null(json_getc(c, not_here[i])))
				field_forbidden(e, &p,
					"may not be set for init containers without "
					"restartPolicy=Always");
		}
		if (json_len(json_getc(c, "resizePolicy")) > 0)
			field_invalid(e, &resize, json_getc(c, "resizePolicy"), "must not be set for init containers");
		return;
	}
	validate__resize_policy(e, at, c, never && !sidecar);
	lifecycle(e, at, json_getc(c, "lifecycle"));
	probe(e, at, c, "livenessProbe", true);
	probe(e, at, c, "readinessProbe", false);
	probe(e, at, c, "startupProbe", true);
}

void validate__containers(struct field_errs *e, const struct field_path *up,
	const struct json *spec, const struct json *volumes)
{
	static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
	static const enum container_kind kinds[] = {CONTAINER, INIT_CONTAINER, EPHEMERAL_CONTAINER};
	struct json *names = json_new_object(e->arena), *hosts = json_new_object(e->arena);
	bool never = json_eqc(json_getc(spec, "restartPolicy"), "Never");

	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		struct field_path all = field_child(up, lists[k]);
		struct json *list = json_getc(spec, lists[k]);
		size_t i = 0;

		if (k == 0 && json_len(list) == 0)
			field_required(e, &all, "");
		JSON_ITEMS (c, list) {
			struct field_path at = field_index(&all, i++),
					  name_path = field_child(&at, "name");
			struct str name = json_str(json_getc(c, "name"));

			/* Init containers run one after the other: they may use the same host port.
			 */
			container(e, &at, c, volumes, k == 0 ? hosts : json_new_object(e->arena),
				kinds[k], never);
			if (name.n > 0 && json_get(names, name))
				field_duplicate(e, &name_path, name);
			json_set(e->arena, names, name, c);
		}
	}
	validate__ephemeral_containers(e, up, spec);
}
