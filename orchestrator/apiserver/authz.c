#include "orchestrator/apiserver/authz.h"

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/paths.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "store/view.h"

#define BIT(v) (1u << API_##v)
#define READ (BIT(GET) | BIT(LIST) | BIT(WATCH))
#define CHANGE (BIT(CREATE) | BIT(UPDATE) | BIT(PATCH))

/* What nodes may do. `how` narrows it. */
enum node_rule {
	NODE_ANY,       /* no more questions */
	NODE_SELF,      /* name is the node's own */
	NODE_SELF_POD,  /* the pod is bound to the node */
	NODE_POD_LIST,  /* a list or watch with spec.nodeName=<self> */
	NODE_POD_USES,  /* one object that a pod of the node refers to */
	NODE_LEASE,     /* namespace kube-node-lease; name is the node's own, or not known yet (create) */
	NODE_TOKEN,     /* a service account that a pod of the node runs as */
};
static const struct node_row {
	const char *group, *resource, *sub;
	unsigned verbs;
	enum node_rule how;
} node_rows[] = {
		{"", "nodes", "", READ | BIT(CREATE), NODE_ANY}, /* the name of a new node: admission */
		{"", "nodes", "", BIT(UPDATE) | BIT(PATCH), NODE_SELF},
		{"", "nodes", "status", BIT(UPDATE) | BIT(PATCH) | BIT(GET), NODE_SELF},
		{"", "pods", "", BIT(LIST) | BIT(WATCH), NODE_POD_LIST},
		{"", "pods", "", BIT(GET) | BIT(DELETE), NODE_SELF_POD},
		{"", "pods", "status", BIT(UPDATE) | BIT(PATCH) | BIT(GET), NODE_SELF_POD},
		{"", "pods", "eviction", BIT(CREATE), NODE_SELF_POD},
		{"", "services", "", READ, NODE_ANY},
		{"", "endpoints", "", READ, NODE_ANY},
		{"", "namespaces", "", READ, NODE_ANY},
		{"discovery.k8s.io", "endpointslices", "", READ, NODE_ANY},
		{"networking.k8s.io", "networkpolicies", "", READ, NODE_ANY},
		{"", "events", "", CHANGE, NODE_ANY},
		{"events.k8s.io", "events", "", CHANGE, NODE_ANY},
		{"", "configmaps", "", READ, NODE_POD_USES},
		{"", "secrets", "", READ, NODE_POD_USES},
		{"", "persistentvolumeclaims", "", BIT(GET), NODE_POD_USES},
		{"", "persistentvolumes", "", BIT(GET), NODE_ANY},
		{"", "serviceaccounts", "", BIT(GET), NODE_TOKEN},
		{"", "serviceaccounts", "token", BIT(CREATE), NODE_TOKEN},
		{"coordination.k8s.io", "leases", "", READ | CHANGE | BIT(DELETE), NODE_LEASE},
		{"node.k8s.io", "runtimeclasses", "", READ, NODE_ANY},
		{"storage.k8s.io", "csidrivers", "", READ, NODE_ANY},
		{"storage.k8s.io", "csinodes", "", READ | CHANGE, NODE_ANY},
		{"authentication.k8s.io", "tokenreviews", "", BIT(CREATE), NODE_ANY},
		{"authorization.k8s.io", "subjectaccessreviews", "", BIT(CREATE), NODE_ANY},
};

struct str authz_node_name(const struct api_user *u)
{
	struct str prefix = STR("system:node:");

	if (!api_user_in_group(u, "system:nodes") || !str_has_prefix(u->name, prefix))
		return STR_NULL;
	return str_skip(u->name, prefix.n);
}

static struct str pod_node(struct str raw)
{
	return storage_field(storage_field(raw, 2), 10); /* spec.nodeName */
}

/* Does this pod spec name the object? By volumes, environment, pull secrets. */
static bool pod_uses(const Core__PodSpec *spec, struct str resource, struct str name);

static bool name_is(const char *have, struct str name)
{
	return have && str_eqc(name, have);
}

static bool env_uses(Core__Container *const *list, size_t n, bool secret, struct str name)
{
	for (size_t i = 0; i < n; i++) {
		const Core__Container *c = list[i];

		for (size_t k = 0; k < c->n_env; k++) {
			const Core__EnvVarSource *from = c->env[k]->value_from;

			if (from && secret && from->secret_key_ref && from->secret_key_ref->local_object_reference &&
					name_is(from->secret_key_ref->local_object_reference->name, name))
				return true;
			if (from && !secret && from->config_map_key_ref && from->config_map_key_ref->local_object_reference &&
					name_is(from->config_map_key_ref->local_object_reference->name, name))
				return true;
		}
		for (size_t k = 0; k < c->n_env_from; k++) {
			const Core__EnvFromSource *from = c->env_from[k];

			if (secret && from->secret_ref && from->secret_ref->local_object_reference &&
					name_is(from->secret_ref->local_object_reference->name, name))
				return true;
			if (!secret && from->config_map_ref && from->config_map_ref->local_object_reference &&
					name_is(from->config_map_ref->local_object_reference->name, name))
				return true;
		}
	}
	return false;
}

static bool projected_uses(const Core__ProjectedVolumeSource *p, bool secret, struct str name)
{
	for (size_t i = 0; p && i < p->n_sources; i++) {
		const Core__VolumeProjection *s = p->sources[i];

		if (secret && s->secret && s->secret->local_object_reference &&
				name_is(s->secret->local_object_reference->name, name))
			return true;
		if (!secret && s->config_map && s->config_map->local_object_reference &&
				name_is(s->config_map->local_object_reference->name, name))
			return true;
	}
	return false;
}

static bool pod_uses(const Core__PodSpec *spec, struct str resource, struct str name)
{
	bool secret = str_eqc(resource, "secrets"), claim = str_eqc(resource, "persistentvolumeclaims");

	for (size_t i = 0; i < spec->n_volumes; i++) {
		const Core__VolumeSource *v = spec->volumes[i]->volume_source;

		if (!v)
			continue;
		if (claim) {
			if (v->persistent_volume_claim && name_is(v->persistent_volume_claim->claim_name, name))
				return true;
			continue;
		}
		if (secret && v->secret && name_is(v->secret->secret_name, name))
			return true;
		if (!secret && v->config_map && v->config_map->local_object_reference &&
				name_is(v->config_map->local_object_reference->name, name))
			return true;
		if (projected_uses(v->projected, secret, name))
			return true;
	}
	if (claim)
		return false;
	for (size_t i = 0; secret && i < spec->n_image_pull_secrets; i++)
		if (name_is(spec->image_pull_secrets[i]->name, name))
			return true;
	return env_uses(spec->containers, spec->n_containers, secret, name) ||
	       env_uses(spec->init_containers, spec->n_init_containers, secret, name);
}

/* Is there a pod of this node in the namespace that refers to the object (or runs as that service account)? */
static bool node_pod_matches(struct api_request *req, struct str node, const struct api_attrs *at, bool account)
{
	const struct resource *pods = resource_find("", "v1", "pods");
	struct str prefix = storage_prefix(&req->arena, pods, at->ns), end = storage_end(&req->arena, prefix);
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;
	bool found = false;

	if (at->ns.n == 0 || at->name.n == 0 || store_view_open(req->srv->store, &v, &e) < 0)
		return false;
	view_iter_init(&it, v, prefix, end, 0, 0);
	while (!found && view_iter_next(&it, &kv, &e) > 0) {
		struct arena a;
		Core__Pod *pod;
		struct str raw;

		if (!storage_unwrap(kv.value, &raw) || !str_eq(pod_node(raw), node))
			continue;
		arena_init(&a);
		pod = pb_unpack(&a, &core__pod__descriptor, raw);
		if (pod && pod->spec)
			found = account ? name_is(pod->spec->service_account_name, at->name) :
					  pod_uses(pod->spec, at->resource, at->name);
		arena_fini(&a);
	}
	view_iter_fini(&it);
	store_view_close(v);
	return found;
}

static bool own_pod(struct api_request *req, struct str node, const struct api_attrs *at)
{
	const struct resource *pods = resource_find("", "v1", "pods");
	struct err e = ERR_INIT;
	struct str raw;
	uint64_t rv;

	/* A pod that is gone may be asked for: the answer is 404, which tells nothing. */
	if (storage_load(req->srv->store, &req->arena, storage_key(&req->arena, pods, at->ns, at->name), &raw, &rv, &e) < 0)
		return e.code == ERR_NOT_FOUND && req->fresh;
	return str_eq(pod_node(raw), node);
}

static bool selects_node(struct str selector, struct str node)
{
	struct str term, key, value, rest = selector;

	while (rest.n > 0) {
		str_cut(rest, ',', &term, &rest);
		if (!str_cut(term, '=', &key, &value) || !str_eqc(str_trim(key), "spec.nodeName"))
			continue;
		if (value.n > 0 && value.p[0] == '=')
			value = str_skip(value, 1);
		return str_eq(str_trim(value), node);
	}
	return false;
}

static bool node_allows(struct api_request *req, struct str node, const struct api_attrs *at, struct str selector,
		bool *ret_stale)
{
	for (size_t i = 0; i < ARRAY_LEN(node_rows); i++) {
		const struct node_row *r = &node_rows[i];
		bool ok = false;

		if (!(r->verbs & (1u << at->verb)) || !str_eqc(at->group, r->group) || !str_eqc(at->resource, r->resource) ||
				!str_eqc(at->sub, r->sub))
			continue;
		switch (r->how) {
		case NODE_ANY:
			return true;
		case NODE_SELF:
			ok = str_eq(at->name, node);
			break;
		case NODE_LEASE:
			ok = str_eqc(at->ns, "kube-node-lease") && (at->verb == API_CREATE || str_eq(at->name, node));
			break;
		case NODE_POD_LIST:
			ok = selects_node(selector, node);
			break;
		case NODE_SELF_POD:
			ok = own_pod(req, node, at);
			*ret_stale = !ok;
			break;
		case NODE_POD_USES:
		case NODE_TOKEN:
			ok = node_pod_matches(req, node, at, r->how == NODE_TOKEN);
			*ret_stale = !ok;
			break;
		}
		if (ok)
			return true;
	}
	return false;
}

/* What anyone with credentials may ask about himself. */
static bool self_review(const struct api_attrs *at)
{
	return at->verb == API_CREATE &&
	       ((str_eqc(at->group, "authorization.k8s.io") && (str_eqc(at->resource, "selfsubjectaccessreviews") ||
									 str_eqc(at->resource, "selfsubjectrulesreviews"))) ||
			       (str_eqc(at->group, "authentication.k8s.io") && str_eqc(at->resource, "selfsubjectreviews")));
}

enum authz_verdict authz_check(struct api_request *req, const struct api_user *u, const struct api_attrs *at,
		struct str field_selector, bool *ret_stale)
{
	static const char *const components[] = {"system:kube-controller-manager", "system:kube-scheduler"};
	bool known = !api_user_in_group(u, "system:unauthenticated");
	struct str node = authz_node_name(u);

	*ret_stale = false;
	if (api_user_in_group(u, "system:masters"))
		return AUTHZ_ALLOW;
	if (!at->is_resource && at->verb == API_GET &&
			(api_path_public(at->path) || (known && api_path_discovery(at->path))))
		return AUTHZ_ALLOW;
	if (!known)
		return AUTHZ_DENY;
	if (self_review(at))
		return AUTHZ_ALLOW;
	for (size_t i = 0; i < ARRAY_LEN(components); i++)
		if (str_eqc(u->name, components[i]))
			return AUTHZ_ALLOW;
	if (node.n > 0 && at->is_resource && node_allows(req, node, at, field_selector, ret_stale))
		return AUTHZ_ALLOW;
	return AUTHZ_DENY;
}

struct str authz_text(struct arena *a, const struct api_user *u, const struct api_attrs *at)
{
	struct str scope;

	if (!at->is_resource)
		return arena_sprintf(a, "User \"%.*s\" cannot %s path \"%.*s\"", STR_FMT(u->name),
				at->verb == API_OTHER ? "use" : api_verb_name(at->verb), STR_FMT(at->path));
	scope = at->ns.n > 0 ? arena_sprintf(a, "in the namespace \"%.*s\"", STR_FMT(at->ns)) : STR("at the cluster scope");
	return arena_sprintf(a, "User \"%.*s\" cannot %s resource \"%.*s%s%.*s\" in API group \"%.*s\" %.*s",
			STR_FMT(u->name), api_verb_name(at->verb), STR_FMT(at->resource), at->sub.n ? "/" : "",
			STR_FMT(at->sub), STR_FMT(at->group), STR_FMT(scope));
}

/* "Impersonate-User": only who may do everything may be somebody else. */
static enum step_result impersonate(struct api_request *req)
{
	struct str name = http_header_get(&req->headers, "impersonate-user");
	struct api_user u = {.method = "impersonated"};

	if (name.n == 0 || req->local)
		return STEP_NEXT;
	if (!api_user_in_group(&req->user, "system:masters"))
		return api_fail(req, ERR_FORBIDDEN,
				"users \"%.*s\" is forbidden: User \"%.*s\" cannot impersonate resource \"users\" in API "
				"group \"\" at the cluster scope",
				STR_FMT(name), STR_FMT(req->user.name));
	u.name = name;
	u.groups = arena_new_array(&req->arena, struct str, req->headers.n + 1);
	for (size_t i = 0; i < req->headers.n; i++)
		if (str_ieq(req->headers.h[i].name, STR("impersonate-group")))
			u.groups[u.n_groups++] = req->headers.h[i].value;
	u.groups[u.n_groups++] = STR("system:authenticated");
	req->user = u;
	return STEP_NEXT;
}

enum step_result api__authorize(struct api_request *req)
{
	bool stale = false;

	if (impersonate(req) != STEP_NEXT)
		return STEP_FAIL;
	if (req->local || authz_check(req, &req->user, &req->at, req->opt.field_selector, &stale) == AUTHZ_ALLOW) {
		req->fresh = false;
		return STEP_NEXT;
	}
	if (stale && api_refresh(req))
		return STEP_WAIT;
	api_count(req->srv, COUNT_authz_denials);
	/* Strangers have only a few paths (as with upstream's AnonymousAuthConfig): elsewhere they must say who they are. */
	if (api_user_in_group(&req->user, "system:unauthenticated"))
		return api_fail(req, ERR_UNAUTHORIZED, "Unauthorized");
	if (!req->at.is_resource)
		return api_fail(req, ERR_FORBIDDEN, "forbidden: %.*s",
				STR_FMT(authz_text(&req->arena, &req->user, &req->at)));
	req->fail.has_details = true;
	req->fail.name = req->at.name;
	req->fail.group = req->at.group;
	req->fail.kind = req->at.resource;
	return api_fail(req, ERR_FORBIDDEN, "%.*s%s%.*s%s%.*s%s is forbidden: %.*s", STR_FMT(req->at.resource),
			req->at.group.n ? "." : "", STR_FMT(req->at.group), req->at.name.n ? " \"" : "",
			STR_FMT(req->at.name), req->at.name.n ? "\"" : "",
			STR_FMT(authz_text(&req->arena, &req->user, &req->at)));
}
