/* What the checks of the Pod Security Standards look at, and the words in which they tell it. */
#include "orchestrator/apiserver/podsecurity-priv.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/json.h"

void podsecurity__add(struct ps_names *l, struct str s)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i], s))
			return;
	if (l->n < PS_MAX_NAMES)
		l->v[l->n++] = s;
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

void podsecurity__sort(struct ps_names *l)
{
	qsort(l->v, l->n, sizeof(l->v[0]), by_text);
}

void podsecurity__tell(struct buf *out, const struct ps_names *l, bool quoted)
{
	for (size_t i = 0; i < l->n; i++)
		buf_printf(out, "%s%s%.*s%s", i ? ", " : "", quoted ? "\"" : "", STR_FMT(l->v[i]), quoted ? "\"" : "");
}

/* `container "a"`, `containers "a", "b"` */
void podsecurity__tell_kind(struct buf *out, const char *one, const struct ps_names *l)
{
	buf_printf(out, "%s%s ", one, l->n == 1 ? "" : "s");
	podsecurity__tell(out, l, true);
}

void podsecurity__each(struct ps_pod *p, ps_container_fn *fn, void *arg)
{
	static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(p->spec, lists[i]))
			fn(p, c, arg);
}

struct str podsecurity__name_of(const struct json *o)
{
	return json_str(json_getc(o, "name"));
}

bool podsecurity__in_list(const char *const *list, struct str s)
{
	for (; *list; list++)
		if (str_eqc(s, *list))
			return true;
	return false;
}

bool podsecurity__is_false(const struct json *j)
{
	return json_is(j, JSON_BOOL) && !json_true(j);
}

/* "pod and container "a"" */
void podsecurity__tell_setters(struct buf *out, const struct ps_setters *s)
{
	if (s->pod)
		buf_addc(out, s->containers.n ? "pod and " : "pod");
	if (s->containers.n)
		podsecurity__tell_kind(out, "container", &s->containers);
}
