/*
 * The Pod Security Standards as a pure function: what in this pod's spec does a level forbid?
 *
 *	struct str why = podsecurity_check(&arena, PODSECURITY_RESTRICTED, metadata, spec);
 *	"allowPrivilegeEscalation != false (container "c" must set ...), seccompProfile (...)", or empty
 *
 * Each check is a row of a table. The texts are upstream's, since people and tools read them. Source: "Pod Security Standards" of the
 * Kubernetes documentation; versions older than the newest are judged by the newest.
 */
#ifndef ORCHESTRATOR_APISERVER_PODSECURITY_H
#define ORCHESTRATOR_APISERVER_PODSECURITY_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

struct json;

enum podsecurity_level { PODSECURITY_PRIVILEGED, PODSECURITY_BASELINE, PODSECURITY_RESTRICTED };

/* False: no such level. */
bool podsecurity_level(struct str name, enum podsecurity_level *ret);
/* "latest" or "v1.N". */
bool podsecurity_version_valid(struct str version);
/* metadata may be NULL (no annotations). */
struct str podsecurity_check(struct arena *, enum podsecurity_level, const struct json *metadata, const struct json *spec);

/* What the level forbids in pods that exist, in upstream's words: a line for each set of reasons, the pods with it counted. */
size_t podsecurity_existing(struct arena *, enum podsecurity_level, struct json *const *pods, size_t n, struct str **ret);

#endif
