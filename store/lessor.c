/*
 * The leases in memory: what they are (a copy of DB_LEASE) and, on the leader, when they end. Followers know no deadline.
 * Changes of a batch are queued and done when it is committed.
 */
#include <stdlib.h>

#include "base/heap.h"
#include "base/map.h"
#include "base/mutant.h"
#include "base/util.h"
#include "store/store-priv.h"

struct lease {
	int64_t id, ttl, remaining; /* seconds; remaining 0: the full ttl */
	struct heap_node deadline;  /* in the heap while this member leads; key in ms */
};

struct lease_op {
	bool revoke;
	int64_t id, ttl, remaining;
};

struct lessor {
	struct map leases; /* by the 8 bytes of the id */
	struct heap deadlines;
	bool primary;
	uint64_t now;      /* the latest time that was told */
	/* Granted since then: their time begins when the clock is told next, so that none ends early. */
	int64_t *fresh;
	size_t n_fresh, cap_fresh;
	struct lease_op *ops;
	size_t n_ops, cap_ops;
};

struct lessor *store__lessor_new(void)
{
	struct lessor *l = xcalloc(1, sizeof(*l));

	map_init(&l->leases);
	return l;
}

static struct str id_key(const int64_t *id)
{
	return str_of(id, sizeof(*id));
}

static struct lease *find(const struct lessor *l, int64_t id)
{
	return map_get(&l->leases, id_key(&id));
}

static void clear(struct lessor *l)
{
	heap_fini(&l->deadlines);
	l->deadlines = (struct heap)HEAP_INIT;
	map_fini_with(&l->leases, free);
	map_init(&l->leases);
	l->n_ops = l->n_fresh = 0;
}

void store__lessor_free(struct lessor *l)
{
	if (l == NULL)
		return;
	clear(l);
	map_fini(&l->leases);
	free(l->ops);
	free(l->fresh);
	free(l);
}

/* ms from now that a lease has; capped so that no sum overflows. */
static uint64_t span_ms(int64_t seconds)
{
	return (uint64_t)seconds * 1000;
}

static void set_deadline(struct lessor *l, struct lease *le, uint64_t at)
{
	heap_remove(&l->deadlines, &le->deadline);
	heap_insert(&l->deadlines, &le->deadline, at);
}

static struct lease *add(struct lessor *l, int64_t id, int64_t ttl, int64_t remaining)
{
	struct lease *le = find(l, id);

	if (le == NULL) {
		le = xcalloc(1, sizeof(*le));
		le->id = id;
		map_put(&l->leases, id_key(&id), le);
	}
	le->ttl = ttl;
	le->remaining = remaining;
	return le;
}

static void add_fresh(struct lessor *l, int64_t id)
{
	if (l->n_fresh == l->cap_fresh) {
		l->cap_fresh = l->cap_fresh ? l->cap_fresh * 2 : 16;
		l->fresh = xrealloc(l->fresh, l->cap_fresh * sizeof(*l->fresh));
	}
	l->fresh[l->n_fresh++] = id;
}

static bool load_one(void *arg, int64_t id, int64_t ttl, int64_t remaining)
{
	add(arg, id, ttl, remaining);
	return true;
}

int store__lessor_load(struct lessor *l, struct store_view *v, struct err *e)
{
	bool primary = l->primary;
	int rc;

	clear(l);
	rc = store__lease_records(v, load_one, l, e);
	if (rc == 0 && primary)
		MAP_FOR_EACH (m, &l->leases)
			add_fresh(l, ((struct lease *)m->value)->id);
	return rc;
}

static void queue(struct lessor *l, struct lease_op op)
{
	if (l->n_ops == l->cap_ops) {
		l->cap_ops = l->cap_ops ? l->cap_ops * 2 : 16;
		l->ops = xrealloc(l->ops, l->cap_ops * sizeof(*l->ops));
	}
	l->ops[l->n_ops++] = op;
}

void store__lessor_grant(struct lessor *l, int64_t id, int64_t ttl, int64_t remaining)
{
	queue(l, (struct lease_op){.id = id, .ttl = ttl, .remaining = remaining});
}

void store__lessor_revoke(struct lessor *l, int64_t id)
{
	queue(l, (struct lease_op){.revoke = true, .id = id});
}

void store__lessor_commit(struct lessor *l)
{
	for (size_t i = 0; i < l->n_ops; i++) {
		struct lease_op *op = &l->ops[i];
		struct lease *le = find(l, op->id);

		if (op->revoke) {
			if (le != NULL)
				heap_remove(&l->deadlines, &le->deadline);
			free(map_del(&l->leases, id_key(&op->id)));
			continue;
		}
		if (le == NULL) {
			add(l, op->id, op->ttl, op->remaining);
			if (l->primary)
				add_fresh(l, op->id);
		} else {
			le->remaining = op->remaining; /* a checkpoint: the leader's own deadline stays */
		}
	}
	l->n_ops = 0;
}

void store__lessor_rollback(struct lessor *l)
{
	l->n_ops = 0;
}

/* --- The leader's side ----------------------------------------------------------------------------------- */

void store_leases_promote(struct store *s, uint64_t now_ms, uint64_t extend_ms)
{
	struct lessor *l = s->lessor;

	l->primary = true;
	l->now = now_ms;
	l->n_fresh = 0;
	MAP_FOR_EACH (m, &l->leases) {
		struct lease *le = m->value;

		set_deadline(l, le, now_ms + (MUTANT(lease_short) ? 300 : extend_ms + span_ms(le->remaining > 0 ? le->remaining : le->ttl)));
	}
}

void store_leases_demote(struct store *s)
{
	struct lessor *l = s->lessor;

	l->primary = false;
	l->n_fresh = 0;
	MAP_FOR_EACH (m, &l->leases)
		heap_remove(&l->deadlines, &((struct lease *)m->value)->deadline);
}

static void told(struct lessor *l, uint64_t now_ms)
{
	if (now_ms > l->now)
		l->now = now_ms;
	for (size_t i = 0; i < l->n_fresh; i++) {
		struct lease *le = find(l, l->fresh[i]);

		if (le != NULL && !heap_has(&le->deadline))
			set_deadline(l, le, l->now + span_ms(le->ttl));
	}
	l->n_fresh = 0;
}

size_t store_leases_expired(struct store *s, uint64_t now_ms, int64_t *ids, size_t max)
{
	struct lessor *l = s->lessor;
	struct heap_node *taken[256];
	uint64_t keys[256];
	size_t n = 0;

	told(l, now_ms);
	/* Taken out to see the next one, put back at once: the revoke may fail, and is then asked for again. */
	for (struct heap_node *m; n < max && n < ARRAY_LEN(taken) && (m = heap_min(&l->deadlines)) != NULL; n++) {
		if (m->key > now_ms)
			break;
		taken[n] = m;
		keys[n] = m->key;
		ids[n] = container_of(m, struct lease, deadline)->id;
		heap_remove(&l->deadlines, m);
	}
	for (size_t i = 0; i < n; i++)
		heap_insert(&l->deadlines, taken[i], keys[i]);
	return n;
}

uint64_t store_leases_next(const struct store *s)
{
	struct heap_node *m = heap_min(&s->lessor->deadlines);

	if (s->lessor->n_fresh != 0)
		return s->lessor->now; /* they wait to be told the time */
	return m ? m->key : UINT64_MAX;
}

static bool ended(const struct lessor *l, const struct lease *le, uint64_t now_ms)
{
	return l->primary && heap_has(&le->deadline) && le->deadline.key <= now_ms;
}

int64_t store_lease_renew(struct store *s, int64_t id, uint64_t now_ms)
{
	struct lessor *l = s->lessor;
	struct lease *le = find(l, id);

	told(l, now_ms);
	if (le == NULL || !l->primary || ended(l, le, now_ms))
		return 0;
	set_deadline(l, le, now_ms + span_ms(le->ttl));
	return le->ttl;
}

bool store_lease_has_checkpoint(const struct store *s, int64_t id)
{
	struct lease *le = find(s->lessor, id);

	return le != NULL && le->remaining > 0;
}

void store_leases_left(struct store *s, uint64_t now_ms, int64_t least_s, void (*fn)(void *, int64_t, int64_t), void *arg)
{
	struct lessor *l = s->lessor;

	told(l, now_ms);
	MAP_FOR_EACH (m, &l->leases) {
		struct lease *le = m->value;
		int64_t left;

		if (!heap_has(&le->deadline) || le->deadline.key <= now_ms)
			continue;
		left = (int64_t)((le->deadline.key - now_ms + 999) / 1000);
		if (left > least_s)
			fn(arg, le->id, left);
	}
}

void store_lease_ttl(struct store *s, int64_t id, uint64_t now_ms, int64_t *ret_left, int64_t *ret_granted)
{
	struct lessor *l = s->lessor;
	struct lease *le = find(l, id);

	told(l, now_ms);
	*ret_left = -1;
	*ret_granted = 0;
	if (le == NULL || ended(l, le, now_ms))
		return;
	*ret_granted = le->ttl;
	*ret_left = heap_has(&le->deadline) ? (int64_t)((le->deadline.key - now_ms) / 1000) : le->ttl;
}
