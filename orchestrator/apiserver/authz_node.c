#include "orchestrator/apiserver/authz_node.h"

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/node_graph.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/ingress/ingress_routes.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "store/view.h"


struct str authz_node_name(const struct api_user *u)
{
	struct str prefix = STR("system:node:");

	if (!str_has_prefix(u->name, prefix) || !api_user_in_group(u, "system:nodes"))
		return STR_NULL;
	return str_skip(u->name, prefix.n);
}

/* Words of a space-separated list. */
static bool listed(const char *list, struct str word)
{
	struct str one, rest = str_from(list);

	while (rest.n > 0) {
		str_cut(rest, ' ', &one, &rest);
		if (str_eq(one, word))
			return true;
	}
	return false;
}

/* --- Rules that hold for every node -------------------------------------------------------------------------- */

static const struct {
	const char *group, *resources, *verbs;
} rules[] = {
		{"authentication.k8s.io", "tokenreviews", "create"},
		{"authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews", "create"},
		{"", "services", "get list watch"},
		{"", "events", "create update patch"},
		{"", "endpoints", "get"},
		{"", "persistentvolumeclaims/status", "get update patch"},
		{"certificates.k8s.io", "certificatesigningrequests", "create get list watch"},
		{"certificates.k8s.io", "clustertrustbundles", "get list watch"},
		{"storage.k8s.io", "csidrivers", "get list watch"},
		{"storage.k8s.io", "csinodes", "create delete get patch update"},
		{"node.k8s.io", "runtimeclasses", "get list watch"},
};

static bool rules_allow(struct api_request *req, const struct authz_attrs *at)
{
	struct str what = at->sub.n ? arena_sprintf(&req->arena, "%.*s/%.*s", STR_FMT(at->resource), STR_FMT(at->sub)) :
				      at->resource;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (str_eqc(at->group, rules[i].group) && listed(rules[i].resources, what) &&
				listed(rules[i].verbs, at->verb))
			return true;
	return false;
}

/* --- Checks of single resources -------------------------------------------------------------------------------- */

struct question {
	struct api_request *req;
	const struct node_graph *graph;
	struct str node;
	const struct authz_attrs *at;
	struct str reason;
};

static bool no(struct question *q, const char *reason)
{
	q->reason = str_from(reason);
	return false;
}

static bool no_relationship(struct question *q)
{
	q->reason = arena_sprintf(&q->req->arena, "no relationship found between node '%.*s' and this object",
			STR_FMT(q->node));
	return false;
}

static bool related(struct question *q, enum node_edge kind)
{
	return node_graph_has(q->graph, q->node, kind, q->at->ns, q->at->name) || no_relationship(q);
}

/* Secrets and configmaps: also a list or watch, of one name. */
static bool read_object(struct question *q, enum node_edge kind)
{
	if (!listed("get list watch", q->at->verb))
		return no(q, "can only read resources of this type");
	if (q->at->sub.n > 0)
		return no(q, "cannot read subresource");
	if (q->at->ns.n == 0)
		return no(q, "can only read namespaced object of this type");
	if (q->at->name.n == 0)
		return no(q, "No Object name found");
	return related(q, kind);
}

/* IngressClass: {2 spec {1 controller}}. */
static bool class_is_ours(struct question *q, const char *name)
{
	const struct resource *res = resource_find("networking.k8s.io", "v1", "ingressclasses");
	struct arena *a = &q->req->arena;
	struct err e = ERR_INIT;
	struct str raw;
	uint64_t rv;

	return name && storage_load(q->req->srv->store, a, storage_key(a, res, STR_NULL, str_from(name)), &raw, &rv, &e) == 0 &&
	       str_eqc(storage_field(storage_field(raw, 2), 1), INGRESS_CONTROLLER);
}

static bool names_secret(const Networking__Ingress *i, struct str secret)
{
	for (size_t k = 0; i && i->spec && k < i->spec->n_tls; k++)
		if (str_eqc(secret, pb_s(i->spec->tls[k]->secret_name)))
			return true;
	return false;
}

/* Every node serves the Ingresses of our classes: it needs the certificates that they name, and no other Secrets. */
static bool is_certificate(struct question *q)
{
	const struct resource *res = resource_find("networking.k8s.io", "v1", "ingresses");
	struct arena *a = &q->req->arena;
	struct str prefix = storage_prefix(a, res, q->at->ns), raw;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;
	bool found = false;

	if (store_view_open(q->req->srv->store, &v, &e) < 0)
		return false;
	view_iter_init(&it, v, prefix, storage_end(a, prefix), 0, 0);
	while (!found && view_iter_next(&it, &kv, &e) > 0) {
		const Networking__Ingress *i = storage_unwrap_key(a, kv.key, kv.value, &raw) ?
				pb_unpack(a, &networking__ingress__descriptor, raw) : NULL;

		found = names_secret(i, q->at->name) && class_is_ours(q, ingress_class(i));
	}
	view_iter_fini(&it);
	store_view_close(v);
	return found;
}

static bool check_secret(struct question *q)
{
	if (read_object(q, EDGE_SECRET))
		return true;
	if (q->at->sub.n > 0 || q->at->ns.n == 0 || q->at->name.n == 0 || !listed("get list watch", q->at->verb) || !is_certificate(q))
		return false;
	q->reason = STR_NULL;
	return true;
}

static bool check_configmap(struct question *q)
{
	return read_object(q, EDGE_CONFIGMAP);
}

static bool get_object(struct question *q)
{
	if (!str_eqc(q->at->verb, "get") || q->at->name.n == 0)
		return no(q, "can only get individual resources of this type");
	if (q->at->sub.n > 0)
		return no(q, "cannot get subresource");
	return true;
}

static bool check_claim(struct question *q)
{
	if (str_eqc(q->at->sub, "status")) {
		if (!listed("get update patch", q->at->verb) || q->at->name.n == 0)
			return no(q, "can only update status of this type");
		return related(q, EDGE_CLAIM);
	}
	return get_object(q) && related(q, EDGE_CLAIM);
}

static bool stored(struct question *q, const char *group, const char *plural, struct str ns, struct str *ret_raw)
{
	const struct resource *res = resource_find(group, "v1", plural);
	struct err e = ERR_INIT;
	uint64_t rv;

	return storage_load(q->req->srv->store, &q->req->arena, storage_key(&q->req->arena, res, ns, q->at->name), ret_raw,
			       &rv, &e) == 0;
}

/* A volume is the node's when its claim is; PersistentVolume: {2 spec {4 claimRef {2 namespace, 3 name}}}. */
static bool check_volume(struct question *q)
{
	struct str raw, ref;

	if (!get_object(q))
		return false;
	if (!stored(q, "", "persistentvolumes", STR_NULL, &raw))
		return no_relationship(q);
	ref = storage_field(storage_field(raw, 2), 4);
	return node_graph_has(q->graph, q->node, EDGE_CLAIM, storage_field(ref, 2), storage_field(ref, 3)) ||
	       no_relationship(q);
}

/* VolumeAttachment: {2 spec {3 nodeName}}. */
static bool check_attachment(struct question *q)
{
	struct str raw;

	if (!get_object(q))
		return false;
	return (stored(q, "storage.k8s.io", "volumeattachments", STR_NULL, &raw) &&
			       str_eq(storage_field(storage_field(raw, 2), 3), q->node)) ||
	       no_relationship(q);
}

static bool check_account(struct question *q)
{
	if (q->at->sub.n == 0 && str_eqc(q->at->verb, "get"))
		return get_object(q) && related(q, EDGE_ACCOUNT);
	if (!str_eqc(q->at->verb, "create") || q->at->name.n == 0)
		return no(q, "can only create tokens for individual service accounts");
	if (!str_eqc(q->at->sub, "token"))
		return no(q, "can only create token subresource of serviceaccount");
	return related(q, EDGE_ACCOUNT);
}

static bool check_lease(struct question *q)
{
	if (!listed("get create update patch delete", q->at->verb))
		return no(q, "can only get, create, update, patch, or delete a node lease");
	if (!str_eqc(q->at->ns, "kube-node-lease"))
		return no(q, "can only access leases in the \"kube-node-lease\" system namespace");
	if (!str_eqc(q->at->verb, "create") && !str_eq(q->at->name, q->node))
		return no(q, "can only access node lease with the same name as the requesting node");
	return true;
}

static bool check_node(struct question *q)
{
	if (q->at->sub.n > 0 && !str_eqc(q->at->sub, "status"))
		return false;
	if (listed(q->at->sub.n ? "update patch" : "create update patch", q->at->verb))
		return true;
	if (listed("get list watch", q->at->verb) && str_eq(q->at->name, q->node))
		return true;
	if (str_eqc(q->at->verb, "get"))
		q->reason = arena_sprintf(&q->req->arena, "node '%.*s' cannot read '%.*s', only its own Node object",
				STR_FMT(q->node), STR_FMT(q->at->name));
	else if (listed("list watch", q->at->verb))
		q->reason = arena_sprintf(&q->req->arena, "node '%.*s' cannot read all nodes, only its own Node object",
				STR_FMT(q->node));
	return false;
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

static bool own_pod(struct question *q)
{
	struct str raw;

	if (node_graph_has(q->graph, q->node, EDGE_POD, q->at->ns, q->at->name))
		return true;
	/* A pod that is gone may be asked for: the answer is 404, which tells nothing. */
	if (q->at->name.n > 0 && q->req->fresh && !stored(q, "", "pods", q->at->ns, &raw))
		return true;
	return no_relationship(q);
}

/*
 * Every node enforces NetworkPolicies for its pods: while there are any it needs the labels and addresses of all pods that could be
 * meant by them.
 */
static bool policies_exist(struct question *q)
{
	const struct resource *res = resource_find("networking.k8s.io", "v1", "networkpolicies");
	struct arena *a = &q->req->arena;
	struct str prefix = storage_prefix(a, res, STR_NULL);
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;
	bool found;

	if (store_view_open(q->req->srv->store, &v, &e) < 0)
		return false;
	view_iter_init(&it, v, prefix, storage_end(a, prefix), 0, VIEW_KEYS_ONLY);
	found = view_iter_next(&it, &kv, &e) > 0;
	view_iter_fini(&it);
	store_view_close(v);
	return found;
}

static bool check_pod(struct question *q)
{
	struct str verb = q->at->verb;

	if (str_eqc(q->at->sub, "status"))
		return listed("get update patch", verb) && own_pod(q);
	if (str_eqc(q->at->sub, "eviction"))
		return str_eqc(verb, "create") && own_pod(q);
	if (q->at->sub.n > 0)
		return false;
	if (listed("list watch", verb))
		return selects_node(q->at->field_selector, q->node) || policies_exist(q) ||
		       no(q, "can only list/watch pods with spec.nodeName field selector");
	if (str_eqc(verb, "create"))
		return true; /* mirror pods only: admission looks */
	return listed("get delete", verb) && own_pod(q);
}

static const struct {
	const char *group, *resource;
	bool (*check)(struct question *);
} checks[] = {
		{"", "secrets", check_secret},
		{"", "configmaps", check_configmap},
		{"", "persistentvolumeclaims", check_claim},
		{"", "persistentvolumes", check_volume},
		{"storage.k8s.io", "volumeattachments", check_attachment},
		{"", "serviceaccounts", check_account},
		{"coordination.k8s.io", "leases", check_lease},
		{"", "nodes", check_node},
		{"", "pods", check_pod},
};

bool authz_node(struct api_request *req, const struct node_graph *graph, struct str node, const struct authz_attrs *at,
		struct str *ret_reason)
{
	struct question q = {.req = req, .graph = graph, .node = node, .at = at};
	bool ok;

	*ret_reason = STR_NULL;
	if (!at->is_resource)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (!str_eqc(at->group, checks[i].group) || !str_eqc(at->resource, checks[i].resource))
			continue;
		ok = checks[i].check(&q);
		*ret_reason = q.reason;
		return ok;
	}
	return rules_allow(req, at);
}
