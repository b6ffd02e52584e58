/*
 * struct arena: memory that is freed whole. One a request, reconcile or op.
 *
 * Allocations are 16-byte aligned and never freed alone. A large allocation gets a block of its own.
 * Not thread-safe: one owner at a time. `arena_on_free` runs a function when the arena ends, so that it
 * can hold references to refcounted objects.
 *
 *	struct arena a;
 *	arena_init(&a);
 *	char *s = arena_printf(&a, "%s/%s", ns, name);
 *	arena_fini(&a);
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/str.h"

struct arena_block;
struct arena_hook;

struct arena {
	struct arena_block *blocks; /* newest first; the first is filled */
	struct arena_hook *hooks;   /* newest first */
	size_t used;                /* bytes handed out, for limits and metrics */
};

void arena_init(struct arena *);
/* Runs the hooks, newest first, and frees all. The arena may be used again. */
void arena_fini(struct arena *);

/* Uninitialised memory; n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *, size_t size);
void *arena_zalloc(struct arena *, size_t size);
#define arena_new_array(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))
#define arena_new_of(a, type) ((type *)arena_zalloc((a), sizeof(type)))
/* Grow the last or any allocation: contents are kept; old_size bytes are copied when it moves. */
void *arena_grow(struct arena *, void *p, size_t old_size, size_t new_size);

/* Copies end in NUL (not counted). */
struct str arena_str(struct arena *, struct str s);
char *arena_cstr(struct arena *, struct str s);
char *arena_strdup(struct arena *, const char *s);
void *arena_memdup(struct arena *, const void *p, size_t size);
/* One behind the other. */
struct str arena_join(struct arena *, const struct str *parts, size_t n);
#define ARENA_JOIN(a, ...) \
	arena_join((a), (const struct str[]){__VA_ARGS__}, sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))
char *arena_printf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct str arena_sprintf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *, const char *fmt, va_list ap);

/* Call fn(data) when the arena is finished. */
void arena_on_free(struct arena *, void (*fn)(void *data), void *data);

#endif
