#include "io/splice.h"

#include <stdlib.h>

#include "base/util.h"
#include "io/stream.h"

struct side {
	struct stream_user user;
	struct stream *s;
	bool ended;     /* nothing more comes from it */
	bool paused;    /* the other side's queue is full */
	bool first;
};

struct splice {
	struct side side[2];
	bool closing;
	unsigned n_open;
	void (*done)(void *arg);
	void (*moved)(void *arg, bool from_a);
	void *arg;
};

static struct splice *splice_of(struct side *me)
{
	struct side *base = me->first ? me : me - 1;

	return container_of(base, struct splice, side[0]);
}

static struct side *other(struct side *me)
{
	return me->first ? me + 1 : me - 1;
}

static void on_closed(void *arg)
{
	struct splice *sp = arg;

	if (--sp->n_open > 0)
		return;
	if (sp->done)
		sp->done(sp->arg);
	free(sp);
}

void splice_close(struct splice *sp)
{
	if (sp->closing)
		return;
	sp->closing = true;
	for (int i = 0; i < 2; i++)
		stream_close(sp->side[i].s, on_closed, sp);
}

static void on_data(struct stream_user *user, struct stream *s, struct str bytes)
{
	struct side *me = container_of(user, struct side, user);
	struct side *to = other(me);
	struct splice *sp = splice_of(me);

	if (sp->moved)
		sp->moved(sp->arg, me->first);
	stream_write(to->s, bytes, NULL);
	if (stream_queued(to->s) > SPLICE_WINDOW) {
		me->paused = true;
		stream_read_stop(s);
	}
}

static void on_end(struct stream_user *user, struct stream *s, const struct err *why)
{
	struct side *me = container_of(user, struct side, user);
	struct splice *sp = splice_of(me);

	me->ended = true;
	if (why != NULL) {
		splice_close(sp);
		return;
	}
	stream_shutdown(other(me)->s);
	if (other(me)->ended && stream_queued(s) == 0 && stream_queued(other(me)->s) == 0)
		splice_close(sp);
}

static void on_drain(struct stream_user *user, struct stream *s)
{
	struct side *me = container_of(user, struct side, user);
	struct side *from = other(me);
	struct splice *sp = splice_of(me);

	if (me->ended && from->ended && stream_queued(from->s) == 0) {
		splice_close(sp);
		return;
	}
	if (from->paused && !from->ended) {
		from->paused = false;
		stream_read_start(from->s);
	}
}

struct splice *stream_splice(struct stream *a, struct stream *b, void (*done)(void *arg), void *arg)
{
	struct splice *sp = xcalloc(1, sizeof(*sp));

	sp->done = done;
	sp->arg = arg;
	sp->n_open = 2;
	sp->side[0].first = true;
	sp->side[0].s = a;
	sp->side[1].s = b;
	for (int i = 0; i < 2; i++) {
		sp->side[i].user = (struct stream_user){on_data, on_end, on_drain};
		stream_start(sp->side[i].s, &sp->side[i].user);
	}
	return sp;
}

void splice_watch(struct splice *sp, void (*moved)(void *arg, bool from_a))
{
	sp->moved = moved;
}
