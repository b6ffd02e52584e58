#include "orchestrator/kubelet/resources.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-status.h"
#include "proto/quantity.h"

#define MIN_SHARES 2
#define MAX_SHARES 262144
#define MIN_QUOTA_US 1000

int64_t res_milli(const char *quantity)
{
	return MAX(quantity_milli(quantity_of(quantity)), 0);
}

int64_t res_units(const char *quantity)
{
	return MAX(quantity_value(quantity_of(quantity)), 0);
}

#define QUANTITY_IN(map, n, key)                                                                      \
	({                                                                                         \
		Resource__Quantity *_q = pb_map_get(map, n, key);                                  \
		_q ? _q->string : NULL;                                                            \
	})

void res_of(const Core__ResourceRequirements *r, struct res *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!r)
		return;
	ret->cpu_request = res_milli(QUANTITY_IN(r->requests, r->n_requests, "cpu"));
	ret->cpu_limit = res_milli(QUANTITY_IN(r->limits, r->n_limits, "cpu"));
	ret->memory_request = res_units(QUANTITY_IN(r->requests, r->n_requests, "memory"));
	ret->memory_limit = res_units(QUANTITY_IN(r->limits, r->n_limits, "memory"));
	ret->storage_request = res_units(QUANTITY_IN(r->requests, r->n_requests, "ephemeral-storage"));
	ret->storage_limit = res_units(QUANTITY_IN(r->limits, r->n_limits, "ephemeral-storage"));
	if (!ret->cpu_request)
		ret->cpu_request = ret->cpu_limit;
	if (!ret->memory_request)
		ret->memory_request = ret->memory_limit;
	if (!ret->storage_request)
		ret->storage_request = ret->storage_limit;
}

void res_of_container(const Core__Container *c, struct res *ret)
{
	res_of(c->resources, ret);
}

const Core__ResourceRequirements *res_given(struct arena *a, const Core__Pod *pod, const Core__Container *c)
{
	static const char *const shared[] = {"cpu", "memory"};
	const Core__ResourceRequirements *whole = pod->spec->resources, *own = c->resources;
	Core__ResourceRequirements *given = NULL;

	for (size_t i = 0; whole && i < ARRAY_LEN(shared); i++) {
		Core__ResourceRequirements__LimitsEntry *limit = pb_map_find(whole->limits, whole->n_limits, shared[i]);

		if (limit == NULL || (own && res_milli(QUANTITY_IN(own->limits, own->n_limits, shared[i])) > 0))
			continue;
		if (given == NULL)
			given = own ? pb_copy(a, own) : PB_NEW(a, Core__ResourceRequirements, core__resource_requirements);
		pb_map_del(given, "limits", shared[i]);
		pb_add_msg(a, given, "limits", limit);
	}
	return given ? given : own;
}

/* What the pod as a whole says counts instead of what its containers say. */
static void use_pod_level(const Core__ResourceRequirements *whole, struct res *s)
{
	const struct {
		int64_t *cpu, *memory;
		const char *cpu_text, *memory_text;
	} rows[] = {
		{&s->cpu_request, &s->memory_request, QUANTITY_IN(whole->requests, whole->n_requests, "cpu"),
				QUANTITY_IN(whole->requests, whole->n_requests, "memory")},
		{&s->cpu_limit, &s->memory_limit, QUANTITY_IN(whole->limits, whole->n_limits, "cpu"),
				QUANTITY_IN(whole->limits, whole->n_limits, "memory")},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].cpu_text)
			*rows[i].cpu = res_milli(rows[i].cpu_text);
		if (rows[i].memory_text)
			*rows[i].memory = res_units(rows[i].memory_text);
	}
}

static void sum(struct res *s, const struct res *r, bool *cpu_unlimited, bool *memory_unlimited)
{
	s->cpu_request += r->cpu_request;
	s->memory_request += r->memory_request;
	s->cpu_limit += r->cpu_limit;
	s->memory_limit += r->memory_limit;
	*cpu_unlimited = *cpu_unlimited || r->cpu_limit == 0;
	*memory_unlimited = *memory_unlimited || r->memory_limit == 0;
}

void res_of_pod(const Core__Pod *pod, struct res *ret)
{
	bool cpu_unlimited = false, memory_unlimited = false;
	struct res s = {0}, r;

	for (size_t i = 0; i < pod->spec->n_containers; i++) {
		res_of_container(pod->spec->containers[i], &r);
		sum(&s, &r, &cpu_unlimited, &memory_unlimited);
	}
	for (size_t i = 0; i < pod->spec->n_init_containers; i++) {
		res_of_container(pod->spec->init_containers[i], &r);
		if (container_is_sidecar(pod->spec->init_containers[i])) {
			sum(&s, &r, &cpu_unlimited, &memory_unlimited);
			continue;
		}
		s.cpu_request = MAX(s.cpu_request, r.cpu_request);
		s.memory_request = MAX(s.memory_request, r.memory_request);
		s.cpu_limit = MAX(s.cpu_limit, r.cpu_limit);
		s.memory_limit = MAX(s.memory_limit, r.memory_limit);
		cpu_unlimited = cpu_unlimited || r.cpu_limit == 0;
		memory_unlimited = memory_unlimited || r.memory_limit == 0;
	}
	if (cpu_unlimited)
		s.cpu_limit = 0;
	if (memory_unlimited)
		s.memory_limit = 0;
	if (pod->spec->resources)
		use_pod_level(pod->spec->resources, &s);
	*ret = s;
}

static int64_t storage_of(const Core__Container *c, bool limits, bool *any)
{
	const Core__ResourceRequirements *r = c->resources;
	const char *text = !r ? NULL
			   : limits ? QUANTITY_IN(r->limits, r->n_limits, "ephemeral-storage")
				    : QUANTITY_IN(r->requests, r->n_requests, "ephemeral-storage");

	*any = *any || text;
	return res_units(text);
}

int64_t res_storage_of_pod(const Core__Pod *pod, bool limits, bool *ret_any)
{
	const Core__PodSpec *s = pod->spec;
	int64_t sum = 0, sidecars = 0, peak = 0;
	bool any = false;

	for (size_t i = 0; i < s->n_containers; i++)
		sum += storage_of(s->containers[i], limits, &any);
	/* An init container runs beside the sidecars that were started before it. */
	for (size_t i = 0; i < s->n_init_containers; i++) {
		int64_t n = storage_of(s->init_containers[i], limits, &any);

		if (container_is_sidecar(s->init_containers[i]))
			sidecars += n, sum += n;
		peak = MAX(peak, container_is_sidecar(s->init_containers[i]) ? sidecars : sidecars + n);
	}
	if (ret_any)
		*ret_any = any;
	return MAX(sum, peak);
}

/* 0: BestEffort, 1: Guaranteed so far, 2: Burstable. */
static int qos_of(const Core__ResourceRequirements *has)
{
	struct res r;

	res_of(has, &r);
	if (!r.cpu_request && !r.cpu_limit && !r.memory_request && !r.memory_limit)
		return 0;
	if (r.cpu_limit && r.memory_limit && r.cpu_limit == r.cpu_request && r.memory_limit == r.memory_request)
		return 1;
	return 2;
}

const char *pod_qos(const Core__Pod *pod)
{
	unsigned seen = 0; /* bit a class */

	if (pod->spec->resources)
		seen = 1u << qos_of(pod->spec->resources);
	for (size_t i = 0; !pod->spec->resources && i < pod->spec->n_containers; i++)
		seen |= 1u << qos_of(pod->spec->containers[i]->resources);
	for (size_t i = 0; !pod->spec->resources && i < pod->spec->n_init_containers; i++)
		seen |= 1u << qos_of(pod->spec->init_containers[i]->resources);
	return seen == 1u << 0 ? "BestEffort" : seen == 1u << 1 ? "Guaranteed" : "Burstable";
}

int64_t res_cpu_shares(int64_t milli)
{
	int64_t s = milli * 1024 / 1000;

	return s < MIN_SHARES ? MIN_SHARES : s > MAX_SHARES ? MAX_SHARES : s;
}

int64_t res_cpu_quota(int64_t milli)
{
	if (milli == 0)
		return 0;
	return MAX(milli * 100, MIN_QUOTA_US);
}

/* What the pod as a whole asks for beyond its containers is divided among them. */
static int64_t memory_beyond(const Core__Pod *pod)
{
	const Core__ResourceRequirements *whole = pod->spec->resources;
	const char *text = whole ? QUANTITY_IN(whole->requests, whole->n_requests, "memory") : NULL;
	size_t n = pod->spec->n_containers + pod->spec->n_init_containers;
	Core__PodSpec spec = *pod->spec;
	Core__Pod parts = *pod;
	struct res r;

	if (text == NULL || n == 0)
		return 0;
	spec.resources = NULL;
	parts.spec = &spec;
	res_of_pod(&parts, &r);
	return MAX(res_units(text) - r.memory_request, 0) / (int64_t)n;
}

int64_t res_oom_score_adj(const Core__Pod *pod, const Core__Container *c, int64_t capacity)
{
	const char *qos = pod_qos(pod);
	struct res r;
	int64_t adj;

	if (strcmp(qos, "Guaranteed") == 0)
		return -997;
	if (strcmp(qos, "BestEffort") == 0 || capacity <= 0)
		return 1000;
	res_of_container(c, &r);
	adj = 1000 - (int64_t)((__int128)1000 * (r.memory_request + memory_beyond(pod)) / capacity);
	/* Above Guaranteed pods, below BestEffort ones. */
	return adj < 3 ? 3 : adj > 999 ? 999 : adj;
}

char *res_cgroup_path(struct arena *a, const char *root, const Core__Pod *pod)
{
	const char *qos = pod_qos(pod), *uid = nz(pod->metadata->uid);

	if (strcmp(qos, "Guaranteed") == 0)
		return arena_printf(a, "%s/pod%s", root, uid);
	return arena_printf(a, "%s/%s/pod%s", root, strcmp(qos, "Burstable") == 0 ? "burstable" : "besteffort", uid);
}

char *backoff_text(struct arena *a, int64_t ms)
{
	int64_t s = ms / 1000;

	if (s < 60)
		return arena_printf(a, "%" PRId64 "s", s);
	return arena_printf(a, "%" PRId64 "m%" PRId64 "s", s / 60, s % 60);
}
