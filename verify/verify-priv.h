/* What the parts of verify/ share: history.c (recording), model.c (etcd's state), evidence.c (what was seen), linear.c (the search),
 * after.c (what is checked against the linearization), watch.c. */
#ifndef VERIFY_VERIFY_PRIV_H
#define VERIFY_VERIFY_PRIV_H

#include "base/map.h"
#include "verify/history.h"

struct ptrs {
	void **p;
	size_t n, cap;
};
void ptrs_add(struct ptrs *, void *);

struct seen {
	int64_t revision;
	uint64_t at;
};

struct history {
	struct arena arena;
	struct ptrs calls, watches, evidence;
	int64_t first, known_from, known_to;
	bool shared, auto_compaction;
	struct seen *seen;
	size_t n_seen, cap_seen;
};

/* --- model.c ------------------------------------------------------------------------------------------------------ */

/* A key's value; version 0: it has none. */
struct cell {
	uint32_t value; /* number of its text */
	int64_t create, mod, version, lease;
};

struct change {
	uint32_t key;
	struct cell before, after;
};

struct model {
	struct str *keys; /* sorted: a key's number is its place */
	size_t n_keys;
	struct cell *cells;
	struct map values; /* text > number + 1 */
	int64_t first, revision;
	/* All changes, and where those of revision first + 1 + i begin. */
	struct change *log;
	size_t n_log, cap_log;
	size_t *at;
	size_t n_at, cap_at;
	uint64_t hash; /* of cells */
	/* What was wrong with the answer that did not fit. */
	char wrong[256];
};

enum step { STEP_SAME, STEP_CHANGED, STEP_WRONG };

/* `keys` is sorted and without repetitions; it is the model's from now on. */
void model_init(struct model *, int64_t first, struct str *keys, size_t n);
void model_fini(struct model *);
uint32_t model_value(struct model *, struct str);
/* The keys of a range: [*from, *to). */
void model_range(const struct model *, struct str key, struct str end, size_t *from, size_t *to);
/*
 * Do what the call does. STEP_CHANGED: it made revision + 1. With `check` the answer must be the call's own: else
 * STEP_WRONG, and nothing has changed.
 */
enum step model_call(struct model *, const struct hist_call *, bool check);
/* Does a range's answer show the present state? Else m->wrong says how not. */
bool model_shows(struct model *, const struct hist_op *);
/* Delete the lease's keys; STEP_SAME when it has none. */
enum step model_revoke(struct model *, int64_t lease);
bool model_has_lease(const struct model *, int64_t lease);
/* A revision in which nothing happens to these keys. */
void model_pass(struct model *);
void model_back(struct model *, int64_t revision);
/* The changes of a revision above `first`. */
const struct change *model_changes(const struct model *, int64_t revision, size_t *ret_n);

/* --- linear.c ----------------------------------------------------------------------------------------------------- */

/* A lease's end that nobody asked for. */
struct expiry {
	int64_t lease, revision;
};

/* What is known of the change of one key at one revision. */
struct evidence {
	int64_t revision;
	uint32_t key;
	bool is_delete;
	uint32_t value; /* 0: nobody saw it */
};

/* Nothing happened to the key in (from, to]: somebody saw it at `to` as of `from`. */
struct quiet {
	uint32_t key;
	int64_t from, to;
};

/* A read of an old revision, to be looked at when the walk is there. */
struct old_read {
	int64_t revision;
	struct hist_call *call;
	const struct hist_op *op;
};

struct checker {
	struct history *h;
	struct verdict *v;
	struct model m;
	/* Answered calls by revision: [by_revision[i]] for i in 0..n_answered; the one that made a revision comes first. */
	struct hist_call **answered;
	size_t n_answered;
	struct hist_call **unknown;
	bool *used;
	size_t n_unknown;
	struct evidence *evidence;
	size_t n_evidence;
	struct quiet *quiet; /* sorted, those of one key apart from each other */
	size_t n_quiet, cap_quiet;
	struct old_read *old;
	size_t n_old, cap_old;
	int64_t target; /* the last revision that anybody has seen */
	/* For revision first + i: when somebody had first seen it, or a later one. */
	uint64_t *seen;
	int64_t *told; /* for each watch: it was told all up to this revision */
	struct expiry *expiries;
	size_t n_expiries, cap_expiries;
	int64_t failed_at; /* the furthest revision at which the search failed */
};

/* False with v->text set; what is told first counts. */
__attribute__((format(printf, 2, 3))) bool check_fail(struct checker *, const char *fmt, ...);
/* "client 3 put r1=17 at n2 (12.000-14.500 ms)"; memory of the history. */
const char *check_describe(struct checker *, const struct hist_call *);
bool check_linear(struct checker *);

/* evidence.c */
bool check_prepare(struct checker *);
/* Did this answered call make the revision it shows? Of a revocation its answer does not say. */
bool check_made_revision(const struct hist_call *);
/* Did somebody see that nothing happened to the key at this revision? */
bool check_is_quiet(const struct checker *, uint32_t key, int64_t revision);
uint64_t check_seen(const struct checker *, int64_t revision);

/* after.c */
bool check_compaction(struct checker *);
bool check_leases(struct checker *);
const struct hist_call *check_outlives(const struct checker *, int64_t lease, int64_t revision);
/* watch.c */
bool check_watches(struct checker *);

#endif
