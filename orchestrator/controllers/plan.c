/* Making plans, and helpers for reconciles; see controller.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/plan-priv.h"
#include "proto/core.pb-c.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/resource.h"

static struct plan_action *add(struct reconcile *r, enum plan_op op, enum view_id view, const void *msg)
{
	struct plan_action *a = arena_new_of(r->arena, struct plan_action);

	a->op = op;
	a->view = view;
	a->stage = r->stage;
	a->msg = msg;
	a->grace_s = -1;
	list_init(&a->flight);
	list_add_tail(&r->actions, &a->link);
	return a;
}

static const Meta__ObjectMeta *meta_of(const void *msg)
{
	const ProtobufCMessage *m = msg;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "metadata");

	ASSERT(f != NULL);
	return *(Meta__ObjectMeta *const *)((const char *)msg + f->offset);
}

void plan_create(struct reconcile *r, enum view_id view, const char *ns, const void *msg)
{
	add(r, PLAN_CREATE, view, msg)->ns = ns;
}

void plan_update_sub(struct reconcile *r, enum view_id view, const char *sub, const void *msg)
{
	const Meta__ObjectMeta *meta = meta_of(msg);
	struct plan_action *a = add(r, PLAN_UPDATE, view, msg);

	a->ns = meta->namespace_;
	a->name = meta->name;
	a->sub = sub;
}

void plan_update(struct reconcile *r, enum view_id view, const void *msg)
{
	plan_update_sub(r, view, NULL, msg);
}

void plan_update_status(struct reconcile *r, enum view_id view, const void *msg)
{
	plan_update_sub(r, view, "status", msg);
}

void plan_delete(struct reconcile *r, enum view_id view, const struct informer_obj *o, int64_t grace_s, const char *propagation)
{
	struct plan_action *a = add(r, PLAN_DELETE, view, NULL);

	/* The object may be gone from the cache before the plan ends. */
	a->key = arena_cstr(r->arena, o->key);
	a->ns = o->meta->namespace_ ? arena_strdup(r->arena, o->meta->namespace_) : NULL;
	a->name = arena_strdup(r->arena, o->meta->name);
	a->uid = arena_strdup(r->arena, pb_s(o->meta->uid));
	a->grace_s = grace_s;
	a->propagation = propagation;
}

/* What is no row of the table may be gone before the plan is through: definitions and servers change their minds. NULL stays NULL. */
static const struct resource *kept(struct reconcile *r, const struct resource *res)
{
	struct resource *mine;

	if (!res || (res >= resources && res < resources + n_resources))
		return res;
	mine = arena_memdup(r->arena, res, sizeof(*res));
	mine->group = arena_strdup(r->arena, res->group);
	mine->version = arena_strdup(r->arena, res->version);
	mine->api_version = arena_strdup(r->arena, res->api_version);
	mine->plural = arena_strdup(r->arena, res->plural);
	mine->kind = arena_strdup(r->arena, res->kind);
	return mine;
}

void plan_delete_collection(struct reconcile *r, const struct resource *res, const char *ns)
{
	struct plan_action *a = add(r, PLAN_DELETE_COLLECTION, VIEW_N, NULL);

	a->resource = kept(r, res);
	a->ns = ns;
}

void plan_expect_empty(struct reconcile *r, const struct resource *res, const char *ns)
{
	struct plan_action *a = add(r, PLAN_EXPECT_EMPTY, VIEW_N, NULL);

	a->resource = kept(r, res);
	a->ns = ns;
}

void plan_expect_absent(struct reconcile *r, enum view_id view, const char *ns, const char *name, const char *uid)
{
	struct plan_action *a = add(r, PLAN_EXPECT_ABSENT, view, NULL);

	a->ns = ns;
	a->name = name;
	a->uid = uid;
}

void plan_call(struct reconcile *r, const char *method, const char *path)
{
	struct plan_action *a = add(r, PLAN_CALL, VIEW_N, NULL);

	a->method = method;
	a->path = path;
}

void plan_delete_of(struct reconcile *r, const struct resource *res, const struct informer_obj *o, const char *propagation)
{
	plan_delete(r, VIEW_N, o, -1, propagation);
	container_of(r->actions.prev, struct plan_action, link)->resource = kept(r, res);
}

/* The patch names the version that it was made from. */
void plan_patch_list(struct reconcile *r, enum view_id view, const struct resource *res, const struct informer_obj *o, const char *key,
		struct json *list)
{
	struct plan_action *a = add(r, PLAN_PATCH, view, NULL);
	struct json *patch = json_new_object(r->arena), *meta = json_new_object(r->arena);

	json_setc(r->arena, meta, "resourceVersion", json_newc(r->arena, pb_s(o->meta->resource_version)));
	json_setc(r->arena, meta, key, list);
	json_setc(r->arena, patch, "metadata", meta);
	a->resource = kept(r, res);
	a->ns = o->meta->namespace_ ? arena_strdup(r->arena, o->meta->namespace_) : NULL;
	a->name = arena_strdup(r->arena, o->meta->name);
	a->patch = json_text(r->arena, patch);
}

/* The patch names the object that it is for; what others write beside it stays. */
void plan_patch_status(struct reconcile *r, enum view_id view, const struct informer_obj *o, struct json *status)
{
	struct plan_action *a = add(r, PLAN_PATCH, view, NULL);
	struct json *patch = json_new_object(r->arena), *meta = json_new_object(r->arena);

	json_setc(r->arena, meta, "uid", json_newc(r->arena, pb_s(o->meta->uid)));
	json_setc(r->arena, patch, "metadata", meta);
	json_setc(r->arena, patch, "status", status);
	a->ns = o->meta->namespace_ ? arena_strdup(r->arena, o->meta->namespace_) : NULL;
	a->name = arena_strdup(r->arena, o->meta->name);
	a->sub = "status";
	a->patch = json_text(r->arena, patch);
	a->patch_type = CLIENT_STRATEGIC_PATCH;
}

struct json *owner_json(struct arena *a, const Meta__OwnerReference *ref)
{
	struct json *j = json_new_object(a);

	json_setc(a, j, "apiVersion", json_newc(a, pb_s(ref->api_version)));
	json_setc(a, j, "kind", json_newc(a, pb_s(ref->kind)));
	json_setc(a, j, "name", json_newc(a, pb_s(ref->name)));
	json_setc(a, j, "uid", json_newc(a, pb_s(ref->uid)));
	if (ref->has_controller)
		json_setc(a, j, "controller", json_new_bool(a, ref->controller));
	if (ref->has_block_owner_deletion)
		json_setc(a, j, "blockOwnerDeletion", json_new_bool(a, ref->block_owner_deletion));
	return j;
}

void plan_expect_absent_of(struct reconcile *r, const struct resource *res, const char *ns, const char *name, const char *uid)
{
	plan_expect_absent(r, VIEW_N, ns, name, uid);
	container_of(r->actions.prev, struct plan_action, link)->resource = kept(r, res);
}

void plan_as(struct reconcile *r, const char *account)
{
	container_of(r->actions.prev, struct plan_action, link)->account = account;
}

void plan_stage(struct reconcile *r)
{
	r->stage++;
}

void plan_again(struct reconcile *r, uint64_t ms)
{
	ms = MAX(ms, (uint64_t)1);
	if (r->again_ms == 0 || ms < r->again_ms)
		r->again_ms = ms;
}

Core__Event *event_about(struct arena *a, int64_t now_s, const char *component, enum view_id view, const Meta__ObjectMeta *about,
		const char *type, const char *reason, const char *message)
{
	const char *api_version, *kind = view_kind(view, &api_version);
	Core__Event *ev = pb_new_of(a, core__event, Core__Event);
	Core__ObjectReference *ref = pb_sub(a, ev, "involved_object");
	Meta__ObjectMeta *meta = pb_sub(a, ev, "metadata");
	Core__EventSource *source = pb_sub(a, ev, "source");

	ev->message = message;
	meta->namespace_ = arena_strdup(a, pb_s(about->namespace_)[0] ? about->namespace_ : "default");
	meta->name = arena_printf(a, "%s.%016llx", about->name, (unsigned long long)clock_wall_ns());
	ref->api_version = (char *)api_version;
	ref->kind = (char *)kind;
	ref->name = arena_strdup(a, about->name);
	ref->namespace_ = arena_strdup(a, pb_s(about->namespace_));
	ref->uid = arena_strdup(a, pb_s(about->uid));
	ref->resource_version = arena_strdup(a, pb_s(about->resource_version));
	ev->type = (char *)type;
	ev->reason = (char *)reason;
	source->component = (char *)component;
	ev->reporting_component = source->component;
	ev->first_timestamp = time_now(a, now_s);
	ev->last_timestamp = time_now(a, now_s);
	ev->has_count = true;
	ev->count = 1;
	return ev;
}

void plan_event(struct reconcile *r, enum view_id view, const struct informer_obj *about, const char *type, const char *reason,
		const char *fmt, ...)
{
	struct plan_action *a;
	Core__Event *ev;
	va_list ap;

	va_start(ap, fmt);
	ev = event_about(r->arena, r->now_s, r->component, view, about->meta, type, reason, arena_vprintf(r->arena, fmt, ap));
	va_end(ap);
	a = add(r, PLAN_EVENT, view, ev);
	a->ns = ev->metadata->namespace_;
}

void owner_set(struct arena *arena, void *msg, const struct informer_obj *owner, const char *api_version, const char *kind)
{
	Meta__ObjectMeta *meta = pb_sub(arena, msg, "metadata");
	Meta__OwnerReference *r = pb_add(arena, meta, "owner_references");

	r->api_version = arena_strdup(arena, api_version);
	r->kind = arena_strdup(arena, kind);
	r->name = arena_strdup(arena, owner->meta->name);
	r->uid = arena_strdup(arena, pb_s(owner->meta->uid));
	r->has_controller = r->controller = true;
	r->has_block_owner_deletion = r->block_owner_deletion = true;
}

const Meta__OwnerReference *owner_of(const Meta__ObjectMeta *meta)
{
	for (size_t i = 0; i < meta->n_owner_references; i++)
		if (pb_or(meta->owner_references[i], controller, false))
			return meta->owner_references[i];
	return NULL;
}

bool owner_is(const Meta__ObjectMeta *meta, const struct informer_obj *owner)
{
	const Meta__OwnerReference *r = owner_of(meta);

	return r && pb_streq(r->uid, owner->meta->uid);
}

static bool expression_matches(const Meta__LabelSelectorRequirement *q, const char *value)
{
	const char *op = pb_s(q->operator_);
	bool in = false;

	for (size_t i = 0; value && i < q->n_values; i++)
		in = in || strcmp(q->values[i], value) == 0;
	if (strcmp(op, "In") == 0)
		return in;
	if (strcmp(op, "NotIn") == 0)
		return !in;
	if (strcmp(op, "Exists") == 0)
		return value != NULL;
	return strcmp(op, "DoesNotExist") == 0 && value == NULL;
}

bool label_selector_matches(const Meta__LabelSelector *s, const Meta__ObjectMeta *meta)
{
	if (s == NULL || (s->n_match_labels == 0 && s->n_match_expressions == 0))
		return false;
	for (size_t i = 0; i < s->n_match_labels; i++) {
		const char *v = pb_map_get(meta->labels, meta->n_labels, s->match_labels[i]->key);

		if (v == NULL || !pb_streq(v, s->match_labels[i]->value))
			return false;
	}
	for (size_t i = 0; i < s->n_match_expressions; i++) {
		const Meta__LabelSelectorRequirement *q = s->match_expressions[i];

		if (!expression_matches(q, pb_map_get(meta->labels, meta->n_labels, q->key)))
			return false;
	}
	return true;
}

Meta__Time *time_now(struct arena *arena, int64_t now_s)
{
	Meta__Time *t = pb_new_of(arena, meta__time, Meta__Time);

	t->has_seconds = true;
	t->seconds = now_s;
	return t;
}

int64_t time_s(const Meta__Time *t)
{
	return t ? pb_or(t, seconds, 0) : 0;
}
