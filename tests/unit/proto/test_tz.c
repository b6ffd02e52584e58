/* Time zones from the tz database, against libc's reading of the same files; and what clocks that jump do to schedules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "proto/cron.h"
#include "proto/tz.h"

static struct arena arena;

static struct tz zone(const char *name)
{
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct tz z;

	if (file_get(arena_printf(&arena, "/usr/share/zoneinfo/%s", name), 1 << 20, &b, &e) < 0)
		skip(); /* no tzdata here */
	if (tz_parse(&z, &arena, buf_str(&b), &e) < 0)
		fail_msg("%s: %s", name, e.text);
	buf_fini(&b);
	return z;
}

static void test_as_libc(void **state)
{
	static const char *const names[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago",
		"Africa/Casablanca", "Europe/Dublin", "Pacific/Apia", "UTC", "Asia/Gaza"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct tz z = zone(names[i]);

		setenv("TZ", names[i], 1);
		tzset();
		/* Every 5 hours and a bit, from 1902 to 2150. */
		for (int64_t t = -2145916800; t < 5680281600; t += 18661) {
			time_t when = (time_t)t;
			struct tm tm;

			localtime_r(&when, &tm);
			if (tz_offset(&z, t) != tm.tm_gmtoff)
				fail_msg("%s at %lld: %d, but %ld", names[i], (long long)t, tz_offset(&z, t), tm.tm_gmtoff);
		}
	}
	unsetenv("TZ");
	tzset();
}

/* The next times behind `after`, as UTC. */
static const char *next(const char *name, const char *schedule, int64_t after, int n)
{
	struct tz z = zone(name);
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct cron c;
	const char *text;

	assert_int_equal(cron_parse(str_from(schedule), &c, &e), 0);
	while (n-- > 0 && (after = cron_next(&c, &z, after)) != 0) {
		time_t t = (time_t)after;
		char one[32];
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(one, sizeof(one), "%m-%d %H:%M", &tm);
		buf_printf(&b, "%s%s", b.n > 0 ? ", " : "", one);
	}
	text = arena_cstr(&arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

static void test_jumps(void **state)
{
	const int64_t march = 1774656000 /* 2026-03-28 00:00 UTC */, october = 1792800000 /* 2026-10-24 00:00 UTC */;

	/* On the 29th of March there is no 02:30; on the 25th of October there are two. */
	assert_string_equal(next("Europe/Berlin", "30 2 * * *", march, 3), "03-28 01:30, 03-30 00:30, 03-31 00:30");
	assert_string_equal(next("Europe/Berlin", "30 2 * * *", october, 4), "10-24 00:30, 10-25 00:30, 10-25 01:30, 10-26 01:30");
	assert_string_equal(next("Europe/Berlin", "0 */2 29 3 *", march, 3), "03-28 23:00, 03-29 02:00, 03-29 04:00");
	assert_string_equal(next("Europe/Berlin", "0 9 * * 1-5", march, 2), "03-30 07:00, 03-31 07:00");
	assert_string_equal(next("Asia/Kolkata", "0 0 * * *", march, 1), "03-28 18:30");
	assert_string_equal(next("America/New_York", "0 0 30 2 *", march, 1), "");
	/* The last time is found by the same clocks. */
	struct tz z = zone("Europe/Berlin");
	struct err e = ERR_INIT;
	struct cron c;

	assert_int_equal(cron_parse(STR("30 2 * * *"), &c, &e), 0);
	assert_int_equal(cron_last(&c, &z, march, march + 2 * 86400), march + 5400);
	assert_int_equal(cron_last(&c, &z, march, october + 86400 + 3600), october + 86400 + 1800);
}

static void test_bad_files(void **state)
{
	static const char head[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4\0\0\0\0\0\0UTC";
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct tz z;

	/* Cut off anywhere, and with each byte changed: an error or a zone, and nothing else. */
	if (file_get("/usr/share/zoneinfo/Europe/Berlin", 1 << 20, &b, &e) < 0)
		skip();
	assert_int_equal(tz_parse(&z, &arena, str_of(head, sizeof(head)), &e), err_set(&e, ERR_BAD_REQUEST, "x"));
	for (size_t n = 0; n + 1 < b.n; n++) {
		char *cut = malloc(n + 1);

		memcpy(cut, b.p, n);
		assert_true(tz_parse(&z, &arena, str_of(cut, n), &e) < 0);
		free(cut);
	}
	for (size_t i = 0; i < b.n; i++) {
		char *copy = malloc(b.n);

		memcpy(copy, b.p, b.n);
		copy[i] ^= 0x55;
		if (tz_parse(&z, &arena, str_of(copy, b.n), &e) == 0)
			tz_offset(&z, 1774656000);
		free(copy);
	}
	buf_fini(&b);
}

/* No place's clocks are days off. */
static void test_absurd_offsets(void **state)
{
	static const char part[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4\0\0\0\0\0\0UTC";
	static const struct {
		const char *rule;
		int32_t offset; /* INT32_MIN: refused */
	} rules[] = {{"XXX-14", 50400}, {"XXX+24", -86400}, {"XXX+25", INT32_MIN}, {"XXX-26", INT32_MIN}, {"XXX-100", INT32_MIN}};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		struct str parts[] = {str_of(part, sizeof(part)), str_of(part, sizeof(part)), STR("\n"), str_from(rules[i].rule), STR("\n")};
		struct err e = ERR_INIT;
		struct tz z;

		if (rules[i].offset == INT32_MIN) {
			assert_true(tz_parse(&z, &arena, arena_join(&arena, parts, ARRAY_LEN(parts)), &e) < 0);
			assert_non_null(strstr(e.text, "more than a day"));
		} else {
			assert_int_equal(tz_parse(&z, &arena, arena_join(&arena, parts, ARRAY_LEN(parts)), &e), 0);
			assert_int_equal(tz_offset(&z, 0), rules[i].offset);
		}
	}
}

static int stop(void **state)
{
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_libc),
		cmocka_unit_test(test_jumps),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_absurd_offsets),
	};
	arena_init(&arena);
	return cmocka_run_group_tests_name("tz", tests, NULL, stop);
}
