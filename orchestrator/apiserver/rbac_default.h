/*
 * The roles and bindings that a cluster has from its start (rbac_default.def), and how a cluster that has them already is put
 * right: pure functions. bootstrap.c writes what they say.
 *
 *	for (size_t pos = 0; rbac_default_next(&arena, &pos, &d);)
 *		... rbac_default_merge(&arena, &d, what_is_there) gives the object to write, or NULL
 *
 * An object whose annotation rbac.authorization.kubernetes.io/autoupdate is "false" is left alone. Permissions and subjects that
 * are missing are added; what somebody added stays. A binding to another role is made anew.
 */
#ifndef ORCHESTRATOR_APISERVER_RBAC_DEFAULT_H
#define ORCHESTRATOR_APISERVER_RBAC_DEFAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct json;

struct rbac_default {
	const char *plural, *ns, *name; /* ns NULL: cluster-wide */
	struct json *doc;
};
/* *pos starts at 0; false at the end. */
bool rbac_default_next(struct arena *, size_t *pos, struct rbac_default *ret);
/* `have` NULL: not there. *ret_replace: roleRef cannot be changed, so delete it first. */
struct json *rbac_default_merge(struct arena *, const struct rbac_default *, const struct json *have, bool *ret_replace);

#endif
