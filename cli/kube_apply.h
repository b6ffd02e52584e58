/*
 * What `apply` sends, as kubectl makes it, so that the two can be mixed: the object with itself in an annotation, and the patch from
 * the state on the server to it. Pure.
 */
#ifndef CLI_KUBE_APPLY_H
#define CLI_KUBE_APPLY_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

struct json;
struct schema_type;

#define APPLY_LAST "kubectl.kubernetes.io/last-applied-configuration"

/*
 * A copy of `doc` with `ns` (NULL: none) in it and the annotation that keeps it. The namespace is kept too: it belongs to what kubectl
 * compares. `cause` (or NULL) becomes the change's cause.
 */
struct json *apply_modified(struct arena *, const struct json *doc, const char *ns, const char *cause);
/* Whether an object was made by apply. */
bool apply_has_last(const struct json *live);
/*
 * The three-way patch from what was applied last (the annotation of `live`), what is to be (`modified`) and what is (`live`); {} when
 * nothing is to be done. An annotation that is no JSON is an error.
 */
int apply_patch(struct arena *, const struct schema_type *, const struct json *modified, const struct json *live, struct json **ret,
		struct err *e);

#endif
