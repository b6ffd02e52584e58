/*
 * Typed messages: protobuf-c structs that live in an arena.
 *
 * The structs come from proto/x.proto through protoc-c ("proto/core.pb-c.h": Core__Pod and its descriptor
 * core__pod__descriptor). Optional numbers have a has_ flag, strings and messages are NULL when absent, lists have
 * n_name beside name, maps are lists of entries {key, value}. Everything that a message points to must live at least
 * as long as the message: build from arena memory or string literals, never call protobuf_c_message_free.
 *
 *	Core__Pod *pod = pb_unpack(&arena, &core__pod__descriptor, bytes);
 *	const char *app = pb_map_get(pod->metadata->labels, pod->metadata->n_labels, "app");
 *	Core__Container *c = pb_add(&arena, pod->spec, "containers");
 *	c->name = "main";
 *	pb_map_set(&arena, pod->metadata, "labels", "app", "web");
 *	pb_pack(pod, &buf);
 */
#ifndef PROTO_PB_H
#define PROTO_PB_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/* Recursive types (a schema in a schema, a txn in a txn) may nest this deep. */
#define PB_MAX_DEPTH 64

/* NULL when the bytes are not such a message. The result borrows nothing from `bytes`. */
void *pb_unpack(struct arena *, const ProtobufCMessageDescriptor *, struct str bytes);
/* An empty message. pb_new_of(arena, core__pod, Core__Pod) spares the cast. */
void *pb_new(struct arena *, const ProtobufCMessageDescriptor *);
#define pb_new_of(arena, prefix, type) ((type *)pb_new((arena), &prefix##__descriptor))

size_t pb_size(const void *msg);
/* Append the encoded message. */
void pb_pack(const void *msg, struct buf *);
struct str pb_pack_arena(const void *msg, struct arena *);
/* A deep copy; `msg` may live anywhere. NULL gives NULL. */
void *pb_copy(struct arena *, const void *msg);
/* Whether both encode to the same bytes. NULL equals NULL only. */
bool pb_equal(const void *a, const void *b);

/* --- Fields by their name in the .proto file; a wrong name or kind of field is a broken invariant. ------------ */

/* The sub-message `field` of `msg`, made when it is absent. */
void *pb_sub(struct arena *, void *msg, const char *field);
/* Append an empty message to the list `field` and return it. */
void *pb_add(struct arena *, void *msg, const char *field);
/* Append a message that exists already. */
void pb_add_msg(struct arena *, void *msg, const char *field, void *element);
/* Append to a list of strings; the string is copied. */
void pb_add_str(struct arena *, void *msg, const char *field, const char *s);
/* Take element i out of a list, keeping the order. */
void pb_remove(void *msg, const char *field, size_t i);
/* In a map of strings: insert or replace; both strings are copied. */
void pb_map_set(struct arena *, void *msg, const char *field, const char *key, const char *value);
/* In any map; false when there was no such key. */
bool pb_map_del(void *msg, const char *field, const char *key);

/* --- Reading ----------------------------------------------------------------------------------------------------- */

/* "" for NULL. */
static inline const char *pb_s(const char *s)
{
	return s ? s : "";
}
/* Equal strings, where absent and empty are the same. */
static inline bool pb_streq(const char *a, const char *b)
{
	return strcmp(pb_s(a), pb_s(b)) == 0;
}
/* The value of an optional number, or `otherwise`. */
#define pb_or(msg, field, otherwise) ((msg)->has_##field ? (msg)->field : (otherwise))

/* The entry of a map, or NULL. */
#define pb_map_find(map, n_map, k)                                                                 \
	({                                                                                         \
		__typeof__((map)[0]) _found = NULL;                                                \
		const char *_key = (k);                                                            \
		for (size_t _i = 0, _n = (n_map); _i < _n && !_found; _i++)                        \
			if (pb_streq((map)[_i]->key, _key))                                        \
				_found = (map)[_i];                                                \
		_found;                                                                            \
	})
/* The value of a map of strings or messages, or NULL. */
#define pb_map_get(map, n_map, k)                                                                  \
	({                                                                                         \
		__typeof__((map)[0]) _entry = pb_map_find(map, n_map, k);                          \
		_entry ? _entry->value : NULL;                                                     \
	})
/* Whether a list of strings holds s. */
bool pb_has_str(const char *const *list, size_t n, const char *s);

#endif
