#include "orchestrator/kubelet/env.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resources.h"

const char *env_get(const struct env_list *l, const char *name)
{
	for (size_t i = l->n; i-- > 0;)
		if (strcmp(l->v[i].name, name) == 0)
			return l->v[i].value;
	return NULL;
}

void env_set(struct env_list *l, const char *name, const char *value)
{
	size_t n = l->n;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(l->v[i].name, name) == 0) {
			l->v[i].value = value;
			return;
		}
	}
	if ((n & (n - 1)) == 0)
		l->v = arena_grow(l->arena, l->v, n * sizeof(*l->v), (n ? 2 * n : 1) * sizeof(*l->v));
	l->v[l->n++] = (struct env_var){name, value};
}

const char *env_expand(struct arena *a, const char *text, const struct env_list *l)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	if (!text || !strchr(text, '$'))
		return nz(text);
	for (const char *p = text; *p; p++) {
		const char *end, *value;
		char *name;

		if (p[0] == '$' && p[1] == '$') {
			buf_add1(&b, '$');
			p++;
			continue;
		}
		if (p[0] != '$' || p[1] != '(' || (end = strchr(p, ')')) == NULL) {
			buf_add1(&b, *p);
			continue;
		}
		name = arena_cstr(a, str_of(p + 2, (size_t)(end - p - 2)));
		value = env_get(l, name);
		if (value)
			buf_addc(&b, value);
		else
			buf_add(&b, p, (size_t)(end - p + 1));
		p = end;
	}
	return arena_cstr(a, buf_str(&b));
}

/* metadata.labels['key'] */
static bool subscript(struct arena *a, const char *path, const char *field, const char **ret_key)
{
	size_t n = strlen(field), len = strlen(path);

	if (strncmp(path, field, n) != 0 || len < n + 4 || strncmp(path + n, "['", 2) != 0 ||
			strcmp(path + len - 2, "']") != 0)
		return false;
	*ret_key = arena_cstr(a, str_of(path + n + 2, len - n - 4));
	return true;
}

static int by_key(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* A map as lines key="value", sorted. */
#define MAP_LINES(a, map, n_map)                                                                   \
	({                                                                                         \
		const char **_lines = arena_alloc((a), (n_map) * sizeof(*_lines));                 \
		for (size_t _i = 0; _i < (n_map); _i++)                                            \
			_lines[_i] = quote_line((a), (map)[_i]->key, nz((map)[_i]->value));        \
		join_lines((a), _lines, (n_map));                                                  \
	})

static const char *quote_line(struct arena *a, const char *key, const char *value)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_printf(&b, "%s=\"", key);
	for (const char *p = value; *p; p++) {
		if (*p == '\n')
			buf_addc(&b, "\\n");
		else if (*p == '\t')
			buf_addc(&b, "\\t");
		else if (*p == '"' || *p == '\\')
			buf_printf(&b, "\\%c", *p);
		else
			buf_add1(&b, *p);
	}
	buf_add1(&b, '"');
	return arena_cstr(a, buf_str(&b));
}

static const char *join_lines(struct arena *a, const char **lines, size_t n)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	qsort(lines, n, sizeof(*lines), by_key);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s", i ? "\n" : "", lines[i]);
	return arena_cstr(a, buf_str(&b));
}

int env_field(struct arena *a, const struct env_ctx *ctx, const char *path, const char **ret, struct err *e)
{
	const Meta__ObjectMeta *m = ctx->pod->metadata;
	const Core__PodSpec *spec = ctx->pod->spec;
	const struct {
		const char *path, *value;
	} rows[] = {
		{"metadata.name", m->name},
		{"metadata.namespace", m->namespace_},
		{"metadata.uid", m->uid},
		{"spec.nodeName", spec->node_name},
		{"spec.serviceAccountName", spec->service_account_name},
		{"status.hostIP", ctx->host_ip},
		{"status.hostIPs", ctx->host_ip},
		{"status.podIP", ctx->pod_ip},
		{"status.podIPs", ctx->pod_ip},
	};
	const char *key;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].path, path) == 0) {
			*ret = nz(rows[i].value);
			return 0;
		}
	}
	if (strcmp(path, "metadata.labels") == 0)
		*ret = MAP_LINES(a, m->labels, m->n_labels);
	else if (strcmp(path, "metadata.annotations") == 0)
		*ret = MAP_LINES(a, m->annotations, m->n_annotations);
	else if (subscript(a, path, "metadata.labels", &key))
		*ret = nz(pb_map_get(m->labels, m->n_labels, key));
	else if (subscript(a, path, "metadata.annotations", &key))
		*ret = nz(pb_map_get(m->annotations, m->n_annotations, key));
	else
		return err_set(e, ERR_INVALID, "unsupported fieldPath: %s", path);
	return 0;
}

static const Core__Container *container_named(const Core__Pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		if (strcmp(nz(pod->spec->containers[i]->name), name) == 0)
			return pod->spec->containers[i];
	for (size_t i = 0; i < pod->spec->n_init_containers; i++)
		if (strcmp(nz(pod->spec->init_containers[i]->name), name) == 0)
			return pod->spec->init_containers[i];
	return NULL;
}

int env_resource(struct arena *a, const struct env_ctx *ctx, const Core__Container *c,
		const Core__ResourceFieldSelector *f, const char **ret, struct err *e)
{
	const char *what = nz(f->resource);
	int64_t milli, divisor = f->divisor ? res_milli(f->divisor->string) : 0;
	struct res r;

	if (is_set(f->container_name))
		c = container_named(ctx->pod, f->container_name);
	if (!c)
		return err_set(e, ERR_INVALID, "container %s not found", nz(f->container_name));
	res_of(res_given(a, ctx->pod, c), &r);
	if (strcmp(what, "limits.cpu") == 0)
		milli = r.cpu_limit ? r.cpu_limit : ctx->node_cpu_milli;
	else if (strcmp(what, "requests.cpu") == 0)
		milli = r.cpu_request;
	else if (strcmp(what, "limits.memory") == 0)
		milli = (r.memory_limit ? r.memory_limit : ctx->node_memory) * 1000;
	else if (strcmp(what, "requests.memory") == 0)
		milli = r.memory_request * 1000;
	else if (strcmp(what, "limits.ephemeral-storage") == 0)
		milli = (r.storage_limit ? r.storage_limit : ctx->node_storage) * 1000;
	else if (strcmp(what, "requests.ephemeral-storage") == 0)
		milli = r.storage_request * 1000;
	else
		return err_set(e, ERR_INVALID, "unsupported container resource : %s", what);
	if (divisor <= 0)
		divisor = 1000;
	*ret = arena_printf(a, "%" PRId64, (milli + divisor - 1) / divisor);
	return 0;
}

/* "my-svc" -> "MY_SVC" */
static const char *upper(struct arena *a, const char *s)
{
	char *out = arena_strdup(a, s);

	for (char *p = out; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return out;
}

static void add_service(struct arena *a, struct env_list *l, const Core__Service *s)
{
	const char *name = upper(a, s->metadata->name), *ip = nz(s->spec->cluster_ip);

	if (!*ip || strcmp(ip, "None") == 0 || s->spec->n_ports == 0)
		return;
	env_set(l, arena_printf(a, "%s_SERVICE_HOST", name), ip);
	env_set(l, arena_printf(a, "%s_SERVICE_PORT", name), arena_printf(a, "%d", s->spec->ports[0]->port));
	for (size_t i = 0; i < s->spec->n_ports; i++)
		if (is_set(s->spec->ports[i]->name))
			env_set(l, arena_printf(a, "%s_SERVICE_PORT_%s", name, upper(a, s->spec->ports[i]->name)),
					arena_printf(a, "%d", s->spec->ports[i]->port));
	for (size_t i = 0; i < s->spec->n_ports; i++) {
		const Core__ServicePort *p = s->spec->ports[i];
		const char *proto = is_set(p->protocol) ? p->protocol : "TCP";
		char *lower = arena_strdup(a, proto), *prefix;
		const char *url;

		for (char *q = lower; *q; q++)
			*q = (char)tolower((unsigned char)*q);
		prefix = arena_printf(a, "%s_PORT_%d_%s", name, p->port, upper(a, proto));
		url = arena_printf(a, "%s://%s:%d", lower, ip, p->port);
		if (i == 0)
			env_set(l, arena_printf(a, "%s_PORT", name), url);
		env_set(l, prefix, url);
		env_set(l, arena_printf(a, "%s_PROTO", prefix), lower);
		env_set(l, arena_printf(a, "%s_PORT", prefix), arena_printf(a, "%d", p->port));
		env_set(l, arena_printf(a, "%s_ADDR", prefix), ip);
	}
}

/* The API's own service is always there; the others of the namespace unless enableServiceLinks is false. */
static void add_services(struct arena *a, const struct env_ctx *ctx, struct env_list *l)
{
	const char *ns = nz(ctx->pod->metadata->namespace_);
	bool links = PB_OR(ctx->pod->spec, enable_service_links, 1);
	Core__Service *own;

	if (!ctx->services)
		return;
	own = map_get(ctx->services, STR("default/kubernetes"));
	if (own)
		add_service(a, l, own);
	if (!links)
		return;
	MAP_FOR_EACH (e, ctx->services) {
		Core__Service *s = e->value;

		if (strcmp(nz(s->metadata->namespace_), ns) == 0)
			add_service(a, l, s);
	}
}

static bool name_ok(const char *s)
{
	if (!*s || isdigit((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-._", *s))
			return false;
	return true;
}

static int add_from(struct arena *a, const struct env_ctx *ctx, struct env_list *l, const Core__EnvFromSource *f,
		struct err *e)
{
	const char *prefix = nz(f->prefix), *name;
	const struct obj_ref *r;

	if (f->config_map_ref) {
		name = nz(f->config_map_ref->local_object_reference ? f->config_map_ref->local_object_reference->name : "");
		r = objset_find(ctx->objects, OBJ_CONFIG_MAP, name, 0);
		if (!r || !r->config_map)
			return PB_OR(f->config_map_ref, optional, 0)
					? 0
					: err_set(e, ERR_NOT_FOUND, "configmap \"%s\" not found", name);
		for (size_t i = 0; i < r->config_map->n_data; i++)
			if (name_ok(r->config_map->data[i]->key))
				env_set(l, arena_printf(a, "%s%s", prefix, r->config_map->data[i]->key),
						nz(r->config_map->data[i]->value));
	} else if (f->secret_ref) {
		name = nz(f->secret_ref->local_object_reference ? f->secret_ref->local_object_reference->name : "");
		r = objset_find(ctx->objects, OBJ_SECRET, name, 0);
		if (!r || !r->secret)
			return PB_OR(f->secret_ref, optional, 0)
					? 0
					: err_set(e, ERR_NOT_FOUND, "secret \"%s\" not found", name);
		for (size_t i = 0; i < r->secret->n_data; i++)
			if (name_ok(r->secret->data[i]->key))
				env_set(l, arena_printf(a, "%s%s", prefix, r->secret->data[i]->key),
						arena_cstr(a, str_of(r->secret->data[i]->value.data,
								r->secret->data[i]->value.len)));
	}
	return 0;
}

/* *ret is NULL for an optional key that is not there. */
static int from_config_map(const struct env_ctx *ctx, const Core__ConfigMapKeySelector *s, const char **ret, struct err *e)
{
	const char *name = nz(s->local_object_reference ? s->local_object_reference->name : "");
	const struct obj_ref *r = objset_find(ctx->objects, OBJ_CONFIG_MAP, name, 0);

	*ret = r && r->config_map ? pb_map_get(r->config_map->data, r->config_map->n_data, s->key) : NULL;
	if (*ret || PB_OR(s, optional, 0))
		return 0;
	if (!r || !r->config_map)
		return err_set(e, ERR_NOT_FOUND, "configmap \"%s\" not found", name);
	return err_set(e, ERR_NOT_FOUND, "couldn't find key %s in ConfigMap %s/%s", nz(s->key),
			nz(ctx->pod->metadata->namespace_), name);
}

static int from_secret(struct arena *a, const struct env_ctx *ctx, const Core__SecretKeySelector *s, const char **ret,
		struct err *e)
{
	const char *name = nz(s->local_object_reference ? s->local_object_reference->name : "");
	const struct obj_ref *r = objset_find(ctx->objects, OBJ_SECRET, name, 0);
	Core__Secret__DataEntry *d = r && r->secret ? pb_map_find(r->secret->data, r->secret->n_data, s->key) : NULL;

	*ret = d ? arena_cstr(a, str_of(d->value.data, d->value.len)) : NULL;
	if (*ret || PB_OR(s, optional, 0))
		return 0;
	if (!r || !r->secret)
		return err_set(e, ERR_NOT_FOUND, "secret \"%s\" not found", name);
	return err_set(e, ERR_NOT_FOUND, "couldn't find key %s in Secret %s/%s", nz(s->key),
			nz(ctx->pod->metadata->namespace_), name);
}

static int add_var(struct arena *a, const struct env_ctx *ctx, const Core__Container *c, struct env_list *l,
		const Core__EnvVar *v, struct err *e)
{
	const Core__EnvVarSource *f = v->value_from;
	const char *value = NULL;
	int rc = 0;

	if (!f)
		value = env_expand(a, v->value, l);
	else if (f->field_ref)
		rc = env_field(a, ctx, nz(f->field_ref->field_path), &value, e);
	else if (f->resource_field_ref)
		rc = env_resource(a, ctx, c, f->resource_field_ref, &value, e);
	else if (f->config_map_key_ref)
		rc = from_config_map(ctx, f->config_map_key_ref, &value, e);
	else if (f->secret_key_ref)
		rc = from_secret(a, ctx, f->secret_key_ref, &value, e);
	if (rc == 0 && value)
		env_set(l, v->name, value);
	return rc;
}

int env_build(struct arena *a, const struct env_ctx *ctx, const Core__Container *c, struct env_list *ret, struct err *e)
{
	struct env_list l = {.arena = a};
	int rc;

	add_services(a, ctx, &l);
	for (size_t i = 0; i < c->n_env_from; i++) {
		rc = add_from(a, ctx, &l, c->env_from[i], e);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < c->n_env; i++) {
		rc = add_var(a, ctx, c, &l, c->env[i], e);
		if (rc < 0)
			return rc;
	}
	*ret = l;
	return 0;
}
