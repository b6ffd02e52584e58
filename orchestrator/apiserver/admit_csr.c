/*
 * CertificateSigningRequests: who approves must be allowed to "approve" for the signer, who signs to "sign"; and nobody gets a client
 * certificate of system:masters from the signer for API clients.
 */
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/json.h"
#include "proto/resource.h"

#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"

static bool may(struct api_request *req, const char *verb, struct str name)
{
	struct authz_attrs at = {.is_resource = true, .verb = str_from(verb), .group = STR("certificates.k8s.io"),
			.resource = STR("signers"), .name = name};
	struct authz_answer answer;

	return authz_check(req, &req->user, &at, false, &answer);
}

static enum step_result may_for_signer(struct api_request *req, const char *verb)
{
	struct str signer = json_str(json_getp(req->old, "spec.signerName")), domain, path;

	if (req->local)
		return STEP_NEXT;
	str_cut(signer, '/', &domain, &path);
	if (may(req, verb, signer) || may(req, verb, arena_sprintf(&req->arena, "%.*s/*", STR_FMT(domain))))
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
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

	if (!json_eqc(json_getp(req->obj, "spec.signerName"), CLIENT_SIGNER) ||
			!api_base64_decode(&req->arena, json_str(json_getp(req->obj, "spec.request")), &pem) ||
			x509_info_from_csr(pem, &req->arena, &info, NULL) < 0)
		return STEP_NEXT;
	for (size_t i = 0; i < info.n_orgs; i++)
		if (str_eqc(info.orgs[i], "system:masters"))
			return api_fail_forbidden(req, req->res, api_name(req->obj),
					"use of " CLIENT_SIGNER " signer with system:masters group is not allowed");
	return STEP_NEXT;
}
