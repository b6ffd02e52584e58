/*
 * ValidatingAdmissionPolicies: what is wrong with their expressions for the kinds that they name is told in their status. It says nothing
 * about whether a policy is carried out: the API server does that without asking.
 */
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/admission_policy.h"
#include "proto/admissionregistration.pb-c.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/schema.h"

static void set_warnings(struct reconcile *r, Admissionregistration__TypeChecking *types, const struct admission_warning *v, size_t n)
{
	types->expression_warnings = arena_new_array(r->arena, Admissionregistration__ExpressionWarning *, n);
	types->n_expression_warnings = n;
	for (size_t i = 0; i < n; i++) {
		Admissionregistration__ExpressionWarning *w = arena_new_of(r->arena, Admissionregistration__ExpressionWarning);

		admissionregistration__expression_warning__init(w);
		w->field_ref = arena_strdup(r->arena, v[i].field);
		w->warning = arena_strdup(r->arena, v[i].text);
		types->expression_warnings[i] = w;
	}
}

static void reconcile_policy(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_POLICIES, NULL, r->name);
	const Admissionregistration__ValidatingAdmissionPolicy *was = o ? informer_msg(o) : NULL;
	Admissionregistration__ValidatingAdmissionPolicyStatus *status;
	struct admission_warning *v;
	struct json *doc;
	ProtobufCMessage *copy;
	struct err e = ERR_INIT;
	size_t n;

	if (!o || o->meta->deletion_timestamp ||
			(was->status && was->status->type_checking && was->status->observed_generation == o->meta->generation))
		return;
	if (codec_wire_to_dom(r->arena, schema_type_find("admissionregistration.v1.ValidatingAdmissionPolicy"),
			    pb_pack_arena(o->msg, r->arena), NULL, &doc, &e) < 0)
		return;
	v = admission_policy_check(r->arena, doc, &n);
	copy = pb_copy(r->arena, o->msg);
	status = pb_sub(r->arena, copy, "status");
	status->has_observed_generation = true;
	status->observed_generation = o->meta->generation;
	set_warnings(r, pb_sub(r->arena, (ProtobufCMessage *)status, "type_checking"), v, n);
	plan_update_status(r, VIEW_POLICIES, copy);
}

static void map_policy(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)v;
	enqueue_key(q, o->key);
}

const struct controller_row controller_admission_policy = {
	.name = "validatingadmissionpolicy-status-controller",
	.account = "validatingadmissionpolicy-status-controller",
	.watches = {{VIEW_POLICIES, map_policy}},
	.reconcile = reconcile_policy,
};
