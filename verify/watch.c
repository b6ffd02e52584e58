/* Watches against the events that the linearization makes. */
#include <inttypes.h>

#include "base/util.h"
#include "verify/verify-priv.h"

struct cursor {
	struct checker *k;
	const struct hist_watch *w;
	size_t from, to;  /* keys */
	int64_t revision; /* the next event wanted is change `n` of it, or a later one */
	size_t n;
};

static const char *name(struct cursor *c)
{
	return arena_printf(&c->k->h->arena, "client %u's watch of %.*s%s%.*s from revision %" PRId64 "%s%s", c->w->client,
			    STR_FMT(c->w->key), c->w->end.n ? ".." : "", STR_FMT(c->w->end), c->w->start, c->w->where ? " at " : "",
			    c->w->where ? c->w->where : "");
}

static bool wanted(const struct cursor *c, const struct change *x)
{
	return x->key >= c->from && x->key < c->to && !(x->after.version ? c->w->no_put : c->w->no_delete);
}

/* The next event that the watch must tell, at most of revision `last`. NULL: none. */
static const struct change *peek(struct cursor *c, int64_t last)
{
	for (; c->revision <= MIN(last, c->k->m.revision); c->revision++, c->n = 0) {
		size_t n;
		const struct change *x = model_changes(&c->k->m, c->revision, &n);

		for (; c->n < n; c->n++)
			if (wanted(c, &x[c->n]))
				return &x[c->n];
	}
	return NULL;
}

static bool missing(struct cursor *c, const struct change *x, const char *rule, const char *what)
{
	return check_fail(c->k, "%s: %s misses the %s of %.*s at revision %" PRId64 " (%s)", rule, name(c),
			  x->after.version ? "put" : "delete", STR_FMT(c->k->m.keys[x->key]), c->revision, what);
}

static bool check_previous(struct cursor *c, const struct change *x, const struct hist_event *e)
{
	struct model *m = &c->k->m;

	if (!c->w->prev_kv || (!e->has_prev && x->before.version == 0))
		return true;
	if (x->before.version == 0)
		return check_fail(c->k, "prev_kv: %s shows a previous value of %.*s at revision %" PRId64 ", which was new then",
				  name(c), STR_FMT(e->kv.key), c->revision);
	/* What was compacted may be missing. */
	if (!e->has_prev) {
		if (c->k->h->auto_compaction)
			return true;
		for (size_t i = 0; i < c->k->h->calls.n; i++) {
			const struct hist_call *call = c->k->h->calls.p[i];

			if (call->kind == HIST_COMPACT && call->outcome <= HIST_OK && call->revision > x->before.mod)
				return true;
		}
		return check_fail(c->k, "prev_kv: %s lacks the previous value of %.*s at revision %" PRId64, name(c),
				  STR_FMT(e->kv.key), c->revision);
	}
	if (e->prev.mod != x->before.mod || e->prev.version != x->before.version || e->prev.create != x->before.create ||
	    model_value(m, e->prev.value) != x->before.value)
		return check_fail(c->k, "prev_kv: %s shows %.*s of revision %" PRId64 " as the value before revision %" PRId64
				  ", which was that of %" PRId64, name(c), STR_FMT(e->kv.key), e->prev.mod, c->revision, x->before.mod);
	return true;
}

static bool check_event(struct cursor *c, const struct hist_event *e)
{
	struct model *m = &c->k->m;
	const struct change *x;
	int64_t next = c->revision;

	if (e->kv.mod < next || (e->kv.mod == next && c->n > 0 && !peek(c, next)))
		return check_fail(c->k, "%s: %s tells of %.*s at revision %" PRId64 ", having told all before revision %" PRId64,
				  e->kv.mod < c->w->start ? "start" : "ordered, unique", name(c), STR_FMT(e->kv.key), e->kv.mod, next);
	x = peek(c, e->kv.mod);
	if (!x)
		return check_fail(c->k, "reliable: %s tells of %.*s at revision %" PRId64 ", where nothing that it asked for happened",
				  name(c), STR_FMT(e->kv.key), e->kv.mod);
	if (c->revision < e->kv.mod)
		return missing(c, x, "reliable", "a later one was told");
	if (!str_eq(e->kv.key, m->keys[x->key]))
		return missing(c, x, "ordered", "another one of the revision came in its place");
	if (e->is_delete != (x->after.version == 0) ||
	    (!e->is_delete && (model_value(m, e->kv.value) != x->after.value || e->kv.version != x->after.version ||
			       e->kv.create != x->after.create || e->kv.lease != x->after.lease)))
		return check_fail(c->k, "reliable: %s tells of %.*s at revision %" PRId64 " what is not so", name(c),
				  STR_FMT(e->kv.key), e->kv.mod);
	if (!e->is_delete && (e->kv.create == e->kv.mod) != (e->kv.version == 1))
		return check_fail(c->k, "is_create: %s tells of %.*s at revision %" PRId64 " with version %" PRId64, name(c),
				  STR_FMT(e->kv.key), e->kv.mod, e->kv.version);
	if (!check_previous(c, x, e))
		return false;
	c->n++;
	c->k->v->n_events++;
	return true;
}

static bool check_events(struct cursor *c, const struct hist_message *msg)
{
	int64_t last = 0;
	const struct change *x;

	for (size_t i = 0; i < msg->n_events; i++) {
		if (!check_event(c, &msg->events[i]))
			return false;
		last = msg->events[i].kv.mod;
	}
	x = peek(c, MAX(last, msg->revision));
	if (x)
		return missing(c, x, c->revision <= last ? "atomic" : "reliable",
			       c->revision <= last ? "the others of its revision were told without it" :
						     "the message said that it told all of that");
	if (c->revision <= MAX(last, msg->revision)) {
		c->revision = MAX(last, msg->revision) + 1;
		c->n = 0;
	}
	return true;
}

static bool check_upto(struct cursor *c, int64_t revision, const char *rule, const char *what)
{
	const struct change *x = peek(c, revision);

	if (x)
		return missing(c, x, rule, what);
	if (c->revision <= revision) {
		c->revision = revision + 1;
		c->n = 0;
	}
	return true;
}

static bool check_watch(struct checker *k, const struct hist_watch *w)
{
	struct cursor c = {.k = k, .w = w, .revision = w->start};
	bool gone = false;

	/* etcd: a watch of the empty key begins at the first key there is. */
	model_range(&k->m, w->key.n ? w->key : STR("\0"), w->end, &c.from, &c.to);
	k->v->n_watches++;
	for (size_t i = 0; i < w->n_messages; i++) {
		const struct hist_message *msg = &w->messages[i];

		if (gone)
			return check_fail(k, "gone: %s goes on after it was told that its history is compacted", name(&c));
		switch (msg->kind) {
		case HIST_EVENTS:
			if (!check_events(&c, msg))
				return false;
			break;
		case HIST_PROGRESS:
			if (!check_upto(&c, msg->revision, "bookmarkable", "a bookmark said that it had been told"))
				return false;
			break;
		case HIST_CAUGHT_UP:
			if (!check_upto(&c, msg->revision, "reliable", "it was waited for in vain"))
				return false;
			break;
		case HIST_GONE:
			gone = true;
			if (msg->revision <= c.revision)
				return check_fail(k, "gone: %s was told that all below revision %" PRId64
						  " is compacted, but it needed nothing before %" PRId64, name(&c), msg->revision, c.revision);
			break;
		}
	}
	return true;
}

bool check_watches(struct checker *k)
{
	for (size_t i = 0; i < k->h->watches.n; i++)
		if (!check_watch(k, k->h->watches.p[i]))
			return false;
	return true;
}
