/*
 * The priority levels and flow schemas that a cluster has from its start (flow_default.def), and how a cluster that has them already
 * is put right: pure functions. flow_boot.c writes what they say.
 *
 *	for (size_t pos = 0; flow_default_next(&arena, &pos, &d);)
 *		... flow_default_merge(&arena, &d, what_is_there) gives the object to write, or NULL
 *
 * Mandatory ones are always as the table says (but for the seats of the exempt level, which may be set). Of the others the annotation
 * apf.kubernetes.io/autoupdate-spec decides: "true", and the spec is the table's; "false", and it is the administrator's. Without one,
 * an object that was never changed is taken for ours.
 */
#ifndef ORCHESTRATOR_APISERVER_FLOW_DEFAULT_H
#define ORCHESTRATOR_APISERVER_FLOW_DEFAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct json;

#define FLOW_GROUP "flowcontrol.apiserver.k8s.io"
#define FLOW_SCHEMAS "flowschemas"
#define FLOW_LEVELS "prioritylevelconfigurations"

struct flow_default {
	const char *plural, *name;
	bool mandatory;
	struct json *doc;
};
/* *pos starts at 0; false at the end. Levels come before the schemas that name them. */
bool flow_default_next(struct arena *, size_t *pos, struct flow_default *ret);
/* `have` NULL: not there. */
struct json *flow_default_merge(struct arena *, const struct flow_default *, const struct json *have);
/* It was one of ours once and is no more: to be deleted. */
bool flow_default_stale(struct arena *, const char *plural, const struct json *have);

/*
 * The condition Dangling of a flow schema whose level is there or not; NULL when the status says so already. Gives the object to
 * write.
 */
struct json *flow_dangling(struct arena *, const struct json *schema, bool found, struct json *now);

#endif
