/* Is the container's image there, and if not, may and can it be fetched? */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"

#define SOON_MS 50
#define ARCHIVES_MS 60000 /* at the latest: a new image wakes the pod before */

bool image_name_ok(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 512 || s[0] == '/' || s[0] == ':' || s[0] == '@' || s[n - 1] == '/' || s[n - 1] == ':' ||
			s[n - 1] == '@' || strstr(s, "//"))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("._-/:@[]", s[i]))
			return false;
	/* Repository names are in lower case; a host's name (before the first slash) and a tag need not be. */
	for (const char *p = strchr(s, '/') ? strchr(s, '/') : s; *p && *p != ':' && *p != '@'; p++)
		if (isupper((unsigned char)*p))
			return false;
	return true;
}

/* "busybox" -> "docker.io/library/busybox:latest": the name that the runtime keeps. */
char *image_full_name(struct arena *a, const char *image)
{
	const char *slash = strchr(image, '/'), *last = strrchr(image, '/');
	bool host = slash && (memchr(image, '.', (size_t)(slash - image)) || memchr(image, ':', (size_t)(slash - image)) ||
				     strncmp(image, "localhost/", 10) == 0);
	bool tagged = strchr(last ? last : image, ':') || strchr(image, '@');

	return arena_printf(a, "%s%s%s", host ? "" : slash ? "docker.io/" : "docker.io/library/", image,
			tagged ? "" : ":latest");
}

/* The tag of a reference, "latest" when it has neither tag nor digest. */
static bool is_latest(const char *image)
{
	const char *slash = strrchr(image, '/'), *last = slash ? slash : image;
	const char *colon = strchr(last, ':');

	if (strchr(image, '@'))
		return false;
	return !colon || strcmp(colon, ":latest") == 0;
}

const char *image_pull_policy(const Core__Container *c)
{
	if (is_set(c->image_pull_policy))
		return c->image_pull_policy;
	return is_latest(nz(c->image)) ? "Always" : "IfNotPresent";
}

static void fail(struct image_get *g, const char *reason, const char *fmt, const char *a, const char *b)
{
	g->reason = reason;
	snprintf(g->message, sizeof(g->message), fmt, a, b);
	g->done(g);
}

static void take(struct image_get *g, const Runtime__Image *im)
{
	snprintf(g->id, sizeof(g->id), "%s", nz(im->id));
	snprintf(g->user, sizeof(g->user), "%s", nz(im->username));
	g->uid = im->uid ? im->uid->value : is_set(im->username) ? -1 : 0;
}

static void look(struct image_get *g, void (*done)(struct cri_call *))
{
	Runtime__ImageStatusRequest req = RUNTIME__IMAGE_STATUS_REQUEST__INIT;
	Runtime__ImageSpec spec = RUNTIME__IMAGE_SPEC__INIT;

	spec.image = g->image;
	req.image = &spec;
	g->call.done = done;
	g->call.timeout_ms = 0;
	cri_start(g->k->cri, &g->call, CRI_IMAGE_STATUS, &req.base);
}

static void looked_again(struct cri_call *call)
{
	struct image_get *g = container_of(call, struct image_get, call);
	Runtime__ImageStatusResponse *r = CRI_REPLY(call, Runtime__ImageStatusResponse);

	if (r && r->image)
		take(g, r->image);
	else
		g->reason = "ErrImagePull", snprintf(g->message, sizeof(g->message), "the pulled image is not there");
	cri_call_fini(call);
	g->done(g);
}

static void pulled(struct cri_call *call)
{
	struct image_get *g = container_of(call, struct image_get, call);
	struct err e = call->err;

	cri_call_fini(call);
	g->pull_ms = clock_mono_ms() - g->pull_ms;
	if (e.code) {
		fail(g, "ErrImagePull", "Failed to pull image \"%s\": %s", g->image, e.text);
		return;
	}
	g->pulled = true;
	image_keeper_look(g->k->images);
	look(g, looked_again);
}

static void pull(struct image_get *g)
{
	Runtime__PullImageRequest req = RUNTIME__PULL_IMAGE_REQUEST__INIT;
	Runtime__ImageSpec spec = RUNTIME__IMAGE_SPEC__INIT;

	spec.image = g->image;
	req.image = &spec;
	g->call.done = pulled;
	g->call.timeout_ms = 0;
	g->pull_ms = clock_mono_ms();
	cri_start(g->k->cri, &g->call, CRI_PULL_IMAGE, &req.base);
}

/* True when the image came from the node's own archives: no registry is asked for such, whatever the policy. */
static bool from_archive(struct image_get *g, const Runtime__Image *im)
{
	for (size_t i = 0; i < im->n_repo_tags; i++)
		if (containerd_is_archived(g->k->containerd, im->repo_tags[i]))
			return true;
	return false;
}

static void looked(struct cri_call *call)
{
	struct image_get *g = container_of(call, struct image_get, call);
	Runtime__ImageStatusResponse *r = CRI_REPLY(call, Runtime__ImageStatusResponse);
	struct err e = call->err;
	bool there = r && r->image, local = there && from_archive(g, r->image);
	bool soon = !there && containerd_is_archived(g->k->containerd, image_full_name(&call->arena, g->image));

	if (there)
		take(g, r->image);
	cri_call_fini(call);
	if (e.code)
		fail(g, "ImageInspectError", "Failed to inspect image \"%s\": %s", g->image, e.text);
	else if (there && (local || strcmp(g->policy, "Always") != 0))
		g->done(g);
	else if (soon || containerd_importing(g->k->containerd))
		/*
		 * Imported a moment ago, the runtime's CRI part hears of it a little later; and an image may be seen before
		 * the import that brings it has ended: only then is it known as one of ours.
		 */
		g->wait_ms = soon ? SOON_MS : ARCHIVES_MS, g->done(g);
	else if (strcmp(g->policy, "Never") == 0)
		fail(g, "ErrImageNeverPull", "Container image \"%s\" is not present with pull policy of Never%s", g->image, "");
	else
		pull(g);
}

static void on_bad_name(struct loop_timer *t)
{
	struct image_get *g = container_of(t, struct image_get, later);

	fail(g, "InvalidImageName", "Failed to apply default image tag \"%s\": couldn't parse image name%s", g->image, "");
}

void image_get_start(struct image_get *g)
{
	g->reason = NULL;
	g->wait_ms = 0;
	if (!image_name_ok(g->image)) {
		loop_timer_start(&g->later, g->k->loop, 0, on_bad_name);
		return;
	}
	look(g, looked);
}

void image_get_cancel(struct image_get *g)
{
	if (!loop_timer_active(&g->later))
		cri_cancel(&g->call);
}
