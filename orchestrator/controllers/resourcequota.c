/*
 * ResourceQuotas: asks for the usage of a quota to be counted when its limits are new or changed. The API server does the counting,
 * over one moment of the store, and books every later change with the object that makes it (admit_quota.c of the API server);
 * so there is nothing to watch here but the quotas themselves.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

/* Puts right what a change between two versions of a quota's scopes may have left. */
#define RECOUNT_MS (5 * 60 * 1000)

static void reconcile(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_RESOURCEQUOTAS, r->ns, r->name);

	if (o && !o->meta->deletion_timestamp)
		plan_update_status(r, VIEW_RESOURCEQUOTAS, pb_copy(r->arena, informer_msg(o)));
}

/* Bookings change the status all the time; only new limits are our business. */
static void map_limits(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__ResourceQuota *quota = informer_msg(o);
	const Core__ResourceQuotaSpec *spec = quota->spec;
	const Core__ResourceQuotaStatus *status = quota->status;
	bool same = spec && status && spec->n_hard == status->n_hard;

	for (size_t i = 0; same && i < spec->n_hard; i++) {
		const Resource__Quantity *have = pb_map_get(status->hard, status->n_hard, spec->hard[i]->key);

		same = have && pb_equal(have, spec->hard[i]->value);
	}
	if (!same)
		map_self(q, v, o);
}

const struct controller_row controller_resourcequota = {
	.name = "resourcequota-controller",
	.account = "resourcequota-controller",
	.watches = {{VIEW_RESOURCEQUOTAS, map_limits}},
	.reconcile = reconcile,
	.resync_ms = RECOUNT_MS,
};
