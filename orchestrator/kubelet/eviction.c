#include "orchestrator/kubelet/eviction.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-status.h"
#include "orchestrator/kubelet/resources.h"
#include "proto/quantity.h"

#define CRITICAL_PRIORITY 2000000000 /* system-cluster-critical */

static const struct {
	enum node_pressure pressure;
	const char *resource;
} signals[N_SIGNALS] = {
	[SIG_MEMORY] = {PRESSURE_MEMORY, "memory"},
	[SIG_NODEFS] = {PRESSURE_DISK, "ephemeral-storage"},
	[SIG_NODEFS_INODES] = {PRESSURE_DISK, "inodes"},
	[SIG_IMAGEFS] = {PRESSURE_DISK, "ephemeral-storage"},
	[SIG_IMAGEFS_INODES] = {PRESSURE_DISK, "inodes"},
	[SIG_PID] = {PRESSURE_PID, "pids"},
};

static const struct pressure_text texts[N_PRESSURES][2] = {
	[PRESSURE_MEMORY] = {
		{"MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"},
		{"MemoryPressure", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "NodeHasInsufficientMemory"}},
	[PRESSURE_DISK] = {
		{"DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"},
		{"DiskPressure", "KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"}},
	[PRESSURE_PID] = {
		{"PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"},
		{"PIDPressure", "KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"}},
};

enum node_pressure signal_pressure(enum signal s)
{
	return signals[s].pressure;
}

const char *signal_resource(enum signal s)
{
	return signals[s].resource;
}

const struct pressure_text *pressure_text(enum node_pressure p, bool on)
{
	return &texts[p][on];
}

char *eviction_quantity(struct arena *a, int64_t n)
{
	char text[QUANTITY_SIZE];

	quantity_print(quantity_from_i64(n, QUANTITY_BINARY_SI), text);
	return arena_strdup(a, text);
}

/* --- The node ------------------------------------------------------------------------------------------------------ */

static int64_t least(const struct threshold *t, const struct observation *o, bool reclaimed)
{
	return amount_of(&t->value, o->capacity) + (reclaimed ? amount_of(&t->reclaim, o->capacity) : 0);
}

bool eviction_lacks(const struct threshold *t, const struct observation *o)
{
	return o->capacity > 0 && o->available < least(t, o, true);
}

void eviction_judge(const struct eviction_cfg *c, struct eviction_state *s, const struct observation *o, int64_t now_ms, struct eviction_look *ret)
{
	*ret = (struct eviction_look){0};
	for (size_t i = 0; i < c->n; i++) {
		const struct threshold *t = &c->t[i];
		const struct observation *seen = &o[t->signal];
		enum node_pressure p = signals[t->signal].pressure;

		/* What cannot be observed for a moment stays as it was. */
		if (seen->capacity <= 0)
			continue;
		s->met[i] = seen->available < least(t, seen, s->met[i]);
		if (!s->met[i]) {
			s->since_ms[i] = 0;
			continue;
		}
		if (!s->since_ms[i])
			s->since_ms[i] = now_ms;
		s->last_ms[p] = now_ms;
		if (!ret->why[p])
			ret->why[p] = t;
		if (now_ms - s->since_ms[i] >= t->grace_ms && (!ret->act || t->signal < ret->act->signal))
			ret->act = t;
	}
	for (int p = 0; p < N_PRESSURES; p++)
		ret->pressure[p] = ret->why[p] || (s->last_ms[p] && now_ms - s->last_ms[p] < c->transition_ms);
}

/* --- The pods ------------------------------------------------------------------------------------------------------ */

bool pod_is_critical(const Core__Pod *pod)
{
	return PB_OR(pod->spec, priority, 0) >= CRITICAL_PRIORITY;
}

static int64_t memory_request(const Core__Pod *pod)
{
	struct res r;

	res_of_pod(pod, &r);
	return r.memory_request;
}

/* Parts of what a pod has on the disk. */
enum { ON_LAYER = 1, ON_LOGS = 2, ON_VOLUMES = 4 };

static unsigned parts_of(enum signal s, bool images_apart)
{
	bool imagefs = s == SIG_IMAGEFS || s == SIG_IMAGEFS_INODES;

	if (!images_apart)
		return ON_LAYER | ON_LOGS | ON_VOLUMES;
	return imagefs ? ON_LAYER : ON_LOGS | ON_VOLUMES;
}

static int64_t use_of_disk(const struct pod_use *u, unsigned parts, bool inodes)
{
	int64_t sum = 0;

	for (size_t i = 0; i < u->n_c; i++) {
		if (parts & ON_LAYER)
			sum += inodes ? u->c[i].layer_inodes : u->c[i].layer;
		if (parts & ON_LOGS && !inodes)
			sum += u->c[i].logs;
	}
	for (size_t i = 0; parts & ON_VOLUMES && i < u->n_v; i++)
		sum += inodes ? u->v[i].inodes : u->v[i].bytes;
	return sum;
}

static int64_t use_of_memory(const struct pod_use *u)
{
	int64_t sum = 0;

	for (size_t i = 0; i < u->n_c; i++)
		sum += u->c[i].memory;
	return sum;
}

struct ranked {
	size_t at;
	bool known, exceeds;
	int64_t priority;
	int64_t over; /* use above the request; of processes: all */
};

/* Those go first of whom nothing is known; then those that use more than they asked for; then the less important; then by how much. */
static int by_rank(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;

	if (a->known != b->known)
		return a->known ? 1 : -1;
	if (a->exceeds != b->exceeds)
		return a->exceeds ? -1 : 1;
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	if (a->over != b->over)
		return a->over > b->over ? -1 : 1;
	return a->at < b->at ? -1 : 1;
}

size_t *eviction_rank(struct arena *a, enum signal s, bool images_apart, const struct pod_use *u, size_t n)
{
	struct ranked *list = arena_new_array(a, struct ranked, n + 1);
	size_t *order = arena_new_array(a, size_t, n + 1);

	for (size_t i = 0; i < n; i++) {
		struct ranked *r = &list[i];

		*r = (struct ranked){.at = i, .known = u[i].known, .priority = PB_OR(u[i].pod->spec, priority, 0)};
		if (s == SIG_PID) {
			r->known = true;
			r->over = u[i].processes;
		} else if (s == SIG_MEMORY) {
			r->over = use_of_memory(&u[i]) - memory_request(u[i].pod);
			r->exceeds = r->over > 0;
		} else {
			bool inodes = s == SIG_NODEFS_INODES || s == SIG_IMAGEFS_INODES;

			r->over = use_of_disk(&u[i], parts_of(s, images_apart), inodes);
			if (!inodes)
				r->over -= res_storage_of_pod(u[i].pod, false, NULL);
			r->exceeds = r->over > 0;
		}
	}
	qsort(list, n, sizeof(*list), by_rank);
	for (size_t i = 0; i < n; i++)
		order[i] = list[i].at;
	return order;
}

static const Core__Container *spec_of(const Core__Pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		if (pb_streq(pod->spec->containers[i]->name, name))
			return pod->spec->containers[i];
	for (size_t i = 0; i < pod->spec->n_init_containers; i++)
		if (pb_streq(pod->spec->init_containers[i]->name, name))
			return pod->spec->init_containers[i];
	return NULL;
}

char *eviction_message(struct arena *a, const struct threshold *t, const struct observation *o, const struct pod_use *u)
{
	const char *resource = signals[t->signal].resource;
	bool memory = t->signal == SIG_MEMORY, disk = strcmp(resource, "ephemeral-storage") == 0;
	char *text = arena_printf(a, "The node was low on resource: %s. Threshold quantity: %s, available: %s. ", resource,
			eviction_quantity(a, least(t, o, false)), eviction_quantity(a, o->available));

	for (size_t i = 0; (memory || disk) && i < u->n_c; i++) {
		const Core__Container *c = spec_of(u->pod, u->c[i].name);
		const Resource__Quantity *q = c && c->resources ? pb_map_get(c->resources->requests, c->resources->n_requests, resource) : NULL;
		int64_t use = memory ? u->c[i].memory : u->c[i].layer + u->c[i].logs, request = q ? res_units(q->string) : 0;

		if (c && use > request)
			text = arena_printf(a, "%sContainer %s was using %s, request is %s, has larger consumption of %s. ", text, u->c[i].name,
					eviction_quantity(a, use), q ? q->string : "0", resource);
	}
	return text;
}

/* --- Limits of local storage ---------------------------------------------------------------------------------------- */

static bool limit_of(const Core__Container *c, const char **ret_text, int64_t *ret)
{
	const Resource__Quantity *q = c && c->resources ? pb_map_get(c->resources->limits, c->resources->n_limits, "ephemeral-storage") : NULL;

	if (!q)
		return false;
	*ret_text = nz(q->string);
	*ret = res_units(q->string);
	return true;
}

/* The emptyDir that is on the disk, and its limit; 0: it has none. What is on a tmpfs the kernel limits. */
static int64_t size_limit(const Core__Volume *v, const char **ret_text)
{
	const Core__EmptyDirVolumeSource *s = v->volume_source ? v->volume_source->empty_dir : NULL;

	if (!s || !s->size_limit || strcmp(nz(s->medium), "Memory") == 0)
		return 0;
	*ret_text = nz(s->size_limit->string);
	return res_units(s->size_limit->string);
}

static char *volume_excess(struct arena *a, const struct pod_use *u)
{
	for (size_t i = 0; i < u->pod->spec->n_volumes; i++) {
		const Core__Volume *v = u->pod->spec->volumes[i];
		const char *text = "";
		int64_t limit = size_limit(v, &text);

		for (size_t k = 0; limit > 0 && k < u->n_v; k++)
			if (pb_streq(u->v[k].name, v->name) && u->v[k].bytes > limit)
				return arena_printf(a, "Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", v->name, text);
	}
	return NULL;
}

char *eviction_excess(struct arena *a, const struct pod_use *u)
{
	char *message = volume_excess(a, u);
	bool limited;
	int64_t limit = res_storage_of_pod(u->pod, true, &limited);
	const char *text;

	if (message)
		return message;
	if (limited && use_of_disk(u, ON_LAYER | ON_LOGS | ON_VOLUMES, false) > limit)
		return arena_printf(a, "Pod ephemeral local storage usage exceeds the total limit of containers %s. ", eviction_quantity(a, limit));
	for (size_t i = 0; i < u->n_c; i++)
		if (limit_of(spec_of(u->pod, u->c[i].name), &text, &limit) && u->c[i].layer + u->c[i].logs > limit)
			return arena_printf(a, "Container %s exceeded its local ephemeral storage limit \"%s\". ", u->c[i].name, text);
	return NULL;
}

bool pod_limits_storage(const Core__Pod *pod)
{
	const char *text;
	bool limited;

	res_storage_of_pod(pod, true, &limited);
	for (size_t i = 0; !limited && i < pod->spec->n_volumes; i++)
		limited = size_limit(pod->spec->volumes[i], &text) > 0;
	return limited;
}

/* --- New pods ------------------------------------------------------------------------------------------------------- */

static bool tolerates_memory_pressure(const Core__Pod *pod)
{
	for (size_t i = 0; i < pod->spec->n_tolerations; i++) {
		const Core__Toleration *t = pod->spec->tolerations[i];
		bool exists = pb_streq(t->operator_, "Exists");

		if ((!is_set(t->effect) || pb_streq(t->effect, "NoSchedule")) && (exists || !is_set(t->value)) &&
				(is_set(t->key) ? pb_streq(t->key, "node.kubernetes.io/memory-pressure") : exists))
			return true;
	}
	return false;
}

char *eviction_refuses(struct arena *a, const bool pressure[N_PRESSURES], const Core__Pod *pod)
{
	const char *list = "";
	unsigned n = 0;

	for (int p = 0; p < N_PRESSURES; p++)
		if (pressure[p])
			list = arena_printf(a, "%s%s%s", list, n++ ? " " : "", texts[p][1].type);
	if (n == 0 || pod_is_critical(pod))
		return NULL;
	if (n == 1 && pressure[PRESSURE_MEMORY] && (strcmp(pod_qos(pod), "BestEffort") != 0 || tolerates_memory_pressure(pod)))
		return NULL;
	return arena_printf(a, "The node had condition: [%s]. ", list);
}
