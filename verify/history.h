/*
 * struct history: what clients of an etcd saw, and the question whether one correct etcd could have shown them that.
 *
 * Pure: a history in, a verdict out. The simulator and `kontiki chaos` record the same histories.
 *
 *	h = history_new();
 *	c = history_call(h, HIST_TXN, client, now);  ... fill in what is asked ...
 *	c->outcome = HIST_OK; c->returned = now;     ... and what was answered ...
 *	history_check(h, &verdict);
 *	history_free(h);
 *
 * How it is checked. The model is etcd's whole state: the revision, and for each key its value, create and mod revision,
 * version and lease. A linearization is searched as Wing and Gong, and Lowe (with memory of the states that failed), do; but
 * each answer carries the revision of the state that it showed, so all calls that were answered have one place only, and the
 * search branches nowhere but at revisions that no answered call made: there one of the calls whose outcome is unknown must
 * have happened, or a lease ended. What anybody saw of such a revision (events of watches, values in later reads) says which.
 * So a check takes time in proportion to the history, and is still complete.
 *
 * Real time: a call that began after another had returned has a place behind it. Calls with unknown outcome may happen at any
 * time after they began, or never. Calls that failed for certain never happened. Serializable reads may be old, but must show
 * a state that there was.
 *
 * Watches are compared with the events that the linearization makes: each stream must hold exactly those that it asked for, in
 * order, whole revisions at a time, from its start on (ordered, unique, reliable, atomic, resumable, filtered), with the right
 * previous values; and what a bookmark claims is true.
 *
 * Times are microseconds of one clock. Strings are copied into the history.
 */
#ifndef VERIFY_HISTORY_H
#define VERIFY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct history;

struct hist_kv {
	struct str key, value;
	int64_t create, mod, version, lease;
};

enum hist_op_kind { HIST_RANGE, HIST_PUT, HIST_DELETE };

/* One operation of a call, and its answer. */
struct hist_op {
	enum hist_op_kind kind;
	struct str key, end;   /* as in etcd: no end: one key; "\0": all from key on */
	struct str value;      /* put */
	int64_t lease;         /* put */
	int64_t limit;         /* range; 0: none */
	int64_t revision;      /* range; 0: the present */
	bool count_only, keys_only, prev_kv;
	/* Answer. */
	struct hist_kv *kvs;   /* of a range; or the previous ones, when prev_kv */
	size_t n_kvs;
	int64_t count;         /* keys in the range; keys that were deleted */
	bool more;
};

enum hist_target { HIST_VERSION, HIST_CREATE, HIST_MOD, HIST_VALUE, HIST_LEASE };
enum hist_relation { HIST_EQUAL, HIST_GREATER, HIST_LESS, HIST_NOT_EQUAL };

struct hist_compare {
	struct str key;
	enum hist_target target;
	enum hist_relation relation;
	int64_t number;
	struct str value;
};

enum hist_kind {
	HIST_TXN,     /* also a single put, range or delete: without compares, `then` has it */
	HIST_COMPACT, /* revision */
	HIST_GRANT,   /* lease, ttl */
	HIST_REVOKE,  /* lease */
	HIST_RENEW,   /* lease; ttl: answered */
};

enum hist_outcome {
	HIST_UNKNOWN, /* no answer, or one that says that it may still happen */
	HIST_OK,
	HIST_FAILED,  /* for certain: it has not happened and will not */
	HIST_COMPACTED, HIST_FUTURE, /* the same, for the revision that was asked for */
};

struct hist_call {
	enum hist_kind kind;
	unsigned client;
	const char *where;        /* for reports: which member */
	uint64_t invoked, returned; /* returned: 0 when unknown */
	enum hist_outcome outcome;
	bool serializable;
	struct hist_compare *compares;
	struct hist_op *then, *otherwise;
	size_t n_compares, n_then, n_otherwise;
	int64_t lease, ttl;
	int64_t revision;         /* HIST_COMPACT: which */
	/* Answer. */
	bool succeeded;           /* which branch; true without compares */
	int64_t header;           /* the revision of the state after it */
};

enum hist_message_kind {
	HIST_EVENTS,
	HIST_PROGRESS, /* everything up to `revision` has been told */
	HIST_GONE,     /* history was compacted; `revision`: the lowest there is; last message */
	HIST_CAUGHT_UP, /* the recorder knows: with this the stream must have all up to `revision` */
};

struct hist_event {
	bool is_delete;
	struct hist_kv kv;
	bool has_prev;
	struct hist_kv prev;
};

struct hist_message {
	enum hist_message_kind kind;
	int64_t revision; /* HIST_EVENTS: 0, or everything up to it has been told */
	struct hist_event *events;
	size_t n_events;
};

struct hist_watch {
	unsigned client;
	const char *where;
	struct str key, end;
	int64_t start;       /* the first revision it wants; never 0: a watch from now on starts at the revision it was told + 1 */
	bool no_put, no_delete, prev_kv;
	struct hist_message *messages;
	size_t n_messages, cap_messages;
};

struct history *history_new(void);
void history_free(struct history *);
struct arena *history_arena(struct history *);
struct str history_copy(struct history *, struct str);

/* Pointers stay good until history_free. A new call has an unknown outcome. */
struct hist_call *history_call(struct history *, enum hist_kind, unsigned client, uint64_t now);
struct hist_watch *history_watch(struct history *, unsigned client, struct str key, struct str end, int64_t start);
/* Events are allocated in the history's arena by the caller. */
void history_message(struct history *, struct hist_watch *, struct hist_message);
/*
 * Evidence: this change was seen at this revision (a watch's events and what reads showed count without being told here). With
 * history_known all changes of a span of revisions are known: no unknown call made one that is not among them.
 */
void history_evidence(struct history *, const struct hist_event *);
void history_known(struct history *, int64_t from, int64_t to);

/* The first revision, of an empty store: 1, unless set. */
void history_start(struct history *, int64_t revision);
/* Others write as well (to other keys): revisions that nobody explains are theirs. */
void history_shared(struct history *, bool shared);
/* When somebody saw a revision first: makes the check of early ends of leases sharper. */
void history_seen(struct history *, int64_t revision, uint64_t now);
/* History is compacted without anyone asking: "compacted" needs no call that explains it. */
void history_auto_compaction(struct history *, bool on);

enum verdict_kind { VERDICT_GOOD, VERDICT_BAD, VERDICT_UNDECIDED };

struct verdict {
	enum verdict_kind kind;
	char text[1024];
	size_t n_ok, n_unknown, n_failed; /* calls */
	size_t n_placed;                  /* unknown calls that did happen */
	size_t n_expired;                 /* leases that ended by themselves and took keys along */
	size_t n_choices;                 /* places with more than one explanation */
	size_t n_watches, n_events;
	int64_t revision;                 /* reached */
};

/* False unless the verdict is good. May be called once. */
bool history_check(struct history *, struct verdict *);

#endif
