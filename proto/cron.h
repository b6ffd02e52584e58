/*
 * Schedules of cron jobs: five fields (minute, hour, day of month, month, day of week), or @hourly and the like, or
 * "@every 1h30m". The grammar and the messages are those of the library that upstream uses. Pure.
 */
#ifndef PROTO_CRON_H
#define PROTO_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct tz;

struct cron {
	/* Bit n: at n. Sundays are day 0. */
	uint64_t minutes, hours, days, months, weekdays;
	/* A field that is "*" (or "?"): when both days are said, one of them suffices. */
	bool any_day, any_weekday;
	int64_t every_s; /* of @every; 0: the fields count */
};

int cron_parse(struct str text, struct cron *ret, struct err *);
/*
 * The first time after that one, in Unix seconds, by the clocks of the zone (NULL: UTC); 0: there is none. What clocks that are put
 * forward leap over does not come that day; what they show twice when they are put back comes twice.
 */
int64_t cron_next(const struct cron *, const struct tz *, int64_t after);
/* The last time behind `after` and not behind `until`; 0: there is none. */
int64_t cron_last(const struct cron *, const struct tz *, int64_t after, int64_t until);

#endif
