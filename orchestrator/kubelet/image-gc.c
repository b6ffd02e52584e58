#include "orchestrator/kubelet/image-gc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"

#define MAX_TOLD 50
#define MAX_NAMES 5

int image_gc_check(const struct image_gc_cfg *c, struct err *e)
{
	if (c->low_percent >= c->high_percent)
		return err_set(e, ERR_BAD_REQUEST, "--image-gc-low-threshold %d: must be less than --image-gc-high-threshold %d", c->low_percent,
				c->high_percent);
	if (c->min_age_ms < 0)
		return err_set(e, ERR_BAD_REQUEST, "--minimum-image-ttl-duration: must not be negative");
	return 0;
}

int64_t image_gc_wanted(const struct image_gc_cfg *c, int64_t capacity, int64_t available, int *ret_percent)
{
	int used;

	*ret_percent = 0;
	if (capacity <= 0 || c->high_percent >= 100)
		return 0;
	available = MAX(MIN(available, capacity), 0);
	used = 100 - (int)((__int128)available * 100 / capacity);
	*ret_percent = used;
	if (used < c->high_percent)
		return 0;
	return MAX((int64_t)((__int128)capacity * (100 - c->low_percent) / 100) - available, 0);
}

struct candidate {
	const struct gc_image *im;
	size_t at;
};

static int by_last_use(const void *x, const void *y)
{
	const struct gc_image *a = ((const struct candidate *)x)->im, *b = ((const struct candidate *)y)->im;

	if (a->used_ms != b->used_ms)
		return a->used_ms < b->used_ms ? -1 : 1;
	if (a->seen_ms != b->seen_ms)
		return a->seen_ms < b->seen_ms ? -1 : 1;
	return strcmp(a->id, b->id);
}

size_t image_gc_order(struct arena *a, const struct image_gc_cfg *c, const struct gc_image *im, size_t n, int64_t now_ms, size_t **ret)
{
	struct candidate *list = arena_new_array(a, struct candidate, n + 1);
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		if (!im[i].pinned && !im[i].in_use && now_ms - im[i].seen_ms >= c->min_age_ms)
			list[k++] = (struct candidate){&im[i], i};
	qsort(list, k, sizeof(*list), by_last_use);
	*ret = arena_new_array(a, size_t, k + 1);
	for (size_t i = 0; i < k; i++)
		(*ret)[i] = list[i].at;
	return k;
}

bool image_is(const Runtime__Image *im, const char *ref)
{
	return is_set(ref) && (pb_streq(im->id, ref) || pb_has_str((const char *const *)im->repo_digests, im->n_repo_digests, ref) ||
				      pb_has_str((const char *const *)im->repo_tags, im->n_repo_tags, ref));
}

static int by_size(const void *x, const void *y)
{
	const Runtime__Image *a = *(Runtime__Image *const *)x, *b = *(Runtime__Image *const *)y;

	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return strcmp(nz(a->id), nz(b->id));
}

void image_gc_tell(struct arena *a, const Runtime__ListImagesResponse *l, Core__NodeStatus *s)
{
	Runtime__Image **list;

	if (!l || l->n_images == 0)
		return;
	list = arena_memdup(a, l->images, l->n_images * sizeof(Runtime__Image *));
	qsort(list, l->n_images, sizeof(Runtime__Image *), by_size);
	for (size_t i = 0; i < MIN(l->n_images, (size_t)MAX_TOLD); i++) {
		Core__ContainerImage *c = pb_add(a, s, "images");

		for (size_t k = 0; k < list[i]->n_repo_digests && c->n_names < MAX_NAMES; k++)
			PB_ADD(a, c, names, list[i]->repo_digests[k]);
		for (size_t k = 0; k < list[i]->n_repo_tags && c->n_names < MAX_NAMES; k++)
			PB_ADD(a, c, names, list[i]->repo_tags[k]);
		PB_SET(c, size_bytes, (int64_t)list[i]->size);
	}
}

char *image_gc_size(struct arena *a, int64_t bytes)
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	int u = -1;

	while (v >= 1024 && u + 1 < (int)sizeof(units) - 1)
		v /= 1024, u++;
	return u < 0 ? arena_printf(a, "%" PRId64 " B", bytes) : arena_printf(a, "%.1f %ciB", v, units[u]);
}
