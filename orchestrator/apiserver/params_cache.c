#include "orchestrator/apiserver/params_cache.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/util.h"

#define MAX_BYTES (4u << 20)

struct entry {
	size_t n;
	char text[];
};

struct params_cache {
	struct map entries;
	size_t bytes;
};

struct params_cache *params_cache_new(void)
{
	struct params_cache *c = xcalloc(1, sizeof(*c));

	map_init(&c->entries);
	return c;
}

void params_cache_free(struct params_cache *c)
{
	if (!c)
		return;
	map_fini_with(&c->entries, free);
	free(c);
}

/* A version has no spaces, so no two keys are one text. */
static void key_text(const struct params_key *k, struct buf *out)
{
	buf_printf(out, "%" PRIu64 " %" PRIu64 " %s ", k->rv, k->epoch, k->api_version);
	buf_adds(out, k->key);
}

struct str params_cache_get(const struct params_cache *c, const struct params_key *k)
{
	_cleanup_(buf_fini) struct buf key = BUF_INIT;
	const struct entry *x;

	key_text(k, &key);
	x = map_get(&c->entries, buf_str(&key));
	return x ? str_of(x->text, x->n) : STR_NULL;
}

void params_cache_put(struct params_cache *c, const struct params_key *k, struct str text)
{
	_cleanup_(buf_fini) struct buf key = BUF_INIT;
	struct entry *x, *before;
	size_t size;

	key_text(k, &key);
	size = key.n + text.n + sizeof(*x);
	if (size > MAX_BYTES)
		return;
	if (c->bytes + size > MAX_BYTES) {
		map_fini_with(&c->entries, free);
		map_init(&c->entries);
		c->bytes = 0;
	}
	x = xmalloc(sizeof(*x) + text.n);
	x->n = text.n;
	memcpy(x->text, text.p, text.n);
	before = map_put(&c->entries, buf_str(&key), x);
	if (!before)
		c->bytes += size;
	free(before);
}
