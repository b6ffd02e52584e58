/*
 * Signs what has been approved for one of the cluster's signers, and removes requests that have served their time. Approval of
 * nodes' own requests is the API server's (admit_csr.c): it knows who asks.
 */
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/client/csr.h"
#include "orchestrator/controllers/controller.h"
#include "proto/certificates.pb-c.h"
#include "proto/pb.h"

#define KEEP_DONE_S 3600
#define KEEP_PENDING_S (24 * 3600)
#define DEFAULT_SIGN_S (365 * 24 * 3600)

typedef Certificates__CertificateSigningRequest Csr;

static const Certificates__CertificateSigningRequestCondition *condition(const Csr *o, const char *type)
{
	for (size_t i = 0; o->status && i < o->status->n_conditions; i++)
		if (pb_streq(o->status->conditions[i]->type, type))
			return o->status->conditions[i];
	return NULL;
}

static void csr_of(struct arena *a, const Csr *o, struct csr *c)
{
	*c = (struct csr){.pem = str_of(o->spec->request.data, o->spec->request.len),
			.seconds = pb_or(o->spec, expiration_seconds, 0), .n_usages = o->spec->n_usages};
	c->usages = arena_new_array(a, struct str, c->n_usages + 1);
	for (size_t i = 0; i < c->n_usages; i++)
		c->usages[i] = str_from(o->spec->usages[i]);
}

static void set_failed(struct reconcile *r, Csr *copy, const struct err *e)
{
	Certificates__CertificateSigningRequestCondition *c = pb_add(r->arena, pb_sub(r->arena, copy, "status"), "conditions");

	c->type = "Failed";
	c->status = "True";
	c->reason = "SignerValidationFailure";
	c->message = arena_strdup(r->arena, e->text);
	c->last_update_time = c->last_transition_time = time_now(r->arena, r->now_s);
}

static void sign(struct reconcile *r, const Csr *o, enum csr_signer signer)
{
	const struct controllers_cfg *cfg = r->arg;
	Csr *copy = pb_copy(r->arena, o);
	Certificates__CertificateSigningRequestStatus *status = pb_sub(r->arena, copy, "status");
	struct x509_info info;
	struct buf pem = BUF_INIT;
	struct err e = ERR_INIT;
	struct csr c;
	struct str text;

	csr_of(r->arena, o, &c);
	if (csr_check(r->arena, signer, &c, &info, &e) < 0 ||
			csr_sign(r->arena, &c, &info, cfg->ca_cert, cfg->ca_key, cfg->sign_s ? cfg->sign_s : DEFAULT_SIGN_S, r->now_s,
					&pem, &e) < 0) {
		set_failed(r, copy, &e);
	} else {
		text = arena_str(r->arena, buf_str(&pem));
		status->has_certificate = true;
		status->certificate = (ProtobufCBinaryData){text.n, (uint8_t *)(uintptr_t)text.p};
	}
	buf_fini(&pem);
	plan_update_status(r, VIEW_CSRS, copy);
}

static void clean(struct reconcile *r, const struct informer_obj *o, const Csr *csr)
{
	bool done = condition(csr, "Denied") || condition(csr, "Failed") ||
		    (csr->status && csr->status->has_certificate && csr->status->certificate.len > 0);
	int64_t age = r->now_s - time_s(o->meta->creation_timestamp), keep = done ? KEEP_DONE_S : KEEP_PENDING_S;

	if (age >= keep)
		plan_delete(r, VIEW_CSRS, o, -1, NULL);
	else
		plan_again(r, (uint64_t)(keep - age) * 1000);
}

static void reconcile(struct reconcile *r)
{
	const struct controllers_cfg *cfg = r->arg;
	const struct informer_obj *o = view_get(r->view, VIEW_CSRS, NULL, r->name);
	const Csr *csr = informer_msg(o);
	enum csr_signer signer;

	if (!csr || !csr->spec || o->meta->deletion_timestamp)
		return;
	signer = csr_signer_of(str_from(csr->spec->signer_name));
	if (signer != CSR_OTHER && cfg->ca_key && condition(csr, "Approved") && !condition(csr, "Denied") &&
			!condition(csr, "Failed") && !(csr->status->has_certificate && csr->status->certificate.len > 0)) {
		sign(r, csr, signer);
		return;
	}
	clean(r, o, csr);
}

const struct controller_row controller_csr = {
	.name = "csrsigning-controller",
	.account = "certificate-controller",
	.watches = {{VIEW_CSRS, map_self}},
	.reconcile = reconcile,
};
