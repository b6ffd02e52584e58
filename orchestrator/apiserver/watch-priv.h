/* What the files of watching share (watch.c tells of it): a watch, and each file's part. */
#ifndef ORCHESTRATOR_APISERVER_WATCH_PRIV_H
#define ORCHESTRATOR_APISERVER_WATCH_PRIV_H

#include "base/buf.h"
#include "base/list.h"
#include "io/loop.h"
#include "orchestrator/apiserver/read.h"
#include "store/watch.h"

struct json;

struct api_watch {
	struct api_request *req;
	struct watcher w;
	struct api_selection sel;
	struct loop_timer timeout, bookmark;
	struct list link; /* in al->watches */
	struct buf out;   /* frames of one callback */
	int64_t sent_rv;
	bool columns_sent;
	/* The initial state, in slices: the next key, of that revision; then the watcher starts. */
	struct buf next;
	struct loop_timer slice;
	bool started, slice_waits, sealed;
	/* A webhook is asked, or a plugin that unseals; of events, the revision to go on at. */
	bool converting;
	int64_t resume_at;
};

/* watch.c */
/* What may wait for this client before it counts as slow, in bytes. */
size_t api__watch_high_mark(const struct api_request *);
/* `out` leaves; a client that is slow to take it pauses the watcher. */
void api__watch_flush(struct api_watch *);
/* An ERROR event with a Status, then the end: the client has to list again. The watch is gone. */
void api__watch_fail(struct api_watch *, const struct api_failure *);
/* The client went away: likewise, without a word. */
void api__watch_canceled(struct api_request *);
/* The state is told (`initial`), or was not asked for: from here on, what changes it. */
void api__watch_live(struct api_watch *, bool initial);
/* What was asked for is there (convert.h); why: it is not. */
void api__watch_converted(struct api_request *, const char *why);

/* watch_frame.c: one event of that type, appended. */
int api__watch_frame(struct api_watch *, struct buf *out, const char *type, struct str raw, uint64_t rv, struct err *);
void api__watch_frame_doc(struct api_watch *, struct buf *out, const char *type, const struct json *doc);
/* The same into the watch's `out`, or to the in-process client; shared with other watches where it can be. */
int api__watch_emit(struct api_watch *, const struct watch_event *, const char *type, struct str raw, struct err *);
/* An object with nothing but a version (and the mark that ends the initial events); it leaves at once. */
void api__watch_bookmark(struct api_watch *, int64_t rv, bool initial_end);

/* watch_events.c: the store's watcher has news. */
void api__watch_events(struct watcher *, int64_t revision, const struct watch_event *const *, size_t n);
/* *ret_raw: the stored object of that key and value, in the arena or borrowed. False with an error (api__watch_is_unread): it could not be read. */
bool api__watch_selects(struct api_watch *, struct arena *, struct str key, struct str value, struct str *ret_raw, struct err *);
bool api__watch_is_unread(const struct err *);

/* watch_initial.c: the next slice of the initial state; a timer's. */
void api__watch_slice(struct loop_timer *);

#endif
