#include "raft/addrs.h"

size_t addrs_n(struct str list)
{
	size_t n = list.n > 0;

	for (size_t i = 0; i < list.n; i++)
		n += list.p[i] == ',';
	return n;
}

struct str addrs_at(struct str list, size_t i)
{
	struct str one = list, rest = list;

	for (i = list.n ? i % addrs_n(list) : 0; str_cut(rest, ',', &one, &rest) && i > 0; i--)
		;
	return one;
}

bool addrs_meet(struct str a, struct str b)
{
	for (size_t i = 0; i < addrs_n(a); i++)
		for (size_t j = 0; j < addrs_n(b); j++)
			if (str_eq(addrs_at(a, i), addrs_at(b, j)))
				return true;
	return false;
}

bool addrs_ok(struct str list)
{
	for (size_t i = 0; i < addrs_n(list); i++)
		if (addrs_at(list, i).n == 0)
			return false;
	return list.n > 0;
}
