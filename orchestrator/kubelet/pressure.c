/*
 * Node pressure: every ten seconds what is left is looked at (eviction.h judges), told in the Node's conditions, and acted on.
 *
 *	observe --> judge --> conditions --> what do pods use? --> a pod takes more than it may: evict it
 *	   ^                                 (CRI, du)        '--> a threshold is met: reclaim dead containers, images --> observe again
 *	   '------- ten seconds, and the evicted pod is gone ------------------------------------- evict one pod <--'
 *
 * What pods use on the disk is measured on a thread of libuv's pool, and only when some pod has a limit or the node lacks something.
 * One pod at a time is evicted for the node's sake: until nothing of it is left (or half a minute has passed) no other is.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resources.h"

#define LOOK_MS 10000
#define SOON_MS 1000     /* an evicted pod is on its way out */
#define RECLAIM_MS 2000  /* until what was reclaimed shows */
#define GONE_MS 30000    /* for an evicted pod to end */
#define HARD_GRACE_S 1

/* A directory to measure, and where the result goes. */
struct measure {
	const char *path;
	int64_t *bytes, *inodes;
};

/* What pods use, while it is gathered. */
struct gather {
	uv_work_t work;
	struct pressure *p;
	struct arena arena;
	struct kept **pods; /* the specs that `use` speaks of */
	struct pod_use *use;
	size_t n;
	struct measure *m;
	size_t n_m;
	atomic_bool stop;
};

struct pressure {
	struct kubelet *k;
	struct loop_timer timer, reclaim_timer;
	struct cri_call call;
	bool call_busy, work_busy, closing;
	struct observation seen[N_SIGNALS];
	bool images_apart;
	struct eviction_state state;
	struct eviction_look look;
	int64_t since_s[N_PRESSURES];
	const struct threshold *why[N_PRESSURES]; /* a condition was met for last */
	struct gather *gather;
	char *evicted; /* uid of the pod whose end is waited for; NULL: none */
	int64_t evicted_ms;
};

/* --- observing ------------------------------------------------------------------------------------------------------ */

static char *why_text(struct arena *a, const struct pressure *p, const struct threshold *t)
{
	const struct observation *o = &p->seen[t->signal];

	return arena_printf(a, "%s is %s, less than the threshold of %s", signal_name(t->signal), eviction_quantity(a, o->available),
			eviction_quantity(a, amount_of(&t->value, o->capacity)));
}

static void tell_change(struct pressure *p, enum node_pressure which)
{
	const struct pressure_text *text = pressure_text(which, p->look.pressure[which]);
	struct arena a;

	arena_init(&a);
	p->since_s[which] = clock_wall_s();
	if (p->look.why[which])
		log_warn("kubelet", "node condition %s: %s; new pods are refused and pods evicted until that is over dir=%s", text->type,
				why_text(&a, p, p->look.why[which]), p->k->cfg->dir);
	else
		log_info("kubelet", "node condition %s is over", text->type);
	node_event(p->k, false, text->event, "Node %s status is now: %s", p->k->host.node_name, text->event);
	if (p->k->node)
		node_changed(p->k->node);
	arena_fini(&a);
}

static void observe(struct pressure *p)
{
	struct eviction_look before = p->look;

	node_observe(p->k, p->seen, &p->images_apart);
	eviction_judge(&p->k->eviction, &p->state, p->seen, (int64_t)clock_mono_ms(), &p->look);
	for (int i = 0; i < N_PRESSURES; i++) {
		if (p->look.why[i])
			p->why[i] = p->look.why[i];
		if (p->look.pressure[i] != before.pressure[i])
			tell_change(p, (enum node_pressure)i);
	}
}

bool pressure_condition(const struct pressure *p, struct arena *a, enum node_pressure which, struct pressure_text *ret, int64_t *ret_since_s)
{
	bool on = p->look.pressure[which];
	const struct threshold *why = p->look.why[which];

	*ret = *pressure_text(which, on);
	*ret_since_s = p->since_s[which];
	if (why)
		ret->message = arena_printf(a, "%s: %s", ret->message, why_text(a, p, why));
	else if (on && p->why[which])
		ret->message = arena_printf(a, "%s: %s was below its threshold less than %" PRId64 " s ago", ret->message,
				signal_name(p->why[which]->signal), p->k->eviction.transition_ms / 1000);
	return on;
}

char *pressure_refuses(const struct pressure *p, struct arena *a, const Core__Pod *pod)
{
	return eviction_refuses(a, p->look.pressure, pod);
}

/* --- life ----------------------------------------------------------------------------------------------------------- */

static void on_time(struct loop_timer *t);

static void drop_gather(struct pressure *p)
{
	struct gather *g = TAKE(p->gather);

	if (!g)
		return;
	for (size_t i = 0; i < g->n; i++)
		kept_unref(g->pods[i]);
	arena_fini(&g->arena);
	free(g);
}

static void rest(struct pressure *p, uint64_t ms)
{
	drop_gather(p);
	loop_timer_start(&p->timer, p->k->loop, ms, on_time);
}

struct pressure *pressure_new(struct kubelet *k)
{
	struct pressure *p = xcalloc(1, sizeof(*p));

	p->k = k;
	for (int i = 0; i < N_PRESSURES; i++)
		p->since_s[i] = clock_wall_s();
	observe(p);
	rest(p, LOOK_MS);
	return p;
}

static void maybe_free(struct pressure *p)
{
	if (p->call_busy || p->work_busy)
		return;
	drop_gather(p);
	free(p->evicted);
	free(p);
}

void pressure_close(struct pressure *p)
{
	if (!p)
		return;
	p->closing = true;
	loop_timer_stop(&p->timer);
	loop_timer_stop(&p->reclaim_timer);
	if (p->gather)
		atomic_store(&p->gather->stop, true);
	if (p->call_busy)
		cri_cancel(&p->call);
	else
		maybe_free(p);
}

/* --- evicting ------------------------------------------------------------------------------------------------------- */

static struct pod_worker *worker_of(const struct pressure *p, const struct pod_use *u)
{
	struct pod_worker *w = map_get(&p->k->workers, str_from(nz(u->pod->metadata->uid)));

	return w && !worker_is_over(w) && !w->evicted ? w : NULL;
}

static bool evict(struct pressure *p, const struct pod_use *u, const char *message, int64_t grace_s, bool for_node)
{
	struct pod_worker *w = worker_of(p, u);

	if (!w || pod_is_critical(u->pod))
		return false;
	log_warn("kubelet", "evicting pod=%s/%s: %s", w->ns, w->name, message);
	worker_evict(w, message, grace_s, for_node);
	if (for_node) {
		free(p->evicted);
		p->evicted = xstrdup(w->uid);
		p->evicted_ms = (int64_t)clock_mono_ms();
	}
	return true;
}

/* Pods that exceed a limit of their own. */
static unsigned evict_excessive(struct pressure *p)
{
	struct gather *g = p->gather;
	unsigned n = 0;

	for (size_t i = 0; i < g->n; i++) {
		const char *message = eviction_excess(&g->arena, &g->use[i]);

		if (message)
			n += evict(p, &g->use[i], message, HARD_GRACE_S, false);
	}
	return n;
}

static int64_t grace_for(const struct pressure *p, const struct threshold *t, const Core__Pod *pod)
{
	return t->soft ? MIN(p->k->eviction.max_pod_grace_s, PB_OR(pod->spec, termination_grace_period_seconds, 30)) : HARD_GRACE_S;
}

static void evict_one(struct pressure *p, const struct threshold *t)
{
	struct gather *g = p->gather;
	size_t *order = eviction_rank(&g->arena, t->signal, p->images_apart, g->use, g->n);

	for (size_t i = 0; i < g->n; i++) {
		const struct pod_use *u = &g->use[order[i]];

		if (evict(p, u, eviction_message(&g->arena, t, &p->seen[t->signal], u), grace_for(p, t, u->pod), true)) {
			rest(p, SOON_MS);
			return;
		}
	}
	log_warn("kubelet", "%s: no pod here can be evicted", why_text(&g->arena, p, t));
	rest(p, LOOK_MS);
}

/* --- reclaiming ----------------------------------------------------------------------------------------------------- */

static void on_reclaim_time(struct loop_timer *timer)
{
	struct pressure *p = container_of(timer, struct pressure, reclaim_timer);

	observe(p);
	if (p->look.act)
		evict_one(p, p->look.act);
	else
		rest(p, LOOK_MS);
}

void pressure_reclaimed(struct kubelet *k)
{
	if (k->pressure && !k->pressure->closing)
		loop_timer_start(&k->pressure->reclaim_timer, k->loop, RECLAIM_MS, on_reclaim_time);
}

static void act(struct pressure *p, const struct threshold *t)
{
	bool disk = signal_pressure(t->signal) == PRESSURE_DISK, images = disk;

	node_event(p->k, true, "EvictionThresholdMet", "Attempting to reclaim %s", signal_resource(t->signal));
	log_warn("kubelet", "attempting to reclaim %s: %s", signal_resource(t->signal), why_text(&p->gather->arena, p, t));
	/* Where images have a disk of their own, removing them gives the other one nothing. */
	if (p->images_apart && (t->signal == SIG_NODEFS || t->signal == SIG_NODEFS_INODES))
		images = false;
	if (disk)
		workers_forget_over(p->k);
	if (images)
		image_keeper_reclaim(p->k->images, pressure_reclaimed);
	else if (disk)
		pressure_reclaimed(p->k);
	else
		evict_one(p, t);
}

/* --- what pods use -------------------------------------------------------------------------------------------------- */

static void measure(uv_work_t *work)
{
	struct gather *g = container_of(work, struct gather, work);

	for (size_t i = 0; i < g->n_m && !atomic_load(&g->stop); i++) {
		struct fs_use use = fs_tree_use(g->m[i].path, &g->stop);

		*g->m[i].bytes = use.bytes;
		if (g->m[i].inodes)
			*g->m[i].inodes = use.inodes;
	}
}

static void measured(uv_work_t *work, int status)
{
	struct pressure *p = container_of(work, struct gather, work)->p;

	p->work_busy = false;
	kubelet_idle(p->k);
	if (p->closing) {
		maybe_free(p);
		return;
	}
	if (evict_excessive(p) > 0)
		rest(p, LOOK_MS);
	else if (p->look.act)
		act(p, p->look.act);
	else
		rest(p, LOOK_MS);
}

static void add_measure(struct gather *g, const char *path, int64_t *bytes, int64_t *inodes)
{
	size_t n = g->n_m;

	if ((n & (n - 1)) == 0)
		g->m = arena_grow(&g->arena, g->m, n * sizeof(*g->m), (n ? 2 * n : 1) * sizeof(*g->m));
	g->m[g->n_m++] = (struct measure){path, bytes, inodes};
}

static uint64_t value_of(const Runtime__UInt64Value *v)
{
	return v ? v->value : 0;
}

static bool stats_are_of(const Runtime__ContainerStats *s, const char *uid)
{
	Runtime__ContainerAttributes__LabelsEntry *e = s->attributes ? PB_MAP_FIND(s->attributes, labels, LABEL_POD_UID) : NULL;

	return e && pb_streq(e->value, uid);
}

static void add_containers(struct gather *g, struct pod_use *u, const struct pod_worker *w, const Runtime__ListContainerStatsResponse *l)
{
	const char *logs = pod_log_dir(&g->arena, &w->k->host, w->ns, w->name, w->uid);
	struct container_use *c;
	size_t n = 0;

	for (size_t i = 0; i < l->n_stats; i++)
		n += stats_are_of(l->stats[i], w->uid);
	u->c = c = arena_new_array(&g->arena, struct container_use, n + 1);
	for (size_t i = 0; i < l->n_stats; i++) {
		const Runtime__ContainerStats *s = l->stats[i];
		Runtime__ContainerAttributes__LabelsEntry *name;

		if (!stats_are_of(s, w->uid) || !(name = PB_MAP_FIND(s->attributes, labels, LABEL_CONTAINER_NAME)))
			continue;
		c->name = arena_strdup(&g->arena, nz(name->value));
		c->memory = s->memory ? (int64_t)value_of(s->memory->working_set_bytes) : 0;
		c->layer = s->writable_layer ? (int64_t)value_of(s->writable_layer->used_bytes) : 0;
		c->layer_inodes = s->writable_layer ? (int64_t)value_of(s->writable_layer->inodes_used) : 0;
		add_measure(g, arena_printf(&g->arena, "%s/%s", logs, c->name), &c->logs, NULL);
		c++;
		u->n_c++;
	}
	u->known = u->n_c > 0;
}

static void add_volumes(struct gather *g, struct pod_use *u, const struct pod_worker *w)
{
	const Core__PodSpec *spec = u->pod->spec;
	const char *dir = pod_dir(&g->arena, &w->k->host, w->uid);
	struct volume_use *v;

	u->v = v = arena_new_array(&g->arena, struct volume_use, spec->n_volumes + 1);
	for (size_t i = 0; i < spec->n_volumes; i++) {
		const Core__VolumeSource *s = spec->volumes[i]->volume_source;

		if (!s || !s->empty_dir || pb_streq(s->empty_dir->medium, "Memory"))
			continue;
		v->name = spec->volumes[i]->name;
		add_measure(g, volume_path(&g->arena, dir, spec->volumes[i]), &v->bytes, &v->inodes);
		v++;
		u->n_v++;
	}
}

static void stats_there(struct cri_call *c)
{
	struct pressure *p = container_of(c, struct pressure, call);
	Runtime__ListContainerStatsResponse *l = CRI_REPLY(c, Runtime__ListContainerStatsResponse);
	bool there = l != NULL;
	struct gather *g;

	p->call_busy = false;
	kubelet_idle(p->k);
	if (there && !p->closing) {
		p->gather = g = xcalloc(1, sizeof(*g));
		g->p = p;
		arena_init(&g->arena);
		g->use = arena_new_array(&g->arena, struct pod_use, map_len(&p->k->workers) + 1);
		g->pods = arena_new_array(&g->arena, struct kept *, map_len(&p->k->workers) + 1);
		MAP_FOR_EACH (e, &p->k->workers) {
			struct pod_worker *w = e->value;
			struct pod_use *u = &g->use[g->n];

			if (worker_is_over(w) || w->evicted || worker_pod(w)->metadata->deletion_timestamp)
				continue;
			g->pods[g->n++] = kept_ref(w->pod);
			u->pod = worker_pod(w);
			add_containers(g, u, w, l);
			add_volumes(g, u, w);
			u->processes = cgroup_processes(res_cgroup_path(&g->arena, p->k->host.cgroup_root, u->pod));
		}
	} else if (!p->closing) {
		log_warn("kubelet", "what pods use is not known: %s", c->err.text);
	}
	cri_call_fini(c);
	if (p->closing) {
		maybe_free(p);
	} else if (!there) {
		rest(p, LOOK_MS);
	} else {
		p->work_busy = true;
		kubelet_busy(p->k);
		uv_queue_work(loop_uv(p->k->loop), &p->gather->work, measure, measured);
	}
}

/* The pod that was evicted last is still ending. */
static bool still_ends(struct pressure *p)
{
	struct pod_worker *w = p->evicted ? map_get(&p->k->workers, str_from(p->evicted)) : NULL;

	if (w && !(worker_is_over(w) && w->volumes_cleaned) && (int64_t)clock_mono_ms() - p->evicted_ms < GONE_MS)
		return true;
	free(TAKE(p->evicted));
	return false;
}

static bool any_limited(const struct kubelet *k)
{
	MAP_FOR_EACH (e, &k->workers) {
		const struct pod_worker *w = e->value;

		if (!worker_is_over(w) && !w->evicted && pod_limits_storage(worker_pod(w)))
			return true;
	}
	return false;
}

static void on_time(struct loop_timer *t)
{
	struct pressure *p = container_of(t, struct pressure, timer);
	Runtime__ListContainerStatsRequest req = RUNTIME__LIST_CONTAINER_STATS_REQUEST__INIT;

	observe(p);
	if (still_ends(p)) {
		rest(p, SOON_MS);
		return;
	}
	if (!p->k->runtime_ready || !p->k->pods_synced || (!p->look.act && !any_limited(p->k))) {
		rest(p, LOOK_MS);
		return;
	}
	p->call = (struct cri_call){.done = stats_there};
	p->call_busy = true;
	kubelet_busy(p->k);
	cri_start(p->k->cri, &p->call, CRI_LIST_CONTAINER_STATS, &req.base);
}
