#include "orchestrator/kubelet/objects.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/kubelet/ephemeral.h"
#include "orchestrator/kubelet/pbutil.h"

#define DAY_S 86400

static void need(struct objset *set, enum obj_kind kind, const char *name, int64_t seconds, bool volume, bool required)
{
	struct obj_ref *r = (struct obj_ref *)objset_find(set, kind, nz(name), seconds);
	size_t n = set->n_refs;

	if (!r) {
		if ((n & (n - 1)) == 0)
			set->refs = arena_grow(&set->arena, set->refs, n * sizeof(*r), (n ? 2 * n : 1) * sizeof(*r));
		r = &set->refs[set->n_refs++];
		memset(r, 0, sizeof(*r));
		r->kind = kind;
		r->name = nz(name);
		r->seconds = seconds;
	}
	r->volume = r->volume || volume;
	r->required = r->required || required;
}

const struct obj_ref *objset_find(const struct objset *set, enum obj_kind kind, const char *name, int64_t seconds)
{
	for (size_t i = 0; set && i < set->n_refs; i++)
		if (set->refs[i].kind == kind && strcmp(set->refs[i].name, name) == 0 && set->refs[i].seconds == seconds)
			return &set->refs[i];
	return NULL;
}

static const char *ref_name(const Core__LocalObjectReference *r)
{
	return r ? nz(r->name) : "";
}

static void need_projected(struct objset *set, const Core__ProjectedVolumeSource *p)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		const Core__VolumeProjection *s = p->sources[i];

		if (s->config_map)
			need(set, OBJ_CONFIG_MAP, ref_name(s->config_map->local_object_reference), 0, true,
					!PB_OR(s->config_map, optional, 0));
		if (s->secret)
			need(set, OBJ_SECRET, ref_name(s->secret->local_object_reference), 0, true,
					!PB_OR(s->secret, optional, 0));
		if (s->service_account_token)
			need(set, OBJ_TOKEN, s->service_account_token->audience,
					PB_OR(s->service_account_token, expiration_seconds, TOKEN_DEFAULT_SECONDS),
					true, true);
	}
}

static void need_env(struct objset *set, const Core__Container *c)
{
	for (size_t i = 0; i < c->n_env_from; i++) {
		const Core__EnvFromSource *f = c->env_from[i];

		if (f->config_map_ref)
			need(set, OBJ_CONFIG_MAP, ref_name(f->config_map_ref->local_object_reference), 0, false,
					!PB_OR(f->config_map_ref, optional, 0));
		if (f->secret_ref)
			need(set, OBJ_SECRET, ref_name(f->secret_ref->local_object_reference), 0, false,
					!PB_OR(f->secret_ref, optional, 0));
	}
	for (size_t i = 0; i < c->n_env; i++) {
		const Core__EnvVarSource *f = c->env[i]->value_from;

		if (f && f->config_map_key_ref)
			need(set, OBJ_CONFIG_MAP, ref_name(f->config_map_key_ref->local_object_reference), 0, false,
					!PB_OR(f->config_map_key_ref, optional, 0));
		if (f && f->secret_key_ref)
			need(set, OBJ_SECRET, ref_name(f->secret_key_ref->local_object_reference), 0, false,
					!PB_OR(f->secret_key_ref, optional, 0));
	}
}

const char *objset_claim_name(struct arena *a, const Core__Pod *pod, const Core__Volume *v)
{
	const Core__VolumeSource *s = v->volume_source;

	if (s && s->persistent_volume_claim)
		return nz(s->persistent_volume_claim->claim_name);
	return s && s->ephemeral ? arena_printf(a, "%s-%s", nz(pod->metadata->name), nz(v->name)) : NULL;
}

/* Of an ephemeral volume, which has no other claim than its own. */
static bool is_ephemeral(const Core__Pod *pod, const char *claim)
{
	struct arena a;
	bool found = false;

	arena_init(&a);
	for (size_t i = 0; i < pod->spec->n_volumes; i++) {
		const Core__Volume *v = pod->spec->volumes[i];

		found = found || (v->volume_source && v->volume_source->ephemeral &&
						 strcmp(objset_claim_name(&a, pod, v), claim) == 0);
	}
	arena_fini(&a);
	return found;
}

int objset_claim_ok(const Core__Pod *pod, const struct obj_ref *r, struct err *e)
{
	const Core__PersistentVolumeClaim *c = r->claim;
	bool owned = false;

	for (size_t i = 0; i < c->metadata->n_owner_references; i++)
		owned = owned || pb_streq(c->metadata->owner_references[i]->uid, pod->metadata->uid);
	if (!owned && is_ephemeral(pod, r->name))
		return err_set(e, ERR_INVALID, "it was not created for the pod (the pod is not its owner)");
	if (!c->spec || !is_set(c->spec->volume_name) || !c->status || !pb_streq(c->status->phase, "Bound"))
		return err_set(e, ERR_UNAVAILABLE, "it is not bound to a volume");
	return 0;
}

void objset_collect(struct objset *set, const Core__Pod *pod)
{
	const Core__PodSpec *spec = pod->spec;

	arena_init(&set->arena);
	set->refs = NULL;
	set->n_refs = 0;
	for (size_t i = 0; i < spec->n_volumes; i++) {
		const Core__VolumeSource *v = spec->volumes[i]->volume_source;

		if (v && v->config_map)
			need(set, OBJ_CONFIG_MAP, ref_name(v->config_map->local_object_reference), 0, true,
					!PB_OR(v->config_map, optional, 0));
		if (v && v->secret)
			need(set, OBJ_SECRET, v->secret->secret_name, 0, true, !PB_OR(v->secret, optional, 0));
		if (v && v->projected)
			need_projected(set, v->projected);
		if (v && (v->persistent_volume_claim || v->ephemeral))
			need(set, OBJ_CLAIM, objset_claim_name(&set->arena, pod, spec->volumes[i]), 0, true, true);
	}
	for (size_t i = 0; i < spec->n_init_containers; i++)
		need_env(set, spec->init_containers[i]);
	for (size_t i = 0; i < spec->n_containers; i++)
		need_env(set, spec->containers[i]);
	for (size_t i = 0; i < spec->n_ephemeral_containers; i++)
		need_env(set, ephemeral_spec(&set->arena, spec->ephemeral_containers[i]));
	/* One without a name is let through by the API, and is nobody's. */
	for (size_t i = 0; i < spec->n_image_pull_secrets; i++)
		if (*nz(ref_name(spec->image_pull_secrets[i])))
			need(set, OBJ_SECRET, ref_name(spec->image_pull_secrets[i]), 0, false, false);
}

void objset_fini(struct objset *set)
{
	arena_fini(&set->arena);
	set->refs = NULL;
	set->n_refs = 0;
}

int objset_check(const struct objset *set, bool volumes, const char *ns, struct err *e)
{
	static const char *const plurals[] = {"configmap", "secret", "token", "persistentvolumeclaim"};

	for (size_t i = 0; i < set->n_refs; i++) {
		const struct obj_ref *r = &set->refs[i];

		if (r->volume != volumes || !r->err.code || (!r->required && r->err.code == ERR_NOT_FOUND))
			continue;
		if (r->err.code == ERR_NOT_FOUND && r->kind != OBJ_TOKEN)
			return err_set(e, ERR_NOT_FOUND, "%s \"%s\" not found", plurals[r->kind], r->name);
		return err_set(e, r->err.code, "%s \"%s/%s\": %s", plurals[r->kind], ns, r->name, r->err.text);
	}
	return 0;
}

int64_t objset_renew_at(const struct objset *set)
{
	int64_t at = 0;

	for (size_t i = 0; i < set->n_refs; i++) {
		const struct obj_ref *r = &set->refs[i];
		int64_t due;

		if (r->kind != OBJ_TOKEN || !r->token)
			continue;
		due = r->token_made_s + MIN((r->token_expires_s - r->token_made_s) * 8 / 10, DAY_S);
		if (at == 0 || due < at)
			at = due;
	}
	return at;
}
