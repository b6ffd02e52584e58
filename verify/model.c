/* etcd's state, as far as clients can tell: what a call does to it, what it answers, and back again. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "verify/verify-priv.h"

void model_init(struct model *m, int64_t first, struct str *keys, size_t n)
{
	*m = (struct model){.keys = keys, .n_keys = n, .first = first, .revision = first};
	m->cells = xcalloc(n + 1, sizeof(*m->cells));
	map_init(&m->values);
}

void model_fini(struct model *m)
{
	map_fini(&m->values);
	free(m->keys);
	free(m->cells);
	free(m->log);
	free(m->at);
}

uint32_t model_value(struct model *m, struct str s)
{
	uintptr_t id = (uintptr_t)map_get(&m->values, s);

	if (id == 0) {
		id = map_len(&m->values) + 1;
		map_put(&m->values, s, (void *)id);
	}
	return (uint32_t)id;
}

static size_t lower_bound(const struct model *m, struct str key)
{
	size_t lo = 0, hi = m->n_keys;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (str_cmp(m->keys[mid], key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void model_range(const struct model *m, struct str key, struct str end, size_t *from, size_t *to)
{
	*from = lower_bound(m, key);
	if (end.n == 0)
		*to = *from + (*from < m->n_keys && str_eq(m->keys[*from], key));
	else if (end.n == 1 && end.p[0] == '\0')
		*to = m->n_keys;
	else
		*to = MAX(*from, lower_bound(m, end));
}

/* --- Changes ---------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

static uint64_t cell_hash(uint32_t key, const struct cell *c)
{
	uint64_t h = mix(0x243f6a8885a308d3ULL, key);

	if (c->version == 0)
		return 0;
	h = mix(mix(h, c->value), (uint64_t)c->create);
	return mix(mix(mix(h, (uint64_t)c->mod), (uint64_t)c->version), (uint64_t)c->lease);
}

static void set(struct model *m, uint32_t key, struct cell after)
{
	if (m->n_log == m->cap_log) {
		m->cap_log = m->cap_log ? m->cap_log * 2 : 1024;
		m->log = xrealloc(m->log, m->cap_log * sizeof(*m->log));
	}
	m->log[m->n_log++] = (struct change){key, m->cells[key], after};
	m->hash ^= cell_hash(key, &m->cells[key]) ^ cell_hash(key, &after);
	m->cells[key] = after;
}

static void unset(struct model *m, size_t n_log)
{
	while (m->n_log > n_log) {
		struct change *c = &m->log[--m->n_log];

		m->hash ^= cell_hash(c->key, &c->before) ^ cell_hash(c->key, &c->after);
		m->cells[c->key] = c->before;
	}
}

static void commit(struct model *m, size_t begin)
{
	if (m->n_at == m->cap_at) {
		m->cap_at = m->cap_at ? m->cap_at * 2 : 1024;
		m->at = xrealloc(m->at, m->cap_at * sizeof(*m->at));
	}
	m->at[m->n_at++] = begin;
	m->revision++;
}

void model_pass(struct model *m)
{
	commit(m, m->n_log);
}

void model_back(struct model *m, int64_t revision)
{
	if (revision >= m->revision)
		return;
	unset(m, m->at[revision - m->first]);
	m->n_at = (size_t)(revision - m->first);
	m->revision = revision;
}

const struct change *model_changes(const struct model *m, int64_t revision, size_t *ret_n)
{
	size_t i = (size_t)(revision - m->first - 1), end;

	if (revision <= m->first || revision > m->revision) {
		*ret_n = 0;
		return NULL;
	}
	end = i + 1 < m->n_at ? m->at[i + 1] : m->n_log;
	*ret_n = end - m->at[i];
	return m->log + m->at[i];
}

bool model_has_lease(const struct model *m, int64_t lease)
{
	for (size_t i = 0; i < m->n_keys; i++)
		if (m->cells[i].version != 0 && m->cells[i].lease == lease)
			return true;
	return false;
}

enum step model_revoke(struct model *m, int64_t lease)
{
	size_t begin = m->n_log;

	for (size_t i = 0; i < m->n_keys; i++)
		if (m->cells[i].version != 0 && m->cells[i].lease == lease)
			set(m, (uint32_t)i, (struct cell){0});
	if (m->n_log == begin)
		return STEP_SAME;
	commit(m, begin);
	return STEP_CHANGED;
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool wrong(struct model *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->wrong, sizeof(m->wrong), fmt, ap);
	va_end(ap);
	return false;
}

static bool same_kv(struct model *m, size_t key, const struct hist_kv *kv, bool with_value)
{
	const struct cell *c = &m->cells[key];

	if (!str_eq(kv->key, m->keys[key]))
		return wrong(m, "it shows the key %.*s where %.*s should be", STR_FMT(kv->key), STR_FMT(m->keys[key]));
	if (c->mod != kv->mod || c->create != kv->create || c->version != kv->version || c->lease != kv->lease)
		return wrong(m,
			     "it shows %.*s with mod=%" PRId64 " create=%" PRId64 " version=%" PRId64 " lease=%" PRId64
			     ", but it is mod=%" PRId64 " create=%" PRId64 " version=%" PRId64 " lease=%" PRId64,
			     STR_FMT(kv->key), kv->mod, kv->create, kv->version, kv->lease, c->mod, c->create, c->version, c->lease);
	if (with_value && model_value(m, kv->value) != c->value)
		return wrong(m, "it shows the value %.40s of %.*s, which was never its value at revision %" PRId64,
			     kv->value.p ? kv->value.p : "", STR_FMT(kv->key), kv->mod);
	return true;
}

static bool check_range(struct model *m, const struct hist_op *op)
{
	size_t from, to, n = 0;
	int64_t count = 0;

	model_range(m, op->key, op->end, &from, &to);
	for (size_t i = from; i < to; i++) {
		if (m->cells[i].version == 0)
			continue;
		count++;
		if (op->count_only || (op->limit > 0 && count > op->limit))
			continue;
		if (n == op->n_kvs)
			return wrong(m, "it does not show %.*s, which is there since revision %" PRId64, STR_FMT(m->keys[i]),
				     m->cells[i].create);
		if (!same_kv(m, i, &op->kvs[n++], !op->keys_only))
			return false;
	}
	if (n < op->n_kvs)
		return wrong(m, "it shows %.*s, which is not there", STR_FMT(op->kvs[n].key));
	if (op->count != count)
		return wrong(m, "it counts %" PRId64 " keys, but there are %" PRId64, op->count, count);
	if (op->more != (op->limit > 0 && !op->count_only && count > op->limit))
		return wrong(m, "its flag `more` is wrong");
	return true;
}

bool model_shows(struct model *m, const struct hist_op *op)
{
	return check_range(m, op);
}

static bool check_previous(struct model *m, const struct hist_op *op, size_t from, size_t to)
{
	size_t n = 0;

	for (size_t i = from; i < to; i++) {
		if (m->cells[i].version == 0)
			continue;
		if (n == op->n_kvs)
			return wrong(m, "it does not show the previous value of %.*s", STR_FMT(m->keys[i]));
		if (!same_kv(m, i, &op->kvs[n++], true))
			return false;
	}
	return n == op->n_kvs || wrong(m, "it shows a previous value of %.*s, which was not there", STR_FMT(op->kvs[n].key));
}

static bool do_put(struct model *m, const struct hist_op *op, bool check)
{
	size_t from, to;
	struct cell c;

	model_range(m, op->key, STR_NULL, &from, &to);
	ASSERT(to == from + 1);
	if (check && op->prev_kv && !check_previous(m, op, from, to))
		return false;
	c = m->cells[from];
	if (c.version == 0)
		c.create = m->revision + 1;
	c.version++;
	c.mod = m->revision + 1;
	c.value = model_value(m, op->value);
	c.lease = op->lease;
	set(m, (uint32_t)from, c);
	return true;
}

static bool do_delete(struct model *m, const struct hist_op *op, bool check)
{
	size_t from, to;
	int64_t n = 0;

	model_range(m, op->key, op->end, &from, &to);
	if (check && op->prev_kv && !check_previous(m, op, from, to))
		return false;
	for (size_t i = from; i < to; i++)
		if (m->cells[i].version != 0) {
			set(m, (uint32_t)i, (struct cell){0});
			n++;
		}
	return !check || n == op->count ||
	       wrong(m, "it deleted %" PRId64 " keys, but should have deleted %" PRId64, op->count, n);
}

static bool do_op(struct model *m, const struct hist_op *op, bool check)
{
	switch (op->kind) {
	case HIST_RANGE:
		/* One at an old revision is looked at when all revisions are known. */
		return !check || op->revision > 0 || check_range(m, op);
	case HIST_PUT:
		return do_put(m, op, check);
	case HIST_DELETE:
		return do_delete(m, op, check);
	}
	UNREACHABLE();
}

static int64_t number_of(const struct cell *c, enum hist_target t)
{
	switch (t) {
	case HIST_VERSION:
		return c->version;
	case HIST_CREATE:
		return c->create;
	case HIST_MOD:
		return c->mod;
	default:
		return c->lease;
	}
}

static bool holds(struct model *m, const struct hist_compare *cmp)
{
	static const struct cell none;
	const struct cell *c = &none;
	size_t from, to;
	int64_t a, b;

	model_range(m, cmp->key, STR_NULL, &from, &to);
	if (to > from)
		c = &m->cells[from];
	if (cmp->target == HIST_VALUE) {
		bool same = c->version != 0 && c->value == model_value(m, cmp->value);

		/* A value that is not there fails every comparison. Greater and less are not used by recorders. */
		return c->version != 0 && (cmp->relation == HIST_EQUAL ? same : !same);
	}
	a = number_of(c, cmp->target);
	b = cmp->number;
	switch (cmp->relation) {
	case HIST_EQUAL:
		return a == b;
	case HIST_GREATER:
		return a > b;
	case HIST_LESS:
		return a < b;
	case HIST_NOT_EQUAL:
		return a != b;
	}
	UNREACHABLE();
}

static enum step do_txn(struct model *m, const struct hist_call *c, bool check)
{
	size_t begin = m->n_log;
	bool yes = true, ok = true;
	const struct hist_op *ops;
	size_t n;

	for (size_t i = 0; i < c->n_compares && yes; i++)
		yes = holds(m, &c->compares[i]);
	if (check && yes != c->succeeded) {
		wrong(m, "its compares answered %s and should have %s", yes ? "false" : "true", yes ? "held" : "failed");
		return STEP_WRONG;
	}
	ops = yes ? c->then : c->otherwise;
	n = yes ? c->n_then : c->n_otherwise;
	for (size_t i = 0; i < n && ok; i++)
		ok = do_op(m, &ops[i], check);
	if (!ok) {
		unset(m, begin);
		return STEP_WRONG;
	}
	if (m->n_log == begin)
		return STEP_SAME;
	commit(m, begin);
	return STEP_CHANGED;
}

enum step model_call(struct model *m, const struct hist_call *c, bool check)
{
	switch (c->kind) {
	case HIST_TXN:
		return do_txn(m, c, check);
	case HIST_REVOKE:
		return model_revoke(m, c->lease);
	default:
		return STEP_SAME;
	}
}
