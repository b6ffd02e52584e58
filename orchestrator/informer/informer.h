/*
 * struct informer: the objects of one resource, kept up to date in memory by list and watch.
 *
 * It lists, then watches from the list's resourceVersion; a broken watch goes on from the last version seen, an expired one
 * lists again and reports only the differences. A list of an earlier version than the informer's is of a store that was restored,
 * and is taken over as well. Objects are immutable and refcounted: a change makes a new one. Who keeps an
 * object past a callback takes a reference.
 *
 * Handlers are told of every change in order, on the client's loop: changed(NULL, new) for a new object, (old, new) for a
 * changed one, (old, NULL) for one that is gone. During a relist objects may change and go in any order between each other, and
 * versions in between may be left out: a handler acts on what is, not on each step.
 *
 * Indexes find objects by something else than their name: pods by node, by owner, by label.
 *
 *	struct informer_cfg cfg = {.client = c, .resource = resource_find("", "v1", "pods"), .desc = &core__pod__descriptor};
 *	struct informer *pods = informer_new(&cfg);
 *	informer_add_handler(pods, &me->pods_handler);
 *	informer_start(pods);
 *	...
 *	const Core__Pod *p = informer_msg(informer_get(pods, "default", "web"));
 *
 * One loop. informer_stop ends asynchronously; nothing is called after its callback.
 */
#ifndef ORCHESTRATOR_INFORMER_INFORMER_H
#define ORCHESTRATOR_INFORMER_INFORMER_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/obj.h"
#include "base/str.h"
#include "proto/meta.pb-c.h"

struct client;
struct informer;
struct resource;

struct informer_obj {
	struct ref ref;
	struct arena arena;
	struct str key;           /* "ns/name", or "name" for cluster scope */
	Meta__ObjectMeta *meta;   /* never NULL */
	void *msg;                /* the typed message; read-only */
	uint64_t rv;
	uint64_t seen_ms;         /* monotonic clock, when this version came to us */
};

struct informer_obj *informer_obj_ref(const struct informer_obj *);
void informer_obj_unref(struct informer_obj *);
/* The message, NULL for NULL. */
static inline void *informer_msg(const struct informer_obj *o)
{
	return o ? o->msg : NULL;
}

struct informer_cfg {
	struct client *client;
	const struct resource *resource;
	const ProtobufCMessageDescriptor *desc;
	const char *ns;                              /* NULL: all; copied */
	const char *label_selector, *field_selector; /* NULL: none; copied */
	bool metadata;                               /* of objects is all that is wanted (client.h) */
	/* NULL: objects are kept whole. Else what is kept of one: a message of the same type, with its name, in the arena. */
	void *(*keep)(struct arena *, const void *msg);
};

struct informer_handler {
	/* old or new is NULL, not both; borrowed for the call. */
	void (*changed)(struct informer_handler *, const struct informer_obj *old, const struct informer_obj *new);
	/* Optional: the first list is complete. Called soon after informer_add_handler when that is so already. */
	void (*synced)(struct informer_handler *);
	struct list link; /* the informer's */
	bool told_synced;
};

struct informer *informer_new(const struct informer_cfg *);
/* Before informer_start; objects known already are not reported again. */
void informer_add_handler(struct informer *, struct informer_handler *);
void informer_start(struct informer *);
/* Stops, frees the informer and drops its objects (silently); cb (may be NULL) is the last call. */
void informer_stop(struct informer *, void (*cb)(void *arg), void *arg);
bool informer_synced(const struct informer *);
/* The newest version seen. */
uint64_t informer_rv(const struct informer *);

size_t informer_len(const struct informer *);
/* NULL when absent; borrowed until the next turn of the loop. ns NULL or "": cluster scope. */
const struct informer_obj *informer_get(const struct informer *, const char *ns, const char *name);
const struct informer_obj *informer_get_key(const struct informer *, struct str key);
/* The next object; *pos starts at 0. NULL at the end. In no order. */
const struct informer_obj *informer_next(const struct informer *, size_t *pos);
#define INFORMER_FOR_EACH(o, inf)                                                                  \
	for (size_t o##_i = 0, o##_once = 1; o##_once; o##_once = 0)                                \
		for (const struct informer_obj *o; (o = informer_next((inf), &o##_i)) != NULL;)

/* Indexes: fn calls informer_emit for each key under which the object shall be found (NUL-terminated or not; copied). */
struct informer_index;
struct informer_emit;
typedef void informer_index_fn(const struct informer_obj *, struct informer_emit *);
void informer_emit(struct informer_emit *, struct str key);
/* Before informer_start. The index belongs to the informer. */
struct informer_index *informer_add_index(struct informer *, informer_index_fn *fn);
struct informer_objs {
	const struct informer_obj *const *v;
	size_t n;
};
/* Borrowed until the next turn of the loop. In no order. */
struct informer_objs informer_index_get(const struct informer_index *, struct str key);

/* Index functions for common questions. */
void informer_by_namespace(const struct informer_obj *, struct informer_emit *);
/* By the uid of the controlling owner (ownerReferences with controller: true). */
void informer_by_owner(const struct informer_obj *, struct informer_emit *);

#endif
