#include "io/http-priv.h"

#include <stdlib.h>

#include "base/util.h"

struct told {
	struct loop_timer timer;
	struct http_write *w;
	int status;
};

static void on_told(struct loop_timer *t)
{
	struct told *x = container_of(t, struct told, timer);
	struct http_write *w = x->w;
	int status = x->status;

	xfree(x);
	if (w->done)
		w->done(w, status);
}

void http__write_later(struct loop *l, struct http_write *w, int status)
{
	struct told *x;

	if (w == NULL)
		return;
	x = xcalloc(1, sizeof(*x));
	x->w = w;
	x->status = status;
	loop_timer_start(&x->timer, l, 0, on_told);
}

struct relay {
	struct stream_write w;
	struct http_write *to;
};

static void on_relay(struct stream_write *w, int status)
{
	struct relay *x = container_of(w, struct relay, w);
	struct http_write *to = x->to;

	xfree(x);
	if (to->done)
		to->done(to, status);
}

struct stream_write *http__relay(struct http_write *to)
{
	struct relay *x;

	if (to == NULL)
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->w.done = on_relay;
	x->to = to;
	return &x->w;
}

static void *mem_malloc(size_t size, void *user _unused_)
{
	return xmalloc(size);
}

static void mem_free(void *p, void *user _unused_)
{
	xfree(p);
}

static void *mem_calloc(size_t n, size_t size, void *user _unused_)
{
	ASSERT(size == 0 || n <= SIZE_MAX / size);
	return xcalloc(1, n * size);
}

static void *mem_realloc(void *p, size_t size, void *user _unused_)
{
	return xrealloc(p, size);
}

nghttp2_mem http__nghttp2_mem = {NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};

nghttp2_nv http__nv(struct str name, struct str value)
{
	return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)(value.p ? value.p : ""), name.n, value.n,
		NGHTTP2_NV_FLAG_NONE};
}

struct str http__lower(struct arena *a, struct str name)
{
	char *p;
	size_t i = 0;

	while (i < name.n && !(name.p[i] >= 'A' && name.p[i] <= 'Z'))
		i++;
	if (i == name.n)
		return name;
	p = arena_cstr(a, name);
	for (; i < name.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] - 'A' + 'a');
	return str_of(p, name.n);
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 && c != '\t';
}

struct str http__clean(struct arena *a, struct str value)
{
	size_t i = 0;
	char *p;

	while (i < value.n && !is_control(value.p[i]))
		i++;
	if (i == value.n)
		return str_trim(value);
	p = arena_cstr(a, value);
	for (; i < value.n; i++)
		if (is_control(p[i]))
			p[i] = ' ';
	return str_trim(str_of(p, value.n));
}

bool http__is_connection_field(struct str name)
{
	static const struct str names[] = {STR_INIT("connection"), STR_INIT("keep-alive"),
		STR_INIT("proxy-connection"), STR_INIT("transfer-encoding"), STR_INIT("upgrade")};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_ieq(name, names[i]))
			return true;
	return false;
}

void http__add_header(
	struct arena *a, struct http_headers *hs, size_t *cap, struct str name, struct str value)
{
	if (hs->n == *cap) {
		size_t now = *cap ? *cap * 2 : 16;

		hs->h = arena_grow(a, hs->h, *cap * sizeof(*hs->h), now * sizeof(*hs->h));
		*cap = now;
	}
	hs->h[hs->n++] = (struct http_header){arena_str(a, name), arena_str(a, value)};
}
