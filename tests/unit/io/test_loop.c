#include "tests/unit/io/iotest.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct tick {
	struct loop_timer timer;
	int *log, *n, id;
};

static void on_tick(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, timer);

	k->log[(*k->n)++] = k->id;
}

static void timers_run_in_order(void **state)
{
	struct loop *l = loop_new("test");
	int log[8], n = 0;
	struct tick a = {.log = log, .n = &n, .id = 1}, b = {.log = log, .n = &n, .id = 2},
		    c = {.log = log, .n = &n, .id = 3}, d = {.log = log, .n = &n, .id = 4};

	loop_timer_start(&a.timer, l, 30, on_tick);
	loop_timer_start(&b.timer, l, 10, on_tick);
	loop_timer_start(&c.timer, l, 0, on_tick);
	loop_timer_start(&d.timer, l, 20, on_tick);
	loop_timer_stop(&d.timer);
	assert_int_equal(n, 0);
	WAIT_FOR(l, n == 3);
	assert_int_equal(log[0], 3);
	assert_int_equal(log[1], 2);
	assert_int_equal(log[2], 1);
	assert_false(loop_timer_active(&a.timer));
	loop_free(l);
}

struct again {
	struct loop_timer timer;
	struct loop *loop;
	int n;
};

static void on_again(struct loop_timer *t)
{
	struct again *a = container_of(t, struct again, timer);

	if (++a->n < 3)
		loop_timer_start(&a->timer, a->loop, 0, on_again);
}

/* A timer of 0 ms that starts itself anew does not keep the loop from its other work. */
static void zero_timer_waits_for_the_next_turn(void **state)
{
	struct loop *l = loop_new("test");
	struct again a = {.loop = l};

	loop_timer_start(&a.timer, l, 0, on_again);
	loop_turn(l, 0);
	assert_int_equal(a.n, 1);
	loop_turn(l, 0);
	assert_int_equal(a.n, 2);
	WAIT_FOR(l, a.n == 3);
	loop_free(l);
}

#define N_THREADS 4
#define N_MSGS 5000

struct counted {
	struct loop_msg msg;
	unsigned thread, seq;
};

static struct loop *target;
static unsigned next_seq[N_THREADS], n_seen;

static void on_counted(struct loop_msg *m)
{
	struct counted *c = container_of(m, struct counted, msg);

	ASSERT(loop_current() == target);
	ASSERT(next_seq[c->thread] == c->seq);
	next_seq[c->thread]++;
	free(c);
	if (++n_seen == N_THREADS * N_MSGS)
		loop_stop(target);
}

static void *poster(void *arg)
{
	for (unsigned i = 0; i < N_MSGS; i++) {
		struct counted *c = xcalloc(1, sizeof(*c));

		c->msg.run = on_counted;
		c->thread = (unsigned)(uintptr_t)arg;
		c->seq = i;
		loop_post(target, &c->msg);
	}
	return NULL;
}

static void messages_keep_their_order(void **state)
{
	pthread_t t[N_THREADS];

	target = loop_new("target");
	for (uintptr_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, poster, (void *)i), 0);
	loop_thread_start(target);
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(t[i], NULL);
	loop_thread_join(target);
	assert_int_equal(n_seen, N_THREADS * N_MSGS);
	loop_free(target);
}

/* --- Between two loops: no message is lost between the last look at the queue and the sleep ------------------------------ */

struct ball {
	struct loop_msg msg;
	struct loop *loops[2];
	unsigned n, wanted;
	bool lazy;
};

static void bounce(struct loop_msg *m)
{
	struct ball *b = container_of(m, struct ball, msg);

	b->n++;
	if (b->n == b->wanted) {
		loop_stop(b->loops[0]);
		loop_stop(b->loops[1]);
	} else if (b->lazy) {
		loop_post_lazily(b->loops[b->n % 2], m);
	} else {
		loop_post(b->loops[b->n % 2], m);
	}
}

static void ping_pong(bool lazy)
{
	struct ball b = {.msg.run = bounce, .wanted = 20000, .lazy = lazy};

	for (int i = 0; i < 2; i++)
		b.loops[i] = loop_new("pong");
	for (int i = 0; i < 2; i++)
		loop_thread_start(b.loops[i]);
	loop_post(b.loops[0], &b.msg);
	for (int i = 0; i < 2; i++)
		loop_thread_join(b.loops[i]);
	assert_int_equal(b.n, b.wanted);
	for (int i = 0; i < 2; i++)
		loop_free(b.loops[i]);
}

static void messages_wake_a_sleeping_loop(void **state)
{
	ping_pong(false);
	ping_pong(true);
}

/* Who waits for an answer inside a callback wakes the other loop first. */
struct question {
	struct loop_msg msg;
	struct loop_timer timer;
	struct loop *here, *there;
	atomic_bool asked;
};

static void on_question(struct loop_msg *m)
{
	atomic_store(&container_of(m, struct question, msg)->asked, true);
}

static void ask(struct loop_timer *t)
{
	struct question *q = container_of(t, struct question, timer);

	loop_post_lazily(q->there, &q->msg);
	loop_wake_posted();
	while (!atomic_load(&q->asked))
		sched_yield();
	loop_stop(q->here);
}

static void lazy_messages_can_be_hurried(void **state)
{
	struct question q = {.msg.run = on_question, .here = loop_new("here"), .there = loop_new("there")};

	loop_thread_start(q.there);
	loop_timer_start(&q.timer, q.here, 1, ask);
	loop_run(q.here);
	loop_stop(q.there);
	loop_thread_join(q.there);
	loop_free(q.here);
	loop_free(q.there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_run_in_order),
		cmocka_unit_test(zero_timer_waits_for_the_next_turn),
		cmocka_unit_test(messages_keep_their_order),
		cmocka_unit_test(messages_wake_a_sleeping_loop),
		cmocka_unit_test(lazy_messages_can_be_hurried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
