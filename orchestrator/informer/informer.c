#include "orchestrator/informer/informer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 5000
#define LIST_TIMEOUT_MS 60000

struct bucket {
	const struct informer_obj **v;
	size_t n, cap;
};

struct informer_index {
	struct list link;
	informer_index_fn *fn;
	struct map buckets; /* of struct bucket */
};

struct informer_emit {
	struct informer_index *index;
	const struct informer_obj *obj;
	bool add;
};

struct informer {
	struct informer_cfg cfg;
	char *ns, *label_selector, *field_selector;
	size_t meta_offset; /* of the metadata pointer in the typed message */
	struct map objs;    /* of struct informer_obj, by key */
	struct list handlers, indexes;
	struct client_req list;
	struct client_watch watch;
	struct loop_timer timer;
	uint64_t rv;
	unsigned retry_ms;
	bool synced, listing, watching, must_list, stopping;
	char rv_text[24];
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void start_list(struct loop_timer *t);

/* --- Objects ----------------------------------------------------------------------------------------- */

struct informer_obj *informer_obj_ref(const struct informer_obj *o)
{
	struct informer_obj *mine = (struct informer_obj *)o;

	ref_get(&mine->ref);
	return mine;
}

void informer_obj_unref(struct informer_obj *o)
{
	if (o == NULL || !ref_put(&o->ref))
		return;
	arena_fini(&o->arena);
	free(o);
}

static void *unpack_part(const struct informer *inf, struct arena *a, struct str bytes)
{
	struct arena whole;
	void *msg;

	arena_init(&whole);
	msg = pb_unpack(&whole, inf->cfg.desc, bytes);
	if (msg)
		msg = inf->cfg.keep(a, msg);
	arena_fini(&whole);
	return msg;
}

static struct informer_obj *obj_parse(struct informer *inf, struct str bytes)
{
	struct informer_obj *o = xcalloc(1, sizeof(*o));
	uint64_t rv = 0;

	ref_init(&o->ref);
	arena_init(&o->arena);
	o->msg = inf->cfg.keep ? unpack_part(inf, &o->arena, bytes) : pb_unpack(&o->arena, inf->cfg.desc, bytes);
	if (o->msg)
		o->meta = *(Meta__ObjectMeta **)((char *)o->msg + inf->meta_offset);
	if (o->meta == NULL || pb_s(o->meta->name)[0] == '\0') {
		log_warn("informer", "dropped an object that cannot be read resource=%s bytes=%zu", inf->cfg.resource->plural,
				bytes.n);
		informer_obj_unref(o);
		return NULL;
	}
	str_to_u64(str_from(pb_s(o->meta->resource_version)), &rv);
	o->rv = rv;
	o->seen_ms = clock_mono_ms();
	o->key = pb_s(o->meta->namespace_)[0]
			? arena_sprintf(&o->arena, "%s/%s", o->meta->namespace_, o->meta->name)
			: str_from(o->meta->name);
	return o;
}

/* --- Indexes ----------------------------------------------------------------------------------------- */

static void bucket_free(void *p)
{
	struct bucket *b = p;

	free(b->v);
	free(b);
}

static void bucket_add(struct bucket *b, const struct informer_obj *o)
{
	if (b->n == b->cap) {
		b->cap = MAX(b->cap * 2, (size_t)4);
		b->v = xrealloc(b->v, b->cap * sizeof(*b->v));
	}
	b->v[b->n++] = o;
}

static void bucket_del(struct bucket *b, const struct informer_obj *o)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i] == o) {
			b->v[i] = b->v[--b->n];
			return;
		}
}

void informer_emit(struct informer_emit *em, struct str key)
{
	struct bucket *b = map_get(&em->index->buckets, key);

	if (em->add) {
		if (b == NULL) {
			b = xcalloc(1, sizeof(*b));
			map_put(&em->index->buckets, key, b);
		}
		bucket_add(b, em->obj);
		return;
	}
	if (b == NULL)
		return;
	bucket_del(b, em->obj);
	if (b->n == 0) {
		map_del(&em->index->buckets, key);
		bucket_free(b);
	}
}

static void index_obj(struct informer *inf, const struct informer_obj *o, bool add)
{
	LIST_FOR_EACH (ix, &inf->indexes, struct informer_index, link) {
		struct informer_emit em = {ix, o, add};

		ix->fn(o, &em);
	}
}

struct informer_index *informer_add_index(struct informer *inf, informer_index_fn *fn)
{
	struct informer_index *ix = xcalloc(1, sizeof(*ix));

	ASSERT(inf->objs.n == 0);
	ix->fn = fn;
	list_add_tail(&inf->indexes, &ix->link);
	return ix;
}

struct informer_objs informer_index_get(const struct informer_index *ix, struct str key)
{
	struct bucket *b = map_get(&ix->buckets, key);

	return b ? (struct informer_objs){b->v, b->n} : (struct informer_objs){NULL, 0};
}

void informer_by_namespace(const struct informer_obj *o, struct informer_emit *em)
{
	informer_emit(em, str_from(pb_s(o->meta->namespace_)));
}

void informer_by_owner(const struct informer_obj *o, struct informer_emit *em)
{
	for (size_t i = 0; i < o->meta->n_owner_references; i++) {
		const Meta__OwnerReference *r = o->meta->owner_references[i];

		if (pb_or(r, controller, false) && r->uid)
			informer_emit(em, str_from(r->uid));
	}
}

/* --- Changes ----------------------------------------------------------------------------------------- */

static void tell(struct informer *inf, const struct informer_obj *old, const struct informer_obj *new)
{
	LIST_FOR_EACH_SAFE (h, next, &inf->handlers, struct informer_handler, link)
		h->changed(h, old, new);
}

/* Takes the reference. `older`: also in the place of a newer one. */
static void put_obj(struct informer *inf, struct informer_obj *o, bool older)
{
	struct informer_obj *old = map_get(&inf->objs, o->key);

	if (old != NULL && old->rv >= o->rv && !older) {
		informer_obj_unref(o);
		return;
	}
	if (old != NULL)
		index_obj(inf, old, false);
	map_put(&inf->objs, o->key, o);
	index_obj(inf, o, true);
	tell(inf, old, o);
	informer_obj_unref(old);
}

static void del_obj(struct informer *inf, struct str key)
{
	struct informer_obj *old = map_del(&inf->objs, key);

	if (old == NULL)
		return;
	index_obj(inf, old, false);
	tell(inf, old, NULL);
	informer_obj_unref(old);
}

static void tell_synced(struct informer *inf)
{
	inf->synced = true;
	LIST_FOR_EACH_SAFE (h, next, &inf->handlers, struct informer_handler, link) {
		if (h->told_synced)
			continue;
		h->told_synced = true;
		if (h->synced)
			h->synced(h);
	}
}

/* --- List and watch ---------------------------------------------------------------------------------- */

static void ended(struct informer *inf)
{
	if (!inf->stopping || inf->listing || inf->watching)
		return;
	loop_timer_stop(&inf->timer);
	if (inf->stopped)
		inf->stopped(inf->stopped_arg);
	MAP_FOR_EACH (e, &inf->objs)
		informer_obj_unref(e->value);
	map_fini(&inf->objs);
	LIST_FOR_EACH_SAFE (ix, next, &inf->indexes, struct informer_index, link) {
		map_fini_with(&ix->buckets, bucket_free);
		free(ix);
	}
	free(inf->ns);
	free(inf->label_selector);
	free(inf->field_selector);
	free(inf);
}

static void set_rv(struct informer *inf, uint64_t rv)
{
	if (rv > inf->rv)
		inf->rv = rv;
}

static void retry(struct informer *inf)
{
	loop_timer_start(&inf->timer, inf->cfg.client->loop, inf->retry_ms, start_list);
	inf->retry_ms = MIN(inf->retry_ms * 2, (unsigned)RETRY_MAX_MS);
}

static void on_event(struct client_watch *w, enum client_event ev, struct str bytes, uint64_t rv)
{
	struct informer *inf = container_of(w, struct informer, watch);
	struct informer_obj *o;

	inf->retry_ms = RETRY_FIRST_MS;
	if (ev != CLIENT_BOOKMARK) {
		o = obj_parse(inf, bytes);
		log_debug("informer", "event resource=%s type=%d inf=%p name=%s rv=%" PRIu64, inf->cfg.resource->plural, (int)ev, (void *)inf,
				o ? o->meta->name : "?", rv);
		if (o != NULL && ev == CLIENT_DELETED) {
			del_obj(inf, o->key);
			informer_obj_unref(o);
		} else if (o != NULL) {
			put_obj(inf, o, false);
		}
	}
	set_rv(inf, rv);
}

static void on_watch_end(struct client_watch *w, const struct err *why)
{
	struct informer *inf = container_of(w, struct informer, watch);

	inf->watching = false;
	if (inf->stopping) {
		ended(inf);
		return;
	}
	if (why->code == ERR_GONE || why->code == ERR_EXPIRED)
		inf->must_list = true;
	else if (why->code != ERR_OK)
		log_debug("informer", "watch ended resource=%s: %s", inf->cfg.resource->plural, why->text);
	retry(inf);
}

static void start_watch(struct informer *inf)
{
	client_watch_init(&inf->watch, inf->cfg.resource);
	inf->watch.ns = inf->ns;
	inf->watch.label_selector = inf->label_selector;
	inf->watch.field_selector = inf->field_selector;
	snprintf(inf->rv_text, sizeof(inf->rv_text), "%" PRIu64, inf->rv);
	inf->watch.resource_version = inf->rv_text;
	inf->watch.bookmarks = true;
	inf->watch.metadata = inf->cfg.metadata;
	inf->watch.event = on_event;
	inf->watch.end = on_watch_end;
	inf->watching = true;
	client_watch_start(inf->cfg.client, &inf->watch);
}

/*
 * What the list has is put; what it does not have, and the cache has, is gone. A list of an earlier version than what is known here comes
 * from a store that was restored: what the versions say of newer and older is void then.
 */
static void replace(struct informer *inf, struct str list, uint64_t rv)
{
	bool back = rv < inf->rv;
	struct map listed = MAP_INIT;
	struct arena gone;
	struct str item, *keys;
	size_t pos = 0, n = 0;

	while (client_list_next(list, &pos, &item)) {
		struct informer_obj *o = obj_parse(inf, item);

		if (o == NULL)
			continue;
		map_put(&listed, o->key, inf);
		put_obj(inf, o, back);
	}
	arena_init(&gone);
	keys = arena_new_array(&gone, struct str, inf->objs.n + 1);
	MAP_FOR_EACH (e, &inf->objs)
		if (map_get(&listed, e->key) == NULL)
			keys[n++] = arena_str(&gone, e->key);
	for (size_t i = 0; i < n; i++)
		del_obj(inf, keys[i]);
	arena_fini(&gone);
	map_fini(&listed);
}

static void on_list(struct client_req *req)
{
	struct informer *inf = container_of(req, struct informer, list);
	struct client_list_meta meta;
	struct err e = req->err;
	uint64_t rv = 0;

	/* Still "listing" while handlers run: one of them may stop the informer, which must not free it under us. */
	if (!inf->stopping && e.code == ERR_OK && client_list_meta(req->answer, &meta, &e) == 0) {
		str_to_u64(meta.resource_version, &rv);
		replace(inf, req->answer, rv);
		inf->rv = rv;
		inf->must_list = false;
		inf->retry_ms = RETRY_FIRST_MS;
	}
	client_req_fini(req);
	inf->listing = false;
	if (inf->stopping) {
		ended(inf);
		return;
	}
	if (e.code != ERR_OK) {
		log_at(inf->retry_ms >= 1000 ? LOG_WARN : LOG_DEBUG, "informer", "list failed resource=%s: %s",
				inf->cfg.resource->plural, e.text);
		retry(inf);
		return;
	}
	start_watch(inf);
	tell_synced(inf);
}

/* Go on: list when we have to, else watch from where we were. */
static void start_list(struct loop_timer *t)
{
	struct informer *inf = container_of(t, struct informer, timer);

	if (!inf->must_list) {
		start_watch(inf);
		return;
	}
	client_req_init(&inf->list, CLIENT_LIST, inf->cfg.resource);
	inf->list.ns = inf->ns;
	inf->list.label_selector = inf->label_selector;
	inf->list.field_selector = inf->field_selector;
	inf->list.metadata = inf->cfg.metadata;
	inf->list.timeout_ms = LIST_TIMEOUT_MS;
	inf->list.done = on_list;
	inf->listing = true;
	client_do(inf->cfg.client, &inf->list);
}

/* --- Life -------------------------------------------------------------------------------------------- */

struct informer *informer_new(const struct informer_cfg *cfg)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(cfg->desc, "metadata");
	struct informer *inf = xcalloc(1, sizeof(*inf));

	ASSERT(f != NULL && cfg->resource != NULL);
	inf->cfg = *cfg;
	inf->meta_offset = f->offset;
	inf->ns = cfg->ns ? xstrdup(cfg->ns) : NULL;
	inf->label_selector = cfg->label_selector ? xstrdup(cfg->label_selector) : NULL;
	inf->field_selector = cfg->field_selector ? xstrdup(cfg->field_selector) : NULL;
	inf->must_list = true;
	inf->retry_ms = RETRY_FIRST_MS;
	list_init(&inf->handlers);
	list_init(&inf->indexes);
	return inf;
}

void informer_add_handler(struct informer *inf, struct informer_handler *h)
{
	ASSERT(!inf->synced);
	h->told_synced = false;
	list_add_tail(&inf->handlers, &h->link);
}

void informer_start(struct informer *inf)
{
	loop_timer_start(&inf->timer, inf->cfg.client->loop, 0, start_list);
}

void informer_stop(struct informer *inf, void (*cb)(void *arg), void *arg)
{
	inf->stopping = true;
	inf->stopped = cb;
	inf->stopped_arg = arg;
	while (list_pop(&inf->handlers) != NULL)
		continue;
	if (inf->listing)
		client_cancel(&inf->list);
	if (inf->watching)
		client_watch_stop(&inf->watch);
	ended(inf);
}

bool informer_synced(const struct informer *inf)
{
	return inf->synced;
}

uint64_t informer_rv(const struct informer *inf)
{
	return inf->rv;
}

size_t informer_len(const struct informer *inf)
{
	return map_len(&inf->objs);
}

const struct informer_obj *informer_get_key(const struct informer *inf, struct str key)
{
	return map_get(&inf->objs, key);
}

const struct informer_obj *informer_get(const struct informer *inf, const char *ns, const char *name)
{
	char key[512];
	int n = ns && *ns ? snprintf(key, sizeof(key), "%s/%s", ns, name) : snprintf(key, sizeof(key), "%s", name);

	return n < (int)sizeof(key) ? map_get(&inf->objs, str_of(key, (size_t)n)) : NULL;
}

const struct informer_obj *informer_next(const struct informer *inf, size_t *pos)
{
	struct map_entry *e = map_next(&inf->objs, pos);

	return e ? e->value : NULL;
}
