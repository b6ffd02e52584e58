/* Shared by the files of the Pod Security Standards (podsecurity.h): what checks look at, and the checks. */
#ifndef ORCHESTRATOR_APISERVER_PODSECURITY_PRIV_H
#define ORCHESTRATOR_APISERVER_PODSECURITY_PRIV_H

#include "base/buf.h"
#include "orchestrator/apiserver/podsecurity.h"
#include "proto/json.h"

struct ps_pod {
	struct arena *arena;
	const struct json *meta, *spec;
	bool windows;
	struct buf detail;  /* what the check found; empty: nothing */
};

/* Each name once, in the order in which they are met. */
#define PS_MAX_NAMES 64
struct ps_names {
	struct str v[PS_MAX_NAMES]; /* more than that is not told */
	size_t n;
};

/* Who sets something: the pod, containers, or both. */
struct ps_setters {
	struct ps_names containers, values;
	bool pod;
};

void podsecurity__add(struct ps_names *, struct str);
void podsecurity__sort(struct ps_names *);
/* `"a", "b"` */
void podsecurity__tell(struct buf *, const struct ps_names *, bool quoted);
/* `container "a"`, `containers "a", "b"` */
void podsecurity__tell_kind(struct buf *, const char *one, const struct ps_names *);
/* `pod and container "a"` */
void podsecurity__tell_setters(struct buf *, const struct ps_setters *);

/* Initial, main and ephemeral containers. */
typedef void ps_container_fn(struct ps_pod *, const struct json *container, void *arg);
void podsecurity__each(struct ps_pod *, ps_container_fn *, void *arg);
struct str podsecurity__name_of(const struct json *);
bool podsecurity__in_list(const char *const *list, struct str);
/* It is there, and it is false. */
bool podsecurity__is_false(const struct json *);

/* podsecurity_host.c, podsecurity_confine.c: each says in `detail` what it found. */
void podsecurity__apparmor(struct ps_pod *);
void podsecurity__caps_baseline(struct ps_pod *);
void podsecurity__host_namespaces(struct ps_pod *);
void podsecurity__host_path(struct ps_pod *);
void podsecurity__host_ports(struct ps_pod *);
void podsecurity__host_probes(struct ps_pod *);
void podsecurity__privileged(struct ps_pod *);
void podsecurity__proc_mount(struct ps_pod *);
void podsecurity__selinux(struct ps_pod *);
void podsecurity__seccomp_baseline(struct ps_pod *);
void podsecurity__sysctls(struct ps_pod *);
void podsecurity__host_process(struct ps_pod *);
void podsecurity__escalation(struct ps_pod *);
void podsecurity__caps_restricted(struct ps_pod *);
void podsecurity__volumes(struct ps_pod *);
void podsecurity__non_root(struct ps_pod *);
void podsecurity__user(struct ps_pod *);
void podsecurity__seccomp_restricted(struct ps_pod *);

#endif
