#include "base/arena.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define ALIGN 16u
/* With its head within what malloc keeps at hand for each thread (1032 bytes). */
#define FIRST_BLOCK 992u
#define MAX_BLOCK (64u * 1024u)

struct arena_block {
	struct arena_block *next;
	size_t size; /* usable bytes */
	size_t used;
	_Alignas(ALIGN) char data[];
};

struct arena_hook {
	struct arena_hook *next;
	void (*fn)(void *);
	void *data;
};

/*
 * Blocks are too large for malloc's own small caches, and requests begin and end thousands of times a second: each thread keeps some
 * of those that arenas give back. Their sizes are FIRST_BLOCK, twice, four times ... that. Where memory is watched for who
 * uses it after its end, none is kept.
 */
#define N_SIZES 5 /* to 16 KiB */
#define MAX_SPARE 4

struct spares {
	struct arena_block *first[N_SIZES];
	unsigned n[N_SIZES];
};
#define KEEP_SPARES (!WITH_ASAN)

static _Thread_local struct spares *spares;
static pthread_key_t spares_key;
static pthread_once_t spares_once = PTHREAD_ONCE_INIT;

static void spares_free(void *p)
{
	struct spares *sp = p;

	for (size_t i = 0; i < N_SIZES; i++)
		while (sp->first[i]) {
			struct arena_block *b = sp->first[i];

			sp->first[i] = b->next;
			free(b);
		}
	free(sp);
	spares = NULL;
}

static void spares_begin(void)
{
	ASSERT(pthread_key_create(&spares_key, spares_free) == 0);
}

/* The place of blocks of that size; N_SIZES: they are not kept. */
static unsigned size_index(size_t size)
{
	unsigned i = 0;

	while (i < N_SIZES && size != (size_t)FIRST_BLOCK << i)
		i++;
	return i;
}

static void block_free(struct arena_block *b)
{
	unsigned i = KEEP_SPARES ? size_index(b->size) : N_SIZES;

	if (i < N_SIZES && !spares) {
		pthread_once(&spares_once, spares_begin);
		spares = xcalloc(1, sizeof(*spares));
		pthread_setspecific(spares_key, spares);
	}
	if (i == N_SIZES || spares->n[i] == MAX_SPARE) {
		xfree(b);
		return;
	}
	b->next = spares->first[i];
	spares->first[i] = b;
	spares->n[i]++;
}

static struct arena_block *block_new(size_t size)
{
	unsigned i = spares ? size_index(size) : N_SIZES;
	struct arena_block *b;

	if (i < N_SIZES && spares->n[i] > 0) {
		b = spares->first[i];
		spares->first[i] = b->next;
		spares->n[i]--;
	} else {
		b = xmalloc(sizeof(*b) + size);
	}
	b->next = NULL;
	b->size = size;
	b->used = 0;
	return b;
}

void arena_init(struct arena *a)
{
	memset(a, 0, sizeof(*a));
}

void arena_fini(struct arena *a)
{
	while (a->hooks) {
		struct arena_hook *h = a->hooks;

		a->hooks = h->next;
		h->fn(h->data);
	}
	while (a->blocks) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		block_free(b);
	}
	a->used = 0;
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t want = (MAX(size, 1u) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	struct arena_block *b = a->blocks;
	void *p;

	ASSERT(want >= size);
	if (b == NULL || b->size - b->used < want) {
		size_t next = b ? MIN(b->size * 2, MAX_BLOCK) : FIRST_BLOCK;

		if (b != NULL && want > next / 2) {
			/* A big one goes behind the block in use, whose room is kept. */
			struct arena_block *big = block_new(want);

			big->used = want;
			big->next = b->next;
			b->next = big;
			a->used += want;
			return big->data;
		}
		b = block_new(MAX(next, want));
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->used;
	b->used += want;
	a->used += want;
	return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

void *arena_grow(struct arena *a, void *old, size_t old_size, size_t new_size)
{
	struct arena_block *b = a->blocks;
	size_t have = (MAX(old_size, 1u) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	size_t want = (MAX(new_size, 1u) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	void *p;

	if (old != NULL && want <= have)
		return old;
	if (old != NULL && b != NULL && (char *)old + have == b->data + b->used &&
			b->size - b->used >= want - have) {
		b->used += want - have;
		a->used += want - have;
		return old;
	}
	p = arena_alloc(a, new_size);
	if (old != NULL && old_size > 0)
		memcpy(p, old, old_size);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return (struct str){p, s.n};
}

char *arena_cstr(struct arena *a, struct str s)
{
	return (char *)arena_str(a, s).p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_cstr(a, str_from(s));
}

void *arena_memdup(struct arena *a, const void *p, size_t size)
{
	void *q = arena_alloc(a, size);

	if (size > 0)
		memcpy(q, p, size);
	return q;
}

struct str arena_join(struct arena *a, const struct str *parts, size_t n)
{
	size_t size = 0;
	char *p, *to;

	for (size_t i = 0; i < n; i++)
		size += parts[i].n;
	p = to = arena_alloc(a, size + 1);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].n > 0)
			memcpy(to, parts[i].p, parts[i].n);
		to += parts[i].n;
	}
	*to = '\0';
	return (struct str){p, size};
}

/* Most texts are short: printed once, onto the stack. */
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	char brief[256], *p;
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(brief, sizeof(brief), fmt, again);
	va_end(again);
	ASSERT(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	if ((size_t)n < sizeof(brief))
		memcpy(p, brief, (size_t)n + 1);
	else
		vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}

struct str arena_sprintf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return str_from(p);
}

void arena_on_free(struct arena *a, void (*fn)(void *), void *data)
{
	struct arena_hook *h = arena_alloc(a, sizeof(*h));

	h->fn = fn;
	h->data = data;
	h->next = a->hooks;
	a->hooks = h;
}
