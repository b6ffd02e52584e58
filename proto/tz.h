/*
 * A time zone: when its clocks were and will be how far ahead of UTC, read from a compiled file of the tz database (RFC 9636).
 * Pure; memory is the arena's. What the file says by a rule (its footer) becomes changes up to the year 2200; the last one
 * holds after that.
 */
#ifndef PROTO_TZ_H
#define PROTO_TZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct tz {
	struct tz_change {
		int64_t at;     /* Unix seconds from which on ... */
		int32_t offset; /* ... clocks are that many seconds ahead of UTC */
	} *changes;             /* in order */
	size_t n;
	int32_t first;          /* before all of them */
};

int tz_parse(struct tz *, struct arena *, struct str file, struct err *);
int32_t tz_offset(const struct tz *, int64_t at);
/* The first change after that time; INT64_MAX: none. */
int64_t tz_next_change(const struct tz *, int64_t after);

#endif
