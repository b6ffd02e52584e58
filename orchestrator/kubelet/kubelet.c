#include "orchestrator/kubelet/kubelet.h"

#include <dirent.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"

#define RELIST_MS 5000        /* a safety net: events tell of changes at once */
#define HOUSEKEEPING_MS 15000

void kubelet_busy(struct kubelet *k)
{
	k->n_pending++;
}

static void maybe_stopped(struct kubelet *k);

void kubelet_idle(struct kubelet *k)
{
	ASSERT(k->n_pending > 0);
	k->n_pending--;
	if (k->stopping)
		maybe_stopped(k);
}

/* --- what the runtime tells ---------------------------------------------------------------------------------------- */

static void on_relist(struct loop_timer *t)
{
	struct kubelet *k = container_of(t, struct kubelet, relist_timer);

	if (k->runtime_ready)
		runtime_ask(k->runtime);
	loop_timer_start(&k->relist_timer, k->loop, RELIST_MS, on_relist);
}

static void runtime_is_ready(struct containerd_user *u, const char *version)
{
	struct kubelet *k = container_of(u, struct kubelet, containerd_user);

	k->runtime_ready = true;
	k->look_at_all = true;
	runtime_ask(k->runtime);
	image_keeper_look(k->images);
	if (k->node)
		node_set_runtime(k->node, version);
}

static void runtime_is_lost(struct containerd_user *u, const struct err *why)
{
	struct kubelet *k = container_of(u, struct kubelet, containerd_user);

	log_warn("kubelet", "runtime lost: %s", why->text);
	k->runtime_ready = false;
	if (k->node)
		node_changed(k->node);
}

static void images_changed(struct containerd_user *u)
{
	struct kubelet *k = container_of(u, struct kubelet, containerd_user);

	image_keeper_look(k->images);
	MAP_FOR_EACH (e, &k->workers) {
		struct pod_worker *w = e->value;

		for (size_t i = 0; i < w->n_c; i++) {
			if (!w->c[i].waits_for_images)
				continue;
			w->c[i].waits_for_images = false;
			w->c[i].not_before_ms = 0;
		}
		worker_kick(w);
	}
}

/*
 * Events of tasks come from another part of containerd than CRI, and that part hears of them no earlier than we do: a
 * relist right after an event may still show the old state. So an exit is remembered until the picture agrees.
 */
#define EXIT_RETRY_MIN_MS 20
#define EXIT_RETRY_MAX_MS 500
#define EXIT_GIVE_UP_MS 5000 /* the timer's relist will see it anyway */

struct exit_seen {
	struct list link;
	char *id;
	uint64_t since_ms;
};

static void exit_free(struct exit_seen *x)
{
	list_del(&x->link);
	free(x->id);
	free(x);
}

static bool still_shown_running(struct kubelet *k, const char *id)
{
	MAP_FOR_EACH (e, runtime_pods(k->runtime)) {
		const struct rt_pod *pod = e->value;

		for (size_t i = 0; i < pod->n_containers; i++)
			if (pod->containers[i]->state == RT_RUNNING && strcmp(pod->containers[i]->id, id) == 0)
				return true;
		for (size_t i = 0; i < pod->n_sandboxes; i++)
			if (pod->sandboxes[i]->ready && strcmp(pod->sandboxes[i]->id, id) == 0)
				return true;
	}
	return false;
}

static void on_exit_retry(struct loop_timer *t)
{
	runtime_ask(container_of(t, struct kubelet, exit_timer)->runtime);
}

/* After a relist: forget the exits that it shows, look again soon for the others. */
static void check_exits(struct kubelet *k)
{
	uint64_t now = clock_mono_ms(), youngest = UINT64_MAX;

	LIST_FOR_EACH_SAFE (x, next, &k->exits, struct exit_seen, link) {
		if (now - x->since_ms > EXIT_GIVE_UP_MS || !still_shown_running(k, x->id))
			exit_free(x);
		else
			youngest = MIN(youngest, now - x->since_ms);
	}
	if (youngest != UINT64_MAX && !k->stopping)
		loop_timer_start(&k->exit_timer, k->loop, MAX(EXIT_RETRY_MIN_MS, MIN(youngest, EXIT_RETRY_MAX_MS)),
				on_exit_retry);
}

static void runtime_event(struct containerd_user *u, const struct containerd_event *ev)
{
	struct kubelet *k = container_of(u, struct kubelet, containerd_user);
	struct exit_seen *x;

	if (k->stopping)
		return;
	/* The end of a command run by exec changes nothing. */
	if (strcmp(ev->topic, "/tasks/exit") == 0 && ev->id[0] && strcmp(ev->id, ev->container_id) != 0)
		return;
	log_debug("kubelet", "runtime event topic=%s id=%.12s", ev->topic, ev->container_id);
	if (strcmp(ev->topic, "/tasks/exit") == 0) {
		x = xcalloc(1, sizeof(*x));
		x->id = xstrdup(ev->container_id);
		x->since_ms = clock_mono_ms();
		list_add_tail(&k->exits, &x->link);
	}
	runtime_ask(k->runtime);
}

/* Something of a pod that nobody wants runs here. */
static void adopt_orphan(struct kubelet *k, const struct rt_pod *rt)
{
	struct pod_worker *w;

	/* While it stops the workers are gone, and everything would look unwanted. */
	if (k->stopping || !k->pods_synced || map_get(&k->workers, str_from(rt->uid)))
		return;
	log_info("kubelet", "removing leftovers of pod=%s/%s uid=%s", rt->ns, rt->name, rt->uid);
	w = worker_new(k, rt->uid, rt->ns, rt->name);
	w->unwanted = true;
	worker_kick(w);
}

static void pod_changed(struct runtime_user *u, const char *uid, const struct rt_pod *rt)
{
	struct kubelet *k = container_of(u, struct kubelet, runtime_user);
	struct pod_worker *w = map_get(&k->workers, str_from(uid));

	if (w)
		worker_kick(w);
	else if (rt)
		adopt_orphan(k, rt);
}

static void listed(struct runtime_user *u, uint64_t generation)
{
	struct kubelet *k = container_of(u, struct kubelet, runtime_user);

	MAP_FOR_EACH (e, &k->workers) {
		struct pod_worker *w = e->value;

		if (k->look_at_all || (w->need_generation && w->need_generation <= generation)) {
			w->need_generation = 0;
			worker_kick(w);
		}
	}
	k->look_at_all = false;
	check_exits(k);
}

/* --- what the outside tells ---------------------------------------------------------------------------------------- */

void kubelet_pod_set(struct kubelet *k, const Core__Pod *pod)
{
	struct pod_worker *w;

	if (k->stopping || !pod->metadata || !pod->spec || !is_set(pod->metadata->uid))
		return;
	w = map_get(&k->workers, str_from(pod->metadata->uid));
	if (!w) {
		/* A finished pod with nothing left here needs no worker. */
		if (pod->status && pod_phase_is_terminal(pod->status->phase) && !pod->metadata->deletion_timestamp &&
				k->runtime && runtime_generation(k->runtime) && !runtime_pod(k->runtime, pod->metadata->uid))
			return;
		w = worker_new(k, pod->metadata->uid, nz(pod->metadata->namespace_), nz(pod->metadata->name));
	}
	worker_set(w, pod);
}

void kubelet_pod_delete(struct kubelet *k, const char *uid)
{
	struct pod_worker *w = map_get(&k->workers, str_from(uid));

	if (!w || k->stopping)
		return;
	w->unwanted = true;
	worker_kick(w);
}

void kubelet_pods_synced(struct kubelet *k)
{
	k->pods_synced = true;
	if (!k->runtime)
		return;
	MAP_FOR_EACH (e, runtime_pods(k->runtime))
		adopt_orphan(k, e->value);
}

static char *service_key(const char *ns, const char *name)
{
	return xasprintf("%s/%s", ns, name);
}

void kubelet_service_delete(struct kubelet *k, const char *ns, const char *name)
{
	_cleanup_(freep) char *key = service_key(ns, name);

	map_del(&k->service_objects, str_from(key));
	kept_unref(map_del(&k->services, str_from(key)));
}

void kubelet_service_set(struct kubelet *k, const Core__Service *s)
{
	_cleanup_(freep) char *key = service_key(nz(s->metadata->namespace_), nz(s->metadata->name));
	struct kept *kept = kept_new(s);

	map_put(&k->service_objects, str_from(key), kept->msg);
	kept_unref(map_put(&k->services, str_from(key), kept));
}

/* What the API has against the node it has against its pods, too; once that is over they are looked at again. */
static void node_believed(struct kubelet *k, const Core__Node *n)
{
	bool before = k->called_unready;

	k->called_unready = false;
	for (size_t i = 0; n->status && i < n->status->n_conditions; i++)
		if (pb_streq(n->status->conditions[i]->type, "Ready"))
			k->called_unready = !pb_streq(n->status->conditions[i]->status, "True");
	if (!before || k->called_unready)
		return;
	MAP_FOR_EACH (e, &k->workers)
		worker_kick(e->value);
}

void kubelet_node_set(struct kubelet *k, const Core__Node *n)
{
	node_believed(k, n);
	if (k->node && !k->stopping)
		node_set(k->node, n);
}

void kubelet_object_changed(struct kubelet *k, const char *ns, const char *name)
{
	MAP_FOR_EACH (e, &k->workers) {
		struct pod_worker *w = e->value;

		if (strcmp(w->ns, ns) != 0 || !w->objects)
			continue;
		for (size_t i = 0; i < w->objects->n_refs; i++)
			if (strcmp(w->objects->refs[i].name, name) == 0 && loop_timer_active(&w->refresh))
				loop_timer_start(&w->refresh, k->loop, 0, w->refresh.cb);
	}
}

void kubelet_network_changed(struct kubelet *k)
{
	MAP_FOR_EACH (e, &k->workers) {
		struct pod_worker *w = e->value;

		if (w->held)
			worker_kick(w);
	}
}

void kubelet_network_trouble(struct kubelet *k, const char *why)
{
	free(k->network_trouble);
	k->network_trouble = why ? xstrdup(why) : NULL;
	if (k->node && !k->stopping)
		node_changed(k->node);
}

uint16_t kubelet_port(const struct kubelet *k)
{
	return k->server ? server_port(k->server) : 0;
}

/* --- housekeeping -------------------------------------------------------------------------------------------------- */

/* Directories of pods that are neither wanted nor running: left by a crash between two steps. */
static void clean_pod_dirs(struct kubelet *k)
{
	DIR *d = opendir(k->pods_dir);
	struct dirent *de;

	if (!d)
		return;
	while ((de = readdir(d)) != NULL) {
		_cleanup_(freep) char *path = NULL;
		struct err e = ERR_INIT;

		if (de->d_name[0] == '.' || map_get(&k->workers, str_from(de->d_name)) || runtime_pod(k->runtime, de->d_name))
			continue;
		path = xasprintf("%s/%s", k->pods_dir, de->d_name);
		if (volumes_teardown(path, &e) < 0)
			log_warn("kubelet", "leftover %s: %s", path, e.text);
	}
	closedir(d);
}

static void on_housekeeping(struct loop_timer *t)
{
	struct kubelet *k = container_of(t, struct kubelet, housekeeping_timer);

	if (k->pods_synced && k->runtime_ready && runtime_generation(k->runtime) > 0)
		clean_pod_dirs(k);
	if (k->runtime_ready)
		logs_rotate(k);
	loop_timer_start(&k->housekeeping_timer, k->loop, HOUSEKEEPING_MS, on_housekeeping);
}

/* --- start and stop ------------------------------------------------------------------------------------------------ */

static const char *or_default(const char *s, const char *fallback)
{
	return s ? s : fallback;
}

const char *kubelet_pause_image(const struct kubelet *k)
{
	return or_default(k->cfg->pause_image, "registry.k8s.io/pause:3.9");
}

static void fill_host(struct kubelet *k)
{
	struct kubelet_cfg *cfg = k->cfg;

	k->host = (struct pod_host){
		.pods_dir = k->pods_dir,
		.logs_dir = k->logs_dir,
		.cgroup_root = or_default(cfg->cgroup_root, "/kubepods"),
		.node_name = cfg->node_name,
		.node_ip = or_default(cfg->node_ip, ""),
		.cluster_dns = or_default(cfg->cluster_dns, "10.96.0.10"),
		.domain = or_default(cfg->cluster_domain, "cluster.local"),
		.resolv_conf = or_default(cfg->resolv_conf, "/etc/resolv.conf"),
	};
}

static void destroy(struct kubelet *k)
{
	while (!list_empty(&k->exits))
		exit_free(LIST_FIRST(&k->exits, struct exit_seen, link));
	events_close(k->events);
	map_fini(&k->workers);
	map_fini_with(&k->usage, free);
	map_fini(&k->service_objects);
	MAP_FOR_EACH (e, &k->services)
		kept_unref(e->value);
	map_fini(&k->services);
	free(k->network_trouble);
	free(k->pods_dir);
	free(k->logs_dir);
	free(k->volumes_dir);
	free(k->containerd_dir);
	free(k);
}

int kubelet_start(struct kubelet_cfg *cfg, struct kubelet **ret, struct err *e)
{
	struct kubelet *k = xcalloc(1, sizeof(*k));
	struct containerd_config cc;
	int rc;

	k->cfg = cfg;
	k->loop = cfg->loop;
	k->client = cfg->client;
	if (cfg->eviction)
		k->eviction = *cfg->eviction;
	else
		eviction_defaults(&k->eviction);
	k->image_gc = cfg->image_gc ? *cfg->image_gc : IMAGE_GC_DEFAULTS;
	list_init(&k->exits);
	map_init(&k->workers);
	map_init(&k->usage);
	map_init(&k->services);
	map_init(&k->service_objects);
	k->pods_dir = xasprintf("%s/pods", cfg->dir);
	k->logs_dir = xasprintf("%s/logs", cfg->dir);
	k->volumes_dir = xasprintf("%s/volumes", cfg->dir);
	k->containerd_dir = xasprintf("%s/containerd", cfg->dir);
	fill_host(k);
	rc = fs_mkdir_all(k->pods_dir, 0711, e);
	if (rc == 0)
		rc = fs_mkdir_all(k->logs_dir, 0755, e);
	node_capacity(k);
	k->containerd_user = (struct containerd_user){runtime_is_ready, runtime_is_lost, images_changed, runtime_event};
	k->runtime_user = (struct runtime_user){pod_changed, listed};
	cc = (struct containerd_config){
		.dir = k->containerd_dir,
		.images_dir = cfg->images_dir,
		.socket = cfg->runtime_socket,
		.pause_image = kubelet_pause_image(k),
		.cgroup_dir = cfg->process_cgroup,
	};
	if (rc == 0)
		rc = containerd_start(cfg->loop, &cc, &k->containerd_user, &k->containerd, e);
	if (rc < 0) {
		destroy(k);
		return rc;
	}
	k->cri = containerd_cri(k->containerd);
	k->runtime = runtime_new(cfg->loop, k->cri, &k->runtime_user);
	k->events = events_new(k);
	k->images = image_keeper_new(k);
	k->pressure = pressure_new(k);
	k->node = node_new(k);
	rc = server_new(k, &k->server, e);
	if (rc < 0) {
		/* Only the port can be in the way; the caller ends, so nothing is undone but what runs. */
		kubelet_stop(k, NULL, NULL);
		return rc;
	}
	volumes_sweep(k);
	loop_timer_start(&k->relist_timer, k->loop, RELIST_MS, on_relist);
	loop_timer_start(&k->housekeeping_timer, k->loop, HOUSEKEEPING_MS, on_housekeeping);
	*ret = k;
	return 0;
}

static void runtime_closed(void *arg)
{
	struct kubelet *k = arg;
	void (*stopped)(void *arg) = k->stopped;
	void *stopped_arg = k->stopped_arg;

	destroy(k);
	if (stopped)
		stopped(stopped_arg);
}

static void containerd_stopped(void *arg)
{
	struct kubelet *k = arg;

	k->containerd = NULL;
	runtime_close(k->runtime, runtime_closed, k);
}

static void maybe_stopped(struct kubelet *k)
{
	if (k->n_pending > 0 || k->server || !k->containerd)
		return;
	containerd_stop(k->containerd, containerd_stopped, k);
	k->containerd = NULL;
}

static void server_closed(void *arg)
{
	struct kubelet *k = arg;

	k->server = NULL;
	maybe_stopped(k);
}

void kubelet_stop(struct kubelet *k, void (*stopped)(void *arg), void *arg)
{
	k->stopping = true;
	k->stopped = stopped;
	k->stopped_arg = arg;
	loop_timer_stop(&k->relist_timer);
	loop_timer_stop(&k->exit_timer);
	loop_timer_stop(&k->resize_timer);
	loop_timer_stop(&k->housekeeping_timer);
	/* Keep the count up so that the end comes only when all of this was begun. */
	kubelet_busy(k);
	node_close(TAKE(k->node));
	image_keeper_close(TAKE(k->images));
	pressure_close(TAKE(k->pressure));
	for (size_t i = 0; map_len(&k->workers) > 0; i = 0)
		worker_close(map_next(&k->workers, &i)->value);
	if (k->server)
		server_close(k->server, server_closed, k);
	kubelet_idle(k);
}
