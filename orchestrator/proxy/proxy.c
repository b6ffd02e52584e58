#include "orchestrator/proxy/proxy.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/process.h"
#include "net/iptables.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/proxy/host_ports.h"
#include "orchestrator/proxy/service_rules.h"

#define GATHER_MS 20u         /* after the first change of a burst */
#define MIN_INTERVAL_MS 200u  /* from one transaction to the next */
#define RETRY_FIRST_MS 500u
#define RETRY_MAX_MS 30000u
#define REREAD_MS 1000u       /* what iptables-save said is trusted for so long */
#define RESYNC_MS 60000u      /* look at what is really there, in case someone flushed the tables */
#define STALE_MAX 256u        /* flows to forget one by one; beyond that, whole addresses are not worth the time */

/*
 *	IDLE --dirty, timer--> READING (iptables-save) --> APPLYING (iptables-restore) --> FORGETTING (conntrack -D ...) --> IDLE
 *	                          |  what is there is known: skipped                |  nothing stale: skipped
 *	any failure: IDLE, and again after the back-off, from READING
 */
enum state { IDLE, READING, APPLYING, FORGETTING };

struct proxy {
	struct proxy_cfg cfg;
	char *node_name;
	struct informer_handler services, slices, pods;
	struct loop_timer timer;
	struct process_run run;
	const char *argv[16];
	enum state state;
	bool dirty, stopping, known, warned;
	struct iptables_have have;
	struct buf text, applied_text;
	struct ruleset *applied, *pending;
	struct arena stale_arena;
	struct ruleset_stale *stale;
	size_t n_stale, next_stale;
	char words[3][IP4_STR_SIZE];
	uint64_t began_ms, read_ms, last_done_ms, retry_ms;
	struct proxy_stats stats;
	void (*stopped)(void *);
	void *stopped_arg;
};

static void on_timer(struct loop_timer *t);
static void apply(struct proxy *p);

/* --- When ------------------------------------------------------------------------------------------------ */

static void schedule(struct proxy *p)
{
	uint64_t now = clock_mono_ms(), wait = GATHER_MS;

	if (p->state != IDLE || p->stopping || !informer_synced(p->cfg.services) || !informer_synced(p->cfg.slices) ||
			(p->cfg.pods_here && !informer_synced(p->cfg.pods_here)))
		return;
	if (!p->dirty)
		wait = RESYNC_MS;
	else if (p->retry_ms)
		wait = p->retry_ms;
	else if (p->last_done_ms && now - p->last_done_ms < MIN_INTERVAL_MS)
		wait = MAX(wait, MIN_INTERVAL_MS - (now - p->last_done_ms));
	loop_timer_start(&p->timer, p->cfg.loop, wait, on_timer);
}

static void make_dirty(struct proxy *p)
{
	if (p->dirty)
		return;
	p->dirty = true;
	p->stats.pending_since_ms = clock_mono_ms();
	schedule(p);
}

static void on_service(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	make_dirty(container_of(h, struct proxy, services));
}

static void on_slice(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	make_dirty(container_of(h, struct proxy, slices));
}

static void on_pod(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	if (host_ports_any(informer_msg(old)) || host_ports_any(informer_msg(new)))
		make_dirty(container_of(h, struct proxy, pods));
}

static void on_pods_synced(struct informer_handler *h)
{
	struct proxy *p = container_of(h, struct proxy, pods);

	p->dirty = true;
	schedule(p);
}

static void on_services_synced(struct informer_handler *h)
{
	struct proxy *p = container_of(h, struct proxy, services);

	p->dirty = true;
	schedule(p);
}

static void on_slices_synced(struct informer_handler *h)
{
	struct proxy *p = container_of(h, struct proxy, slices);

	p->dirty = true;
	schedule(p);
}

/* --- Compiling ------------------------------------------------------------------------------------------- */

static const void **messages(const struct informer *inf, size_t *ret_n)
{
	const void **v = xcalloc(informer_len(inf) + 1, sizeof(*v));
	size_t n = 0;

	INFORMER_FOR_EACH (o, inf)
		v[n++] = o->msg;
	*ret_n = n;
	return v;
}

static struct ruleset *compile(const struct proxy *p)
{
	struct service_rules_input in = {
		.node_name = p->node_name,
		.pods = p->cfg.pods,
		.service_net = p->cfg.service_net,
	};
	const void **services = messages(p->cfg.services, &in.n_services);
	const void **slices = messages(p->cfg.slices, &in.n_slices);
	struct ruleset *rs;
	size_t n_pods;

	in.services = (const Core__Service *const *)services;
	in.slices = (const Discovery__EndpointSlice *const *)slices;
	rs = service_rules(&in);
	if (p->cfg.pods_here) {
		const void **pods = messages(p->cfg.pods_here, &n_pods);

		host_ports_add(rs, (const Core__Pod *const *)pods, n_pods);
		free(pods);
	}
	free(services);
	free(slices);
	return rs;
}

/* --- Commands -------------------------------------------------------------------------------------------- */

static void finish(struct proxy *p, bool good);

static void run(struct proxy *p, enum state state, struct str input,
		void (*done)(struct process_run *, struct process_exit, struct str, struct str, const struct err *))
{
	p->state = state;
	memset(&p->run, 0, sizeof(p->run));
	p->run.loop = p->cfg.loop;
	p->run.spec.argv = p->argv;
	p->run.input = input;
	p->run.max_output = (size_t)64 << 20;
	p->run.done = done;
	process_run(&p->run);
}

static void failed(struct proxy *p, const char *what, const struct err *e)
{
	p->stats.failed++;
	p->known = false;
	buf_clear(&p->applied_text);
	if (!p->warned)
		log_error("proxy", "%s failed; trying again: %s", what, e->text);
	p->warned = true;
	finish(p, false);
}

static void forget_next(struct proxy *p);

static void forgotten(struct process_run *r, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct proxy *p = container_of(r, struct proxy, run);

	/* It exits with 1 when there was no such flow, which is as good. */
	if (p->stopping)
		finish(p, true);
	else
		forget_next(p);
}

static void forget_next(struct proxy *p)
{
	const struct ruleset_stale *s;
	size_t n = 0;

	if (p->next_stale == p->n_stale) {
		finish(p, true);
		return;
	}
	s = &p->stale[p->next_stale++];
	snprintf(p->words[0], sizeof(p->words[0]), "%u", s->port);
	p->argv[n++] = "conntrack";
	p->argv[n++] = "-D";
	p->argv[n++] = "-p";
	p->argv[n++] = "udp";
	if (s->vip) {
		p->argv[n++] = "--orig-dst";
		p->argv[n++] = ip4_print(s->vip, p->words[1]);
	}
	p->argv[n++] = "--orig-port-dst";
	p->argv[n++] = p->words[0];
	if (s->endpoint) {
		p->argv[n++] = "--dst-nat";
		p->argv[n++] = ip4_print(s->endpoint, p->words[2]);
	}
	p->argv[n] = NULL;
	run(p, FORGETTING, STR_NULL, forgotten);
}

static void in_force(struct proxy *p)
{
	arena_fini(&p->stale_arena);
	p->n_stale = ruleset_stale(p->applied, p->pending, &p->stale_arena, &p->stale);
	if (p->n_stale > STALE_MAX) {
		log_warn("proxy", "%zu UDP endpoints went; connection tracking forgets only %u of them", p->n_stale,
				STALE_MAX);
		p->n_stale = STALE_MAX;
	}
	p->next_stale = 0;
	ruleset_free(p->applied);
	p->applied = TAKE(p->pending);
	p->stats.ports = p->applied->n_ports;
	forget_next(p);
}

static void restored(struct process_run *r, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct proxy *p = container_of(r, struct proxy, run);
	struct buf swap = p->applied_text;

	if (e) {
		failed(p, "iptables-restore", e);
		return;
	}
	p->applied_text = p->text;
	p->text = swap;
	p->stats.applied++;
	p->stats.last_ms = clock_mono_ms() - p->began_ms;
	if (p->warned)
		log_info("proxy", "the rules are in force again");
	p->warned = false;
	log_debug("proxy", "rules applied ports=%zu bytes=%zu ms=%" PRIu64, p->pending->n_ports, p->applied_text.n,
			p->stats.last_ms);
	in_force(p);
}

static void saved(struct process_run *r, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct proxy *p = container_of(r, struct proxy, run);

	struct iptables_have there;

	if (e) {
		failed(p, "iptables-save", e);
		return;
	}
	iptables_have_init(&there);
	iptables_have_parse(&there, out);
	if (!iptables_have_equal(&there, &p->have))
		buf_clear(&p->applied_text);
	iptables_have_fini(&p->have);
	p->have = there;
	p->known = true;
	p->read_ms = clock_mono_ms();
	apply(p);
}

static void apply(struct proxy *p)
{
	if (p->stopping) {
		finish(p, true);
		return;
	}
	p->began_ms = clock_mono_ms();
	p->dirty = false;
	ruleset_free(p->pending);
	p->pending = compile(p);
	buf_clear(&p->text);
	iptables_render(p->pending, &p->have, &p->text);
	if (str_eq(buf_str(&p->text), buf_str(&p->applied_text))) {
		ruleset_free(TAKE(p->pending));
		finish(p, true);
		return;
	}
	p->argv[0] = "iptables-restore";
	p->argv[1] = "--noflush";
	p->argv[2] = "--wait";
	p->argv[3] = "10";
	p->argv[4] = NULL;
	run(p, APPLYING, buf_str(&p->text), restored);
}

static void on_timer(struct loop_timer *t)
{
	struct proxy *p = container_of(t, struct proxy, timer);

	if (p->known && clock_mono_ms() - p->read_ms < REREAD_MS) {
		apply(p);
		return;
	}
	p->argv[0] = "iptables-save";
	p->argv[1] = NULL;
	run(p, READING, STR_NULL, saved);
}

static void destroy(struct proxy *p)
{
	void (*cb)(void *) = p->stopped;
	void *arg = p->stopped_arg;

	loop_timer_stop(&p->timer);
	iptables_have_fini(&p->have);
	buf_fini(&p->text);
	buf_fini(&p->applied_text);
	ruleset_free(p->applied);
	ruleset_free(p->pending);
	arena_fini(&p->stale_arena);
	free(p->node_name);
	free(p);
	if (cb)
		cb(arg);
}

static void finish(struct proxy *p, bool good)
{
	p->state = IDLE;
	p->last_done_ms = clock_mono_ms();
	if (p->stopping) {
		destroy(p);
		return;
	}
	if (good) {
		p->retry_ms = 0;
		if (!p->dirty)
			p->stats.pending_since_ms = 0;
	} else {
		p->dirty = true;
		p->retry_ms = p->retry_ms ? MIN(p->retry_ms * 2, RETRY_MAX_MS) : RETRY_FIRST_MS;
	}
	schedule(p);
}

/* --- Life ------------------------------------------------------------------------------------------------- */

/*
 * A process on the node that connects to a service address needs some route for it, or the connection fails before
 * the rules see it; a node without a default route has none. Which device it names does not matter: what
 * the rules translate is routed again, and the rest is refused by them. lo is always there.
 */
static int prepare(const struct proxy_cfg *cfg, struct err *e)
{
	struct link_sock *s = link_open(-1, e);
	struct err ignored;
	int rv = s ? link_set_up(s, "lo", true, e) : -(int)ERR_IO;

	if (rv == 0)
		rv = route_set(s, cfg->service_net, 0, "lo", e);
	link_close(s);
	if (rv == 0)
		rv = sysctl_set(-1, "net/ipv4/ip_forward", "1", e);
	/* Pods on one bridge: answers must pass the rules too. Absent where bridges never pass them, and then attach must not
	 * rely on it; nothing to do here. */
	if (rv == 0 && sysctl_set(-1, "net/bridge/bridge-nf-call-iptables", "1", &ignored) < 0)
		log_debug("proxy", "bridge-nf-call-iptables: %s", ignored.text);
	return rv;
}

struct proxy *proxy_start(const struct proxy_cfg *cfg, struct err *e)
{
	struct proxy *p;

	if (prepare(cfg, e) < 0)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	p->cfg = *cfg;
	p->node_name = xstrdup(cfg->node_name);
	p->cfg.node_name = p->node_name;
	iptables_have_init(&p->have);
	buf_init(&p->text, BUF_NO_LIMIT);
	buf_init(&p->applied_text, BUF_NO_LIMIT);
	arena_init(&p->stale_arena);
	p->services.changed = on_service;
	p->services.synced = on_services_synced;
	p->slices.changed = on_slice;
	p->slices.synced = on_slices_synced;
	informer_add_handler(cfg->services, &p->services);
	informer_add_handler(cfg->slices, &p->slices);
	p->pods.changed = on_pod;
	p->pods.synced = on_pods_synced;
	if (cfg->pods_here)
		informer_add_handler(cfg->pods_here, &p->pods);
	return p;
}

void proxy_stop(struct proxy *p, void (*cb)(void *arg), void *arg)
{
	p->stopping = true;
	p->stopped = cb;
	p->stopped_arg = arg;
	loop_timer_stop(&p->timer);
	if (p->state == IDLE)
		destroy(p);
}

struct proxy_stats proxy_stats(const struct proxy *p)
{
	return p->stats;
}
