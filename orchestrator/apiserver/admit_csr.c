/*
 * CertificateSigningRequests: who approves must be allowed to "approve" for the signer, who signs to "sign"; and nobody gets a client
 * certificate of system:masters from the signer for API clients.
 */
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/authz_node.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/client/csr.h"
#include "proto/json.h"
#include "proto/resource.h"


static enum step_result may(struct api_request *req, const char *verb, struct str name, bool *ret_allowed)
{
	struct authz_attrs at = {.is_resource = true, .verb = str_from(verb), .group = STR("certificates.k8s.io"), .version = STR("*"),
			.resource = STR("signers"), .name = name};

	return authz_may(req, &at, ret_allowed);
}

static enum step_result may_for_signer(struct api_request *req, const char *verb)
{
	struct str signer = json_str(json_getp(req->old, "spec.signerName")), domain, path;
	enum step_result r;
	bool allowed;

	if (req->local)
		return STEP_NEXT;
	str_cut(signer, '/', &domain, &path);
	r = may(req, verb, signer, &allowed);
	if (r == STEP_NEXT && !allowed)
		r = may(req, verb, arena_sprintf(&req->arena, "%.*s/*", STR_FMT(domain)), &allowed);
	if (r != STEP_NEXT || allowed)
		return r;
	return api_fail_forbidden(req, req->res, req->at.name, "user not permitted to %s requests with signerName \"%.*s\"", verb,
			STR_FMT(signer));
}

enum step_result admit_csr_approval(struct api_request *req)
{
	return may_for_signer(req, "approve");
}

static bool same(const struct json *a, const struct json *b)
{
	return (json_is_null(a) && json_is_null(b)) || (a && b && json_equal(a, b));
}

enum step_result admit_csr_signing(struct api_request *req)
{
	if (same(json_getp(req->old, "status.certificate"), json_getp(req->obj, "status.certificate")) &&
			same(json_getp(req->old, "status.conditions"), json_getp(req->obj, "status.conditions")))
		return STEP_NEXT;
	return may_for_signer(req, "sign");
}

enum step_result admit_csr_subject(struct api_request *req)
{
	struct x509_info info;
	struct str pem;

	if (!json_eqc(json_getp(req->obj, "spec.signerName"), CSR_SIGNER_CLIENT) ||
			!api_base64_decode(&req->arena, json_str(json_getp(req->obj, "spec.request")), &pem) ||
			x509_info_from_csr(pem, &req->arena, &info, NULL) < 0)
		return STEP_NEXT;
	for (size_t i = 0; i < info.n_orgs; i++)
		if (str_eqc(info.orgs[i], "system:masters"))
			return api_fail_forbidden(req, req->res, api_name(req->obj),
					"use of " CSR_SIGNER_CLIENT " signer with system:masters group is not allowed");
	return STEP_NEXT;
}

/* --- Nodes' own requests ------------------------------------------------------------------------------------- */

static bool request_of(struct api_request *req, struct csr *c)
{
	const struct json *usages = json_getp(req->obj, "spec.usages");

	*c = (struct csr){.seconds = json_i64_or(json_getp(req->obj, "spec.expirationSeconds"), 0)};
	c->usages = arena_new_array(&req->arena, struct str, json_len(usages) + 1);
	JSON_ITEMS (u, usages)
		c->usages[c->n_usages++] = json_str(u);
	return api_base64_decode(&req->arena, json_str(json_getp(req->obj, "spec.request")), &c->pem);
}

static void approve(struct api_request *req, const char *message)
{
	struct arena *a = &req->arena;
	struct json *c = json_new_object(a), *list = json_new_array(a);

	json_setc(a, c, "type", json_newc(a, "Approved"));
	json_setc(a, c, "status", json_newc(a, "True"));
	json_setc(a, c, "reason", json_newc(a, "AutoApproved"));
	json_setc(a, c, "message", json_newc(a, message));
	json_setc(a, c, "lastUpdateTime", api_now(a));
	json_setc(a, c, "lastTransitionTime", api_now(a));
	json_push(a, list, c);
	json_setp(a, req->obj, "status.conditions", list);
}

static enum step_result may_create(struct api_request *req, const char *sub, bool *ret_allowed)
{
	struct authz_attrs at = {.is_resource = true, .verb = STR("create"), .group = STR("certificates.k8s.io"), .version = STR("*"),
			.resource = STR("certificatesigningrequests"), .sub = str_from(sub)};

	return authz_may(req, &at, ret_allowed);
}

static bool has_address(const struct json *node, struct str ip)
{
	JSON_ITEMS (it, json_getp(node, "status.addresses"))
		if (str_eq(json_str(json_getc(it, "address")), ip))
			return true;
	return false;
}

/* Does the request come from there? From loopback: from this very machine, which has our own address. */
static bool comes_from(const struct api_request *req, struct str ip)
{
	ptrdiff_t colon = str_rfind(req->remote, ':');
	struct str remote = colon > 0 ? str_sub(req->remote, 0, (size_t)colon) : req->remote;
	const char *own = req->srv->cfg.advertise;

	return str_eq(remote, ip) || (str_has_prefix(remote, STR("127.")) && own && str_eqc(ip, own));
}

/*
 * A node may serve under its own name, and at an address that is both in its Node object and where it speaks to us from: it writes the
 * first itself, so that alone would let it pass itself off as another, or as the API.
 */
static bool serves_as_itself(struct api_request *req, const struct json *node, const struct x509_info *info)
{
	bool all = node != NULL;

	for (size_t i = 0; all && i < info->n_dns; i++)
		all = str_eq(info->dns[i], api_name(node));
	for (size_t i = 0; all && i < info->n_ips; i++)
		all = has_address(node, info->ips[i]) && comes_from(req, info->ips[i]);
	return all;
}

/* For oneself, or as somebody who may ask for any node (a bootstrap token). */
static enum step_result approve_client(struct api_request *req, bool itself)
{
	enum step_result r = STEP_NEXT;
	bool allowed = false;

	if (itself)
		r = may_create(req, "selfnodeclient", &allowed);
	if (r == STEP_NEXT && allowed) {
		approve(req, "Auto approving self kubelet client certificate after SubjectAccessReview.");
		return r;
	}
	if (r == STEP_NEXT)
		r = may_create(req, "nodeclient", &allowed);
	if (r == STEP_NEXT && allowed)
		approve(req, "Auto approving kubelet client certificate after SubjectAccessReview.");
	return r;
}

enum step_result admit_csr_approve(struct api_request *req)
{
	enum csr_signer signer = csr_signer_of(json_str(json_getp(req->obj, "spec.signerName")));
	struct x509_info info;
	struct json *node;
	struct csr c;
	enum step_result r;

	if ((signer != CSR_KUBELET_CLIENT && signer != CSR_KUBELET_SERVING) || !request_of(req, &c) ||
			csr_check(&req->arena, signer, &c, &info, NULL) < 0)
		return STEP_NEXT;
	if (signer == CSR_KUBELET_CLIENT)
		return approve_client(req, str_eq(info.cn, req->user.name));
	if (!str_eq(info.cn, req->user.name) || authz_node_name(&req->user).n == 0)
		return STEP_NEXT;
	r = admission_object(req, "", "nodes", STR_NULL, authz_node_name(&req->user), &node);
	if (r == STEP_NEXT && serves_as_itself(req, node, &info))
		approve(req, "Auto approving kubelet serving certificate: its names are the node's.");
	return r;
}
