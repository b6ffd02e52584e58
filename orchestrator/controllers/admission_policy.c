/*
 * ValidatingAdmissionPolicies: what is wrong with their expressions for the kinds that they name is told in their status. It says nothing
 * about whether a policy is carried out: the API server does that without asking.
 */
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/admission_policy.h"
#include "proto/admissionregistration.pb-c.h"
#include "proto/apiextensions.pb-c.h"
#include "proto/cel/cel.h"
#include "proto/codec.h"
#include "proto/custom.h"
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

/* --- Custom kinds: their definitions are in the view -------------------------------------------------------------------------- */

struct customs_of {
	struct admission_customs base;
	const struct view *view;
};

static void def_gone(void *def)
{
	custom_def_unref(def);
}

static bool is_named(const struct informer_obj *o, struct str group, struct str plural, struct str kind)
{
	const Apiextensions__CustomResourceDefinition *crd = informer_msg(o);
	const Apiextensions__CustomResourceDefinitionNames *names = crd->spec ? crd->spec->names : NULL;

	return names && str_eqc(group, pb_s(crd->spec->group)) && (plural.n > 0 ? str_eqc(plural, pb_s(names->plural)) : str_eqc(kind, pb_s(names->kind)));
}

static bool find_custom(struct admission_customs *base, struct arena *a, struct str group, struct str version, struct str plural, struct str kind,
		struct admission_kind *ret)
{
	INFORMER_FOR_EACH (o, container_of(base, struct customs_of, base)->view->inf[VIEW_CRDS]) {
		const struct custom *c;
		struct custom_def *def;
		struct json *doc;

		if (!is_named(o, group, plural, kind) || codec_wire_to_dom(a, schema_type_find("apiextensions.v1.CustomResourceDefinition"),
								 pb_pack_arena(o->msg, a), NULL, &doc, NULL) < 0 ||
				custom_def_new(doc, &def, NULL) < 0)
			continue;
		arena_on_free(a, def_gone, def);
		c = custom_def_version(def, arena_sprintf(a, "%.*s/%.*s", STR_FMT(group), STR_FMT(version)));
		if (!c)
			return false;
		*ret = (struct admission_kind){c->res.api_version, c->res.kind, cel_type_structural(a, c->schema, true)};
		if (!ret->type)
			ret->type = &cel_dyn;
		return true;
	}
	return false;
}

/* --- A policy --------------------------------------------------------------------------------------------------------------------- */

static bool same_warnings(const Admissionregistration__TypeChecking *have, const struct admission_warning *v, size_t n)
{
	if (!have || have->n_expression_warnings != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!pb_streq(have->expression_warnings[i]->field_ref, v[i].field) || !pb_streq(have->expression_warnings[i]->warning, v[i].text))
			return false;
	return true;
}

static void reconcile_policy(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_POLICIES, NULL, r->name);
	const Admissionregistration__ValidatingAdmissionPolicy *was = o ? informer_msg(o) : NULL;
	Admissionregistration__ValidatingAdmissionPolicyStatus *status;
	struct customs_of customs = {.base = {find_custom}, .view = r->view};
	struct admission_warning *v;
	struct json *doc;
	ProtobufCMessage *copy;
	struct err e = ERR_INIT;
	bool told;
	size_t n;

	if (!o || o->meta->deletion_timestamp)
		return;
	told = was->status && was->status->type_checking && was->status->observed_generation == o->meta->generation;
	if (codec_wire_to_dom(r->arena, schema_type_find("admissionregistration.v1.ValidatingAdmissionPolicy"),
			    pb_pack_arena(o->msg, r->arena), NULL, &doc, &e) < 0)
		return;
	/* Built-in kinds stay as they are; custom ones may have come, or changed. */
	if (told && !admission_policy_names_custom(doc))
		return;
	v = admission_policy_check(r->arena, doc, &customs.base, &n);
	if (told && same_warnings(was->status->type_checking, v, n))
		return;
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

static void map_crd(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)o;
	INFORMER_FOR_EACH (policy, v->inf[VIEW_POLICIES])
		enqueue_key(q, policy->key);
}

const struct controller_row controller_admission_policy = {
	.name = "validatingadmissionpolicy-status-controller",
	.account = "validatingadmissionpolicy-status-controller",
	.watches = {{VIEW_POLICIES, map_policy}, {VIEW_CRDS, map_crd}},
	.reconcile = reconcile_policy,
};
