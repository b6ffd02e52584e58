/*
 * Giving file space back: the state is copied, as a snapshot of itself, into a new file without free pages, while the store
 * goes on; what it applies meanwhile is applied to the copy as well, from the log, until both are at the same entry. Then the
 * copy is the store. The file `checkpoint` names the old file until the next checkpoint, which is what makes the new one
 * durable and lets the old one go: a crash before it goes back to the old file and finds its log.
 */
#include <stdlib.h>

#include "base/util.h"
#include "store/store-priv.h"

struct store_defrag {
	struct store *store;
	struct store_snapshot *from;
	struct store_install *to;
	struct store *copy; /* a store on the new file, without readers; NULL until all is copied */
};

int store_defrag_begin(struct store *s, struct store_defrag **ret, struct err *e)
{
	struct store_defrag *d;
	struct store_snapshot *from;
	struct store_install *to;
	int rc;

	ASSERT(!s->in_batch);
	if (s->checkpoint_failed)
		return err_set(e, ERR_UNAVAILABLE, "store: the last checkpoint failed");
	rc = store_snapshot_open(s, &from, e);
	if (rc != 0)
		return rc;
	rc = store_install_begin(s, &to, e);
	if (rc != 0) {
		store_snapshot_close(from);
		return rc;
	}
	d = xcalloc(1, sizeof(*d));
	d->store = s;
	d->from = from;
	d->to = to;
	*ret = d;
	return 0;
}

struct store_applied store_defrag_applied(const struct store_defrag *d)
{
	return d->copy ? store_applied(d->copy) : store_snapshot_applied(d->from);
}

int store_defrag_copy(struct store_defrag *d, struct err *e)
{
	bool last = false, made_last;
	int rc = 0;

	for (uint64_t n = 0; rc == 0 && !last; n++) {
		struct buf chunk = BUF_INIT;

		rc = store_snapshot_chunk(d->from, n, &chunk, &made_last, e);
		if (rc == 0)
			rc = store__install_copy(d->to, buf_str(&chunk), &last, e);
		buf_fini(&chunk);
	}
	/* The view would keep what is written from now on from being reused. */
	if (rc == 0)
		rc = store__shadow_new(d->store, store__install_env(d->to), &d->copy, e);
	store_snapshot_close(TAKE(d->from));
	return rc;
}

int store_defrag_adopt(struct store *s, struct store_install *in, struct store_defrag **ret, struct err *e)
{
	struct store_defrag *d = xcalloc(1, sizeof(*d));
	int rc;

	d->store = s;
	d->to = in;
	if (s->checkpoint_failed)
		rc = err_set(e, ERR_UNAVAILABLE, "store: the last checkpoint failed");
	else
		rc = store__shadow_new(s, store__install_env(in), &d->copy, e);
	if (rc != 0) {
		store_defrag_abort(d);
		return rc;
	}
	*ret = d;
	return 0;
}

struct store *store_defrag_target(struct store_defrag *d)
{
	return d->copy;
}

int store_defrag_finish(struct store_defrag *d, struct err *e)
{
	struct store *s = d->store, *copy = d->copy;
	struct store_env *old = s->env;

	int rc = store_settle(s, e);

	ASSERT(!s->in_batch && !copy->in_batch);
	if (rc != 0)
		return rc;
	if (s->checkpoint != NULL || s->checkpoint_failed)
		return err_set(e, ERR_UNAVAILABLE, "store: a checkpoint is under way");
	if (copy->state.index != s->state.index || copy->state.term != s->state.term || copy->state.revision != s->state.revision ||
			copy->state.hash != s->state.hash)
		return err_set(e, ERR_INTERNAL, "store: the copy that was made to give space back differs from the store");
	store__install_keep(d->to);
	pthread_mutex_lock(&s->lock);
	s->env = copy->env;
	pthread_mutex_unlock(&s->lock);
	copy->env = NULL;
	s->local = copy->local;
	store__env_unref(old);
	/* Soon: until then there are two files. */
	s->pages_since_checkpoint = SIZE_MAX / 2;
	store_defrag_abort(d);
	return 0;
}

void store_defrag_abort(struct store_defrag *d)
{
	if (d == NULL)
		return;
	store_snapshot_close(d->from);
	store_abandon(d->copy);
	store_install_abort(d->to);
	free(d);
}
