/* The table of methods, and finding one. */
#include <pthread.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_election.pb-c.h"
#include "proto/etcd_health.pb-c.h"
#include "proto/etcd_lock.pb-c.h"
#include "proto/etcd_rpc.pb-c.h"

const struct etcd_method etcd__methods[] = {
#define RPC(service, name, in, out, kind, who, handler, json)                                                          \
	{service, name, "/" service "/" name, json, &in##__descriptor, &out##__descriptor, ETCD_##kind, ETCD_##who, handler},
#include "orchestrator/etcd/methods.def"
#undef RPC
};
const size_t etcd__n_methods = ARRAY_LEN(etcd__methods);

static struct map by_path;

static void fill(void)
{
	map_init(&by_path);
	for (size_t i = 0; i < etcd__n_methods; i++)
		map_put(&by_path, str_from(etcd__methods[i].path), (void *)(uintptr_t)&etcd__methods[i]);
}

const struct etcd_method *etcd__method_find(struct str path)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, fill);
	return map_get(&by_path, path);
}
