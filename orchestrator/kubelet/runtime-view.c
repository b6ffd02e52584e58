/* Looking at the picture: no runtime is needed for it. */
#include <string.h>

#include "orchestrator/kubelet/runtime.h"

const struct rt_container *rt_find(const struct rt_pod *pod, const char *name, const char *sandbox_id)
{
	for (size_t i = 0; pod && i < pod->n_containers; i++)
		if (strcmp(pod->containers[i]->name, name) == 0 &&
				(!sandbox_id || strcmp(pod->containers[i]->sandbox_id, sandbox_id) == 0))
			return pod->containers[i];
	return NULL;
}

const struct rt_container *rt_previous(const struct rt_pod *pod, const struct rt_container *c)
{
	bool seen = false;

	for (size_t i = 0; pod && c && i < pod->n_containers; i++) {
		if (seen && strcmp(pod->containers[i]->name, c->name) == 0)
			return pod->containers[i];
		if (pod->containers[i] == c)
			seen = true;
	}
	return NULL;
}
