/*
 * Claims find volumes, and volumes that have lost their claim are marked for what is to become of them.
 *
 *	claim without volume --find--> volume.claimRef = claim --> claim.volumeName = volume --> both Bound
 *	claim gone --> volume Released --reclaim policy--> stays (Retain), or its provisioner deletes it (Delete)
 *
 * Each round takes the next step only: a volume's reference is written before the claim's, so that no two claims can believe to have
 * the same volume, and a round that is lost in between is taken up where it was. Keys are "ns/name" for claims, "name" for volumes.
 *
 * Source: "Persistent Volumes" of the Kubernetes documentation.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/volume_match.h"
#include "proto/pb.h"
#include "proto/quantity.pb-c.h"

/* --- Claims -------------------------------------------------------------------------------------------- */

struct binding {
	struct reconcile *r;
	const struct informer_obj *o; /* the claim */
	const Core__PersistentVolumeClaim *claim;
};

static void set_claim_status(struct binding *b, const char *phase, const Core__PersistentVolume *v)
{
	Core__PersistentVolumeClaim *copy = pb_copy(b->r->arena, b->claim);
	Core__PersistentVolumeClaimStatus *s = pb_sub(b->r->arena, copy, "status");

	s->phase = phase;
	s->n_access_modes = 0;
	s->n_capacity = 0;
	for (size_t i = 0; v && i < v->spec->n_access_modes; i++)
		pb_add_str(b->r->arena, s, "access_modes", v->spec->access_modes[i]);
	for (size_t i = 0; v && i < v->spec->n_capacity; i++) {
		Core__PersistentVolumeClaimStatus__CapacityEntry *e = pb_add(b->r->arena, s, "capacity");

		e->key = arena_strdup(b->r->arena, v->spec->capacity[i]->key);
		e->value = pb_copy(b->r->arena, v->spec->capacity[i]->value);
	}
	if (!pb_equal(copy->status, b->claim->status))
		plan_update_status(b->r, VIEW_CLAIMS, copy);
}

static bool has_phase(const struct binding *b, const char *phase)
{
	return b->claim->status && pb_streq(b->claim->status->phase, phase);
}

static void lose(struct binding *b, const char *reason, const char *text)
{
	if (!has_phase(b, "Lost"))
		plan_event(b->r, VIEW_CLAIMS, b->o, "Warning", reason, "%s", text);
	set_claim_status(b, "Lost", NULL);
}

/* Waiting claims are told once why: while nothing of them changes, no round says it again. */
static void wait_because(struct binding *b, const char *type, const char *reason, const char *text)
{
	set_claim_status(b, "Pending", NULL);
	plan_event(b->r, VIEW_CLAIMS, b->o, type, reason, "%s", text);
}

static void set_reference(struct binding *b, const Core__PersistentVolume *v)
{
	struct arena *a = b->r->arena;
	Core__PersistentVolume *copy = pb_copy(a, v);
	Core__ObjectReference *ref = pb_sub(a, copy->spec, "claim_ref");

	if (v->spec->claim_ref == NULL)
		pb_map_set(a, copy->metadata, "annotations", ANN_BOUND_BY_CONTROLLER, "yes");
	ref->kind = "PersistentVolumeClaim";
	ref->api_version = "v1";
	ref->namespace_ = arena_strdup(a, b->r->ns);
	ref->name = arena_strdup(a, b->r->name);
	ref->uid = arena_strdup(a, pb_s(b->claim->metadata->uid));
	ref->resource_version = arena_strdup(a, pb_s(b->claim->metadata->resource_version));
	plan_update(b->r, VIEW_VOLUMES, copy);
	plan_stage(b->r);
}

/* The next step of bringing the two together. */
static void bind(struct binding *b, const struct informer_obj *vo)
{
	const Core__PersistentVolume *v = vo->msg;
	Core__PersistentVolumeClaim *copy;

	if (v->spec->claim_ref == NULL || pb_s(v->spec->claim_ref->uid)[0] == '\0')
		set_reference(b, v);
	if (claim_is_bound(b->claim)) {
		set_claim_status(b, "Bound", v);
		return;
	}
	copy = pb_copy(b->r->arena, b->claim);
	if (pb_s(copy->spec->volume_name)[0] == '\0') {
		copy->spec->volume_name = arena_strdup(b->r->arena, v->metadata->name);
		pb_map_set(b->r->arena, copy->metadata, "annotations", ANN_BOUND_BY_CONTROLLER, "yes");
	}
	pb_map_set(b->r->arena, copy->metadata, "annotations", ANN_BIND_COMPLETED, "yes");
	plan_update(b->r, VIEW_CLAIMS, copy);
}

/* The claim says that it is bound: see that it is true. */
static void check_bound(struct binding *b)
{
	const struct informer_obj *vo = view_get(b->r->view, VIEW_VOLUMES, NULL, b->claim->spec->volume_name);
	const Core__PersistentVolume *v = vo ? vo->msg : NULL;

	if (v == NULL)
		lose(b, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
	else if (v->spec->claim_ref == NULL || volume_is_for(v, b->claim))
		bind(b, vo);
	else
		lose(b, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
}

/* The claim names its volume itself. */
static void bind_named(struct binding *b)
{
	const struct informer_obj *vo = view_get(b->r->view, VIEW_VOLUMES, NULL, b->claim->spec->volume_name);
	const Core__PersistentVolume *v = vo ? vo->msg : NULL;
	const char *why = v && v->spec ? volume_mismatch(v, b->claim) : NULL;

	if (v == NULL)
		set_claim_status(b, "Pending", NULL);
	else if (v->spec->claim_ref && !volume_is_for(v, b->claim))
		wait_because(b, "Warning", "FailedBinding",
				arena_printf(b->r->arena, "volume \"%s\" already bound to a different claim.", v->metadata->name));
	else if (why)
		wait_because(b, "Warning", "VolumeMismatch",
				arena_printf(b->r->arena, "Cannot bind to requested volume \"%s\": %s", v->metadata->name, why));
	else
		bind(b, vo);
}

/* A class has a provisioner: it is told by an annotation, and makes a volume that is reserved for the claim. */
static void ask_provisioner(struct binding *b, const Storage__StorageClass *class)
{
	struct arena *a = b->r->arena;
	Core__PersistentVolumeClaim *copy;

	if (!pb_streq(meta_annotation(b->claim->metadata, ANN_PROVISIONER), class->provisioner)) {
		copy = pb_copy(a, b->claim);
		pb_map_set(a, copy->metadata, "annotations", ANN_PROVISIONER, pb_s(class->provisioner));
		plan_update(b->r, VIEW_CLAIMS, copy);
		return;
	}
	wait_because(b, "Normal", "ExternalProvisioning",
			arena_printf(a, "Waiting for a volume to be created either by the external provisioner '%s' or manually by the system "
					"administrator. If volume creation is delayed, please verify that the provisioner is running and "
					"correctly registered.", pb_s(class->provisioner)));
}

/* Nothing on the chosen node suits any more: the scheduler chooses again. */
static void choose_again(struct binding *b)
{
	Core__PersistentVolumeClaim *copy = pb_copy(b->r->arena, b->claim);

	pb_map_del(copy->metadata, "annotations", ANN_SELECTED_NODE);
	plan_update(b->r, VIEW_CLAIMS, copy);
}

static void bind_any(struct binding *b)
{
	const struct view *view = b->r->view;
	const Storage__StorageClass *class = claim_class(view, b->claim);
	const char *selected = meta_annotation(b->claim->metadata, ANN_SELECTED_NODE);
	bool waits = claim_waits_for_consumer(view, b->claim);
	const struct informer_obj *node = selected ? view_get(view, VIEW_NODES, NULL, selected) : NULL, *vo;

	if (waits && selected && node == NULL) {
		choose_again(b);
		return;
	}
	vo = volume_find(view, b->claim, waits && node ? node->msg : NULL, waits && !selected);
	if (vo)
		bind(b, vo);
	else if (waits && !selected)
		wait_because(b, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
	else if (class && !pb_streq(class->provisioner, NO_PROVISIONER))
		ask_provisioner(b, class);
	else if (waits)
		choose_again(b);
	else if (claim_class_name(b->claim)[0] && class == NULL)
		wait_because(b, "Warning", "ProvisioningFailed",
				arena_printf(b->r->arena, "storageclass.storage.k8s.io \"%s\" not found", claim_class_name(b->claim)));
	else
		wait_because(b, "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
}

static void reconcile_claim(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CLAIMS, r->ns, r->name);
	struct binding b = {r, o, o ? o->msg : NULL};

	if (o == NULL || b.claim->spec == NULL)
		return;
	if (meta_annotation(o->meta, ANN_BIND_COMPLETED) == NULL) {
		if (pb_s(b.claim->spec->volume_name)[0])
			bind_named(&b);
		else if (o->meta->deletion_timestamp == NULL)
			bind_any(&b);
	} else if (pb_s(b.claim->spec->volume_name)[0] == '\0') {
		lose(&b, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
	} else {
		check_bound(&b);
	}
}

/* --- Volumes ------------------------------------------------------------------------------------------- */

static void set_volume_phase(struct reconcile *r, const struct informer_obj *o, const char *phase, const char *message)
{
	Core__PersistentVolume *copy = pb_copy(r->arena, o->msg);
	Core__PersistentVolumeStatus *s = pb_sub(r->arena, copy, "status");

	s->phase = phase;
	s->message = message;
	if (!pb_equal(s, ((const Core__PersistentVolume *)o->msg)->status))
		plan_update_status(r, VIEW_VOLUMES, copy);
}

static void fail_volume(struct reconcile *r, const struct informer_obj *o, const char *reason, const char *text)
{
	const Core__PersistentVolume *v = o->msg;

	if (v->status == NULL || !pb_streq(v->status->phase, "Failed"))
		plan_event(r, VIEW_VOLUMES, o, "Warning", reason, "%s", text);
	set_volume_phase(r, o, "Failed", text);
}

/* Its claim is gone for good. Who made it deletes it, too; what was made by hand and shall be deleted has nobody who could. */
static void reclaim(struct reconcile *r, const struct informer_obj *o)
{
	const Core__PersistentVolume *v = o->msg;
	const Core__ObjectReference *ref = v->spec->claim_ref;
	const char *policy = pb_s(v->spec->persistent_volume_reclaim_policy);

	plan_expect_absent(r, VIEW_CLAIMS, arena_strdup(r->arena, pb_s(ref->namespace_)), arena_strdup(r->arena, pb_s(ref->name)),
			arena_strdup(r->arena, pb_s(ref->uid)));
	plan_stage(r);
	if (strcmp(policy, "Recycle") == 0)
		fail_volume(r, o, "VolumeFailedRecycle", "the reclaim policy Recycle is not supported: use Retain, or Delete with a provisioner");
	else if (strcmp(policy, "Delete") == 0 && meta_annotation(o->meta, ANN_PROVISIONED_BY) == NULL && v->spec->persistent_volume_source &&
			v->spec->persistent_volume_source->csi == NULL)
		fail_volume(r, o, "VolumeFailedDelete", "no provisioner made this volume, so none can delete it: delete it by hand");
	else
		set_volume_phase(r, o, "Released", NULL);
}

/* The claim has another volume: this one is free again, or waits on where a user reserved it. */
static void release(struct reconcile *r, const struct informer_obj *o)
{
	Core__PersistentVolume *copy = pb_copy(r->arena, o->msg);

	if (meta_annotation(o->meta, ANN_BOUND_BY_CONTROLLER)) {
		copy->spec->claim_ref = NULL;
		pb_map_del(copy->metadata, "annotations", ANN_BOUND_BY_CONTROLLER);
	} else {
		copy->spec->claim_ref->uid = NULL;
	}
	plan_update(r, VIEW_VOLUMES, copy);
}

static void reconcile_volume(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_VOLUMES, NULL, r->name), *co;
	const Core__PersistentVolume *v = o ? o->msg : NULL;
	const Core__ObjectReference *ref = v && v->spec ? v->spec->claim_ref : NULL;
	const Core__PersistentVolumeClaim *c;

	if (v == NULL || v->spec == NULL)
		return;
	if (ref == NULL || pb_s(ref->uid)[0] == '\0') {
		set_volume_phase(r, o, "Available", NULL);
		return;
	}
	co = view_get(r->view, VIEW_CLAIMS, pb_s(ref->namespace_), pb_s(ref->name));
	c = co && pb_streq(co->meta->uid, ref->uid) ? co->msg : NULL;
	if (c == NULL)
		reclaim(r, o);
	else if (pb_streq(c->spec->volume_name, r->name))
		set_volume_phase(r, o, "Bound", NULL);
	else if (pb_s(c->spec->volume_name)[0] && meta_annotation(o->meta, ANN_PROVISIONED_BY) &&
			pb_streq(v->spec->persistent_volume_reclaim_policy, "Delete"))
		set_volume_phase(r, o, "Released", NULL);
	else if (pb_s(c->spec->volume_name)[0])
		release(r, o);
}

static void reconcile(struct reconcile *r)
{
	if (r->ns[0])
		reconcile_claim(r);
	else
		reconcile_volume(r);
}

static void map_claim(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__PersistentVolumeClaim *c = o->msg;

	enqueue_key(q, o->key);
	if (c->spec && pb_s(c->spec->volume_name)[0])
		enqueue_name(q, NULL, c->spec->volume_name);
	/* One that is reserved for it, and nobody else. */
	INFORMER_FOR_EACH (vo, v->inf[VIEW_VOLUMES])
		if (((const Core__PersistentVolume *)vo->msg)->spec && volume_is_for(vo->msg, c))
			enqueue_key(q, vo->key);
}

static bool is_waiting(const Core__PersistentVolumeClaim *c)
{
	return meta_annotation(c->metadata, ANN_BIND_COMPLETED) == NULL;
}

static void map_volume(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__PersistentVolume *pv = o->msg;

	enqueue_key(q, o->key);
	if (pv->spec && pv->spec->claim_ref) {
		enqueue_name(q, pv->spec->claim_ref->namespace_, pb_s(pv->spec->claim_ref->name));
		return;
	}
	/* A free one may be what somebody waits for; a claim that has lost its volume is looked at when that is back. */
	INFORMER_FOR_EACH (co, v->inf[VIEW_CLAIMS]) {
		const Core__PersistentVolumeClaim *c = co->msg;

		if (pb_streq(c->spec ? c->spec->volume_name : NULL, o->meta->name) ||
				(is_waiting(c) && strcmp(claim_class_name(c), volume_class_name(pv)) == 0))
			enqueue_key(q, co->key);
	}
}

static void map_class(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	INFORMER_FOR_EACH (co, v->inf[VIEW_CLAIMS])
		if (is_waiting(co->msg) && strcmp(claim_class_name(co->msg), o->meta->name) == 0)
			enqueue_key(q, co->key);
}

const struct controller_row controller_volume_binder = {
	.name = "persistentvolume-binder-controller",
	.account = "persistent-volume-binder",
	.component = "persistentvolume-controller",
	.watches = {{VIEW_CLAIMS, map_claim}, {VIEW_VOLUMES, map_volume}, {VIEW_CLASSES, map_class}, {VIEW_NODES, map_nothing}},
	.reconcile = reconcile,
};
