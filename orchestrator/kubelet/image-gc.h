/*
 * Which images leave a node, and which the Node tells of. Pure; image-keeper.c asks the runtime and does it.
 *
 * When the file system of the images is used to `high_percent` or more, as many bytes are to be freed as bring it to `low_percent`:
 * images that no container was made of and no pod here wants, the one that was used longest ago first. Never those that are
 * pinned: by the runtime, or since they came from this node's own archives, from where nothing would bring them back.
 */
#ifndef KUBELET_IMAGE_GC_H
#define KUBELET_IMAGE_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "proto/core.pb-c.h"
#include "proto/cri.pb-c.h"

struct image_gc_cfg {
	int high_percent; /* 100: never */
	int low_percent;
	int64_t min_age_ms; /* known for less: it stays */
};
#define IMAGE_GC_DEFAULTS ((struct image_gc_cfg){85, 80, 120000})

/* Upstream's rules for the three of them; of the percentages, that the low one is less. */
int image_gc_check(const struct image_gc_cfg *, struct err *e);

struct gc_image {
	const char *id;
	int64_t size;
	int64_t seen_ms; /* when this agent saw it first */
	int64_t used_ms; /* when something needed it last; 0: nothing since */
	bool pinned, in_use;
};

/* Bytes to free on a file system like that; 0: none. ret_percent: how much of it is used. */
int64_t image_gc_wanted(const struct image_gc_cfg *, int64_t capacity, int64_t available, int *ret_percent);
/* Those that may go, in the order in which they do: indexes, in the arena. Returns how many. */
size_t image_gc_order(struct arena *, const struct image_gc_cfg *, const struct gc_image *, size_t n, int64_t now_ms, size_t **ret);

/* Whether a container's or a pod's text (an id, a digest, a full name) means the image. */
bool image_is(const Runtime__Image *, const char *ref);

/* The 50 largest, each with at most five names, as the Node's status has them. */
void image_gc_tell(struct arena *, const Runtime__ListImagesResponse *, Core__NodeStatus *);

/* "26.4 GiB" */
char *image_gc_size(struct arena *, int64_t bytes);

#endif
