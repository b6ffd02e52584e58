/*
 * Giving file space of the store back (store/defrag.c), on this member alone: a worker copies, then the copy catches up from
 * the log, some entries a turn, faster than new ones come, and takes the store's place.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "raft/member-priv.h"

/* Entries for the copy in one turn: some more than a turn applies to the store. */
#define CATCH_UP_ENTRIES 1024
#define CATCH_UP_BYTES (6u << 20)

struct defrag {
	struct member_work work;
	struct store_defrag *defrag;
	struct kv_admin *admin;
	bool copied, swapped, given_up;
	uint64_t bytes_before;
};

/* The admin's answer, and the end. */
static void end(struct member *m, const struct err *e)
{
	struct defrag *d = TAKE(m->defrag);

	if (!d->admin) {
		if (e)
			log_warn("raft", "the store was not mended: %s", e->text);
		store_defrag_abort(d->defrag);
		free(d);
		return;
	}
	err_clear(&d->admin->err);
	if (e)
		d->admin->err = *e;
	d->admin->id = m->id;
	m->ops->admin_done(m, d->admin);
	store_defrag_abort(d->defrag);
	free(d);
}

static void copy_fn(struct member_work *w)
{
	struct defrag *d = container_of(w, struct defrag, work);

	w->rc = store_defrag_copy(d->defrag, &w->err);
}

static void copy_done(struct member_work *w)
{
	struct defrag *d = container_of(w, struct defrag, work);
	struct member *m = w->member;
	struct err e;

	m->n_work--;
	d->copied = true;
	if (w->rc != 0) {
		end(m, &w->err);
	} else if (d->given_up || !member__runs(m)) {
		err_set(&e, ERR_UNAVAILABLE, "the copy of the store was given up");
		end(m, &e);
	}
	member__kick(m);
}

void member__defrag(struct member *m, struct kv_admin *a)
{
	struct defrag *d = xcalloc(1, sizeof(*d));
	struct err e = ERR_INIT;

	d->admin = a;
	if (!member__runs(m) || !member__settle(m))
		err_set(&e, ERR_UNAVAILABLE, "this member does not take part at the moment");
	else if (m->defrag || m->install || m->applied == 0)
		err_set(&e, ERR_UNAVAILABLE, "the store is being copied or replaced already, try again later");
	else
		(void)store_defrag_begin(m->store, &d->defrag, &e);
	if (e.code) {
		a->err = e;
		m->ops->admin_done(m, a);
		free(d);
		return;
	}
	d->bytes_before = m->stats.file_bytes;
	d->work = (struct member_work){.fn = copy_fn, .done = copy_done, .member = m};
	m->defrag = d;
	log_info("raft", "copying the store to give space back index=%" PRIu64 " bytes=%" PRIu64, m->applied, d->bytes_before);
	member__work(m, &d->work);
}

int member__defrag_adopt(struct member *m, struct store_install *in, struct err *e)
{
	struct defrag *d = xcalloc(1, sizeof(*d));
	int rc = store_defrag_adopt(m->store, in, &d->defrag, e);

	if (rc != 0) {
		free(d);
		return rc;
	}
	d->bytes_before = m->stats.file_bytes;
	d->copied = true;
	m->defrag = d;
	return 0;
}

static int catch_up(struct member *m, struct store *to, struct err *e)
{
	uint64_t index = store_applied(to).index + 1;
	int rc = store_begin(to, e);

	if (rc != 0)
		return rc;
	for (unsigned n = 0; rc == 0 && index <= m->applied && n < CATCH_UP_ENTRIES && store_batch_bytes(to) < CATCH_UP_BYTES; n++)
		rc = member__apply_to(m, to, index++, NULL, e);
	if (rc == 0)
		rc = store_commit(to, e);
	else
		store_rollback(to);
	return rc;
}

void member__defrag_advance(struct member *m)
{
	struct defrag *d = m->defrag;
	struct err e = ERR_INIT;
	int rc = 0;

	if (!d || !d->copied || d->swapped)
		return;
	if (d->given_up) {
		err_set(&e, ERR_UNAVAILABLE, "the copy of the store was given up: a snapshot of the leader replaces it");
		end(m, &e);
		return;
	}
	/* One that cannot commit has given the copy up. */
	if (!member__settle(m))
		return;
	if (store_defrag_applied(d->defrag).index < m->applied)
		rc = catch_up(m, store_defrag_target(d->defrag), &e);
	if (rc == 0 && store_defrag_applied(d->defrag).index == m->applied && !m->checkpoint) {
		rc = store_defrag_finish(d->defrag, &e);
		if (rc == 0) {
			d->defrag = NULL;
			d->swapped = true;
			member__look_for_damage(m);
			return;
		}
	}
	if (rc != 0) {
		log_warn("raft", "the store was not copied: %s", e.text);
		end(m, &e);
	} else if (store_defrag_applied(d->defrag).index < m->applied) {
		member__kick(m);
	}
}

bool member__defrag_wants_checkpoint(const struct member *m)
{
	return m->defrag && m->defrag->swapped;
}

void member__defrag_checkpointed(struct member *m)
{
	if (!m->defrag || !m->defrag->swapped)
		return;
	(void)store_stats(m->store, &m->stats, NULL);
	log_info("raft", "the store was copied: %" PRIu64 " bytes instead of %" PRIu64, m->stats.file_bytes, m->defrag->bytes_before);
	end(m, NULL);
}

void member__defrag_give_up(struct member *m)
{
	struct defrag *d = m->defrag;
	struct err e;

	if (!d)
		return;
	d->given_up = true;
	if (!d->copied)
		return; /* the worker's end ends it */
	err_set(&e, ERR_UNAVAILABLE, "this member does not take part at the moment");
	end(m, &e);
}

uint64_t member__defrag_keep(const struct member *m)
{
	return m->defrag && m->defrag->defrag ? store_defrag_applied(m->defrag->defrag).index + 1 : UINT64_MAX;
}
