/*
 * NodeRestriction: a node's credentials write only about the node itself and its own pods, and not what schedulers and
 * administrators rely on (its restricted labels, its taints). TaintNodesByCondition: a new node is not ready until the
 * node lifecycle controller has seen it so.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz_node.h"
#include "orchestrator/apiserver/node_graph.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/json.h"
#include "proto/resource.h"

#define MIRROR "kubernetes.io/config.mirror"

/* The node who asks; empty: it is no node, and nothing here concerns it. */
static struct str asker(const struct api_request *req)
{
	if (req->local || api_user_in_group(&req->user, "system:masters"))
		return STR_NULL;
	return authz_node_name(&req->user);
}

/* --- The node object --------------------------------------------------------------------------------------- */

/* Labels in kubernetes.io or k8s.io that a node may set on itself; all others of those domains are not its own to say. */
static bool label_allowed(struct str key)
{
	static const char *const exact[] = {"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os",
			"beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "beta.kubernetes.io/os",
			"beta.kubernetes.io/arch", "failure-domain.beta.kubernetes.io/zone",
			"failure-domain.beta.kubernetes.io/region", "failure-domain.kubernetes.io/zone",
			"failure-domain.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
			"node.kubernetes.io/windows-build"};
	static const char *const domains[] = {"kubelet.kubernetes.io", "node.kubernetes.io"};
	struct str domain, name;

	if (!str_cut(key, '/', &domain, &name))
		return true;
	if (!str_eqc(domain, "kubernetes.io") && !str_has_suffix(domain, STR(".kubernetes.io")) &&
			!str_eqc(domain, "k8s.io") && !str_has_suffix(domain, STR(".k8s.io")))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(exact); i++)
		if (str_eqc(key, exact[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(domains); i++)
		if (str_eqc(domain, domains[i]) ||
				(str_has_suffix(domain, str_from(domains[i])) && domain.p[domain.n - strlen(domains[i]) - 1] == '.'))
			return true;
	return false;
}

/* As which role our own servers register, and nobody else: who runs where control planes run gets what is meant for them. */
static bool is_server(struct api_request *req, struct str node)
{
	struct kv_status *st = xmalloc(sizeof(*st));
	bool found = false;

	kv_status(req->srv->kv, st);
	for (size_t i = 0; i < st->n_members; i++)
		found = found || str_eqc(node, st->members[i].name);
	free(st);
	return found;
}

static bool own_role(struct str key)
{
	return str_eqc(key, "node-role.kubernetes.io/control-plane");
}

/* Those that a node may not say of itself. *ret_role: also the one that only servers may. */
static struct str changed_labels(struct api_request *req, bool *ret_role)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	const struct json *old = json_getp(req->old, "metadata.labels"), *new = json_getp(req->obj, "metadata.labels");

	*ret_role = false;
	JSON_MEMBERS (m, new) {
		if (label_allowed(m->key) || (json_get(old, m->key) && json_equal(json_get(old, m->key), m->value)))
			continue;
		if (own_role(m->key))
			*ret_role = true;
		else
			buf_printf(&out, "%s%.*s", out.n ? ", " : "", STR_FMT(m->key));
	}
	JSON_MEMBERS (m, old) {
		if (label_allowed(m->key) || json_get(new, m->key))
			continue;
		if (own_role(m->key))
			*ret_role = true;
		else
			buf_printf(&out, "%s%.*s", out.n ? ", " : "", STR_FMT(m->key));
	}
	return arena_str(&req->arena, buf_str(&out));
}

enum step_result admit_node_self(struct api_request *req)
{
	struct str node = asker(req), name = req->at.name.n ? req->at.name : api_name(req->obj), labels;
	bool role;

	if (node.n == 0)
		return STEP_NEXT;
	if (!str_eq(name, node))
		return api_fail_forbidden(req, req->res, name, "node \"%.*s\" is not allowed to modify node \"%.*s\"", STR_FMT(node),
				STR_FMT(name));
	labels = changed_labels(req, &role);
	if (labels.n == 0 && role && !is_server(req, node)) {
		/* It may have joined a moment ago. */
		if (api_refresh(req))
			return STEP_WAIT;
		labels = STR("node-role.kubernetes.io/control-plane");
	}
	if (labels.n > 0)
		return api_fail_forbidden(req, req->res, name, "node \"%.*s\" is not allowed to modify labels: %.*s", STR_FMT(node),
				STR_FMT(labels));
	if (req->old) {
		const struct json *was = json_getp(req->old, "spec.taints"), *is = json_getp(req->obj, "spec.taints");

		if (json_len(was) != json_len(is) || (json_len(is) > 0 && !json_equal(was, is)))
			return api_fail_forbidden(req, req->res, name, "node \"%.*s\" is not allowed to modify taints",
					STR_FMT(node));
		if (!json_equal(json_getp(req->old, "metadata.ownerReferences"), json_getp(req->obj, "metadata.ownerReferences")) &&
				json_len(json_getp(req->obj, "metadata.ownerReferences")) > 0)
			return api_fail_forbidden(req, req->res, name, "node \"%.*s\" is not allowed to modify ownerReferences",
					STR_FMT(node));
	}
	return STEP_NEXT;
}

enum step_result admit_node_taint(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *spec = json_object_at(a, req->obj, "spec"), *taints = json_getc(spec, "taints"), *t;

	if (!spec)
		return STEP_NEXT;
	if (!json_is(taints, JSON_ARRAY)) {
		taints = json_new_array(a);
		json_setc(a, spec, "taints", taints);
	}
	JSON_ITEMS (it, taints)
		if (json_eqc(json_getc(it, "key"), "node.kubernetes.io/not-ready") &&
				json_eqc(json_getc(it, "effect"), "NoSchedule"))
			return STEP_NEXT;
	t = json_new_object(a);
	json_setc(a, t, "key", json_newc(a, "node.kubernetes.io/not-ready"));
	json_setc(a, t, "effect", json_newc(a, "NoSchedule"));
	json_push(a, taints, t);
	return STEP_NEXT;
}

/* --- Pods ---------------------------------------------------------------------------------------------------- */

/*
 * What a pod refers to its node may read, so a node's own pods refer to nothing at all: what the graph would make of it (node_graph.h) is one edge,
 * to the pod itself.
 */
static bool refers_to_something(struct api_request *req)
{
	struct node_graph *g = node_graph_new();
	struct err e = ERR_INIT;
	struct str raw;
	bool found = true;

	if (api_dom_encode(&req->arena, resource_type(req->res), req->obj, &raw, &e) == 0) {
		node_graph_pod(g, req->at.ns, api_name(req->obj), STR_NULL, raw);
		found = node_graph_edges(g) != 1;
	}
	node_graph_free(g);
	return found || json_len(json_getp(req->obj, "spec.resourceClaims")) > 0;
}

/* It goes with its node, and with nothing else. */
static const char *wrong_owner(const struct json *obj, struct str node)
{
	const struct json *owners = json_getp(obj, "metadata.ownerReferences"), *o = json_at(owners, 0);

	if (json_len(owners) != 1)
		return "with exactly one owner reference, to itself";
	if (!json_eqc(json_getc(o, "apiVersion"), "v1") || !json_eqc(json_getc(o, "kind"), "Node") || !str_eq(json_str(json_getc(o, "name")), node))
		return "with an owner reference set to itself";
	if (!json_true(json_getc(o, "controller")))
		return "with a controller reference set to itself";
	return json_true(json_getc(o, "blockOwnerDeletion")) ? "that do not block the deletion of their owner" : NULL;
}

static enum step_result mirror_pod(struct api_request *req, struct str node)
{
	const struct json *spec = json_getc(req->obj, "spec");
	static const char *const refs[] = {"secret", "configMap", "persistentVolumeClaim", "projected"};
	const char *owner = wrong_owner(req->obj, node);

	if (admission_annotation(req->obj, MIRROR).n == 0)
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"pod does not have \"" MIRROR "\" annotation, node \"%.*s\" can only create mirror pods", STR_FMT(node));
	if (!str_eq(json_str(json_getc(spec, "nodeName")), node))
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"node \"%.*s\" can only create pods with spec.nodeName set to itself", STR_FMT(node));
	if (json_str(json_getc(spec, "serviceAccountName")).n > 0)
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"node \"%.*s\" can not create pods that reference a service account", STR_FMT(node));
	JSON_ITEMS (v, json_getc(spec, "volumes"))
		for (size_t i = 0; i < ARRAY_LEN(refs); i++)
			if (!json_is_null(json_getc(v, refs[i])))
				return api_fail_forbidden(req, req->res, api_name(req->obj),
						"node \"%.*s\" can not create pods that reference %ss", STR_FMT(node), refs[i]);
	if (refers_to_something(req))
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"node \"%.*s\" can not create pods that reference secrets, configmaps or claims", STR_FMT(node));
	if (owner)
		return api_fail_forbidden(req, req->res, api_name(req->obj), "node \"%.*s\" can only create pods %s", STR_FMT(node), owner);
	return STEP_NEXT;
}

enum step_result admit_node_pod(struct api_request *req)
{
	struct str node = asker(req);
	const struct json *is = req->old ? req->old : req->obj;

	if (node.n == 0)
		return STEP_NEXT;
	if (req->subres && !str_eqc(req->at.sub, "status"))
		return api_fail_forbidden(req, req->res, req->at.name,
				"unexpected pod subresource \"%.*s\", only 'status' and 'eviction' are allowed", STR_FMT(req->at.sub));
	if (!req->old)
		return mirror_pod(req, node);
	if (!str_eq(json_str(json_getp(is, "spec.nodeName")), node))
		return api_fail_forbidden(req, req->res, req->at.name, "node \"%.*s\" can only %s with spec.nodeName set to itself",
				STR_FMT(node), req->at.verb == API_DELETE ? "delete pods" : "update pod status for pods");
	if (req->at.verb == API_DELETE)
		return STEP_NEXT;
	if (!req->subres)
		return api_fail_forbidden(req, req->res, req->at.name, "unexpected operation \"UPDATE\", node \"%.*s\" can only create "
								       "and delete mirror pods",
				STR_FMT(node));
	if (!json_equal(json_getp(req->old, "metadata.labels"), json_getp(req->obj, "metadata.labels")) &&
			json_len(json_getp(req->obj, "metadata.labels")) + json_len(json_getp(req->old, "metadata.labels")) > 0)
		return api_fail_forbidden(req, req->res, req->at.name, "node \"%.*s\" cannot update labels through pod status",
				STR_FMT(node));
	return STEP_NEXT;
}

enum step_result admit_node_token(struct api_request *req, const struct json *pod)
{
	struct str node = asker(req);

	if (node.n == 0)
		return STEP_NEXT;
	if (!pod)
		return api_fail_forbidden(req, req->res, req->at.name, "node requested token not bound to a pod");
	if (json_strp(req->sent, "spec.boundObjectRef.uid").n == 0)
		return api_fail_forbidden(req, req->res, req->at.name, "node requested token with a pod binding without a uid");
	if (!str_eq(json_strp(pod, "spec.nodeName"), node))
		return api_fail_forbidden(req, req->res, req->at.name,
				"node requested token bound to a pod scheduled on a different node");
	return STEP_NEXT;
}

/* Leases of nodes and CSINodes: under the node's own name. */
enum step_result admit_node_lease(struct api_request *req)
{
	struct str node = asker(req), name = req->at.name.n ? req->at.name : api_name(req->obj);

	if (node.n == 0 || (str_eq(name, node) && (!req->res->namespaced || str_eqc(req->at.ns, "kube-node-lease"))))
		return STEP_NEXT;
	if (req->res->namespaced && !str_eqc(req->at.ns, "kube-node-lease"))
		return api_fail_forbidden(req, req->res, name,
				"can only access leases in the \"kube-node-lease\" system namespace");
	return api_fail_forbidden(req, req->res, name, "can only access %s with the same name as the requesting node",
			req->res->namespaced ? "node lease" : "CSINode");
}
