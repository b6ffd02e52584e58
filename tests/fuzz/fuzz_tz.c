/*
 * Time zone files: taken or refused; and of one that is taken, changes are in order, the offset between two of them is one, and schedules by it
 * come to an end. The first byte chooses the schedule, the next two a time; the rest is the file.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/util.h"
#include "proto/cron.h"
#include "proto/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void run(const struct tz *z, const char *schedule, int64_t from)
{
	struct cron c;

	ASSERT(cron_parse(str_from(schedule), &c, NULL) == 0);
	for (int i = 0; i < 5 && from != 0; i++) {
		int64_t next = cron_next(&c, z, from);

		ASSERT(next == 0 || next > from);
		from = next;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	static const char *const schedules[] = {"30 2 * * *", "*/7 * * * *", "0 0 29 2 *", "0 9 * * 1-5", "@every 90s"};
	struct arena a;
	struct tz z;

	if (size < 3)
		return 0;
	arena_init(&a);
	if (tz_parse(&z, &a, str_of(p + 3, size - 3), NULL) == 0) {
		int64_t at = INT64_MIN, from = (int64_t)(p[1] | p[2] << 8) * 90000 + 3 * 86400;

		for (size_t i = 0; i < z.n; i++) {
			ASSERT(tz_next_change(&z, at) == z.changes[i].at);
			ASSERT(tz_offset(&z, at) == (i > 0 ? z.changes[i - 1].offset : z.first));
			at = z.changes[i].at;
			ASSERT(tz_offset(&z, at) == z.changes[i].offset);
		}
		ASSERT(tz_next_change(&z, at) == INT64_MAX);
		/* Real zones have some hundreds; a schedule is looked up in each. */
		if (z.n <= 1000)
			run(&z, schedules[p[0] % ARRAY_LEN(schedules)], from);
	}
	arena_fini(&a);
	return 0;
}
