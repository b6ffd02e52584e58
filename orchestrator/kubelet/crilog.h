/*
 * Container logs as the CRI writes them: one line an entry,
 *
 *	2016-10-06T00:17:09.669794202Z stdout F the text
 *
 * where `P` instead of `F` marks a part of a longer line that goes on in the next entry of that stream.
 * Everything here is pure or reads one file; following a growing file is the server's work (server.c).
 */
#ifndef KUBELET_CRILOG_H
#define KUBELET_CRILOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* An entry without a newline may be this long (containerd cuts at 256 KiB); a longer one is skipped. */
#define CRILOG_LINE_MAX (512 * 1024)

struct crilog_entry {
	struct str time;   /* RFC 3339 with nanoseconds, as written */
	int64_t time_ns;   /* the same since 1970 */
	struct str stream; /* stdout or stderr */
	bool partial;
	struct str text; /* without the newline */
};

/* One entry without its newline; false when it is not in the format. */
bool crilog_parse(struct str line, struct crilog_entry *ret);
/* RFC 3339 with optional fraction and offset, as `sinceTime` brings it. */
bool crilog_parse_time(struct str text, int64_t *ret_ns);

/* What the reader of a log asked for; the fields below the line are the filter's own state. */
struct crilog_filter {
	bool timestamps;
	int64_t since_ns; /* 0: all */
	int64_t limit;    /* bytes still allowed; negative: no limit */
	/* -- */
	bool in_line; /* the last entry shown was partial */
	bool done;    /* the limit is used up */
};

/* Append what the client should see of the whole lines in `in`; returns how many bytes were consumed. */
size_t crilog_feed(struct crilog_filter *, struct str in, struct buf *out);
/* Where the last n lines of an open file begin; 0 when it has fewer. Negative on error. */
int64_t crilog_tail_offset(int fd, int64_t n_lines, struct err *e);
/* The last entries' text, at most max_lines and max_size (for terminationMessagePolicy). */
int crilog_last_text(const char *path, int max_lines, size_t max_size, struct buf *out, struct err *e);

#endif
