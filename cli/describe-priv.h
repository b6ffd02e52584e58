/* Shared by cli/describe*.c: the writer and the parts that several kinds have. */
#ifndef CLI_DESCRIBE_PRIV_H
#define CLI_DESCRIBE_PRIV_H

#include "cli/describe.h"
#include "proto/json.h"

struct describe {
	struct arena *arena;
	struct buf text; /* cells still separated by tabs */
	int64_t now;
	const struct describe_more *more;
};

/* A line or a piece of it, indented by two spaces a level. */
void describe__put(struct describe *, unsigned level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Texts in the arena. */
const char *describe__time(struct describe *, const struct json *rfc3339); /* "Mon, 02 Jan 2006 15:04:05 +0000" */
const char *describe__age(struct describe *, const struct json *rfc3339);  /* "5m", "<unknown>" */
const char *describe__scalar(struct describe *, const struct json *);      /* as Go's %v */
const char *describe__or(const char *text, const char *when_empty);
const char *describe__join(struct describe *, const struct json *array, const char *between);
const char *describe__controller(struct describe *, const struct json *obj); /* "ReplicaSet/x" or "" */
const char *describe__label_selector(struct describe *, const struct json *selector);
/* Members of an object by key. */
const struct json_member *describe__sorted(struct describe *, const struct json *obj, size_t *ret_n);

/* "Name:\tx" lines. */
void describe__name(struct describe *, const struct json *obj, bool with_namespace);
void describe__labels(struct describe *, const char *title, const struct json *labels);
void describe__annotations(struct describe *, const char *title, const struct json *annotations);
void describe__tolerations(struct describe *, const char *title, const struct json *tolerations);
void describe__containers(struct describe *, const char *title, const struct json *containers, const struct json *statuses,
		const struct json *pod, const char *space);
void describe__volumes(struct describe *, const struct json *volumes, const char *space);
void describe__spread(struct describe *, const struct json *constraints, const char *space);
void describe__template(struct describe *, const struct json *template);

/* Kinds. */
void describe__pod(struct describe *, const struct json *);
void describe__node(struct describe *, const struct json *);
void describe__deployment(struct describe *, const struct json *);
void describe__replica_set(struct describe *, const struct json *);
void describe__service(struct describe *, const struct json *);
void describe__endpoints(struct describe *, const struct json *);
void describe__endpoint_slice(struct describe *, const struct json *);
void describe__service_account(struct describe *, const struct json *);
void describe__namespace(struct describe *, const struct json *);
void describe__config_map(struct describe *, const struct json *);
void describe__secret(struct describe *, const struct json *);
void describe__generic(struct describe *, const struct json *);

#endif
