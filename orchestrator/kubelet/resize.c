#include "orchestrator/kubelet/resize.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-sync.h"
#include "orchestrator/kubelet/resources.h"
#include "proto/pb.h"
#include "proto/quantity.h"

static const char *const resources[] = {"memory", "cpu"};

/* --- Sets of resources --------------------------------------------------------------------------------------------- */

static const char *amount(const Core__ResourceRequirements *r, const char *what, bool limit)
{
	Resource__Quantity *q = !r ? NULL : limit ? pb_map_get(r->limits, r->n_limits, what) : pb_map_get(r->requests, r->n_requests, what);

	return q ? q->string : NULL;
}

static bool same_amount(const Core__ResourceRequirements *a, const Core__ResourceRequirements *b, const char *what, bool limit)
{
	const char *x = amount(a, what, limit), *y = amount(b, what, limit);

	return !x || !y ? x == y : quantity_cmp(quantity_of(x), quantity_of(y)) == 0;
}

static bool same_resource(const Core__ResourceRequirements *a, const Core__ResourceRequirements *b, const char *what)
{
	return same_amount(a, b, what, false) && same_amount(a, b, what, true);
}

bool resize_equal(const Core__ResourceRequirements *a, const Core__ResourceRequirements *b)
{
	for (size_t i = 0; i < ARRAY_LEN(resources); i++)
		if (!same_resource(a, b, resources[i]))
			return false;
	return true;
}

static Core__Container *named(Core__Container **c, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (pb_streq(c[i]->name, name))
			return c[i];
	return NULL;
}

/* Containers that are not resized keep what they have. */
static Core__Container **list_with(struct arena *a, Core__Container **c, size_t n, Core__Container **from, size_t n_from)
{
	Core__Container **out = arena_new_array(a, Core__Container *, n + 1);

	for (size_t i = 0; i < n; i++) {
		const Core__Container *other = named(from, n_from, c[i]->name);

		out[i] = c[i];
		if (!other || resize_equal(other->resources, c[i]->resources))
			continue;
		out[i] = arena_new_of(a, Core__Container);
		*out[i] = *c[i];
		out[i]->resources = other->resources;
	}
	return out;
}

Core__Pod *resize_with(struct arena *a, const Core__Pod *pod, const Core__Pod *from)
{
	Core__Pod *out = arena_new_of(a, Core__Pod);
	Core__PodSpec *spec = arena_new_of(a, Core__PodSpec);

	*out = *pod;
	*spec = *pod->spec;
	out->spec = spec;
	if (!from->spec)
		return out;
	spec->containers = list_with(a, spec->containers, spec->n_containers, from->spec->containers, from->spec->n_containers);
	spec->init_containers = list_with(a, spec->init_containers, spec->n_init_containers, from->spec->init_containers,
			from->spec->n_init_containers);
	if (from->spec->resources && !resize_equal(from->spec->resources, spec->resources))
		spec->resources = from->spec->resources;
	return out;
}

Core__ResourceRequirements *resize_mix(struct arena *a, const Core__ResourceRequirements *actual,
		const Core__ResourceRequirements *allocated, const char *resource)
{
	Core__ResourceRequirements *r = actual ? pb_copy(a, actual)
					       : PB_NEW(a, Core__ResourceRequirements, core__resource_requirements);

	pb_map_del(r, "requests", resource);
	pb_map_del(r, "limits", resource);
	for (size_t i = 0; allocated && i < allocated->n_requests; i++)
		if (strcmp(allocated->requests[i]->key, resource) == 0)
			pb_add_msg(a, r, "requests", allocated->requests[i]);
	for (size_t i = 0; allocated && i < allocated->n_limits; i++)
		if (strcmp(allocated->limits[i]->key, resource) == 0)
			pb_add_msg(a, r, "limits", allocated->limits[i]);
	return r;
}

/* --- Whether it may be ----------------------------------------------------------------------------------------------- */

static bool same_list(Core__Container **c, size_t n, Core__Container **was, size_t n_was)
{
	for (size_t i = 0; i < n; i++) {
		const Core__Container *o = named(was, n_was, c[i]->name);

		if (o && !resize_equal(o->resources, c[i]->resources))
			return false;
	}
	return true;
}

enum resize_verdict resize_decide(struct arena *a, const Core__Pod *wanted, const Core__Pod *allocated,
		const struct resize_node *node, const char **ret_message)
{
	const Core__PodSpec *w = wanted->spec, *g = allocated->spec;
	struct res now, was;

	if (resize_equal(w->resources, g->resources) && same_list(w->containers, w->n_containers, g->containers, g->n_containers) &&
			same_list(w->init_containers, w->n_init_containers, g->init_containers, g->n_init_containers))
		return RESIZE_SAME;
	res_of_pod(wanted, &now);
	res_of_pod(allocated, &was);
	const struct {
		const char *name;
		int64_t requested, had, used, capacity;
	} rows[] = {
		{"memory", now.memory_request, was.memory_request, node->memory_used, node->memory},
		{"cpu", now.cpu_request, was.cpu_request, node->cpu_milli_used, node->cpu_milli},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].requested > rows[i].had && rows[i].requested > rows[i].capacity) {
			*ret_message = arena_printf(a,
					"Node didn't have enough capacity: %s, requested: %" PRId64 ", capacity: %" PRId64,
					rows[i].name, rows[i].requested, rows[i].capacity);
			return RESIZE_INFEASIBLE;
		}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].requested > rows[i].had && rows[i].requested + rows[i].used > rows[i].capacity) {
			*ret_message = arena_printf(a,
					"Node didn't have enough resource: %s, requested: %" PRId64 ", used: %" PRId64
					", capacity: %" PRId64,
					rows[i].name, rows[i].requested, rows[i].used, rows[i].capacity);
			return RESIZE_DEFERRED;
		}
	return RESIZE_FITS;
}

static bool restarts_for(const Core__Container *c, const char *resource)
{
	for (size_t i = 0; i < c->n_resize_policy; i++)
		if (pb_streq(c->resize_policy[i]->resource_name, resource))
			return pb_streq(c->resize_policy[i]->restart_policy, "RestartContainer");
	return false;
}

enum resize_way resize_way(const Core__Container *c, const Core__ResourceRequirements *given, const Core__ResourceRequirements *actual)
{
	if (resize_equal(given, actual))
		return RESIZE_DONE;
	for (size_t i = 0; i < ARRAY_LEN(resources); i++)
		if (restarts_for(c, resources[i]) && !same_resource(given, actual, resources[i]))
			return RESIZE_RESTART;
	return RESIZE_IN_PLACE;
}

/* --- In which order ---------------------------------------------------------------------------------------------------- */

/* No limit is more than any. */
static int more(int64_t is, int64_t was)
{
	uint64_t x = is ? (uint64_t)is : UINT64_MAX, y = was ? (uint64_t)was : UINT64_MAX;

	return x == y ? 0 : x > y ? 1 : -1;
}

/* 1: grows, -1: shrinks, 0: stays. The request counts when the limit stays. */
static int direction(const struct res *is, const struct res *was, bool memory)
{
	int by_limit = memory ? more(is->memory_limit, was->memory_limit) : more(is->cpu_limit, was->cpu_limit);
	int64_t by_request = memory ? is->memory_request - was->memory_request : is->cpu_request - was->cpu_request;

	return by_limit ? by_limit : by_request > 0 ? 1 : by_request < 0 ? -1 : 0;
}

static struct resize_step step(int container, const struct res *is, const struct res *was, bool memory)
{
	return (struct resize_step){
		.container = container,
		.memory = memory,
		.shrinks = memory && more(is->memory_limit, was->memory_limit) < 0,
		.tell = !memory || more(is->memory_limit, was->memory_limit) != 0,
		.memory_limit = memory ? is->memory_limit : 0,
		.cpu_shares = memory ? 0 : res_cpu_shares(is->cpu_request),
		.cpu_quota_us = memory ? 0 : res_cpu_quota(is->cpu_limit),
	};
}

size_t resize_plan(struct arena *a, const Core__Pod *was_pod, const Core__Pod *is_pod, const struct resize_container *c, size_t n,
		struct resize_step **ret)
{
	struct resize_step *steps = arena_new_array(a, struct resize_step, 2 * (n + 1));
	struct res pod_was, pod_is;
	size_t k = 0;

	res_of_pod(was_pod, &pod_was);
	res_of_pod(is_pod, &pod_is);
	for (size_t r = 0; r < ARRAY_LEN(resources); r++) {
		bool memory = strcmp(resources[r], "memory") == 0;
		int pod = direction(&pod_is, &pod_was, memory);

		if (pod > 0)
			steps[k++] = step(-1, &pod_is, &pod_was, memory);
		for (int way = -1; way <= 1; way += 2)
			for (size_t i = 0; i < n; i++) {
				struct res is, was;
				int dir;

				if (c[i].way != RESIZE_IN_PLACE || same_resource(c[i].given, c[i].actual, resources[r]))
					continue;
				res_of(c[i].given, &is);
				res_of(c[i].actual, &was);
				dir = direction(&is, &was, memory);
				/* Said otherwise, and the same to the kernel: still a step, so that it is remembered. */
				if ((dir ? dir : -1) == way)
					steps[k++] = step((int)i, &is, &was, memory);
			}
		if (pod < 0)
			steps[k++] = step(-1, &pod_is, &pod_was, memory);
	}
	*ret = steps;
	return k;
}

/* --- The record ---------------------------------------------------------------------------------------------------------- */

static Core__Container *brief(struct arena *a, const Core__Container *c)
{
	Core__Container *out = PB_NEW(a, Core__Container, core__container);

	out->name = c->name;
	out->resources = c->resources;
	return out;
}

Core__Pod *resize_record(struct arena *a, const Core__Pod *pod, const Core__ResourceRequirements *whole, const struct resize_actual *actual,
		size_t n)
{
	Core__Pod *out = PB_NEW(a, Core__Pod, core__pod);

	out->spec = PB_NEW(a, Core__PodSpec, core__pod_spec);
	out->status = PB_NEW(a, Core__PodStatus, core__pod_status);
	out->spec->resources = pod->spec->resources;
	out->status->resources = (Core__ResourceRequirements *)whole;
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		PB_ADD(a, out->spec, containers, brief(a, pod->spec->containers[i]));
	for (size_t i = 0; i < pod->spec->n_init_containers; i++)
		PB_ADD(a, out->spec, init_containers, brief(a, pod->spec->init_containers[i]));
	for (size_t i = 0; i < n; i++) {
		Core__ContainerStatus *s = PB_NEW(a, Core__ContainerStatus, core__container_status);

		s->name = (char *)actual[i].name;
		s->container_id = (char *)actual[i].id;
		s->resources = (Core__ResourceRequirements *)actual[i].actual;
		PB_ADD(a, out->status, container_statuses, s);
	}
	return out;
}

Core__Pod *resize_was(struct arena *a, const Core__Pod *pod, const Core__ResourceRequirements *whole, const struct resize_actual *actual,
		size_t n)
{
	Core__Pod *from = PB_NEW(a, Core__Pod, core__pod), *was;

	from->spec = PB_NEW(a, Core__PodSpec, core__pod_spec);
	for (size_t i = 0; i < n; i++) {
		Core__Container *c = PB_NEW(a, Core__Container, core__container);

		c->name = (char *)actual[i].name;
		c->resources = (Core__ResourceRequirements *)actual[i].actual;
		PB_ADD(a, from->spec, containers, c);
		PB_ADD(a, from->spec, init_containers, c);
	}
	was = resize_with(a, pod, from);
	was->spec->resources = (Core__ResourceRequirements *)whole;
	return was;
}

const Core__ResourceRequirements *resize_own(struct arena *a, const Core__ResourceRequirements *actual, const Core__ResourceRequirements *own)
{
	Core__ResourceRequirements *r = NULL;

	for (size_t i = 0; i < ARRAY_LEN(resources); i++)
		if (amount(actual, resources[i], true) && !amount(own, resources[i], true)) {
			if (r == NULL)
				r = pb_copy(a, actual);
			pb_map_del(r, "limits", resources[i]);
		}
	return r ? r : actual;
}

static void print_amounts(struct buf *b, const char *key, const Core__ResourceRequirements *r, bool limits)
{
	const char *sep = "";

	buf_printf(b, "\"%s\":{", key);
	for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
		const char *text = amount(r, resources[i], limits);

		if (text) {
			buf_printf(b, "%s\"%s\":\"%s\"", sep, resources[i], text);
			sep = ",";
		}
	}
	buf_printf(b, "}");
}

static void print_list(struct buf *b, const char *key, Core__Container **c, size_t n)
{
	buf_printf(b, "\"%s\":[", key);
	for (size_t i = 0; i < n; i++) {
		buf_printf(b, "%s{\"name\":\"%s\",\"resources\":{", i ? "," : "", nz(c[i]->name));
		print_amounts(b, "limits", c[i]->resources, true);
		buf_printf(b, ",");
		print_amounts(b, "requests", c[i]->resources, false);
		buf_printf(b, "}}");
	}
	buf_printf(b, "],");
}

const char *resize_text(struct arena *a, const Core__Pod *pod, const char *error)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_printf(&b, "{");
	if (pod->spec->n_init_containers)
		print_list(&b, "initContainers", pod->spec->init_containers, pod->spec->n_init_containers);
	print_list(&b, "containers", pod->spec->containers, pod->spec->n_containers);
	buf_printf(&b, "\"generation\":%" PRId64, pod->metadata->has_generation ? pod->metadata->generation : 0);
	if (error)
		buf_printf(&b, ",\"error\":\"%s\"", error);
	buf_printf(&b, "}");
	return arena_cstr(a, buf_str(&b));
}
