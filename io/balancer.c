/* The servers of a balancer and their health; what clients' connections do is in balancer_conn.c. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/balancer-priv.h"
#include "io/tls.h"

/* A request without any answer for so long makes us ask. Most answers are faster, so this rarely costs anything. */
#define DOUBT_MS 50
/* When our own loop was kept from running, the answer may be there already: look before judging. */
#define LATE_MS 20
#define GRACE_MS 30

void balancer__ref(struct balancer *b)
{
	b->n_refs++;
}

void balancer__unref(struct balancer *b)
{
	if (--b->n_refs > 0)
		return;
	if (b->netns_fd >= 0)
		close(b->netns_fd);
	tls_ctx_unref(b->tls);
	free(b->health_path);
	if (b->closed)
		b->closed(b->closed_arg);
	free(b);
}

/* --- Health ------------------------------------------------------------------------------------------------ */

static void check_start(struct backend *be);

static void on_check_timer(struct loop_timer *t)
{
	check_start(container_of(t, struct backend, timer));
}

static bool another_is_ready(const struct backend *be)
{
	LIST_FOR_EACH (other, &be->owner->backends, struct backend, link)
		if (other != be && !other->removed && other->health.state == HEALTH_READY)
			return true;
	return false;
}

static void tell(const struct backend *be, enum health_state old)
{
	enum health_state now = be->health.state;

	if (now == old)
		return;
	if (now == HEALTH_READY)
		log_info("balancer", "backend is healthy address=%s", be->address);
	else if (now == HEALTH_UNREADY)
		log_warn("balancer", "backend says that it is not ready address=%s connections=%u", be->address, be->n_routes);
	else if (old != HEALTH_UNKNOWN)
		log_warn("balancer", "backend does not answer address=%s connections=%u", be->address, be->n_routes);
}

static void judge_answer(struct backend *be, bool ready)
{
	enum health_state old = be->health.state;

	health_answered(&be->health, (double)(clock_mono_ms() - be->check_began), ready);
	tell(be, old);
	if (be->health.n_unready >= HEALTH_UNREADY_LIMIT && be->n_routes > 0 && another_is_ready(be))
		conn__cut_backend(be);
}

/*
 * Whoever refuses has lost its connections already. Silence is less sure (a machine that is too busy answers later), so where clients could go
 * nowhere else it has to last: cut off, they would only lose what they wait for.
 */
static void judge_loss(struct backend *be, bool silent)
{
	enum health_state old = be->health.state;

	health_lost(&be->health);
	tell(be, old);
	if (!silent || be->health.n_lost >= HEALTH_LOST_LIMIT || another_is_ready(be))
		conn__cut_backend(be);
}

static void check_done(struct http_call *c, const struct err *e)
{
	struct backend *be = container_of(c, struct backend, check);
	struct balancer *b = be->owner;
	uint64_t now = clock_mono_ms();
	int status = c->status;

	http_call_fini(c);
	be->checking = false;
	if (be->removed)
		return;
	/*
	 * A time-out is no proof when something else came from the server meanwhile, or when it was we who did not run: then it
	 * is asked once more, now.
	 */
	if (e == NULL) {
		judge_answer(be, status == 200);
	} else if (e->code == ERR_TIMEOUT && be->health.state != HEALTH_DEAD &&
			(be->heard > be->check_began || now > be->check_due + LATE_MS)) {
		loop_timer_start(&be->timer, b->loop, GRACE_MS, on_check_timer);
		return;
	} else {
		judge_loss(be, e->code == ERR_TIMEOUT);
	}
	loop_timer_start(&be->timer, b->loop, b->interval_ms, on_check_timer);
}

static void check_start(struct backend *be)
{
	loop_timer_stop(&be->timer);
	be->checking = true;
	be->check_began = clock_mono_ms();
	memset(&be->check, 0, sizeof(be->check));
	be->check.method = "GET";
	be->check.path = be->owner->health_path;
	be->check.timeout_ms = health_patience(&be->health);
	be->check_due = be->check_began + be->check.timeout_ms;
	be->check.max_body = 65536;
	be->check.done = check_done;
	http_call_start(be->client, &be->check);
}

static void on_doubt(struct loop_timer *t)
{
	struct backend *be = container_of(t, struct backend, doubt);

	if (!be->removed && !be->checking)
		check_start(be);
}

bool backend__in_doubt(const struct backend *be)
{
	return be->checking && be->heard <= be->check_began && clock_mono_ms() > be->check_began + DOUBT_MS;
}

void backend__asked(struct backend *be)
{
	if (!be->checking && !loop_timer_active(&be->doubt))
		loop_timer_start(&be->doubt, be->owner->loop, DOUBT_MS, on_doubt);
}

void backend__heard(struct backend *be)
{
	be->heard = clock_mono_ms();
	loop_timer_stop(&be->doubt);
}

void backend__refused(struct backend *be)
{
	if (!be->removed && be->health.state != HEALTH_DEAD)
		judge_loss(be, false);
}

/* --- Backends ---------------------------------------------------------------------------------------------- */

static int backend_add(struct balancer *b, const char *address, struct err *e)
{
	struct backend *be = xcalloc(1, sizeof(*be));
	struct http_client_config cfg = {
		.address = address,
		.netns_fd = b->netns_fd,
		.tls = b->tls,
		.max_connections = 1,
		.connect_timeout_ms = b->timeout_ms,
		.proto = HTTP_PROTO_1,
	};
	int rv = http_client_new(b->loop, &cfg, &be->client, e);

	if (rv < 0) {
		free(be);
		return rv;
	}
	be->owner = b;
	be->id = ++b->last_id;
	be->address = xstrdup(address);
	list_init(&be->routes);
	health_init(&be->health, b->timeout_ms);
	list_add_tail(&b->backends, &be->link);
	balancer__ref(b);
	loop_timer_start(&be->timer, b->loop, 0, on_check_timer);
	return 0;
}

static void backend_gone(void *arg)
{
	struct backend *be = arg;
	struct balancer *b = be->owner;

	list_del(&be->link);
	free(be->address);
	free(be);
	balancer__unref(b);
}

static void backend_remove(struct backend *be)
{
	if (be->removed)
		return;
	be->removed = true;
	loop_timer_stop(&be->timer);
	loop_timer_stop(&be->doubt);
	conn__cut_backend(be);
	http_client_close(be->client, backend_gone, be);
}

void balancer_set_backends(struct balancer *b, const char *const *backends, size_t n)
{
	struct err e;

	/* First those that come: a connection that loses its server finds another one. */
	for (size_t i = 0; i < n; i++) {
		bool known = false;

		LIST_FOR_EACH (be, &b->backends, struct backend, link)
			known = known || (!be->removed && strcmp(be->address, backends[i]) == 0);
		if (!known && backend_add(b, backends[i], &e) < 0)
			log_warn("balancer", "backend %s is left out: %s", backends[i], e.text);
	}
	LIST_FOR_EACH_SAFE (be, next, &b->backends, struct backend, link) {
		bool stays = false;

		for (size_t i = 0; i < n; i++)
			stays = stays || strcmp(be->address, backends[i]) == 0;
		if (!stays)
			backend_remove(be);
	}
}

size_t balancer_n_healthy(const struct balancer *b)
{
	size_t n = 0;

	LIST_FOR_EACH (be, &b->backends, struct backend, link)
		n += !be->removed && be->health.state == HEALTH_READY;
	return n;
}

/* --- Life ---------------------------------------------------------------------------------------------------- */

static void on_stream(struct listener_user *user, struct stream *s)
{
	conn__open(container_of(user, struct balancer, user), s);
}

static void listener_closed(void *arg)
{
	balancer__unref(arg);
}

void balancer_close(struct balancer *b, void (*cb)(void *arg), void *arg)
{
	ASSERT(!b->closing);
	b->closing = true;
	b->closed = cb;
	b->closed_arg = arg;
	conn__close_all(b);
	LIST_FOR_EACH_SAFE (be, next, &b->backends, struct backend, link)
		backend_remove(be);
	if (b->listener)
		listener_close(b->listener, listener_closed, b);
	else
		balancer__unref(b);
}

int balancer_start(
	struct loop *loop, const struct balancer_config *cfg, struct balancer **ret, struct err *e)
{
	struct balancer *b = xcalloc(1, sizeof(*b));
	struct listener_config lc = {.address = cfg->listen};
	int rv = 0;

	b->loop = loop;
	b->user.on_stream = on_stream;
	list_init(&b->backends);
	list_init(&b->conns);
	b->netns_fd = cfg->netns_fd > 0 ? fcntl(cfg->netns_fd, F_DUPFD_CLOEXEC, 3) : -1;
	b->tls = cfg->tls ? tls_ctx_ref(cfg->tls) : NULL;
	b->health_path = xstrdup(cfg->health_path ? cfg->health_path : "/readyz");
	b->interval_ms = cfg->interval_ms ? cfg->interval_ms : 500;
	b->timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : 1000;
	b->n_refs = 1;
	rv = listener_open(loop, &lc, &b->user, &b->listener, e);
	for (size_t i = 0; rv == 0 && i < cfg->n_backends; i++)
		rv = backend_add(b, cfg->backends[i], e);
	if (rv < 0) {
		balancer_close(b, NULL, NULL);
		return rv;
	}
	*ret = b;
	return 0;
}

uint16_t balancer_port(const struct balancer *b)
{
	return listener_port(b->listener);
}
