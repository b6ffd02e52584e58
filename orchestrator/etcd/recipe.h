/*
 * What locks and elections have in common: everyone who wants the thing writes a key of its own below a common prefix, bound
 * to a lease; the key that was created first has it, the others wait until all that were created before theirs are gone.
 * So a place in the queue lives as long as its lease, and creation revisions are fencing tokens.
 *
 *	recipe_lease > recipe_enter > recipe_wait > (has it)
 *
 * Each step ends in `then`, later, or ends the call with an error. The struct lives with its call.
 */
#ifndef ORCHESTRATOR_ETCD_RECIPE_H
#define ORCHESTRATOR_ETCD_RECIPE_H

#include "orchestrator/etcd/etcd-priv.h"
#include "store/view.h"
#include "store/watch.h"

struct recipe {
	struct etcd_call *call;
	void (*then)(struct recipe *);
	void (*on_view)(struct recipe *, struct store_view *);
	struct str prefix, end;  /* of all who want it */
	struct str key;          /* ours */
	struct str value;
	int64_t lease;
	int64_t created;         /* our key's creation revision */
	int64_t revision;        /* of the last answer */
	bool entered;            /* our key was written (or may have been) by this call: it is removed when the call is canceled */
	bool succeeded;          /* of the last transaction */
	bool identified;         /* who asks: by the first view */
	struct str found;        /* its first range's KeyValue; empty: none */
	/* Waiting. */
	struct etcd_op *op;
	struct etcd_read read;
	struct watcher watcher;
};

/* Everyone's keys are "name/lease in hex". */
struct recipe *recipe_new(struct etcd_call *, struct str name, int64_t lease);
void recipe_key(struct recipe *);
/* Make a lease of 60 s if the client gave none. */
void recipe_lease(struct recipe *, void (*then)(struct recipe *));
/* Write our key unless it is there. Then `created` is its revision; succeeded: it was not there, else found. */
void recipe_enter(struct recipe *, void (*then)(struct recipe *));
/* Until no key below the prefix is older than ours. */
void recipe_wait(struct recipe *, void (*then)(struct recipe *));
/* If our key's creation revision is `created`: put the value (value.p not NULL) or delete the key. */
void recipe_if_mine(struct recipe *, bool put, void (*then)(struct recipe *));
/* A linearizable view, for the length of the call. */
void recipe_read(struct recipe *, void (*on_view)(struct recipe *, struct store_view *));
/* Tell of the next change of these keys after `revision`; the watcher is stopped by then. */
void recipe_watch(struct recipe *, struct str key, struct str end, int64_t revision, bool puts, bool deletes,
		void (*events)(struct watcher *, int64_t, const struct watch_event *const *, size_t),
		void (*gone)(struct watcher *, int64_t));
/* The first of the prefix, by creation; ERR_NOT_FOUND: none. */
int recipe_first(struct recipe *, struct store_view *, struct store_kv *ret, struct err *);
/* Let go of everything and end the call. */
void recipe_fail(struct recipe *, const struct err *);
void recipe_finish(struct recipe *, int code, const char *text);
/* An answer that begins with its header. */
void recipe_frame(struct recipe *, struct buf *frame);

#endif
