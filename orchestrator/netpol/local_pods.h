/*
 * The pods of this node, as policies have to know them: from the API, and from the kubelet, which knows an address before the API does
 * and a pod until nothing of it runs any more, though its object may be gone. Used by netpol alone.
 *
 * The functions return whether something changed that rules may depend on.
 */
#ifndef ORCHESTRATOR_NETPOL_LOCAL_PODS_H
#define ORCHESTRATOR_NETPOL_LOCAL_PODS_H

#include "base/map.h"
#include "orchestrator/netpol/netpol_compile.h"

struct local_pod {
	struct arena arena;
	Core__Pod *pod; /* see netpol_keep_pod; in the arena */
	uint32_t addr;  /* 0: none yet */
	bool in_api, runs;
};

struct local_pods {
	struct map by_uid;
};

void local_pods_init(struct local_pods *);
void local_pods_fini(struct local_pods *);
/* The API has it, so. */
bool local_pods_set(struct local_pods *, const Core__Pod *);
bool local_pods_deleted(struct local_pods *, const char *uid);
/* It has a network here, and this address. */
bool local_pods_runs(struct local_pods *, const Core__Pod *, uint32_t addr);
bool local_pods_ended(struct local_pods *, const char *uid);

const struct local_pod *local_pods_find(const struct local_pods *, const char *uid);
/* Those that take part; room for all. Those that are known to run come last. Returns the number. */
size_t local_pods_collect(const struct local_pods *, struct netpol_pod *out);

#endif
