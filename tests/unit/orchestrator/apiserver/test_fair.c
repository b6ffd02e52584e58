/*
 * Fair queues on simulated time: dealing, equal parts, loud flows beside quiet ones. The random part begins at the seed in FAIR_SEED,
 * and prints its own when it fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/fair.h"
#include "tests/lib/rng.h"

static uint64_t seed;

static uint64_t flow_hash(unsigned i)
{
	char name[16];

	snprintf(name, sizeof(name), "user-%u", i);
	return fair_hash("schema", 6, name, strlen(name));
}

/* --- Dealing ----------------------------------------------------------------------------------------------------- */

static void test_deal(void **state)
{
	/* What is dealt is part of what an operator can count on: the same flow, the same queues, on every server. */
	static const unsigned known[6] = {0x3a, 0x44, 0x79, 0x64, 0x49, 0x5e};
	unsigned hand[FAIR_MAX_HAND], again[FAIR_MAX_HAND], seen[128] = {0};

	(void)state;
	fair_deal(fair_hash("global-default", 14, "jane", 4), 128, 6, hand);
	assert_memory_equal(hand, known, sizeof(known));
	assert_true(fair_hash("ab", 2, "c", 1) != fair_hash("a", 1, "bc", 2));
	for (unsigned i = 0; i < 2000; i++) {
		fair_deal(flow_hash(i), 128, 6, hand);
		fair_deal(flow_hash(i), 128, 6, again);
		assert_memory_equal(hand, again, 6 * sizeof(unsigned));
		for (unsigned k = 0; k < 6; k++) {
			assert_true(hand[k] < 128);
			seen[hand[k]]++;
			for (unsigned j = 0; j < k; j++)
				assert_int_not_equal(hand[k], hand[j]);
		}
	}
	/* 12,000 cards over 128 queues: 94 each. */
	for (unsigned i = 0; i < 128; i++)
		assert_in_range(seen[i], 50, 150);
	fair_deal(7, 4, 4, hand);
	assert_int_equal(hand[0] + hand[1] + hand[2] + hand[3], 6);
	fair_deal(UINT64_MAX, 1, 1, hand);
	assert_int_equal(hand[0], 0);
}

/* --- Fair queues on simulated time ----------------------------------------------------------------------------------- */

#define N_FLOWS 64

struct job {
	struct fair_item item;
	unsigned flow;
	uint64_t us, ends;
	uint64_t loud_before; /* requests of flow 0 that had begun when it came */
	bool running;
};

/* So many seats; what ends is told to the queues. Counts are by flow. */
struct sim {
	struct fair f;
	struct job jobs[4096];
	unsigned in_use, seats;
	uint64_t now, served[N_FLOWS], refused[N_FLOWS], began[N_FLOWS], most_overtaken;
	unsigned waiting[N_FLOWS];
};

static struct job *sim_job(struct sim *s)
{
	for (size_t i = 0; i < ARRAY_LEN(s->jobs); i++)
		if (!s->jobs[i].running && !s->jobs[i].item.waiting)
			return &s->jobs[i];
	fail_msg("too many jobs");
	return NULL;
}

static void sim_come(struct sim *s, unsigned flow, unsigned seats, uint64_t us)
{
	struct job *j = sim_job(s);

	*j = (struct job){.flow = flow, .us = us, .loud_before = s->began[0]};
	if (fair_put(&s->f, &j->item, flow_hash(flow), seats))
		s->waiting[flow]++;
	else
		s->refused[flow]++;
}

static void sim_start(struct sim *s)
{
	struct fair_item *it;

	while ((it = fair_first(&s->f)) && (s->in_use == 0 || s->in_use + it->seats <= s->seats)) {
		struct job *j = container_of(it, struct job, item);

		fair_take(&s->f, it);
		j->running = true;
		j->ends = s->now + j->us;
		s->in_use += it->seats;
		s->began[j->flow]++;
		s->waiting[j->flow]--;
		if (j->flow > 0)
			s->most_overtaken = MAX(s->most_overtaken, s->began[0] - j->loud_before);
	}
}

/* To the next end. */
static void sim_turn(struct sim *s)
{
	uint64_t next = UINT64_MAX;

	sim_start(s);
	for (size_t i = 0; i < ARRAY_LEN(s->jobs); i++)
		if (s->jobs[i].running)
			next = MIN(next, s->jobs[i].ends);
	if (next == UINT64_MAX)
		return;
	s->now = next;
	for (size_t i = 0; i < ARRAY_LEN(s->jobs); i++) {
		struct job *j = &s->jobs[i];

		if (!j->running || j->ends > s->now)
			continue;
		j->running = false;
		s->in_use -= j->item.seats;
		s->served[j->flow] += j->us * j->item.seats;
		fair_done(&s->f, &j->item, j->us);
	}
}

static void sim_end(struct sim *s)
{
	for (size_t i = 0; i < ARRAY_LEN(s->jobs); i++)
		if (s->jobs[i].item.waiting)
			fair_drop(&s->f, &s->jobs[i].item);
	assert_null(fair_first(&s->f));
	fair_fini(&s->f);
}

/* Equal parts of the seats' time, whether a flow's requests are short or long, wide or narrow. */
static void test_equal_parts(void **state)
{
	static struct sim s;
	static const struct {
		unsigned seats;
		uint64_t us;
	} flows[] = {{1, 1000}, {1, 20000}, {4, 3000}, {2, 500}};
	uint64_t total = 0;

	(void)state;
	s.seats = 8;
	/* So many queues that each flow has one of its own. */
	fair_init(&s.f, 4096, 1, 50);
	for (unsigned turn = 0; turn < 5000; turn++) {
		for (unsigned i = 0; i < ARRAY_LEN(flows); i++)
			while (s.waiting[i] < 10)
				sim_come(&s, i, flows[i].seats, flows[i].us);
		sim_turn(&s);
	}
	for (unsigned i = 0; i < ARRAY_LEN(flows); i++)
		total += s.served[i];
	for (unsigned i = 0; i < ARRAY_LEN(flows); i++)
		if (s.served[i] * ARRAY_LEN(flows) < total * 9 / 10 || s.served[i] * ARRAY_LEN(flows) > total * 11 / 10)
			fail_msg("flow %u was served %llu of %llu", i, (unsigned long long)s.served[i], (unsigned long long)total);
	sim_end(&s);
}

/* Flow 0 sends as hard as it can; forty others now and then. They are all served, soon, and only flow 0 is refused. */
static void test_loud_flow(void **state)
{
	static struct sim s;
	uint64_t asked[N_FLOWS] = {0};

	(void)state;
	s.seats = 10;
	fair_init(&s.f, 128, 6, 50);
	for (unsigned turn = 0; turn < 4000; turn++) {
		for (unsigned k = 0; k < 20; k++)
			sim_come(&s, 0, 1, 2000);
		if (turn % 20 == 0) {
			unsigned i = 1 + turn / 20 % 40;

			sim_come(&s, i, 1, 2000);
			asked[i]++;
		}
		sim_turn(&s);
	}
	for (unsigned turn = 0; turn < 10; turn++)
		sim_turn(&s);
	assert_true(s.refused[0] > 10000);
	for (unsigned i = 1; i <= 40; i++) {
		assert_int_equal(s.refused[i], 0);
		assert_int_equal(s.began[i], asked[i]);
	}
	/* One of each queue of its hand, and of those that began in the same moment. */
	assert_in_range(s.most_overtaken, 0, 16);
	sim_end(&s);
}

/* Of two loud flows in different hands neither gets more, though one sends ten times as much. */
static void test_two_loud(void **state)
{
	static struct sim s;

	(void)state;
	s.seats = 10;
	fair_init(&s.f, 128, 6, 50);
	for (unsigned turn = 0; turn < 3000; turn++) {
		for (unsigned k = 0; k < 40; k++)
			sim_come(&s, 1, 1, 2000);
		for (unsigned k = 0; k < 4 + turn % 2 * 4; k++)
			sim_come(&s, 2, 1, 2000);
		sim_turn(&s);
	}
	assert_in_range(s.began[1] * 100 / (s.began[1] + s.began[2]), 45, 55);
	sim_end(&s);
}

/* Any order of coming, starting, ending, giving up and other queues: nobody is lost, counts are right, virtual time never goes back. */
static void test_queue_property(void **state)
{
	static struct job jobs[512];

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct rng r = {seed + round};
		uint64_t last = 0;
		struct fair f;
		unsigned n = 0, seats = 0;

		memset(jobs, 0, sizeof(jobs));
		fair_init(&f, 1 + (unsigned)rng_below(&r, 40), 1 + (unsigned)rng_below(&r, 8), 1 + (unsigned)rng_below(&r, 20));
		for (unsigned step = 0; step < 2000; step++) {
			struct job *j = &jobs[rng_below(&r, ARRAY_LEN(jobs))];
			unsigned what = (unsigned)rng_below(&r, 100), queue_limit = f.queue_limit;
			struct fair_item *it;

			if (what < 50 && !j->item.waiting && !j->running) {
				j->item = (struct fair_item){.waiting = false};
				if (fair_put(&f, &j->item, flow_hash((unsigned)rng_below(&r, 9)), 1 + (unsigned)rng_below(&r, 5))) {
					n++;
					seats += j->item.seats;
					assert_true(f.queues[j->item.queue].n <= queue_limit || f.epoch > 1);
				}
			} else if (what < 70 && (it = fair_first(&f))) {
				fair_take(&f, it);
				container_of(it, struct job, item)->running = true;
				n--;
				seats -= it->seats;
			} else if (what < 90 && j->running) {
				fair_done(&f, &j->item, rng_below(&r, 50000));
				j->running = false;
			} else if (what < 98 && j->item.waiting) {
				n--;
				seats -= j->item.seats;
				fair_drop(&f, &j->item);
			} else if (what >= 98) {
				fair_resize(&f, 1 + (unsigned)rng_below(&r, 40), 1, 1 + (unsigned)rng_below(&r, 20));
			}
			if (f.n != n || f.seats != seats || f.now < last || !fair_first(&f) != (n == 0))
				fail_msg("seed %llu step %u: %u waiting instead of %u", (unsigned long long)(seed + round), step, f.n, n);
			last = f.now;
		}
		while (fair_first(&f)) {
			fair_take(&f, fair_first(&f));
			n--;
		}
		assert_int_equal(n, 0);
		fair_fini(&f);
	}
}

int main(void)
{
	const char *text = getenv("FAIR_SEED");
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_deal),
			cmocka_unit_test(test_equal_parts),
			cmocka_unit_test(test_loud_flow),
			cmocka_unit_test(test_two_loud),
			cmocka_unit_test(test_queue_property),
	};

	seed = text ? strtoull(text, NULL, 10) : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
