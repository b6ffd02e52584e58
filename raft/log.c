#include "raft/log.h"

#include <stdlib.h>

#include "base/util.h"

void log_init(struct log *l, struct wal *wal, size_t limit)
{
	*l = (struct log){.wal = wal, .cap = 1024, .first = 1, .last = 0, .cached_from = 1, .limit = limit};
	l->entries = xcalloc(l->cap, sizeof(*l->entries));
}

static struct log_entry *slot(const struct log *l, uint64_t index)
{
	return &l->entries[index & (l->cap - 1)];
}

static void forget_data(struct log *l, struct log_entry *e)
{
	if (e->data) {
		l->cached -= e->size;
		xfree(e->data);
		e->data = NULL;
	}
}

void log_fini(struct log *l)
{
	if (!l->entries)
		return;
	log_reset(l, 0);
	free(l->entries);
	l->entries = NULL;
}

struct log_entry *log_get(const struct log *l, uint64_t index)
{
	return index >= l->first && index <= l->last ? slot(l, index) : NULL;
}

uint64_t log_term(const struct log *l, uint64_t index)
{
	const struct log_entry *e = log_get(l, index);

	return e ? e->term : 0;
}

static void grow(struct log *l)
{
	struct log old = *l;

	l->cap *= 2;
	l->entries = xcalloc(l->cap, sizeof(*l->entries));
	for (uint64_t i = l->first; i <= l->last; i++)
		*slot(l, i) = *slot(&old, i);
	free(old.entries);
}

struct log_entry *log_add(struct log *l, uint64_t term, uint8_t type, char *data, uint32_t size)
{
	struct log_entry *e;

	if (l->last + 1 - l->first == l->cap)
		grow(l);
	l->last++;
	e = slot(l, l->last);
	*e = (struct log_entry){.term = term, .type = type, .data = data, .size = size};
	if (data)
		l->cached += size;
	return e;
}

void log_truncate(struct log *l, uint64_t index)
{
	while (l->last >= index && l->last >= l->first)
		forget_data(l, slot(l, l->last--));
	l->cached_from = MIN(l->cached_from, l->last + 1);
}

void log_drop_before(struct log *l, uint64_t index)
{
	while (l->first < index && l->first <= l->last)
		forget_data(l, slot(l, l->first++));
	l->cached_from = MAX(l->cached_from, l->first);
}

void log_reset(struct log *l, uint64_t index)
{
	log_truncate(l, l->first);
	l->first = index + 1;
	l->last = index;
	l->cached_from = l->first;
}

int log_data(struct log *l, uint64_t index, struct str *ret, struct err *e)
{
	struct log_entry *entry = log_get(l, index);
	struct buf bytes = BUF_INIT;
	int rc;

	ASSERT(entry);
	if (!entry->data && entry->size > 0) {
		rc = wal_read(l->wal, entry->pos, index, entry->term, &bytes, e);
		if (rc != 0) {
			buf_fini(&bytes);
			return rc;
		}
		ASSERT(bytes.n == entry->size);
		entry->data = buf_take(&bytes, NULL);
		l->cached += entry->size;
		l->cached_from = MIN(l->cached_from, index);
	}
	*ret = str_of(entry->data, entry->size);
	return 0;
}

void log_trim(struct log *l, uint64_t keep_from)
{
	while (l->cached > l->limit && l->cached_from < keep_from && l->cached_from <= l->last) {
		struct log_entry *e = slot(l, l->cached_from);

		if (e->lsn > l->wal->durable_lsn)
			break;
		forget_data(l, e);
		l->cached_from++;
	}
}
