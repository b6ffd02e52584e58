/*
 * Sealed batches: applied and answered, but still in the open LMDB transaction, which the next batch goes on with.
 *
 * What a commit costs is pages, and a page that ten batches change is written once when they share a transaction. Nothing is
 * lost by waiting: a commit makes nothing durable (checkpoint.c), the log does. And nobody can tell: who opens a view while
 * something is sealed has it committed first. Another thread asks the writer for that and waits.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "store/store-priv.h"

void store_on_wanted(struct store *s, void (*fn)(void *arg), void *arg)
{
	s->wanted = fn;
	s->wanted_arg = arg;
}

bool store_is_sealed(const struct store *s)
{
	return atomic_load(&s->n_sealed) != atomic_load(&s->n_settled);
}

bool store_is_watched(const struct store *s)
{
	return atomic_load(&s->n_watchers) > 0;
}

void store_seal(struct store *s)
{
	ASSERT(s->in_batch);
	s->writer_thread = pthread_self();
	s->in_batch = false;
	s->state = s->writer.state;
	store__lessor_commit(s->lessor);
	/* Whoever sees the new figures must also see that there is something to settle. */
	atomic_fetch_add(&s->n_sealed, 1);
	store__publish_figures(s);
}

void store__settled(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->n_settled, atomic_load(&s->n_sealed));
	pthread_cond_broadcast(&s->settled_cond);
	pthread_mutex_unlock(&s->lock);
}

int store_settle(struct store *s, struct err *e)
{
	if (!store_is_sealed(s) || s->in_batch)
		return 0;
	s->in_batch = true;
	return store_commit(s, e);
}

void store__want_settled(struct store *s)
{
	if (store_is_sealed(s) && s->wanted != NULL)
		s->wanted(s->wanted_arg);
}

int store__await_settled(struct store *s, struct err *e)
{
	uint64_t until = atomic_load(&s->n_sealed);

	if (atomic_load(&s->n_settled) >= until)
		return 0;
	if (pthread_equal(s->writer_thread, pthread_self()))
		return store_settle(s, e);
	store__want_settled(s);
	pthread_mutex_lock(&s->lock);
	while (atomic_load(&s->n_settled) < until)
		pthread_cond_wait(&s->settled_cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return 0;
}
