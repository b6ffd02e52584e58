/* What `wait --for` waits for: parsing it, and whether an object is there yet. Pure. */
#ifndef CLI_KUBE_WAIT_H
#define CLI_KUBE_WAIT_H

#include "base/arena.h"
#include "base/err.h"

struct json;

enum kube_wait_kind { KUBE_WAIT_DELETE, KUBE_WAIT_CREATE, KUBE_WAIT_CONDITION, KUBE_WAIT_PATH };

struct kube_condition {
	enum kube_wait_kind kind;
	const char *name;  /* the condition's type, or the path */
	const char *value; /* NULL: any (a path) */
};

int kube_condition_parse(struct arena *, const char *text, struct kube_condition *ret, struct err *e);
/* 1: it is so, 0: not yet. obj NULL: it does not exist. */
int kube_condition_met(struct arena *, const struct kube_condition *, const struct json *obj, struct err *e);

#endif
