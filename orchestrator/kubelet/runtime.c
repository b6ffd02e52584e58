#include "orchestrator/kubelet/runtime.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/crilog.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/pbutil.h"

#define MESSAGE_MAX 4096          /* of a termination message */
#define LOG_MESSAGE_MAX 2048      /* when it falls back to the log */
#define LOG_MESSAGE_LINES 80
#define RETRY_MS 500

struct runtime {
	struct loop *loop;
	struct cri *cri;
	struct runtime_user *user;
	struct map pods;       /* uid -> struct rt_pod */
	struct map containers; /* id -> struct rt_container */
	struct map sandboxes;  /* id -> struct rt_sandbox */
	uint64_t generation;   /* finished relists */
	bool busy, again;
	struct cri_call list_sandboxes, list_containers;
	unsigned waiting; /* calls of this relist under way */
	bool failed; /* this relist tells nothing */
	bool partly; /* details of something are missing */
	struct loop_timer kick;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* One detail call of a relist. */
struct detail {
	struct cri_call call;
	struct runtime *rt;
	void *target;
};

static void container_free(void *p)
{
	struct rt_container *c = p;

	free(c->id);
	free(c->name);
	free(c->sandbox_id);
	free(c->image);
	free(c->image_ref);
	free(c->hash);
	free(c->reason);
	free(c->message);
	free(c->log_path);
	free(c->term_message);
	free(c->message_path);
	free(c->message_policy);
	free(c);
}

static void sandbox_free(void *p)
{
	struct rt_sandbox *s = p;

	free(s->id);
	free(s->ip);
	free(s);
}

static void pod_free(void *p)
{
	struct rt_pod *pod = p;

	free(pod->uid);
	free(pod->ns);
	free(pod->name);
	free(pod->sandboxes);
	free(pod->containers);
	free(pod);
}

struct runtime *runtime_new(struct loop *loop, struct cri *cri, struct runtime_user *user)
{
	struct runtime *rt = xcalloc(1, sizeof(*rt));

	rt->loop = loop;
	rt->cri = cri;
	rt->user = user;
	map_init(&rt->pods);
	map_init(&rt->containers);
	map_init(&rt->sandboxes);
	return rt;
}

static void destroy(struct runtime *rt)
{
	void (*closed)(void *arg) = rt->closed;
	void *arg = rt->closed_arg;

	map_fini_with(&rt->pods, pod_free);
	map_fini_with(&rt->containers, container_free);
	map_fini_with(&rt->sandboxes, sandbox_free);
	free(rt);
	if (closed)
		closed(arg);
}

static void on_closed(struct loop_timer *t)
{
	destroy(container_of(t, struct runtime, kick));
}

void runtime_close(struct runtime *rt, void (*closed)(void *arg), void *arg)
{
	rt->closed = closed;
	rt->closed_arg = arg;
	rt->again = false;
	rt->user = NULL;
	/* A relist under way ends by itself soon: its calls have deadlines. */
	if (!rt->busy)
		loop_timer_start(&rt->kick, rt->loop, 0, on_closed);
}

uint64_t runtime_generation(const struct runtime *rt)
{
	return rt->generation;
}

const struct rt_pod *runtime_pod(const struct runtime *rt, const char *uid)
{
	return map_get(&rt->pods, str_from(uid));
}

const struct map *runtime_pods(const struct runtime *rt)
{
	return &rt->pods;
}

static void relist(struct runtime *rt);

static void on_kick(struct loop_timer *t)
{
	struct runtime *rt = container_of(t, struct runtime, kick);

	if (!rt->busy)
		relist(rt);
}

uint64_t runtime_ask(struct runtime *rt)
{
	if (rt->busy) {
		rt->again = true;
		return rt->generation + 2;
	}
	if (!loop_timer_active(&rt->kick))
		loop_timer_start(&rt->kick, rt->loop, 0, on_kick);
	return rt->generation + 1;
}

/* The end of a relist: group by pod and tell what changed. */
static struct rt_pod *pod_at(struct runtime *rt, struct map *pods, const char *uid, const char *ns, const char *name)
{
	struct rt_pod *pod = map_get(pods, str_from(uid));

	if (!pod) {
		pod = xcalloc(1, sizeof(*pod));
		pod->uid = xstrdup(uid);
		pod->ns = xstrdup(ns);
		pod->name = xstrdup(name);
		map_put(pods, str_from(uid), pod);
	}
	return pod;
}

static int newer_sandbox(const void *a, const void *b)
{
	const struct rt_sandbox *x = *(struct rt_sandbox *const *)a, *y = *(struct rt_sandbox *const *)b;

	return x->created_ns < y->created_ns ? 1 : x->created_ns > y->created_ns ? -1 : 0;
}

static int newer_container(const void *a, const void *b)
{
	const struct rt_container *x = *(struct rt_container *const *)a, *y = *(struct rt_container *const *)b;

	return x->created_ns < y->created_ns ? 1 : x->created_ns > y->created_ns ? -1 : 0;
}

static const char *label(const Runtime__PodSandbox *s, const char *key)
{
	Runtime__PodSandbox__LabelsEntry *e = PB_MAP_FIND(s, labels, key);

	return e ? nz(e->value) : "";
}

static const char *container_label(const Runtime__Container *c, const char *key)
{
	Runtime__Container__LabelsEntry *e = PB_MAP_FIND(c, labels, key);

	return e ? nz(e->value) : "";
}

static void add_sandbox(struct runtime *rt, struct map *pods, const Runtime__PodSandbox *s)
{
	struct rt_pod *pod = pod_at(rt, pods, label(s, LABEL_POD_UID), label(s, LABEL_POD_NAMESPACE),
			label(s, LABEL_POD_NAME));
	struct rt_sandbox *mine = map_get(&rt->sandboxes, str_from(s->id));

	if (!mine)
		return;
	if (mine->ready && !mine->known)
		pod->unsure = rt->partly = true;
	pod->sandboxes = xrealloc(pod->sandboxes, (pod->n_sandboxes + 1) * sizeof(*pod->sandboxes));
	pod->sandboxes[pod->n_sandboxes++] = mine;
}

static void add_container(struct runtime *rt, struct map *pods, const Runtime__Container *c)
{
	struct rt_pod *pod = pod_at(rt, pods, container_label(c, LABEL_POD_UID),
			container_label(c, LABEL_POD_NAMESPACE), container_label(c, LABEL_POD_NAME));
	struct rt_container *mine = map_get(&rt->containers, str_from(c->id));

	if (!mine) {
		pod->unsure = rt->partly = true;
		return;
	}
	pod->containers = xrealloc(pod->containers, (pod->n_containers + 1) * sizeof(*pod->containers));
	pod->containers[pod->n_containers++] = mine;
}

/* Something is different when the same things in the same states are not all there. */
static bool pod_same(const struct rt_pod *a, const struct rt_pod *b)
{
	if (!a || a->unsure != b->unsure || a->n_sandboxes != b->n_sandboxes || a->n_containers != b->n_containers)
		return false;
	for (size_t i = 0; i < a->n_sandboxes; i++)
		if (a->sandboxes[i] != b->sandboxes[i])
			return false;
	for (size_t i = 0; i < a->n_containers; i++)
		if (a->containers[i] != b->containers[i])
			return false;
	return true;
}

/* Drop records of what is not listed any more. */
static void sweep(struct map *records, struct map *listed, void (*drop)(void *))
{
	MAP_FOR_EACH (e, records) {
		if (!map_get(listed, e->key)) {
			void *value = e->value;

			map_del(records, e->key);
			drop(value);
		}
	}
}

static void publish(struct runtime *rt, struct map *pods)
{
	struct map old = rt->pods;

	rt->pods = *pods;
	MAP_FOR_EACH (e, &rt->pods) {
		struct rt_pod *pod = e->value, *before = map_get(&old, e->key);

		pod->changed = !before || before->changed || !pod_same(before, pod);
	}
	if (rt->user) {
		MAP_FOR_EACH (e, &rt->pods) {
			struct rt_pod *pod = e->value;

			if (pod->changed)
				rt->user->changed(rt->user, pod->uid, pod);
		}
		MAP_FOR_EACH (e, &old) {
			struct rt_pod *pod = e->value;

			if (!map_get(&rt->pods, e->key))
				rt->user->changed(rt->user, pod->uid, NULL);
		}
	}
	MAP_FOR_EACH (e, &rt->pods)
		((struct rt_pod *)e->value)->changed = false;
	map_fini_with(&old, pod_free);
}

static void finish(struct runtime *rt)
{
	Runtime__ListPodSandboxResponse *ls = CRI_REPLY(&rt->list_sandboxes, Runtime__ListPodSandboxResponse);
	Runtime__ListContainersResponse *lc = CRI_REPLY(&rt->list_containers, Runtime__ListContainersResponse);
	bool again = rt->again, retry;

	if (!rt->failed) {
		struct map pods = MAP_INIT, ids = MAP_INIT, cids = MAP_INIT;

		for (size_t i = 0; i < ls->n_items; i++) {
			add_sandbox(rt, &pods, ls->items[i]);
			map_put(&ids, str_from(ls->items[i]->id), rt);
		}
		for (size_t i = 0; i < lc->n_containers; i++) {
			add_container(rt, &pods, lc->containers[i]);
			map_put(&cids, str_from(lc->containers[i]->id), rt);
		}
		MAP_FOR_EACH (e, &pods) {
			struct rt_pod *pod = e->value;

			if (pod->n_sandboxes)
				qsort(pod->sandboxes, pod->n_sandboxes, sizeof(*pod->sandboxes), newer_sandbox);
			if (pod->n_containers)
				qsort(pod->containers, pod->n_containers, sizeof(*pod->containers), newer_container);
		}
		publish(rt, &pods);
		sweep(&rt->sandboxes, &ids, sandbox_free);
		sweep(&rt->containers, &cids, container_free);
		map_fini(&ids);
		map_fini(&cids);
	}
	retry = rt->failed || rt->partly;
	cri_call_fini(&rt->list_sandboxes);
	cri_call_fini(&rt->list_containers);
	rt->busy = false;
	rt->again = false;
	if (!rt->user) {
		loop_timer_start(&rt->kick, rt->loop, 0, on_closed);
		return;
	}
	if (!rt->failed) {
		rt->generation++;
		rt->user->listed(rt->user, rt->generation);
	}
	if ((again || retry) && !loop_timer_active(&rt->kick) && !rt->busy)
		loop_timer_start(&rt->kick, rt->loop, retry ? RETRY_MS : 0, on_kick);
}

static void part_done(struct runtime *rt)
{
	ASSERT(rt->waiting > 0);
	if (--rt->waiting == 0)
		finish(rt);
}

static void set(char **field, const char *value)
{
	free(*field);
	*field = xstrdup(nz(value));
}

static const char *status_annotation(const Runtime__ContainerStatus *s, const char *key)
{
	Runtime__ContainerStatus__AnnotationsEntry *e = PB_MAP_FIND(s, annotations, key);

	return e ? nz(e->value) : "";
}

/* What the program left behind as its last words: the file, or the end of the log. */
static char *last_words(const Runtime__ContainerStatus *s, const char *path_in_container, const char *policy)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	for (size_t i = 0; i < s->n_mounts; i++)
		if (is_set(path_in_container) && strcmp(nz(s->mounts[i]->container_path), path_in_container) == 0)
			file_get(s->mounts[i]->host_path, MESSAGE_MAX, &b, NULL);
	if (b.n == 0 && s->exit_code != 0 && strcmp(policy, "FallbackToLogsOnError") == 0 && is_set(s->log_path))
		crilog_last_text(s->log_path, LOG_MESSAGE_LINES, LOG_MESSAGE_MAX, &b, NULL);
	return str_dup(buf_str(&b));
}

static enum rt_state state_of(Runtime__ContainerState s)
{
	switch (s) {
	case RUNTIME__CONTAINER_STATE__CONTAINER_CREATED:
		return RT_CREATED;
	case RUNTIME__CONTAINER_STATE__CONTAINER_RUNNING:
		return RT_RUNNING;
	case RUNTIME__CONTAINER_STATE__CONTAINER_EXITED:
		return RT_EXITED;
	default:
		return RT_UNKNOWN;
	}
}

static struct rt_container *container_from(const Runtime__ContainerStatus *s, const char *sandbox_id)
{
	struct rt_container *c = xcalloc(1, sizeof(*c));

	c->id = xstrdup(s->id);
	c->sandbox_id = xstrdup(sandbox_id);
	set(&c->name, s->metadata ? s->metadata->name : "");
	c->attempt = s->metadata ? s->metadata->attempt : 0;
	set(&c->image, s->image ? s->image->image : "");
	set(&c->image_ref, s->image_ref);
	set(&c->reason, s->reason);
	set(&c->message, s->message);
	set(&c->log_path, s->log_path);
	set(&c->hash, status_annotation(s, ANNOT_HASH));
	set(&c->message_path, status_annotation(s, ANNOT_MESSAGE_PATH));
	set(&c->message_policy, status_annotation(s, ANNOT_MESSAGE_POLICY));
	c->state = state_of(s->state);
	c->created_ns = s->created_at;
	c->started_ns = s->started_at;
	c->finished_ns = s->finished_at;
	c->exit_code = s->exit_code;
	c->term_message = c->state == RT_EXITED ? last_words(s, c->message_path, c->message_policy) : xstrdup("");
	return c;
}

/* The pods of the last picture must not point to a record that is gone; `changed` tells them when this relist ends. */
static void replace_container(struct runtime *rt, struct rt_container *fresh)
{
	struct rt_container *old = map_put(&rt->containers, str_from(fresh->id), fresh);

	if (!old)
		return;
	MAP_FOR_EACH (e, &rt->pods) {
		struct rt_pod *pod = e->value;

		for (size_t i = 0; i < pod->n_containers; i++)
			if (pod->containers[i] == old)
				pod->containers[i] = fresh, pod->changed = true;
	}
	container_free(old);
}

static void container_detail(struct cri_call *call)
{
	struct detail *d = container_of(call, struct detail, call);
	struct runtime *rt = d->rt;
	Runtime__ContainerStatusResponse *r = CRI_REPLY(call, Runtime__ContainerStatusResponse);

	if (r && r->status)
		replace_container(rt, container_from(r->status, d->target));
	else if (call->err.code != ERR_NOT_FOUND)
		log_warn("kubelet", "container status: %s", call->err.text);
	cri_call_fini(call);
	free(d->target);
	free(d);
	part_done(rt);
}

static void sandbox_detail(struct cri_call *call)
{
	struct detail *d = container_of(call, struct detail, call);
	struct runtime *rt = d->rt;
	Runtime__PodSandboxStatusResponse *r = CRI_REPLY(call, Runtime__PodSandboxStatusResponse);
	struct rt_sandbox *s = map_get(&rt->sandboxes, str_from(d->target));

	if (r && r->status && s) {
		s->known = true;
		set(&s->ip, r->status->network ? r->status->network->ip : "");
	} else if (!r && call->err.code != ERR_NOT_FOUND) {
		log_warn("kubelet", "sandbox status: %s", call->err.text);
	}
	cri_call_fini(call);
	free(d->target);
	free(d);
	part_done(rt);
}

static struct detail *detail_new(struct runtime *rt, const char *target, void (*done)(struct cri_call *))
{
	struct detail *d = xcalloc(1, sizeof(*d));

	d->rt = rt;
	d->target = xstrdup(target);
	d->call.done = done;
	rt->waiting++;
	return d;
}

static void ask_container(struct runtime *rt, const Runtime__Container *c)
{
	Runtime__ContainerStatusRequest req = RUNTIME__CONTAINER_STATUS_REQUEST__INIT;
	struct detail *d = detail_new(rt, c->pod_sandbox_id, container_detail);

	req.container_id = c->id;
	cri_start(rt->cri, &d->call, CRI_CONTAINER_STATUS, &req.base);
}

static void see_sandbox(struct runtime *rt, const Runtime__PodSandbox *s)
{
	struct rt_sandbox *old = map_get(&rt->sandboxes, str_from(s->id));
	bool ready = s->state == RUNTIME__POD_SANDBOX_STATE__SANDBOX_READY;
	Runtime__PodSandboxStatusRequest req = RUNTIME__POD_SANDBOX_STATUS_REQUEST__INIT;
	struct rt_pod *pod;
	struct detail *d;

	if (!old) {
		old = xcalloc(1, sizeof(*old));
		old->id = xstrdup(s->id);
		old->ip = xstrdup("");
		old->attempt = s->metadata ? s->metadata->attempt : 0;
		old->ready = ready;
		old->created_ns = s->created_at;
		map_put(&rt->sandboxes, str_from(s->id), old);
	}
	if (old->ready != ready && (pod = map_get(&rt->pods, str_from(label(s, LABEL_POD_UID)))) != NULL)
		pod->changed = true;
	old->ready = ready;
	if (old->known)
		return;
	d = detail_new(rt, s->id, sandbox_detail);
	req.pod_sandbox_id = s->id;
	cri_start(rt->cri, &d->call, CRI_POD_SANDBOX_STATUS, &req.base);
}

static void lists_there(struct runtime *rt)
{
	Runtime__ListPodSandboxResponse *ls = CRI_REPLY(&rt->list_sandboxes, Runtime__ListPodSandboxResponse);
	Runtime__ListContainersResponse *lc = CRI_REPLY(&rt->list_containers, Runtime__ListContainersResponse);

	if (!ls || !lc) {
		const struct err *e = ls ? &rt->list_containers.err : &rt->list_sandboxes.err;

		log_debug("kubelet", "relist: %s", e->text);
		rt->failed = true;
		rt->waiting = 1;
		part_done(rt);
		return;
	}
	rt->waiting = 1; /* ours: so that the end comes after all questions were asked */
	for (size_t i = 0; i < ls->n_items; i++)
		see_sandbox(rt, ls->items[i]);
	for (size_t i = 0; i < lc->n_containers; i++) {
		const Runtime__Container *c = lc->containers[i];
		struct rt_container *old = map_get(&rt->containers, str_from(c->id));

		if (!old || old->state != state_of(c->state))
			ask_container(rt, c);
	}
	part_done(rt);
}

static void sandboxes_listed(struct cri_call *call)
{
	struct runtime *rt = container_of(call, struct runtime, list_sandboxes);

	if (--rt->waiting == 0)
		lists_there(rt);
}

static void containers_listed(struct cri_call *call)
{
	struct runtime *rt = container_of(call, struct runtime, list_containers);

	if (--rt->waiting == 0)
		lists_there(rt);
}

static void relist(struct runtime *rt)
{
	Runtime__ListPodSandboxRequest ls = RUNTIME__LIST_POD_SANDBOX_REQUEST__INIT;
	Runtime__ListContainersRequest lc = RUNTIME__LIST_CONTAINERS_REQUEST__INIT;

	rt->busy = true;
	rt->failed = rt->partly = false;
	rt->again = false;
	rt->waiting = 2;
	rt->list_sandboxes.done = sandboxes_listed;
	rt->list_containers.done = containers_listed;
	cri_start(rt->cri, &rt->list_sandboxes, CRI_LIST_POD_SANDBOX, &ls.base);
	cri_start(rt->cri, &rt->list_containers, CRI_LIST_CONTAINERS, &lc.base);
}
