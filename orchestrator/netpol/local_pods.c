#include "orchestrator/netpol/local_pods.h"

#include <stdlib.h>

#include "base/util.h"
#include "net/link.h"
#include "proto/pb.h"

static void free_pod(void *p)
{
	struct local_pod *l = p;

	arena_fini(&l->arena);
	free(l);
}

void local_pods_init(struct local_pods *lp)
{
	map_init(&lp->by_uid);
}

void local_pods_fini(struct local_pods *lp)
{
	map_fini_with(&lp->by_uid, free_pod);
}

const struct local_pod *local_pods_find(const struct local_pods *lp, const char *uid)
{
	return map_get(&lp->by_uid, str_from(uid));
}

/* What is kept of it is what `pod` says now. */
static struct local_pod *update(struct local_pods *lp, const Core__Pod *pod, bool *ret_changed)
{
	struct str uid = str_from(pb_s(pod->metadata->uid));
	struct local_pod *l = map_get(&lp->by_uid, uid);
	struct arena a;
	Core__Pod *kept;

	arena_init(&a);
	kept = netpol_keep_pod(&a, pod);
	*ret_changed = !l || !netpol_pod_same(l->pod, kept);
	if (!l) {
		l = xcalloc(1, sizeof(*l));
		map_put(&lp->by_uid, uid, l);
	} else {
		arena_fini(&l->arena);
	}
	l->arena = a;
	l->pod = kept;
	return l;
}

bool local_pods_set(struct local_pods *lp, const Core__Pod *pod)
{
	bool changed;
	struct local_pod *l = update(lp, pod, &changed);

	l->in_api = true;
	if (!l->runs && !ip4_parse(str_from(pb_s(l->pod->status->pod_ip)), &l->addr))
		l->addr = 0;
	return changed;
}

/* True when it is gone. */
static bool drop(struct local_pods *lp, struct local_pod *l)
{
	if (l->in_api || l->runs)
		return false;
	map_del(&lp->by_uid, str_from(l->pod->metadata->uid));
	free_pod(l);
	return true;
}

bool local_pods_deleted(struct local_pods *lp, const char *uid)
{
	struct local_pod *l = map_get(&lp->by_uid, str_from(uid));

	if (!l)
		return false;
	l->in_api = false;
	return drop(lp, l);
}

bool local_pods_runs(struct local_pods *lp, const Core__Pod *pod, uint32_t addr)
{
	struct local_pod *l = map_get(&lp->by_uid, str_from(pb_s(pod->metadata->uid)));
	bool changed = false;

	/* The API's word on labels comes by local_pods_set. */
	if (!l)
		l = update(lp, pod, &changed);
	changed |= l->addr != addr;
	l->addr = addr;
	l->runs = true;
	return changed;
}

bool local_pods_ended(struct local_pods *lp, const char *uid)
{
	struct local_pod *l = map_get(&lp->by_uid, str_from(uid));
	bool changed;

	if (!l)
		return false;
	changed = l->addr != 0;
	l->runs = false;
	l->addr = 0;
	drop(lp, l);
	return changed;
}

size_t local_pods_collect(const struct local_pods *lp, struct netpol_pod *out)
{
	size_t n = 0;

	for (int runs = 0; runs < 2; runs++)
		MAP_FOR_EACH (e, &lp->by_uid) {
			const struct local_pod *l = e->value;

			if (l->runs == runs && l->addr && netpol_takes_part(l->pod))
				out[n++] = (struct netpol_pod){l->pod, l->addr, true};
		}
	return n;
}
