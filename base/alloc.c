/*
 * Checked allocation, and blocks kept at hand.
 *
 * glibc's malloc keeps seven blocks of each size for a thread. Requests come and go by the hundred, each with a dozen of blocks: nearly all
 * of these took malloc's long way, ten times as much as the short one. So each thread keeps those that it is given by xfree, up to
 * a sum, and hands them out again. They are malloc's own blocks: free() and xfree() are good for either's, in any thread.
 *
 * Where memory is watched for who uses it after its end, none is kept.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

/* glibc's blocks have 24 usable bytes, 40, 56 ... */
#define SMALLEST 24u
#define STEP 16u
#define N_SIZES 64
#define LARGEST (SMALLEST + STEP * (N_SIZES - 1))
/*
 * What a thread keeps at the most: in all, and of one size, so that those which one thread makes and another one gives back do not take
 * the others' room.
 */
#define KEEP_BYTES (1u << 20)
#define KEEP_OF_SIZE 512u

#define KEEP (!WITH_ASAN)

struct spare {
	struct spare *next;
};

struct spares {
	struct spare *first[N_SIZES];
	unsigned n[N_SIZES];
	size_t bytes;
};

static _Thread_local struct spares *spares;
static pthread_key_t spares_key;
static pthread_once_t spares_once = PTHREAD_ONCE_INIT;

static void out_of_memory(void)
{
	static const char text[] = "kontiki: out of memory\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n;
	abort();
}

static void spares_free(void *p)
{
	struct spares *sp = p;

	spares = NULL;
	for (size_t i = 0; i < N_SIZES; i++)
		for (struct spare *b = sp->first[i], *next; b != NULL; b = next) {
			next = b->next;
			free(b);
		}
	free(sp);
}

static void spares_begin(void)
{
	ASSERT(pthread_key_create(&spares_key, spares_free) == 0);
}

static struct spares *spares_new(void)
{
	pthread_once(&spares_once, spares_begin);
	spares = calloc(1, sizeof(*spares));
	if (spares == NULL)
		out_of_memory();
	pthread_setspecific(spares_key, spares);
	return spares;
}

/* The smallest size of blocks that `size` bytes fit in. */
static inline size_t index_for(size_t size)
{
	return size <= SMALLEST ? 0 : (size - SMALLEST + STEP - 1) / STEP;
}

void *xmalloc(size_t size)
{
	struct spares *sp = spares;
	void *p;

	if (sp != NULL && size <= LARGEST) {
		size_t i = index_for(size);
		struct spare *b = sp->first[i];

		if (b != NULL) {
			sp->first[i] = b->next;
			sp->n[i]--;
			sp->bytes -= SMALLEST + STEP * i;
			return b;
		}
	}
	p = malloc(size ? size : 1);
	if (p == NULL)
		out_of_memory();
	return p;
}

void xfree(void *p)
{
	struct spares *sp = spares;
	struct spare *b = p;
	size_t usable, i;

	if (p == NULL)
		return;
	usable = KEEP ? malloc_usable_size(p) : 0;
	if (usable < SMALLEST || usable > LARGEST) {
		free(p);
		return;
	}
	if (sp == NULL)
		sp = spares_new();
	i = (usable - SMALLEST) / STEP;
	if (sp->n[i] == KEEP_OF_SIZE || sp->bytes + usable > KEEP_BYTES) {
		free(p);
		return;
	}
	b->next = sp->first[i];
	sp->first[i] = b;
	sp->n[i]++;
	sp->bytes += SMALLEST + STEP * i;
}

void *xcalloc(size_t n, size_t size)
{
	void *p;

	if (n == 1 && size > 0 && size <= LARGEST) {
		p = xmalloc(size);
		/* Else gcc makes one calloc of the two. */
		__asm__("" : "+r"(p));
		return memset(p, 0, size);
	}
	p = calloc(n ? n : 1, size ? size : 1);
	if (p == NULL)
		out_of_memory();
	return p;
}

void *xrealloc(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (p == NULL)
		out_of_memory();
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t len)
{
	char *p = xmalloc(len + 1);

	if (len > 0)
		memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;

	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return p;
}
