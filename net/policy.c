#include "net/policy.h"

#include <stdlib.h>

void policy_set_free(struct policy_set *ps)
{
	struct arena arena;

	if (ps == NULL)
		return;
	/* It lies in its own arena. */
	arena = ps->arena;
	arena_fini(&arena);
}

static int by_addr(const void *key, const void *vm)
{
	const struct policy_member *m = vm;
	uint32_t addr = *(const uint32_t *)key;

	return addr < m->addr ? -1 : addr > m->addr;
}

const struct policy_member *policy_member_find(const struct policy_set *ps, uint32_t addr)
{
	return ps->n_members ? bsearch(&addr, ps->members, ps->n_members, sizeof(*ps->members), by_addr) : NULL;
}

static int range_order(const void *va, const void *vb)
{
	const struct policy_range *a = va, *b = vb;

	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	return a->to < b->to ? -1 : a->to > b->to;
}

size_t policy_ranges_join(struct policy_range *v, size_t n)
{
	size_t kept = 0;

	if (n > 0)
		qsort(v, n, sizeof(*v), range_order);
	for (size_t i = 0; i < n; i++) {
		struct policy_range *last = kept ? &v[kept - 1] : NULL;

		if (last && (last->to == UINT32_MAX || v[i].from <= last->to + 1))
			last->to = v[i].to > last->to ? v[i].to : last->to;
		else
			v[kept++] = v[i];
	}
	return kept;
}

static int ports_order(const void *va, const void *vb)
{
	const struct policy_ports *a = va, *b = vb;

	if (a->proto != b->proto)
		return (int)a->proto - (int)b->proto;
	if (a->from != b->from)
		return (int)a->from - (int)b->from;
	return (int)a->to - (int)b->to;
}

size_t policy_ports_join(struct policy_ports *v, size_t n)
{
	size_t kept = 0;

	if (n > 0)
		qsort(v, n, sizeof(*v), ports_order);
	for (size_t i = 0; i < n; i++) {
		struct policy_ports *last = kept ? &v[kept - 1] : NULL;

		if (last && last->proto == v[i].proto && v[i].from <= (uint32_t)last->to + 1)
			last->to = v[i].to > last->to ? v[i].to : last->to;
		else
			v[kept++] = v[i];
	}
	return kept;
}
