/*
 * struct flow_config: all flow schemas and priority levels, compiled for quick answers: which schema does a request match? Pure data,
 * never changed once made; a change of an object makes another one.
 *
 *	struct flow_config *c = flow_config_new();
 *	flow_config_add_level(c, doc); flow_config_add_schema(c, doc); ...
 *	flow_config_done(c, total_seats);
 *	const struct flow_schema *s = flow_config_match(c, &question);     never NULL
 *
 * Schemas are asked in the order of their precedence, then of their names. One whose level is not there is passed over. The
 * mandatory objects are there even before they are stored. Source: "API Priority and Fairness" of the Kubernetes documentation.
 */
#ifndef ORCHESTRATOR_APISERVER_FLOW_CONFIG_H
#define ORCHESTRATOR_APISERVER_FLOW_CONFIG_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "orchestrator/apiserver/flow_limits.h"

struct api_user;
struct json;

/* More queues than this are not made for one level: each costs memory on every loop. */
#define FLOW_MAX_QUEUES 4096

struct flow_level_config {
	struct str name, uid;
	bool exempt, queues; /* neither: refuses what is over the limit */
	unsigned n_queues, hand_size, queue_limit;
	struct flow_share share;
	struct flow_bounds bounds; /* of the whole server */
};

enum flow_by { FLOW_BY_NOTHING, FLOW_BY_USER, FLOW_BY_NAMESPACE };

struct flow_rules;
struct flow_schema {
	struct str name, uid, level_name;
	int64_t precedence;
	enum flow_by by;
	const struct flow_level_config *level; /* NULL: dangling */
	size_t level_index;
	struct flow_rules *rules;
	size_t n_rules;
};

struct flow_config {
	struct arena arena;
	struct flow_level_config *levels;
	struct flow_schema *schemas; /* in the order of matching */
	size_t n_levels, n_schemas;
	size_t fallback; /* catch-all */
};

struct flow_config *flow_config_new(void);
void flow_config_free(struct flow_config *);
/* Documents as they are stored; what is no such object is passed over. */
void flow_config_add_level(struct flow_config *, const struct json *);
void flow_config_add_schema(struct flow_config *, const struct json *);
void flow_config_done(struct flow_config *, unsigned total_seats);

/* What a request is, as authorization sees it. Not a resource: verb and path count. */
struct flow_question {
	const struct api_user *user;
	bool is_resource;
	struct str verb, group, resource, sub, ns, path;
};
const struct flow_schema *flow_config_match(const struct flow_config *, const struct flow_question *);

#endif
