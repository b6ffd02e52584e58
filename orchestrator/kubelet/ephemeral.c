#include "orchestrator/kubelet/ephemeral.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"

Core__Container *ephemeral_spec(struct arena *a, const Core__EphemeralContainer *e)
{
	Core__Container *c = NULL;

	/* The numbers of the fields are the same: its bytes are those of a container. */
	if (e->ephemeral_container_common)
		c = pb_unpack(a, &core__container__descriptor, pb_pack_arena(e->ephemeral_container_common, a));
	return c ? c : PB_NEW(a, Core__Container, core__container);
}

Core__Container **ephemeral_specs(struct arena *a, const Core__Pod *pod)
{
	Core__Container **v = arena_new_array(a, Core__Container *, pod->spec->n_ephemeral_containers);

	for (size_t i = 0; i < pod->spec->n_ephemeral_containers; i++)
		v[i] = ephemeral_spec(a, pod->spec->ephemeral_containers[i]);
	return v;
}

static const char *target_name(const Core__Pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->spec->n_ephemeral_containers; i++) {
		const Core__EphemeralContainer *e = pod->spec->ephemeral_containers[i];

		if (e->ephemeral_container_common && strcmp(nz(e->ephemeral_container_common->name), name) == 0)
			return nz(e->target_container_name);
	}
	return "";
}

int ephemeral_target(const Core__Pod *pod, const char *name, const struct rt_pod *rt, const char **ret_id, struct err *e)
{
	const char *target = target_name(pod, name);
	const struct rt_container *c;

	*ret_id = "";
	if (!*target)
		return 0;
	c = rt && rt->n_sandboxes ? rt_find(rt, target, rt->sandboxes[0]->id) : NULL;
	if (!c || c->state != RT_RUNNING)
		return err_set(e, ERR_NOT_FOUND, "unable to find target container %s: it does not run", target);
	*ret_id = c->id;
	return 0;
}
