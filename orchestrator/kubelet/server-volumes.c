/* DELETE /volumes/NAME: the provisioner has a volume of this node taken away. Its files are deleted on a thread of libuv's pool. */
#include <stdlib.h>
#include <uv.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/claims.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/server-priv.h"

struct sweep {
	uv_work_t work;
	struct kubelet *k;
	char *folder;
};

static void sweep(uv_work_t *work)
{
	claims_sweep(container_of(work, struct sweep, work)->folder);
}

static void swept(uv_work_t *work, int status)
{
	struct sweep *s = container_of(work, struct sweep, work);

	(void)status;
	kubelet_idle(s->k);
	free(s->folder);
	free(s);
}

void volumes_sweep(struct kubelet *k)
{
	struct sweep *s = xcalloc(1, sizeof(*s));

	s->k = k;
	s->folder = xstrdup(k->volumes_dir);
	kubelet_busy(k);
	uv_queue_work(loop_uv(k->loop), &s->work, sweep, swept);
}

/* A pod of this node that has not ended uses it. */
static const struct pod_worker *user_of(struct kubelet *k, const char *volume)
{
	MAP_FOR_EACH (e, &k->workers) {
		const struct pod_worker *w = e->value;

		for (size_t i = 0; w->objects && !w->all_stopped && i < w->objects->n_refs; i++)
			if (w->objects->refs[i].pv && pb_streq(w->objects->refs[i].pv->metadata->name, volume))
				return w;
	}
	return NULL;
}

void serve_volumes(struct route_args *args, struct http_request *r)
{
	const char *name = args->part[0];
	const struct pod_worker *user = user_of(args->k, name);
	struct err e = ERR_INIT;

	if (!str_eqc(r->method, "DELETE")) {
		respond_text(r, 405, "only DELETE is possible here\n");
	} else if (args->n != 1) {
		respond_text(r, 404, "404 page not found\n");
	} else if (user) {
		respond_text(r, 409, "volume \"%s\" is in use by pod %s/%s\n", name, user->ns, user->name);
	} else if (claims_remove(args->k->volumes_dir, name, &e) < 0) {
		respond_text(r, err_http_status(e.code), "%s\n", e.text);
	} else {
		log_info("kubelet", "volume removed name=%s", name);
		respond_text(r, 200, "removed\n");
		volumes_sweep(args->k);
	}
}
