#include "orchestrator/controllers/volume_match.h"

#include <string.h>

#include "orchestrator/controllers/node_match.h"
#include "proto/pb.h"
#include "proto/quantity.h"
#include "proto/quantity.pb-c.h"

/* What names a class in objects of old. */
#define ANN_CLASS "volume.beta.kubernetes.io/storage-class"

const char *meta_annotation(const Meta__ObjectMeta *m, const char *key)
{
	return m ? pb_map_get(m->annotations, m->n_annotations, key) : NULL;
}

const char *claim_class_name(const Core__PersistentVolumeClaim *c)
{
	const char *old = meta_annotation(c->metadata, ANN_CLASS);

	return old ? old : c->spec ? pb_s(c->spec->storage_class_name) : "";
}

const char *volume_class_name(const Core__PersistentVolume *v)
{
	const char *old = meta_annotation(v->metadata, ANN_CLASS);

	return old ? old : v->spec ? pb_s(v->spec->storage_class_name) : "";
}

const Storage__StorageClass *claim_class(const struct view *v, const Core__PersistentVolumeClaim *c)
{
	const char *name = claim_class_name(c);
	const struct informer_obj *o = name[0] ? view_get(v, VIEW_CLASSES, NULL, name) : NULL;

	return o ? o->msg : NULL;
}

bool claim_waits_for_consumer(const struct view *v, const Core__PersistentVolumeClaim *c)
{
	const Storage__StorageClass *class = claim_class(v, c);

	return class && pb_streq(class->volume_binding_mode, "WaitForFirstConsumer");
}

bool claim_is_bound(const Core__PersistentVolumeClaim *c)
{
	return c->spec && pb_s(c->spec->volume_name)[0] && meta_annotation(c->metadata, ANN_BIND_COMPLETED) != NULL;
}

bool volume_is_for(const Core__PersistentVolume *v, const Core__PersistentVolumeClaim *c)
{
	const Core__ObjectReference *ref = v->spec ? v->spec->claim_ref : NULL;

	return ref && pb_streq(ref->name, c->metadata->name) && pb_streq(ref->namespace_, c->metadata->namespace_) &&
	       (pb_s(ref->uid)[0] == '\0' || pb_streq(ref->uid, c->metadata->uid));
}

static struct quantity size_of(const Core__PersistentVolume *v)
{
	const Resource__Quantity *q = pb_map_get(v->spec->capacity, v->spec->n_capacity, "storage");

	return quantity_of(q ? q->string : NULL);
}

static struct quantity size_wanted(const Core__PersistentVolumeClaim *c)
{
	const Core__VolumeResourceRequirements *r = c->spec->resources;
	const Resource__Quantity *q = r ? pb_map_get(r->requests, r->n_requests, "storage") : NULL;

	return quantity_of(q ? q->string : NULL);
}

/* An empty selector asks for nothing. */
static bool labels_suit(const Meta__LabelSelector *s, const Meta__ObjectMeta *m)
{
	return s == NULL || (s->n_match_labels == 0 && s->n_match_expressions == 0) || label_selector_matches(s, m);
}

static const char *mode_of(const char *mode)
{
	return pb_s(mode)[0] ? mode : "Filesystem";
}

const char *volume_mismatch(const Core__PersistentVolume *v, const Core__PersistentVolumeClaim *c)
{
	if (strcmp(mode_of(v->spec->volume_mode), mode_of(c->spec->volume_mode)) != 0)
		return "incompatible volumeMode";
	if (quantity_cmp(size_of(v), size_wanted(c)) < 0)
		return "requested PV is too small";
	if (strcmp(volume_class_name(v), claim_class_name(c)) != 0)
		return "storageClassName does not match";
	for (size_t i = 0; i < c->spec->n_access_modes; i++)
		if (!pb_has_str((const char *const *)v->spec->access_modes, v->spec->n_access_modes, c->spec->access_modes[i]))
			return "incompatible accessMode";
	if (!pb_streq(v->spec->volume_attributes_class_name, c->spec->volume_attributes_class_name))
		return "volumeAttributesClassName does not match";
	return NULL;
}

bool volume_allows_node(const Core__PersistentVolume *v, const Core__Node *n)
{
	const Core__NodeSelector *s = v->spec->node_affinity ? v->spec->node_affinity->required : NULL;

	for (size_t i = 0; n && s && i < s->n_node_selector_terms; i++)
		if (node_term_holds(s->node_selector_terms[i], n))
			return true;
	return n == NULL || s == NULL;
}

static bool is_free(const Core__PersistentVolume *v)
{
	return v->spec->claim_ref == NULL && v->metadata->deletion_timestamp == NULL &&
	       (v->status == NULL || pb_s(v->status->phase)[0] == '\0' || pb_streq(v->status->phase, "Pending") ||
			       pb_streq(v->status->phase, "Available"));
}

const struct informer_obj *volume_find(const struct view *view, const Core__PersistentVolumeClaim *c, const Core__Node *n, bool only_reserved)
{
	const struct informer_obj *best = NULL;

	INFORMER_FOR_EACH (o, view->inf[VIEW_VOLUMES]) {
		const Core__PersistentVolume *v = o->msg;

		if (v->spec == NULL)
			continue;
		if (volume_is_for(v, c) && v->metadata->deletion_timestamp == NULL && volume_mismatch(v, c) == NULL)
			return o;
		if (only_reserved || !is_free(v) || volume_mismatch(v, c) || !volume_allows_node(v, n) ||
				!labels_suit(c->spec->selector, v->metadata))
			continue;
		if (best == NULL || quantity_cmp(size_of(v), size_of(best->msg)) < 0)
			best = o;
	}
	return best;
}

const char *pod_volume_claim(struct arena *a, const Core__Pod *p, const Core__Volume *v, bool *ret_own)
{
	const Core__VolumeSource *s = v->volume_source;

	*ret_own = s && s->ephemeral;
	if (s && s->persistent_volume_claim)
		return pb_s(s->persistent_volume_claim->claim_name);
	return *ret_own ? arena_printf(a, "%s-%s", pb_s(p->metadata->name), pb_s(v->name)) : NULL;
}
