#include "orchestrator/controllers/revisions.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/deployment-priv.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/schema.h"

/* In the alphabet of generated names, which spells no words. Eleven characters hold 52 bits. */
static const char *template_hash(struct arena *a, const Core__PodTemplateSpec *t)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	uint64_t h = str_hash(template_canonical(a, t));
	char *out = arena_zalloc(a, 12);

	for (size_t i = 0; i < 11; i++, h /= sizeof(alphabet) - 1)
		out[i] = alphabet[h % (sizeof(alphabet) - 1)];
	return out;
}

/* {"spec":{"template":{..., "$patch":"replace"}}}, as kubectl applies it. NULL when the template cannot be written. */
static K8s__RawExtension *patch_of(struct arena *a, const Core__PodTemplateSpec *t)
{
	struct json *doc = json_new_object(a), *template;
	struct err e = ERR_INIT;
	K8s__RawExtension *raw = pb_new_of(a, k8s__raw_extension, K8s__RawExtension);
	struct str text;

	if (codec_wire_to_dom(a, schema_type_find("core.v1.PodTemplateSpec"), pb_pack_arena(t, a), &(struct codec_opts){.bare = true},
			    &template, &e) < 0)
		return NULL;
	json_setc(a, template, "$patch", json_newc(a, "replace"));
	json_setc(a, json_object_at(a, doc, "spec"), "template", template);
	text = json_text(a, doc);
	raw->has__ = true;
	raw->_ = (ProtobufCBinaryData){.len = text.n, .data = (uint8_t *)text.p};
	return raw;
}

static int64_t number_of(const struct informer_obj *o)
{
	const Apps__ControllerRevision *rev = o->msg;

	return pb_or(rev, revision, 0);
}

static int by_number(const void *a, const void *b)
{
	const struct informer_obj *const *x = a, *const *y = b;
	int64_t nx = number_of(*x), ny = number_of(*y);

	return nx != ny ? (nx < ny ? -1 : 1) : str_cmp((*x)->key, (*y)->key);
}

static void create(struct reconcile *r, enum view_id owner_view, const struct informer_obj *owner, const Core__PodTemplateSpec *t,
		const struct revisions *all, int64_t number)
{
	struct arena *a = r->arena;
	const char *api_version, *kind = view_kind(owner_view, &api_version),
			*cause = pb_map_get(owner->meta->annotations, owner->meta->n_annotations, CHANGE_CAUSE);
	Apps__ControllerRevision *rev = pb_new_of(a, apps__controller_revision, Apps__ControllerRevision);
	Meta__ObjectMeta *meta = pb_sub(a, rev, "metadata");

	meta->name = all->name;
	meta->namespace_ = arena_strdup(a, r->ns);
	for (size_t i = 0; t->metadata && i < t->metadata->n_labels; i++)
		pb_map_set(a, meta, "labels", t->metadata->labels[i]->key, pb_s(t->metadata->labels[i]->value));
	pb_map_set(a, meta, "labels", REVISION_LABEL, all->hash);
	if (cause)
		pb_map_set(a, meta, "annotations", CHANGE_CAUSE, cause);
	owner_set(a, rev, owner, api_version, kind);
	rev->data = patch_of(a, t);
	rev->has_revision = true;
	rev->revision = number;
	plan_create(r, VIEW_REVISIONS, r->ns, rev);
}

void revisions_sync(struct reconcile *r, enum view_id owner_view, const struct informer_obj *owner, const Core__PodTemplateSpec *t,
		struct revisions *ret)
{
	struct informer_objs all = informer_index_get(r->view->by_any_owner[VIEW_REVISIONS], str_from(pb_s(owner->meta->uid)));
	const struct informer_obj *today = NULL;
	int64_t highest = 0;

	*ret = (struct revisions){.v = arena_new_array(r->arena, const struct informer_obj *, all.n + 1)};
	ret->hash = template_hash(r->arena, t);
	ret->name = arena_printf(r->arena, "%s-%s", owner->meta->name, ret->hash);
	for (size_t i = 0; i < all.n; i++)
		if (all.v[i]->meta->deletion_timestamp == NULL)
			ret->v[ret->n++] = all.v[i];
	qsort(ret->v, ret->n, sizeof(*ret->v), by_number);
	for (size_t i = 0; i < ret->n; i++) {
		highest = number_of(ret->v[i]);
		if (pb_streq(ret->v[i]->meta->name, ret->name))
			today = ret->v[i];
	}
	if (owner->meta->deletion_timestamp != NULL)
		return;
	if (today == NULL) {
		create(r, owner_view, owner, t, ret, highest + 1);
	} else if (number_of(today) < highest) {
		Apps__ControllerRevision *copy = pb_copy(r->arena, today->msg);

		copy->has_revision = true;
		copy->revision = highest + 1;
		plan_update(r, VIEW_REVISIONS, copy);
	}
}

void revisions_trim(struct reconcile *r, const struct revisions *all, int32_t limit,
		bool (*uses)(const void *arg, const struct informer_obj *revision), const void *arg)
{
	int32_t spare = -limit;

	for (size_t i = 0; i < all->n; i++)
		spare += !pb_streq(all->v[i]->meta->name, all->name) && !uses(arg, all->v[i]);
	for (size_t i = 0; i < all->n && spare > 0; i++) {
		if (pb_streq(all->v[i]->meta->name, all->name) || uses(arg, all->v[i]))
			continue;
		plan_delete(r, VIEW_REVISIONS, all->v[i], -1, NULL);
		spare--;
	}
}
