#include "io/loop.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/io-priv.h"

#define MAX_TO_WAKE 8
/* How long loop_free waits: longer than any stream lingers for its peer (stream_close_flushed: five seconds at most). */
#define CLOSING_MS 7000

struct loop {
	uv_loop_t uv;
	/*
	 * An eventfd that wakes the loop for messages and stop, and only when it sleeps: one that is busy looks at its queue before it
	 * waits. (uv_async_t writes always, and a woken reader spins until the writer has left it.)
	 */
	uv_poll_t wake;
	int wake_fd;
	atomic_bool asleep; /* about to wait, or waiting, with an empty queue */
	uv_timer_t timer;     /* armed for the nearest loop_timer */
	uv_idle_t idle;       /* active while there is more to do: keeps the poll from waiting */
	uv_prepare_t prepare; /* before the poll: what is deferred, and whether to sleep */
	uv_check_t check;     /* after it */
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

	uint64_t woke_ms; /* when the last poll ended; 0: there was none */
	/* Loops that were posted to, to be woken at the end of this phase, when they find all of it. */
	struct loop *to_wake[MAX_TO_WAKE];
	unsigned n_to_wake;
	atomic_uint refs; /* of the memory: its owner's, and those of others' to_wake */
	bool one_turn;    /* loop_turn: a message that was run is something that happened */
	struct loop_timer turn_timer;
	char *scratch;
};

static _Thread_local struct loop *current;

/* The order of the heap: milliseconds, then the order of starting. */
#define KEY_SEQ_BITS 20
#define KEY_MS(key) ((key) >> KEY_SEQ_BITS)

static void on_wake(uv_poll_t *, int status, int events);
static void on_timer(uv_timer_t *);
static void on_prepare(uv_prepare_t *);
static void wake_others(struct loop *);
static void unref(struct loop *);
static void on_check(uv_check_t *);

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
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT(l->wake_fd >= 0);
	ASSERT(uv_poll_init(&l->uv, &l->wake, l->wake_fd) == 0);
	ASSERT(uv_poll_start(&l->wake, UV_READABLE, on_wake) == 0);
	ASSERT(uv_timer_init(&l->uv, &l->timer) == 0);
	ASSERT(uv_idle_init(&l->uv, &l->idle) == 0);
	ASSERT(uv_prepare_init(&l->uv, &l->prepare) == 0);
	uv_prepare_start(&l->prepare, on_prepare);
	uv_unref((uv_handle_t *)&l->prepare);
	ASSERT(uv_check_init(&l->uv, &l->check) == 0);
	uv_check_start(&l->check, on_check);
	uv_unref((uv_handle_t *)&l->check);
	uv_unref((uv_handle_t *)&l->timer);
	atomic_store(&l->refs, 1);
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
	l->woke_ms = 0;
	return before;
}

void loop_run(struct loop *l)
{
	struct loop *before = enter(l);

	do
		uv_run(&l->uv, UV_RUN_DEFAULT);
	while (!atomic_load(&l->stop));
	atomic_store(&l->stop, false);
	wake_others(l);
	current = before;
}

static void nothing(struct loop_timer *t)
{
}

void loop_turn(struct loop *l, unsigned timeout_ms)
{
	struct loop *before = enter(l);

	l->one_turn = true;
	if (timeout_ms == 0) {
		uv_run(&l->uv, UV_RUN_NOWAIT);
	} else {
		loop_timer_start(&l->turn_timer, l, timeout_ms, nothing);
		uv_run(&l->uv, UV_RUN_ONCE);
		loop_timer_stop(&l->turn_timer);
	}
	l->one_turn = false;
	wake_others(l);
	current = before;
}

static void unref(struct loop *l)
{
	if (atomic_fetch_sub(&l->refs, 1) > 1)
		return;
	close(l->wake_fd);
	pthread_mutex_destroy(&l->mutex);
	free(l->name);
	free(l);
}

static void wake_up(struct loop *l)
{
	static const uint64_t one = 1;

	if (atomic_exchange(&l->asleep, false))
		(void)!write(l->wake_fd, &one, sizeof(one));
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake_up(l);
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

	if (h != (uv_handle_t *)&l->wake && h != (uv_handle_t *)&l->timer &&
		h != (uv_handle_t *)&l->idle && h != (uv_handle_t *)&l->prepare &&
		h != (uv_handle_t *)&l->check)
		log_warn("loop", "handle still open loop=%s type=%s", l->name,
			uv_handle_type_name(h->type));
}

void loop_free(struct loop *l)
{
	uint64_t deadline;

	if (l == NULL)
		return;
	ASSERT(!l->has_thread);
	deadline = clock_mono_ms() + CLOSING_MS;
	uv_unref((uv_handle_t *)&l->wake);
	loop_turn(l, 0);
	while (uv_loop_alive(&l->uv) && clock_mono_ms() < deadline)
		loop_turn(l, 10);
	if (uv_loop_alive(&l->uv)) {
		uv_walk(&l->uv, log_open, l);
		return;
	}
	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->timer, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	if (uv_loop_close(&l->uv) != 0) {
		uv_walk(&l->uv, log_open, l);
		return;
	}
	heap_fini(&l->timers);
	free(l->scratch);
	unref(l);
}

/* Messages. */

/* Woken at the first of ten messages, the other loop would run for one, on this processor perhaps, and sleep again. */
static void wake_later(struct loop *l)
{
	struct loop *self = current;

	if (self == l || self == NULL || self->n_to_wake == MAX_TO_WAKE) {
		wake_up(l);
		return;
	}
	for (unsigned i = 0; i < self->n_to_wake; i++)
		if (self->to_wake[i] == l)
			return;
	atomic_fetch_add(&l->refs, 1);
	self->to_wake[self->n_to_wake++] = l;
}

static void enqueue(struct loop *l, struct loop_msg *m)
{
	m->next = NULL;
	pthread_mutex_lock(&l->mutex);
	*l->tail = m;
	l->tail = &m->next;
	pthread_mutex_unlock(&l->mutex);
}

void loop_post(struct loop *l, struct loop_msg *m)
{
	enqueue(l, m);
	wake_up(l);
}

void loop_post_lazily(struct loop *l, struct loop_msg *m)
{
	enqueue(l, m);
	if (atomic_load(&l->asleep))
		wake_later(l);
}

void loop_wake_posted(void)
{
	if (current != NULL)
		wake_others(current);
}

static void wake_others(struct loop *l)
{
	for (unsigned i = 0; i < l->n_to_wake; i++) {
		wake_up(l->to_wake[i]);
		unref(l->to_wake[i]);
	}
	l->n_to_wake = 0;
}

/* Those that are there now. False: there were none. */
static bool run_messages(struct loop *l)
{
	struct loop_msg *m, *next;
	bool any;

	pthread_mutex_lock(&l->mutex);
	m = l->head;
	l->head = NULL;
	l->tail = &l->head;
	pthread_mutex_unlock(&l->mutex);
	any = m != NULL;
	for (; m != NULL; m = next) {
		next = m->next;
		m->run(m);
	}
	if (atomic_load(&l->stop))
		uv_stop(&l->uv);
	return any;
}

static void on_wake(uv_poll_t *p, int status _unused_, int events _unused_)
{
	struct loop *l = container_of(p, struct loop, wake);
	uint64_t n;

	(void)!read(l->wake_fd, &n, sizeof(n));
	run_messages(l);
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

/* Turns. */

static void on_idle(uv_idle_t *i _unused_)
{
	/* Only here to keep the poll from waiting. */
}

/* Those that wait now; what they start waits for the next time. */
static void run_soon(struct loop *l)
{
	struct list now;

	list_init(&now);
	list_splice(&now, &l->soon);
	while (!list_empty(&now)) {
		struct loop_timer *t = LIST_FIRST(&now, struct loop_timer, link);

		loop_timer_stop(t);
		t->cb(t);
	}
}

static bool has_messages(struct loop *l)
{
	bool any;

	pthread_mutex_lock(&l->mutex);
	any = l->head != NULL;
	pthread_mutex_unlock(&l->mutex);
	return any;
}

/* Once `asleep` is set whoever posts wakes the loop; who posted before is seen by the look behind it. */
static bool may_sleep(struct loop *l)
{
	if (!list_empty(&l->soon))
		return false;
	atomic_store(&l->asleep, true);
	if (!has_messages(l) && !atomic_load(&l->stop))
		return true;
	atomic_store(&l->asleep, false);
	return false;
}

/* A turn ends when the next poll is about to begin. */
static void measure(struct loop *l)
{
	uint64_t now = uv_hrtime() / 1000000, busy_ms = now > l->woke_ms ? now - l->woke_ms : 0;

	if (l->woke_ms == 0 || busy_ms < 5)
		return;
	if (busy_ms >= 500)
		log_warn("loop", "long turn loop=%s ms=%" PRIu64, l->name, busy_ms);
	else
		log_debug("loop", "long turn loop=%s ms=%" PRIu64, l->name, busy_ms);
}

static void on_prepare(uv_prepare_t *p)
{
	struct loop *l = container_of(p, struct loop, prepare);
	bool any = run_messages(l);

	wake_others(l);
	measure(l);
	if (may_sleep(l) && !(any && l->one_turn))
		uv_idle_stop(&l->idle);
	else
		uv_idle_start(&l->idle, on_idle);
}

/* What the callbacks of the poll deferred follows them at once, without another poll between. */
static void on_check(uv_check_t *c)
{
	struct loop *l = container_of(c, struct loop, check);

	/* libuv looks at the clock when a poll ends. */
	l->woke_ms = uv_now(&l->uv);
	atomic_store(&l->asleep, false);
	run_soon(l);
	wake_others(l);
}
