/*
 * The node's images: they are listed every quarter of a minute and when some came, told in the Node's status, and the unused ones removed when
 * their file system is nearly full (image-gc.h decides), or when the eviction of pods could be spared so.
 *
 *	idle --timer--> list --> file system --> remove, one after another --> idle
 *
 * While the picture of the runtime or the node's pods are not known, everything would look unused: nothing is removed then.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/image-gc.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"

#define LOOK_MS 15000
#define SOON_MS 500
#define COMPLAIN_MS 300000 /* a disk that stays full is an event so often */

struct known_image {
	int64_t seen_ms, used_ms;
	uint64_t listing; /* in which it was there last */
};

struct image_keeper {
	struct kubelet *k;
	struct loop_timer timer;
	struct cri_call call;
	bool busy, closing, again;
	struct kept *list; /* Runtime__ListImagesResponse: the last */
	uint64_t listing;
	struct map known;  /* id -> struct known_image */
	char *fs_path;     /* where the runtime keeps them; NULL: not known yet */
	/* The round that runs. */
	struct arena arena;
	struct gc_image *images;
	size_t *order, n_order, at;
	int64_t wanted, freed, capacity;
	int percent;
	char *error;
	/* The last failed, too; when that was said. */
	bool failed_before;
	int64_t told_ms;
	/* Somebody waits for all that is unused to be removed. */
	void (*reclaimed)(struct kubelet *);
	bool reclaims; /* in the round that runs */
};

static void on_time(struct loop_timer *t);

static void maybe_free(struct image_keeper *ik)
{
	if (ik->busy)
		return;
	arena_fini(&ik->arena);
	map_fini_with(&ik->known, free);
	kept_unref(ik->list);
	free(ik->fs_path);
	free(ik->error);
	free(ik);
}

struct image_keeper *image_keeper_new(struct kubelet *k)
{
	struct image_keeper *ik = xcalloc(1, sizeof(*ik));

	ik->k = k;
	map_init(&ik->known);
	arena_init(&ik->arena);
	return ik;
}

void image_keeper_close(struct image_keeper *ik)
{
	if (!ik)
		return;
	ik->closing = true;
	loop_timer_stop(&ik->timer);
	if (ik->busy)
		cri_cancel(&ik->call);
	else
		maybe_free(ik);
}

void image_keeper_look(struct image_keeper *ik)
{
	if (!ik || ik->closing)
		return;
	if (ik->busy)
		ik->again = true;
	else
		loop_timer_start(&ik->timer, ik->k->loop, SOON_MS, on_time);
}

const char *image_keeper_path(const struct image_keeper *ik)
{
	return ik && ik->fs_path ? ik->fs_path : NULL;
}

void image_keeper_tell(const struct image_keeper *ik, struct arena *a, Core__NodeStatus *s)
{
	if (ik && ik->list)
		image_gc_tell(a, ik->list->msg, s);
}

void image_keeper_reclaim(struct image_keeper *ik, void (*done)(struct kubelet *))
{
	ik->reclaimed = done;
	if (ik->busy)
		ik->again = true;
	else
		loop_timer_start(&ik->timer, ik->k->loop, 0, on_time);
}

/* The call is over; true when the round is, too, since we are closing. */
static bool over(struct image_keeper *ik)
{
	ik->busy = false;
	kubelet_idle(ik->k);
	if (ik->closing)
		maybe_free(ik);
	return ik->closing;
}

static void start(struct image_keeper *ik, enum cri_method method, const ProtobufCMessage *req, void (*done)(struct cri_call *))
{
	ik->call = (struct cri_call){.done = done};
	ik->busy = true;
	kubelet_busy(ik->k);
	cri_start(ik->k->cri, &ik->call, method, req);
}

/* A failure that comes twice in a row is an event, as upstream: one may be a runtime that has just started. */
static void failed(struct image_keeper *ik, const char *text)
{
	int64_t now = (int64_t)clock_mono_ms();

	if (ik->failed_before && now - ik->told_ms < COMPLAIN_MS)
		return;
	log_warn("kubelet", "image garbage collection: %s", text);
	if (ik->failed_before)
		node_event(ik->k, true, "ImageGCFailed", "%s", text);
	ik->failed_before = true;
	ik->told_ms = now;
}

static void judge(struct image_keeper *ik)
{
	int64_t now = (int64_t)clock_mono_ms();
	const char *text;

	if (ik->freed > 0)
		log_info("kubelet", "unused images removed bytes=%" PRId64 " wanted=%" PRId64, ik->freed, ik->wanted);
	if (ik->error) {
		failed(ik, arena_printf(&ik->arena, "wanted to free %" PRId64 " bytes, but freed %" PRId64 " bytes space with errors in image deletion: %s",
						    ik->wanted, ik->freed, ik->error));
	} else if (!ik->reclaims && ik->freed < ik->wanted) {
		text = arena_printf(&ik->arena, "Insufficient free disk space on the node's image filesystem (%d%% of %s used). Failed to free sufficient "
						 "space by deleting unused images (freed %" PRId64 " bytes). Investigate disk usage, as it could be used by "
						 "active images, logs, volumes, or other data.", ik->percent, image_gc_size(&ik->arena, ik->capacity), ik->freed);
		if (!ik->failed_before || now - ik->told_ms >= COMPLAIN_MS)
			node_event(ik->k, true, "FreeDiskSpaceFailed", "%s", text);
		failed(ik, text);
	} else if (!ik->reclaims) {
		ik->failed_before = false;
	}
}

/* The round is over. */
static void rest(struct image_keeper *ik)
{
	void (*reclaimed)(struct kubelet *) = ik->reclaims ? TAKE(ik->reclaimed) : NULL;
	struct kubelet *k = ik->k;
	/* What was removed is no longer there to be told of. */
	bool again = ik->again || ik->freed > 0;

	arena_fini(&ik->arena);
	arena_init(&ik->arena);
	free(TAKE(ik->error));
	ik->images = NULL;
	ik->wanted = ik->freed = 0;
	ik->n_order = ik->at = 0;
	ik->again = ik->reclaims = false;
	loop_timer_start(&ik->timer, k->loop, ik->reclaimed ? 0 : again ? SOON_MS : LOOK_MS, on_time);
	if (reclaimed)
		reclaimed(k);
}

/* --- removing ------------------------------------------------------------------------------------------------------ */

static void remove_next(struct image_keeper *ik);

static void removed(struct cri_call *c)
{
	struct image_keeper *ik = container_of(c, struct image_keeper, call);
	const struct gc_image *im = &ik->images[ik->order[ik->at]];

	if (!c->err.code) {
		ik->freed += im->size;
		log_info("kubelet", "image removed id=%s bytes=%" PRId64, im->id, im->size);
	} else if (!ik->error && c->err.code != ERR_CANCELED) {
		ik->error = xstrdup(c->err.text);
	}
	cri_call_fini(c);
	if (over(ik))
		return;
	ik->at++;
	remove_next(ik);
}

static void remove_next(struct image_keeper *ik)
{
	Runtime__RemoveImageRequest req = RUNTIME__REMOVE_IMAGE_REQUEST__INIT;
	Runtime__ImageSpec spec = RUNTIME__IMAGE_SPEC__INIT;

	if (ik->at >= ik->n_order || ik->freed >= ik->wanted) {
		judge(ik);
		rest(ik);
		return;
	}
	spec.image = ik->images[ik->order[ik->at]].id;
	req.image = &spec;
	start(ik, CRI_REMOVE_IMAGE, &req.base, removed);
}

/* --- the file system ------------------------------------------------------------------------------------------------ */

static void measured(struct cri_call *c)
{
	struct image_keeper *ik = container_of(c, struct image_keeper, call);
	Runtime__ImageFsInfoResponse *r = CRI_REPLY(c, Runtime__ImageFsInfoResponse);
	struct err e = c->err;
	struct statvfs fs;

	if (r && r->n_image_filesystems > 0 && r->image_filesystems[0]->fs_id && is_set(r->image_filesystems[0]->fs_id->mountpoint)) {
		free(ik->fs_path);
		ik->fs_path = xstrdup(r->image_filesystems[0]->fs_id->mountpoint);
	}
	cri_call_fini(c);
	if (over(ik))
		return;
	if (!e.code && !ik->fs_path)
		err_set(&e, ERR_INTERNAL, "the runtime does not say where its images are");
	if (!e.code && statvfs(ik->fs_path, &fs) < 0)
		err_set_errno(&e, errno, "statvfs %s", ik->fs_path);
	if (e.code) {
		failed(ik, e.text);
		rest(ik);
		return;
	}
	ik->capacity = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
	ik->wanted = image_gc_wanted(&ik->k->image_gc, ik->capacity, (int64_t)fs.f_bavail * (int64_t)fs.f_frsize, &ik->percent);
	if (ik->reclaims)
		ik->wanted = INT64_MAX;
	remove_next(ik);
}

/* --- the list ------------------------------------------------------------------------------------------------------- */

static bool needed(const struct kubelet *k, const Runtime__Image *im, struct arena *a)
{
	MAP_FOR_EACH (e, runtime_pods(k->runtime)) {
		const struct rt_pod *rt = e->value;

		for (size_t i = 0; i < rt->n_containers; i++)
			if (image_is(im, rt->containers[i]->image_ref) || image_is(im, rt->containers[i]->image))
				return true;
	}
	/* A pod may be between the look for its image and its container. */
	MAP_FOR_EACH (e, &k->workers) {
		const struct pod_worker *w = e->value;

		for (size_t i = 0; w->pod && !worker_is_over(w) && i < w->n_c; i++) {
			const char *image = nz(worker_spec(w, w->c[i].name)->image);

			if (image_is(im, image) || (image_name_ok(image) && image_is(im, image_full_name(a, image))))
				return true;
		}
	}
	return false;
}

static bool pinned(const struct kubelet *k, const Runtime__Image *im)
{
	bool yes = im->pinned || image_is(im, kubelet_pause_image(k));

	for (size_t i = 0; i < im->n_repo_tags; i++)
		yes = yes || containerd_is_archived(k->containerd, im->repo_tags[i]);
	return yes;
}

static struct known_image *known_of(struct image_keeper *ik, const char *id, int64_t now)
{
	struct known_image *n = map_get(&ik->known, str_from(id));

	if (!n) {
		n = xcalloc(1, sizeof(*n));
		n->seen_ms = now;
		map_put(&ik->known, str_from(id), n);
	}
	n->listing = ik->listing;
	return n;
}

static void forget_removed(struct image_keeper *ik)
{
	struct map_entry *e;
	size_t i = 0;

	while ((e = map_next(&ik->known, &i)) != NULL) {
		struct known_image *n = e->value;

		if (n->listing == ik->listing)
			continue;
		map_del(&ik->known, e->key);
		free(n);
		i = 0;
	}
}

static void look_through(struct image_keeper *ik, const Runtime__ListImagesResponse *l)
{
	int64_t now = (int64_t)clock_mono_ms();
	struct gc_image *im = arena_new_array(&ik->arena, struct gc_image, l->n_images + 1);

	ik->listing++;
	for (size_t i = 0; i < l->n_images; i++) {
		struct known_image *n = known_of(ik, nz(l->images[i]->id), now);

		im[i].in_use = needed(ik->k, l->images[i], &ik->arena);
		if (im[i].in_use)
			n->used_ms = now;
		im[i].id = nz(l->images[i]->id);
		im[i].size = (int64_t)l->images[i]->size;
		im[i].seen_ms = n->seen_ms;
		im[i].used_ms = n->used_ms;
		im[i].pinned = pinned(ik->k, l->images[i]);
	}
	forget_removed(ik);
	ik->images = im;
	ik->n_order = image_gc_order(&ik->arena, &ik->k->image_gc, im, l->n_images, now, &ik->order);
}

/* What is needed is known. */
static bool may_remove(const struct kubelet *k)
{
	return k->pods_synced && k->runtime_ready && runtime_generation(k->runtime) > 0 && !containerd_importing(k->containerd);
}

static void listed(struct cri_call *c)
{
	struct image_keeper *ik = container_of(c, struct image_keeper, call);
	Runtime__ListImagesResponse *l = CRI_REPLY(c, Runtime__ListImagesResponse);
	Runtime__ImageFsInfoRequest req = RUNTIME__IMAGE_FS_INFO_REQUEST__INIT;
	struct err e = c->err;
	bool changed = l && (!ik->list || !pb_equal(l, ik->list->msg));

	if (changed) {
		kept_unref(ik->list);
		ik->list = kept_new(l);
	}
	cri_call_fini(c);
	if (over(ik))
		return;
	if (changed && ik->k->node)
		node_changed(ik->k->node);
	if (e.code)
		failed(ik, e.text);
	if (e.code || !may_remove(ik->k)) {
		rest(ik);
		return;
	}
	look_through(ik, ik->list->msg);
	start(ik, CRI_IMAGE_FS_INFO, &req.base, measured);
}

static void on_time(struct loop_timer *t)
{
	struct image_keeper *ik = container_of(t, struct image_keeper, timer);
	Runtime__ListImagesRequest req = RUNTIME__LIST_IMAGES_REQUEST__INIT;

	ik->reclaims = ik->reclaimed != NULL;
	if (ik->k->runtime_ready)
		start(ik, CRI_LIST_IMAGES, &req.base, listed);
	else
		rest(ik);
}
