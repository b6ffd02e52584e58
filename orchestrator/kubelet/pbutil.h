/* Making protobuf-c messages in an arena, and reading their maps. Nothing made here is ever freed alone. */
#ifndef KUBELET_PBUTIL_H
#define KUBELET_PBUTIL_H

#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "proto/pb.h"

/* A new, empty message: PB_NEW(&arena, Core__PodStatus, core__pod_status). */
#define PB_NEW(a, type, prefix) pb_new_of((a), prefix, type)
/* Set an optional scalar. */
#define PB_SET(msg, field, value) ((msg)->has_##field = 1, (msg)->field = (value))
/* An optional scalar or its default. */
#define PB_OR(msg, field, fallback) ((msg) && (msg)->has_##field ? (msg)->field : (fallback))
/* Append to a repeated field; the array grows by doubling in the arena. */
#define PB_ADD(a, msg, field, value)                                                               \
	do {                                                                                       \
		size_t _n = (msg)->n_##field;                                                      \
		if ((_n & (_n - 1)) == 0)                                                          \
			(msg)->field = arena_grow((a), (void *)(msg)->field,                       \
					_n * sizeof(*(msg)->field),                                \
					(_n ? 2 * _n : 1) * sizeof(*(msg)->field));                \
		(msg)->field[(msg)->n_##field++] = (value);                                        \
	} while (0)
/* Append a pair to a map<string,string>. */
#define PB_MAP_ADD(a, msg, field, prefix, k, v)                                                    \
	do {                                                                                       \
		__typeof__(*(msg)->field) _e = arena_alloc((a), sizeof(*_e));                      \
		protobuf_c_message_init(&prefix##__descriptor, _e);                                \
		_e->key = (k);                                                                     \
		_e->value = (v);                                                                   \
		PB_ADD((a), (msg), field, _e);                                                     \
	} while (0)
/* The entry of a map with that key, or NULL. */
#define PB_MAP_FIND(msg, field, k)                                                                 \
	({                                                                                         \
		__typeof__(*(msg)->field) _found = NULL;                                           \
		for (size_t _i = 0; _i < (msg)->n_##field; _i++)                                   \
			if (strcmp((msg)->field[_i]->key, (k)) == 0)                               \
				_found = (msg)->field[_i];                                         \
		_found;                                                                            \
	})

/* "" for NULL: strings that are not set. */
static inline const char *nz(const char *s)
{
	return s ? s : "";
}
static inline bool is_set(const char *s)
{
	return s && *s;
}

#endif
