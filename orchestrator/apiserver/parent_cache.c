#include "orchestrator/apiserver/parent_cache.h"

#include <string.h>

static size_t place(struct str name)
{
	return str_hash(name) % PARENT_CACHE_SIZE;
}

bool parent_cache_get(const struct parent_cache *c, struct str name, uint64_t *ret_version)
{
	size_t i = place(name);

	if (c->seen[i].version == 0 || !str_eq(name, str_of(c->seen[i].name, c->seen[i].n)))
		return false;
	*ret_version = c->seen[i].version;
	return true;
}

void parent_cache_put(struct parent_cache *c, struct str name, uint64_t version)
{
	size_t i = place(name);
	uint64_t had;

	if (name.n == 0 || name.n > PARENT_CACHE_NAME || (version == 0 && !parent_cache_get(c, name, &had)))
		return;
	memcpy(c->seen[i].name, name.p, name.n);
	c->seen[i].n = (uint8_t)name.n;
	c->seen[i].version = version;
}
