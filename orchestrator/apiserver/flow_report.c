/* What all loops have of priority and fairness, as metrics and as dumps: a trip through the loops that adds up. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/flow-priv.h"

struct level_sum {
	char *name;
	bool exempt, gone;
	struct flow_bounds bounds;
	uint64_t limit, in_use, running, waiting, busy, demand;
	uint64_t dispatched, rejected[FLOW_N_REASONS];
};

struct stat_sum {
	char *schema, *level;
	struct flow_stat sum;
};

struct flow_report {
	struct flow_trip trip;
	struct api_request *req;
	void (*done)(struct api_request *, struct flow_report *);
	const struct dump *dump; /* NULL: metrics */
	struct arena arena;
	struct level_sum *levels;
	struct stat_sum *stats;
	size_t n_levels, n_stats;
	struct buf text;
};

/* --- Adding up ------------------------------------------------------------------------------------------------------- */

static struct level_sum *level_sum(struct flow_report *r, const char *name)
{
	for (size_t i = 0; i < r->n_levels; i++)
		if (strcmp(r->levels[i].name, name) == 0)
			return &r->levels[i];
	r->levels = arena_grow(&r->arena, r->levels, r->n_levels * sizeof(*r->levels), (r->n_levels + 1) * sizeof(*r->levels));
	r->levels[r->n_levels] = (struct level_sum){.name = arena_strdup(&r->arena, name)};
	return &r->levels[r->n_levels++];
}

static struct stat_sum *stat_sum(struct flow_report *r, const struct flow_stat *s)
{
	for (size_t i = 0; i < r->n_stats; i++)
		if (strcmp(r->stats[i].schema, s->schema) == 0 && strcmp(r->stats[i].level, s->level) == 0)
			return &r->stats[i];
	r->stats = arena_grow(&r->arena, r->stats, r->n_stats * sizeof(*r->stats), (r->n_stats + 1) * sizeof(*r->stats));
	r->stats[r->n_stats] = (struct stat_sum){.schema = arena_strdup(&r->arena, s->schema), .level = arena_strdup(&r->arena, s->level)};
	return &r->stats[r->n_stats++];
}

static void add_histogram(struct flow_histogram *to, const struct flow_histogram *h)
{
	for (size_t i = 0; i <= FLOW_N_BUCKETS; i++)
		to->n[i] += h->n[i];
	to->sum += h->sum;
}

static void add_level(struct flow_report *r, const struct flow_level *l)
{
	struct level_sum *s = level_sum(r, l->name);

	s->exempt = l->exempt;
	s->gone = l->gone;
	s->bounds = l->bounds;
	s->limit += l->limit;
	s->in_use += l->in_use;
	s->running += l->running;
	s->waiting += l->fair.n;
	s->demand += l->in_use + l->fair.seats;
	s->busy += fair_busy(&l->fair);
}

static void add_stat(struct flow_report *r, const struct flow_stat *st)
{
	struct level_sum *l = level_sum(r, st->level);
	struct flow_stat *s = &stat_sum(r, st)->sum;

	s->dispatched += st->dispatched;
	l->dispatched += st->dispatched;
	for (size_t i = 0; i < FLOW_N_REASONS; i++) {
		s->rejected[i] += st->rejected[i];
		l->rejected[i] += st->rejected[i];
	}
	s->waiting += st->waiting;
	s->executing += st->executing;
	s->seats += st->seats;
	add_histogram(&s->wait, &st->wait);
	add_histogram(&s->execution, &st->execution);
}

static void sums_visit(struct flow_report *r, struct flow_state *fs)
{
	LIST_FOR_EACH (l, &fs->levels, struct flow_level, link)
		add_level(r, l);
	LIST_FOR_EACH (s, &fs->stats, struct flow_stat, link)
		add_stat(r, s);
}

/* --- Metrics ----------------------------------------------------------------------------------------------------------- */

#define PREFIX "apiserver_flowcontrol_"

static void family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

#define LEVEL_METRICS(X)                                                                                               \
	X("nominal_limit_seats", bounds.nominal, "Seats of a priority level by its shares")                            \
	X("lower_limit_seats", bounds.lower, "Seats that a priority level does not lend")                              \
	X("upper_limit_seats", bounds.upper, "Seats that a priority level may have with borrowed ones")                \
	X("current_limit_seats", limit, "Seats of a priority level now, on all loops")                                 \
	X("demand_seats", demand, "Seats in use or waited for")

#define STAT_GAUGES(X)                                                                                                 \
	X("current_inqueue_requests", waiting, "Requests that wait")                                                   \
	X("current_executing_requests", executing, "Requests in hand, without watches that have begun")                \
	X("current_executing_seats", seats, "Seats of the requests in hand")

static void level_metrics(struct buf *b, const struct flow_report *r)
{
#define X(metric, which, text)                                                                                         \
	family(b, metric, "gauge", text);                                                                              \
	for (size_t i = 0; i < r->n_levels; i++)                                                                       \
		buf_printf(b, PREFIX metric "{priority_level=\"%s\"} %" PRIu64 "\n", r->levels[i].name,                \
				(uint64_t)r->levels[i].which);
	LEVEL_METRICS(X)
#undef X
}

static void stat_labels(struct buf *b, const char *name, const struct stat_sum *s)
{
	buf_printf(b, PREFIX "%s{flow_schema=\"%s\",priority_level=\"%s\"", name, s->schema, s->level);
}

static void histogram(struct buf *b, const char *name, const struct stat_sum *s, const struct flow_histogram *h, const char *labels)
{
	char full[96];
	uint64_t n = 0;

	snprintf(full, sizeof(full), "%s_bucket", name);
	for (size_t i = 0; i <= FLOW_N_BUCKETS; i++) {
		n += h->n[i];
		stat_labels(b, full, s);
		if (i < FLOW_N_BUCKETS)
			buf_printf(b, "%s,le=\"%g\"} %" PRIu64 "\n", labels, flow_buckets[i], n);
		else
			buf_printf(b, "%s,le=\"+Inf\"} %" PRIu64 "\n", labels, n);
	}
	snprintf(full, sizeof(full), "%s_sum", name);
	stat_labels(b, full, s);
	buf_printf(b, "%s} %g\n", labels, h->sum);
	snprintf(full, sizeof(full), "%s_count", name);
	stat_labels(b, full, s);
	buf_printf(b, "%s} %" PRIu64 "\n", labels, n);
}

static void rejected_metrics(struct buf *b, const struct flow_report *r)
{
	static const char *const reasons[] = {
#define X(id, text) [FLOW_##id] = text,
			FLOW_REASONS(X)
#undef X
	};

	family(b, "rejected_requests_total", "counter", "Requests that were not let in");
	for (size_t i = 0; i < r->n_stats; i++)
		for (size_t k = 0; k < FLOW_N_REASONS; k++)
			if (r->stats[i].sum.rejected[k] > 0) {
				stat_labels(b, "rejected_requests_total", &r->stats[i]);
				buf_printf(b, ",reason=\"%s\"} %" PRIu64 "\n", reasons[k], r->stats[i].sum.rejected[k]);
			}
}

static void stat_metrics(struct buf *b, const struct flow_report *r)
{
	family(b, "dispatched_requests_total", "counter", "Requests that were let in");
	for (size_t i = 0; i < r->n_stats; i++) {
		stat_labels(b, "dispatched_requests_total", &r->stats[i]);
		buf_printf(b, "} %" PRIu64 "\n", r->stats[i].sum.dispatched);
	}
	rejected_metrics(b, r);
#define X(metric, which, text)                                                                                         \
	family(b, metric, "gauge", text);                                                                              \
	for (size_t i = 0; i < r->n_stats; i++) {                                                                      \
		stat_labels(b, metric, &r->stats[i]);                                                                  \
		buf_printf(b, "} %u\n", r->stats[i].sum.which);                                                        \
	}
	STAT_GAUGES(X)
#undef X
	family(b, "request_wait_duration_seconds", "histogram", "How long requests waited that were let in");
	for (size_t i = 0; i < r->n_stats; i++)
		histogram(b, "request_wait_duration_seconds", &r->stats[i], &r->stats[i].sum.wait, ",execute=\"true\"");
	family(b, "request_execution_seconds", "histogram", "How long requests had their seats");
	for (size_t i = 0; i < r->n_stats; i++)
		histogram(b, "request_execution_seconds", &r->stats[i], &r->stats[i].sum.execution, "");
}

static void metrics_end(struct flow_report *r)
{
	level_metrics(&r->text, r);
	stat_metrics(&r->text, r);
}

/* --- Dumps ---------------------------------------------------------------------------------------------------------------- */

static void levels_end(struct flow_report *r)
{
	for (size_t i = 0; i < r->n_levels; i++) {
		const struct level_sum *l = &r->levels[i];

		buf_printf(&r->text, "%s, %" PRIu64 ", %s, %s, %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
				     "\n",
				l->name, l->busy, l->running + l->waiting == 0 ? "true" : "false", l->gone ? "true" : "false", l->waiting,
				l->running, l->dispatched, l->rejected[FLOW_QUEUE_FULL] + l->rejected[FLOW_LIMIT],
				l->rejected[FLOW_TIMEOUT], l->rejected[FLOW_CANCELLED]);
	}
}

static void queues_visit(struct flow_report *r, struct flow_state *fs)
{
	LIST_FOR_EACH (l, &fs->levels, struct flow_level, link)
		for (unsigned i = 0; i < l->fair.n_queues; i++)
			if (l->fair.queues[i].n > 0)
				buf_printf(&r->text, "%s, %u, %u, %u, %u, %" PRIu64 "\n", l->name, fs->index, i, l->fair.queues[i].n,
						l->fair.queues[i].seats, l->fair.queues[i].tag);
}

static void requests_visit(struct flow_report *r, struct flow_state *fs)
{
	LIST_FOR_EACH (q, &fs->al->requests, struct api_request, link) {
		const struct flow_ticket *t = &q->flow;

		if (t->phase != FLOW_WAITING && t->phase != FLOW_RUNNING)
			continue;
		buf_printf(&r->text, "%s, %s, %u, ", t->level->name, t->stat->schema, fs->index);
		if (t->phase == FLOW_WAITING)
			buf_printf(&r->text, "%u", t->item.queue);
		buf_printf(&r->text, ", %s, %u, %.*s, %s, %.*s\n", t->phase == FLOW_WAITING ? "waiting" : "executing", t->seats,
				STR_FMT(q->user.name), api_verb_name(q->at.verb), STR_FMT(q->path));
	}
}

/* Columns have upstream's names where they mean the same. */
static const struct dump {
	const char *name, *columns;
	void (*visit)(struct flow_report *, struct flow_state *);
	void (*end)(struct flow_report *);
} dumps[] = {
		{"dump_priority_levels",
				"PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, "
				"DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests\n",
				sums_visit, levels_end},
		{"dump_queues", "PriorityLevelName, Loop, Index, PendingRequests, SeatsWaiting, NextDispatchR\n", queues_visit, NULL},
		{"dump_requests", "PriorityLevelName, FlowSchemaName, Loop, QueueIndex, State, Seats, UserName, Verb, APIPath\n",
				requests_visit, NULL},
};

/* --- The trip -------------------------------------------------------------------------------------------------------------- */

static void visit(struct flow_trip *t, struct flow_state *fs)
{
	struct flow_report *r = container_of(t, struct flow_report, trip);

	if (r->dump)
		r->dump->visit(r, fs);
	else
		sums_visit(r, fs);
}

static void back(struct flow_trip *t)
{
	struct flow_report *r = container_of(t, struct flow_report, trip);

	if (!r->dump)
		metrics_end(r);
	else if (r->dump->end)
		r->dump->end(r);
	r->done(r->req, r);
}

bool flow_report_start(struct api_request *req, const char *dump, void (*done)(struct api_request *, struct flow_report *))
{
	const struct dump *d = NULL;
	struct flow_report *r;

	for (size_t i = 0; dump && i < ARRAY_LEN(dumps); i++)
		if (strcmp(dumps[i].name, dump) == 0)
			d = &dumps[i];
	if (dump && !d)
		return false;
	r = xcalloc(1, sizeof(*r));
	r->req = req;
	r->done = done;
	r->dump = d;
	arena_init(&r->arena);
	buf_init(&r->text, BUF_NO_LIMIT);
	if (d)
		buf_addc(&r->text, d->columns);
	r->trip = (struct flow_trip){.srv = req->srv, .home = req->al->loop, .visit = visit, .back = back};
	flow__trip_start(&r->trip);
	return true;
}

void flow_report_end(struct flow_report *r, struct buf *out)
{
	if (out)
		buf_adds(out, buf_str(&r->text));
	buf_fini(&r->text);
	arena_fini(&r->arena);
	free(r);
}
