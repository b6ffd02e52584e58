#include "io/loop.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/io-priv.h"

struct loop {
	uv_loop_t uv;
	uv_async_t async;     /* wakes the loop for messages and stop */
	uv_timer_t timer;     /* armed for the nearest loop_timer */
	uv_idle_t idle;       /* active while `soon` has timers: keeps the poll from waiting */
	uv_prepare_t prepare; /* measures the turns */
	char *name;
	pthread_t owner; /* the thread that runs it, or made it */
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t mutex; /* guards the queue */
	struct loop_msg *head, **tail;
	atomic_bool stop;

	struct heap timers; /* key: loop__key */
	struct list soon;   /* timers of 0 ms, in order of starting */
	uint32_t timer_seq;
	uint64_t armed_for; /* what `timer` waits for; UINT64_MAX: nothing */

	uint64_t turn_began_ns, turn_idle_ns;
	struct loop_timer turn_timer;
	char *scratch;
};

static _Thread_local struct loop *current;

/* The order of the heap: milliseconds, then the order of starting. */
#define KEY_SEQ_BITS 20
#define KEY_MS(key) ((key) >> KEY_SEQ_BITS)

static void on_async(uv_async_t *);
static void on_timer(uv_timer_t *);
static void on_idle(uv_idle_t *);
static void on_prepare(uv_prepare_t *);

/* A write to a socket whose peer is gone must be an error of that write, not the end of the
 * process. */
static void ignore_sigpipe(void)
{
	signal(SIGPIPE, SIG_IGN);
}

struct loop *loop_new(const char *name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct loop *l = xcalloc(1, sizeof(*l));

	pthread_once(&once, ignore_sigpipe);
	ASSERT(uv_loop_init(&l->uv) == 0);
	uv_loop_configure(&l->uv, UV_METRICS_IDLE_TIME);
	ASSERT(uv_async_init(&l->uv, &l->async, on_async) == 0);
	ASSERT(uv_timer_init(&l->uv, &l->timer) == 0);
	ASSERT(uv_idle_init(&l->uv, &l->idle) == 0);
	ASSERT(uv_prepare_init(&l->uv, &l->prepare) == 0);
	uv_prepare_start(&l->prepare, on_prepare);
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->timer);
	l->name = xstrdup(name);
	l->owner = pthread_self();
	pthread_mutex_init(&l->mutex, NULL);
	l->tail = &l->head;
	list_init(&l->soon);
	l->armed_for = UINT64_MAX;
	return l;
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}

const char *loop_name(const struct loop *l)
{
	return l->name;
}

struct loop *loop_current(void)
{
	return current;
}

bool loop_is_current(const struct loop *l)
{
	return current == l || pthread_equal(l->owner, pthread_self());
}

char *loop_scratch(struct loop *l)
{
	if (l->scratch == NULL)
		l->scratch = xmalloc(LOOP_SCRATCH_SIZE + LOOP_PLAIN_SIZE);
	return l->scratch;
}

char *loop__plain(struct loop *l)
{
	return loop_scratch(l) + LOOP_SCRATCH_SIZE;
}

/* Running. */

static struct loop *enter(struct loop *l)
{
	struct loop *before = current;

	current = l;
	l->owner = pthread_self();
	l->turn_began_ns = 0;
	return before;
}

void loop_run(struct loop *l)
{
	struct loop *before = enter(l);

	do
		uv_run(&l->uv, UV_RUN_DEFAULT);
	while (!atomic_load(&l->stop));
	atomic_store(&l->stop, false);
	current = before;
}

static void nothing(struct loop_timer *t)
{
}

void loop_turn(struct loop *l, unsigned timeout_ms)
{
	struct loop *before = enter(l);

	if (timeout_ms == 0) {
		uv_run(&l->uv, UV_RUN_NOWAIT);
	} else {
		loop_timer_start(&l->turn_timer, l, timeout_ms, nothing);
		uv_run(&l->uv, UV_RUN_ONCE);
		loop_timer_stop(&l->turn_timer);
	}
	current = before;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	uv_async_send(&l->async);
}

static void *thread_main(void *arg)
{
	struct loop *l = arg;
	char name[16];

	strncpy(name, l->name, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	pthread_setname_np(pthread_self(), name);
	loop_run(l);
	return NULL;
}

void loop_thread_start(struct loop *l)
{
	ASSERT(!l->has_thread);
	ASSERT(pthread_create(&l->thread, NULL, thread_main, l) == 0);
	l->has_thread = true;
}

void loop_thread_join(struct loop *l)
{
	ASSERT(l->has_thread);
	pthread_join(l->thread, NULL);
	l->has_thread = false;
	l->owner = pthread_self();
}

static void log_open(uv_handle_t *h, void *arg)
{
	struct loop *l = arg;

	if (h != (uv_handle_t *)&l->async && h != (uv_handle_t *)&l->timer &&
		h != (uv_handle_t *)&l->idle && h != (uv_handle_t *)&l->prepare)
		log_warn("loop", "handle still open loop=%s type=%s", l->name,
			uv_handle_type_name(h->type));
}

void loop_free(struct loop *l)
{
	uint64_t deadline;

	if (l == NULL)
		return;
	ASSERT(!l->has_thread);
	deadline = clock_mono_ms() + 2000;
	uv_unref((uv_handle_t *)&l->async);
	loop_turn(l, 0);
	while (uv_loop_alive(&l->uv) && clock_mono_ms() < deadline)
		loop_turn(l, 10);
	if (uv_loop_alive(&l->uv)) {
		uv_walk(&l->uv, log_open, l);
		return;
	}
	uv_close((uv_handle_t *)&l->async, NULL);
	uv_close((uv_handle_t *)&l->timer, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	if (uv_loop_close(&l->uv) != 0) {
		uv_walk(&l->uv, log_open, l);
		return;
	}
	pthread_mutex_destroy(&l->mutex);
	heap_fini(&l->timers);
	free(l->scratch);
	free(l->name);
	free(l);
}

/* A turn ends when the next poll is about to begin; what was not idle since the last one was spent
 * in callbacks. */
static void on_prepare(uv_prepare_t *p)
{
	struct loop *l = container_of(p, struct loop, prepare);
	uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(&l->uv);
	uint64_t busy_ms = (now - l->turn_began_ns - (idle - l->turn_idle_ns)) / 1000000;

	if (l->turn_began_ns != 0 && busy_ms >= 5) {
		if (busy_ms >= 500)
			log_warn("loop", "long turn loop=%s ms=%" PRIu64, l->name, busy_ms);
		else
			log_debug("loop", "long turn loop=%s ms=%" PRIu64, l->name, busy_ms);
	}
	l->turn_began_ns = now;
	l->turn_idle_ns = idle;
}

/* Messages. */

void loop_post(struct loop *l, struct loop_msg *m)
{
	bool wake;

	m->next = NULL;
	pthread_mutex_lock(&l->mutex);
	wake = l->head == NULL;
	*l->tail = m;
	l->tail = &m->next;
	pthread_mutex_unlock(&l->mutex);
	if (wake)
		uv_async_send(&l->async);
}

static void on_async(uv_async_t *a)
{
	struct loop *l = container_of(a, struct loop, async);
	struct loop_msg *m, *next;

	pthread_mutex_lock(&l->mutex);
	m = l->head;
	l->head = NULL;
	l->tail = &l->head;
	pthread_mutex_unlock(&l->mutex);
	for (; m != NULL; m = next) {
		next = m->next;
		m->run(m);
	}
	if (atomic_load(&l->stop))
		uv_stop(&l->uv);
}

/* Timers. */

static void arm(struct loop *l)
{
	struct heap_node *min = heap_min(&l->timers);
	uint64_t now, at;

	if (min == NULL || (at = KEY_MS(min->key)) >= l->armed_for)
		return;
	now = clock_mono_ms();
	uv_update_time(&l->uv);
	uv_timer_start(&l->timer, on_timer, at > now ? at - now : 0, 0);
	l->armed_for = at;
}

void loop_timer_start(
	struct loop_timer *t, struct loop *l, uint64_t ms, void (*cb)(struct loop_timer *))
{
	uint64_t at;

	loop_timer_stop(t);
	t->loop = l;
	t->cb = cb;
	if (ms == 0) {
		list_add_tail(&l->soon, &t->link);
		if (!uv_is_active((uv_handle_t *)&l->idle))
			uv_idle_start(&l->idle, on_idle);
		return;
	}
	list_init(&t->link);
	at = clock_mono_ms() + MIN(ms, (uint64_t)1 << 42);
	heap_insert(&l->timers, &t->node,
		at << KEY_SEQ_BITS | (l->timer_seq++ & ((1u << KEY_SEQ_BITS) - 1)));
	arm(l);
}

void loop_timer_stop(struct loop_timer *t)
{
	if (t->loop == NULL)
		return;
	if (heap_has(&t->node))
		heap_remove(&t->loop->timers, &t->node);
	else
		list_del(&t->link);
	t->loop = NULL;
}

static void on_timer(uv_timer_t *u)
{
	struct loop *l = container_of(u, struct loop, timer);
	/* One look at the clock: timers started by these callbacks wait for the next turn. */
	uint64_t now = clock_mono_ms();
	struct heap_node *min;

	l->armed_for = UINT64_MAX;
	while ((min = heap_min(&l->timers)) != NULL && KEY_MS(min->key) <= now) {
		struct loop_timer *t = container_of(min, struct loop_timer, node);

		loop_timer_stop(t);
		t->cb(t);
	}
	arm(l);
}

static void on_idle(uv_idle_t *i)
{
	struct loop *l = container_of(i, struct loop, idle);
	struct list now;

	list_init(&now);
	list_splice(&now, &l->soon);
	while (!list_empty(&now)) {
		struct loop_timer *t = LIST_FIRST(&now, struct loop_timer, link);

		loop_timer_stop(t);
		t->cb(t);
	}
	if (list_empty(&l->soon))
		uv_idle_stop(&l->idle);
}
