/*
 * Small things every file needs: ASSERT, array length, container_of, scoped cleanup, checked allocation.
 *
 * ASSERT is always compiled in: a broken invariant stops the process, and Raft makes that recoverable.
 * x-allocators abort when memory runs out, so no caller handles NULL.
 */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* libuv's header brings in sys/param.h, which spells them otherwise. */
#undef MIN
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Built with AddressSanitizer, as gcc and as clang say it: memory is to be given back at once, then. */
#define WITH_ASAN 0
#if defined(__SANITIZE_ADDRESS__)
#undef WITH_ASAN
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef WITH_ASAN
#define WITH_ASAN 1
#endif
#endif

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Prints where and what, then aborts. Never returns. */
void assert_failed(const char *file, int line, const char *what) __attribute__((noreturn, cold));
#define ASSERT(cond) ((cond) ? (void)0 : assert_failed(__FILE__, __LINE__, #cond))
#define UNREACHABLE() assert_failed(__FILE__, __LINE__, "unreachable")

/* Run fn(&variable) when the variable leaves scope. */
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _unused_ __attribute__((unused))
/* Hand a pointer on: yields its value and clears the variable. */
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__typeof__(p) *_pp = &(p);                                                         \
		__typeof__(p) _v = *_pp;                                                           \
		*_pp = NULL;                                                                       \
		_v;                                                                                \
	})

/* Abort when memory is exhausted; n == 0 is allowed. Caller frees with free(), or xfree(). */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
/* free() for what comes and goes in numbers: the block stays at hand for this thread's next one (base/alloc.c). */
void xfree(void *p);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* For _cleanup_(freep). */
static inline void freep(void *p)
{
	extern void free(void *);
	free(*(void **)p);
}
/* For _cleanup_(closep) on an int fd; -1 is ignored. */
void closep(int *fd);

#endif
