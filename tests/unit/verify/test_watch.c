/* The checker of histories, on watches: what they must tell, in which order, and what may be missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "tests/unit/verify/by_hand.h"

/* a=1 (2), b=1 (3), a=2 and b=2 (4), a deleted (5), a=3 (6) */
static struct hist_watch *watched(int64_t start)
{
	struct hist_watch *w;

	put(1, 2, "a", "1", 2);
	put(3, 4, "b", "1", 3);
	both(5, 6, "2", 4);
	del(7, 8, "a", 1, 5);
	put(9, 10, "a", "3", 6);
	w = history_watch(h, 1, STR("a"), STR("z"), start);
	w->prev_kv = true;
	return w;
}

static struct hist_event event_of(int n)
{
	switch (n) {
	case 2:
		return (struct hist_event){.kv = kv("a", "1", 2, 2, 1)};
	case 3:
		return (struct hist_event){.kv = kv("b", "1", 3, 3, 1)};
	case 4:
		return (struct hist_event){.kv = kv("a", "2", 2, 4, 2), .has_prev = true, .prev = kv("a", "1", 2, 2, 1)};
	case 40:
		return (struct hist_event){.kv = kv("b", "2", 3, 4, 2), .has_prev = true, .prev = kv("b", "1", 3, 3, 1)};
	case 5:
		return (struct hist_event){
			.is_delete = true, .kv = kv("a", "", 0, 5, 0), .has_prev = true, .prev = kv("a", "2", 2, 4, 2)};
	default:
		return (struct hist_event){.kv = kv("a", "3", 6, 6, 1)};
	}
}

/* One message; events as in event_of, 0 ends. */
static void tell(struct hist_watch *w, const int *events)
{
	struct hist_message m = {.kind = HIST_EVENTS};

	m.events = arena_new_array(history_arena(h), struct hist_event, 8);
	for (; *events; events++)
		m.events[m.n_events++] = event_of(*events);
	history_message(h, w, m);
}
#define TELL(w, ...) tell(w, (const int[]){__VA_ARGS__, 0})

static void note(struct hist_watch *w, enum hist_message_kind kind, int64_t revision)
{
	history_message(h, w, (struct hist_message){.kind = kind, .revision = revision});
}

/* The end of a lease may be the last that happens, and then only a watch tells of it. */
static void test_expired_last(void **state _unused_)
{
	struct hist_kv a = kv("a", "1", 2, 2, 1);
	struct hist_watch *w;

	grant(1, 2, 3);
	a.lease = 7;
	put(3, 4, "a", "1", 2)->then->lease = 7;
	w = history_watch(h, 1, STR("a"), STR("z"), 2);
	w->prev_kv = true;
	history_message(h, w, (struct hist_message){.kind = HIST_EVENTS, .n_events = 1, .events = &(struct hist_event){.kv = a}});
	history_message(h, w, (struct hist_message){.kind = HIST_EVENTS, .n_events = 1,
			.events = &(struct hist_event){.is_delete = true, .kv = kv("a", "", 0, 3, 0), .has_prev = true, .prev = a}});
	note(w, HIST_CAUGHT_UP, 3);
	good();
}

static void test_watch(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2);
	TELL(w, 3, 4, 40);
	note(w, HIST_PROGRESS, 4);
	TELL(w, 5);
	TELL(w, 6);
	note(w, HIST_CAUGHT_UP, 6);
	good();
}

static void test_watch_resumed(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2, 3);
	w = history_watch(h, 1, STR("a"), STR("z"), 4);
	TELL(w, 4, 40, 5);
	note(w, HIST_CAUGHT_UP, 5);
	good();
}

static void test_watch_gap(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2);
	TELL(w, 4, 40);
	bad("reliable");
}

static void test_watch_gap_on_resume(void **state _unused_)
{
	struct hist_watch *w = watched(4);

	TELL(w, 5);
	bad("reliable");
}

static void test_watch_ends_early(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2, 3, 4, 40, 5);
	note(w, HIST_CAUGHT_UP, 6);
	bad("waited for in vain");
}

static void test_watch_repeats(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2, 3);
	TELL(w, 3, 4, 40);
	bad("ordered, unique");
}

static void test_watch_before_start(void **state _unused_)
{
	struct hist_watch *w = watched(3);

	TELL(w, 2, 3);
	bad("start");
}

static void test_watch_torn(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2, 3, 4);
	TELL(w, 40);
	bad("atomic");
}

static void test_watch_order_within(void **state _unused_)
{
	struct hist_watch *w = watched(4);

	TELL(w, 40, 4);
	bad("ordered");
}

static void test_watch_bookmark(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	TELL(w, 2);
	note(w, HIST_PROGRESS, 3);
	bad("bookmarkable");
}

static void test_watch_filter(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	w->no_put = true;
	TELL(w, 5);
	note(w, HIST_CAUGHT_UP, 6);
	good();
}

static void test_watch_filter_leaks(void **state _unused_)
{
	struct hist_watch *w = watched(5);

	w->no_delete = true;
	TELL(w, 5);
	bad("nothing that it asked for");
}

static void test_watch_prev(void **state _unused_)
{
	struct hist_watch *w = watched(5);
	struct hist_event e = event_of(5);

	e.prev = kv("a", "1", 2, 2, 1);
	history_message(h, w, (struct hist_message){.kind = HIST_EVENTS, .events = &e, .n_events = 1});
	bad("prev_kv");
}

static void test_watch_no_prev(void **state _unused_)
{
	struct hist_watch *w = watched(5);
	struct hist_event e = event_of(5);

	e.has_prev = false;
	history_message(h, w, (struct hist_message){.kind = HIST_EVENTS, .events = &e, .n_events = 1});
	bad("prev_kv");
}

static void test_watch_create(void **state _unused_)
{
	struct hist_watch *w = watched(6);
	struct hist_event e = event_of(6);

	e.kv.version = 2;
	history_message(h, w, (struct hist_message){.kind = HIST_EVENTS, .events = &e, .n_events = 1});
	bad("what is not so");
}

/* A write of unknown outcome may have made revision 3, but then the watch would have been told: it was the delete. */
static void test_watch_silence(void **state _unused_)
{
	struct hist_watch *w;

	put(1, 2, "a", "1", 2);
	put(3, 0, "a", "2", 0);
	del(3, 0, "a", 1, 0);
	put(5, 6, "b", "3", 4);
	w = history_watch(h, 1, STR("a"), STR("z"), 2);
	w->no_delete = true;
	TELL(w, 2);
	note(w, HIST_PROGRESS, 3);
	good();
}

static void test_watch_gone(void **state _unused_)
{
	struct hist_watch *w = watched(2);

	note(w, HIST_GONE, 4);
	good();
}

static void test_watch_gone_for_no_reason(void **state _unused_)
{
	struct hist_watch *w = watched(4);

	note(w, HIST_GONE, 4);
	bad("gone");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(expired_last), T(watch), T(watch_resumed), T(watch_gap), T(watch_gap_on_resume), T(watch_ends_early),
		T(watch_repeats), T(watch_before_start), T(watch_torn), T(watch_order_within), T(watch_bookmark),
		T(watch_filter), T(watch_filter_leaks), T(watch_prev), T(watch_no_prev), T(watch_create), T(watch_silence),
		T(watch_gone), T(watch_gone_for_no_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
