#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/process.h"
#include "orchestrator/kubelet/containerd-priv.h"
#include "orchestrator/kubelet/fsutil.h"

#define SETTLE_MS 300     /* after a change in the folder: the copy may go on */
#define MAX_PARALLEL 1 /* each waits mostly for the disk, and they slow each other down */
#define RETRY_MS 30000    /* after a failed import */

struct archive {
	struct list link;
	struct containerd_images *im;
	struct process_run run; /* while it is imported */
	const char *argv[12];
	char *path;
	uint64_t began_ms;
	char *name;      /* "busybox.tar" */
	char stamp[64];  /* size and mtime */
	int64_t size;
};

struct containerd_images {
	struct loop *loop;
	struct containerd_user *user;
	char *dir, *stamp_dir, *socket, *ctr;
	struct list queue, running;
	unsigned n_running;
	struct map names;   /* of all images that came from archives */
	bool first_done, have_pause, watching, failed;
	struct loop_timer timer;
	uv_fs_event_t watch;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void next(struct containerd_images *im);

struct containerd_images *images_new(struct loop *loop, const struct containerd_config *cfg, const char *socket,
		struct containerd_user *user)
{
	struct containerd_images *im = xcalloc(1, sizeof(*im));

	im->loop = loop;
	im->user = user;
	im->dir = xstrdup(cfg->images_dir);
	im->stamp_dir = xasprintf("%s/imported", cfg->dir);
	im->socket = xstrdup(socket);
	im->ctr = xstrdup(cfg->ctr ? cfg->ctr : "ctr");
	list_init(&im->queue);
	list_init(&im->running);
	map_init(&im->names);
	fs_mkdir_all(im->dir, 0755, NULL);
	return im;
}

bool images_first_pass_done(const struct containerd_images *im)
{
	return im->first_done;
}

bool images_have_pause(const struct containerd_images *im)
{
	return im->have_pause;
}

static void archive_free(struct archive *a)
{
	if (!a)
		return;
	free(a->name);
	free(a->path);
	free(a);
}

static bool is_pause(const char *name)
{
	return strncmp(name, "pause", 5) == 0;
}

bool images_has_name(const struct containerd_images *im, const char *name)
{
	return map_get(&im->names, str_from(name)) != NULL;
}

/* True when that very file was imported before. Its stamp: size and time, then a line for each image in it. */
static bool is_imported(struct containerd_images *im, const struct archive *a)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", im->stamp_dir, a->name);
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct str line, rest;

	if (file_get(path, 65536, &b, NULL) < 0)
		return false;
	str_cut(buf_str(&b), '\n', &line, &rest);
	if (!str_eqc(line, a->stamp))
		return false;
	while (rest.n > 0) {
		str_cut(rest, '\n', &line, &rest);
		if (line.n)
			map_put(&im->names, line, im);
	}
	return true;
}

/* "unpacking NAME (sha256:...)...done", one line an image. */
static void write_stamp(struct containerd_images *im, const struct archive *a, struct str out)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", im->stamp_dir, a->name);
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct str line, name;

	buf_printf(&b, "%s\n", a->stamp);
	while (out.n > 0) {
		str_cut(out, '\n', &line, &out);
		if (!str_has_prefix(line, STR("unpacking ")))
			continue;
		str_cut(str_skip(line, strlen("unpacking ")), ' ', &name, &line);
		buf_printf(&b, "%.*s\n", STR_FMT(name));
		map_put(&im->names, name, im);
	}
	file_put(path, buf_str(&b), 0644, false, NULL);
}

static bool is_queued(struct containerd_images *im, const struct archive *a)
{
	LIST_FOR_EACH (r, &im->running, struct archive, link)
		if (strcmp(r->name, a->name) == 0 && strcmp(r->stamp, a->stamp) == 0)
			return true;
	LIST_FOR_EACH (q, &im->queue, struct archive, link)
		if (strcmp(q->name, a->name) == 0)
			return true;
	return false;
}

static void consider(struct containerd_images *im, const char *name)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", im->dir, name);
	struct archive *a;
	struct stat st;

	if (name[0] == '.' || !str_has_suffix(str_from(name), STR(".tar")) || stat(path, &st) < 0 ||
			!S_ISREG(st.st_mode))
		return;
	a = xcalloc(1, sizeof(*a));
	a->im = im;
	a->name = xstrdup(name);
	snprintf(a->stamp, sizeof(a->stamp), "%" PRId64 " %" PRId64 ".%09ld", (int64_t)st.st_size,
			(int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (is_imported(im, a) || is_queued(im, a)) {
		if (is_pause(name) && is_imported(im, a))
			im->have_pause = true;
		archive_free(a);
	} else if (is_pause(name)) {
		list_add_head(&im->queue, &a->link);
	} else {
		struct list *at = im->queue.next;

		/* Small ones first: what waits for one of them starts sooner. */
		a->size = st.st_size;
		while (at != &im->queue && (is_pause(container_of(at, struct archive, link)->name) ||
						   container_of(at, struct archive, link)->size <= a->size))
			at = at->next;
		list_add_tail(at, &a->link);
	}
}

static void on_settled(struct loop_timer *t)
{
	images_scan(container_of(t, struct containerd_images, timer));
}

static void on_change(uv_fs_event_t *w, const char *name, int events, int status)
{
	struct containerd_images *im = container_of(w, struct containerd_images, watch);

	loop_timer_start(&im->timer, im->loop, SETTLE_MS, on_settled);
}

void images_scan(struct containerd_images *im)
{
	DIR *d = opendir(im->dir);
	struct dirent *de;

	if (!im->watching) {
		uv_fs_event_init(loop_uv(im->loop), &im->watch);
		uv_fs_event_start(&im->watch, on_change, im->dir, 0);
		im->watching = true;
	}
	if (d) {
		while ((de = readdir(d)) != NULL)
			consider(im, de->d_name);
		closedir(d);
	}
	next(im);
}

static void finish_close(struct containerd_images *im);

static void imported(struct process_run *run, struct process_exit how, struct str out, struct str err_out,
		const struct err *e)
{
	struct archive *a = container_of(run, struct archive, run);
	struct containerd_images *im = a->im;

	list_del(&a->link);
	im->n_running--;
	if (e) {
		im->failed = true;
		log_warn("kubelet", "image archive %s: %s", a->name, e->text);
	} else {
		write_stamp(im, a, out);
		if (is_pause(a->name))
			im->have_pause = true;
		log_info("kubelet", "image archive imported file=%s ms=%d", a->name,
				(int)(clock_mono_ms() - a->began_ms));
	}
	archive_free(a);
	if (im->closed) {
		if (im->n_running == 0)
			finish_close(im);
		return;
	}
	if (!e)
		im->user->images_changed(im->user);
	next(im);
}

static void import(struct containerd_images *im, struct archive *a)
{
	int n = 0;

	a->path = xasprintf("%s/%s", im->dir, a->name);
	a->argv[n++] = im->ctr;
	a->argv[n++] = "-a";
	a->argv[n++] = im->socket;
	a->argv[n++] = "-n";
	a->argv[n++] = "k8s.io";
	a->argv[n++] = "images";
	a->argv[n++] = "import";
	a->argv[n++] = "--snapshotter";
	a->argv[n++] = containerd__snapshotter();
	a->argv[n++] = a->path;
	a->argv[n] = NULL;
	a->run.loop = im->loop;
	a->run.spec.argv = a->argv;
	a->run.timeout_ms = 600000;
	a->run.done = imported;
	a->began_ms = clock_mono_ms();
	list_add_tail(&im->running, &a->link);
	im->n_running++;
	process_run(&a->run);
}

static bool pause_is_imported_now(struct containerd_images *im)
{
	LIST_FOR_EACH (a, &im->running, struct archive, link)
		if (is_pause(a->name))
			return true;
	return false;
}

static void next(struct containerd_images *im)
{
	struct list *l;

	/* Nothing runs without the pause image: it does not share the processors with others. */
	while (im->n_running < MAX_PARALLEL && !pause_is_imported_now(im) && (l = list_pop(&im->queue)) != NULL)
		import(im, container_of(l, struct archive, link));
	if (im->n_running > 0)
		return;
	if (!im->first_done) {
		im->first_done = true;
		im->user->images_changed(im->user);
	}
	if (im->failed) {
		im->failed = false;
		loop_timer_start(&im->timer, im->loop, RETRY_MS, on_settled);
	}
}

static void images_free(uv_handle_t *h)
{
	struct containerd_images *im = container_of((uv_fs_event_t *)h, struct containerd_images, watch);
	void (*closed)(void *arg) = im->closed;
	void *arg = im->closed_arg;

	while (!list_empty(&im->queue))
		archive_free(container_of(list_pop(&im->queue), struct archive, link));
	map_fini(&im->names);
	free(im->dir);
	free(im->stamp_dir);
	free(im->socket);
	free(im->ctr);
	free(im);
	closed(arg);
}

static void finish_close(struct containerd_images *im)
{
	if (!im->watching)
		uv_fs_event_init(loop_uv(im->loop), &im->watch);
	uv_close((uv_handle_t *)&im->watch, images_free);
}

void images_close(struct containerd_images *im, void (*closed)(void *arg), void *arg)
{
	im->closed = closed;
	im->closed_arg = arg;
	loop_timer_stop(&im->timer);
	LIST_FOR_EACH (a, &im->running, struct archive, link)
		process_run_cancel(&a->run);
	if (im->n_running == 0)
		finish_close(im);
}
