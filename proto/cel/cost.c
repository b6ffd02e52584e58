#include "proto/cel/cel-priv.h"

struct cel_cost cel__estimate(struct arena *a, const struct cel_program *p)
{
	(void)a;
	(void)p;
	return (struct cel_cost){0, UINT64_MAX};
}
