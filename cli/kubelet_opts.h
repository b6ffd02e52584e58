/* The flags of a node's resource management (what `kontiki server` and `kontiki agent` share with upstream's kubelet), and what they mean. */
#ifndef CLI_KUBELET_OPTS_H
#define CLI_KUBELET_OPTS_H

#include "orchestrator/kubelet/eviction-config.h"
#include "orchestrator/kubelet/image-gc.h"

struct kubelet_opts {
	int64_t image_high, image_low;
	const char *image_ttl;
	struct eviction_flags eviction;
};

struct kubelet_limits {
	struct image_gc_cfg image_gc;
	struct eviction_cfg eviction;
};

int kubelet_opts_read(const struct kubelet_opts *, struct kubelet_limits *ret, struct err *);

#endif
