#include "orchestrator/controllers/job_index.h"

#include <string.h>

#include "base/buf.h"
#include "base/util.h"

/* Where the range that holds the index, or the first one behind it, stands. */
static size_t position(const struct index_set *s, int32_t index)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->ranges[mid].to < index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool index_set_has(const struct index_set *s, int32_t index)
{
	size_t i = position(s, index);

	return i < s->n && s->ranges[i].from <= index;
}

static void insert(struct index_set *s, size_t at, struct index_range range)
{
	if (s->n == s->max) {
		struct index_range *bigger = arena_new_array(s->arena, struct index_range, s->max * 2 + 8);

		if (s->n > 0)
			memcpy(bigger, s->ranges, s->n * sizeof(*bigger));
		s->ranges = bigger;
		s->max = s->max * 2 + 8;
	}
	memmove(s->ranges + at + 1, s->ranges + at, (s->n - at) * sizeof(*s->ranges));
	s->ranges[at] = range;
	s->n++;
}

void index_set_add(struct index_set *s, int32_t index)
{
	size_t i = position(s, index);
	bool after = i > 0 && s->ranges[i - 1].to == index - 1, before = i < s->n && s->ranges[i].from == index + 1;

	if (i < s->n && s->ranges[i].from <= index)
		return;
	if (after && before) {
		s->ranges[i - 1].to = s->ranges[i].to;
		memmove(s->ranges + i, s->ranges + i + 1, (s->n - i - 1) * sizeof(*s->ranges));
		s->n--;
	} else if (after) {
		s->ranges[i - 1].to = index;
	} else if (before) {
		s->ranges[i].from = index;
	} else {
		insert(s, i, (struct index_range){index, index});
	}
}

void index_set_parse(struct index_set *s, struct arena *arena, struct str text, int32_t limit)
{
	*s = (struct index_set){.arena = arena};
	while (text.n > 0) {
		struct str one, from_text, to_text;
		int64_t from, to;

		str_cut(text, ',', &one, &text);
		if (!str_cut(one, '-', &from_text, &to_text))
			to_text = from_text;
		if (!str_to_i64(from_text, &from) || !str_to_i64(to_text, &to) || from < 0 || from >= limit || to < from)
			continue;
		to = MIN(to, (int64_t)limit - 1);
		/* We write them in order; what stands out of place in a text is not ours, and is left out. Neighbours become one range. */
		if (s->n > 0 && s->ranges[s->n - 1].to + 1 == from)
			s->ranges[s->n - 1].to = (int32_t)to;
		else if (s->n == 0 || s->ranges[s->n - 1].to < from)
			insert(s, s->n, (struct index_range){(int32_t)from, (int32_t)to});
	}
}

int32_t index_set_count(const struct index_set *s)
{
	int32_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->ranges[i].to - s->ranges[i].from + 1;
	return n;
}

int32_t index_set_common(const struct index_set *a, const struct index_set *b)
{
	int32_t n = 0;

	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		int32_t from = MAX(a->ranges[i].from, b->ranges[k].from), to = MIN(a->ranges[i].to, b->ranges[k].to);

		n += MAX(to - from + 1, 0);
		if (a->ranges[i].to <= b->ranges[k].to)
			i++;
		else
			k++;
	}
	return n;
}

int32_t index_set_next_free(const struct index_set *s, int32_t from)
{
	size_t i = position(s, from);

	return i < s->n && s->ranges[i].from <= from ? s->ranges[i].to + 1 : from;
}

const char *index_set_text(const struct index_set *s)
{
	struct buf b = BUF_INIT;
	const char *text;

	for (size_t i = 0; i < s->n; i++) {
		const struct index_range *g = &s->ranges[i];

		buf_printf(&b, g->to == g->from ? "%s%d" : g->to == g->from + 1 ? "%s%d,%d" : "%s%d-%d", i ? "," : "", g->from, g->to);
	}
	text = arena_cstr(s->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}
