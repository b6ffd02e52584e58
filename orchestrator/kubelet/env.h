/*
 * Environment variables of a container, and what downward-API references mean. Pure.
 *
 * Order and meaning are upstream's: variables of services, then envFrom in order, then env in order; later ones
 * replace earlier ones; $(NAME) stands for a variable defined before, $$ for a dollar.
 */
#ifndef KUBELET_ENV_H
#define KUBELET_ENV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "orchestrator/kubelet/objects.h"

struct env_var {
	const char *name, *value;
};
struct env_list {
	struct arena *arena;
	struct env_var *v;
	size_t n;
};

/* What references may ask for. */
struct env_ctx {
	const Core__Pod *pod;
	const struct objset *objects;
	const char *pod_ip, *host_ip; /* "" until known */
	int64_t node_cpu_milli, node_memory, node_storage; /* stand in for limits that are not set */
	/* Services by "namespace/name": Core__Service *; NULL: none. */
	const struct map *services;
};

/* NULL when there is no such variable. */
const char *env_get(const struct env_list *, const char *name);
void env_set(struct env_list *, const char *name, const char *value);
/* $(NAME) for names in the list; others stay as they are. */
const char *env_expand(struct arena *, const char *text, const struct env_list *);
/* All variables of the container. An error names the reason for people: `configmap "x" not found`. */
int env_build(struct arena *, const struct env_ctx *, const Core__Container *, struct env_list *ret, struct err *e);

/* metadata.name, metadata.labels['x'], spec.nodeName, status.podIP ... */
int env_field(struct arena *, const struct env_ctx *, const char *path, const char **ret, struct err *e);
/* limits.cpu and the like of a container (NULL: the named one), divided and rounded up. */
int env_resource(struct arena *, const struct env_ctx *, const Core__Container *, const Core__ResourceFieldSelector *,
		const char **ret, struct err *e);

#endif
