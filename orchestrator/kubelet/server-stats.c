/* /metrics and /stats/summary: numbers about the node's containers, from the runtime. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/server-priv.h"

struct stats_op {
	struct kubelet *k;
	struct http_request *r;
	struct cri_call call;
};

static void on_cancel(struct http_request *r)
{
	struct stats_op *op = r->user;

	op->r = NULL;
	http_respond_abort(r);
	cri_cancel(&op->call);
}

void serve_metrics(struct route_args *args, struct http_request *r)
{
	struct kubelet *k = args->k;
	struct buf b = BUF_INIT;
	unsigned running = 0, restarts = 0;

	MAP_FOR_EACH (e, runtime_pods(k->runtime)) {
		const struct rt_pod *rt = e->value;

		for (size_t i = 0; i < rt->n_containers; i++) {
			running += rt->containers[i]->state == RT_RUNNING;
			restarts += rt->containers[i]->attempt;
		}
	}
	buf_printf(&b, "# HELP kubelet_running_pods Pods with a worker on this node.\n# TYPE kubelet_running_pods gauge\n"
		       "kubelet_running_pods %zu\n",
			map_len(&k->workers));
	buf_printf(&b, "# HELP kubelet_running_containers Containers that run.\n# TYPE kubelet_running_containers gauge\n"
		       "kubelet_running_containers{container_state=\"running\"} %u\n",
			running);
	buf_printf(&b, "# HELP kubelet_relists_total Relists of the runtime.\n# TYPE kubelet_relists_total counter\n"
		       "kubelet_relists_total %" PRIu64 "\n",
			runtime_generation(k->runtime));
	buf_printf(&b, "# HELP kubelet_container_attempts Restarts of the containers that are there.\n"
		       "# TYPE kubelet_container_attempts gauge\nkubelet_container_attempts %u\n",
			restarts);
	http_respond(r, 200, (struct http_header[]){{STR("Content-Type"), STR("text/plain; version=0.0.4")}}, 1, buf_str(&b));
	buf_fini(&b);
}

static const char *label(const Runtime__ContainerStats *s, const char *key)
{
	Runtime__ContainerAttributes__LabelsEntry *e = s->attributes ? PB_MAP_FIND(s->attributes, labels, key) : NULL;

	return e ? nz(e->value) : "";
}

static uint64_t value(const Runtime__UInt64Value *v)
{
	return v ? v->value : 0;
}

static void print_container(struct buf *b, const Runtime__ContainerStats *s)
{
	buf_printf(b, "{\"name\":\"%s\",\"cpu\":{\"usageNanoCores\":%" PRIu64 ",\"usageCoreNanoSeconds\":%" PRIu64 "},",
			label(s, LABEL_CONTAINER_NAME), s->cpu ? value(s->cpu->usage_nano_cores) : 0,
			s->cpu ? value(s->cpu->usage_core_nano_seconds) : 0);
	buf_printf(b, "\"memory\":{\"workingSetBytes\":%" PRIu64 ",\"usageBytes\":%" PRIu64 "}}",
			s->memory ? value(s->memory->working_set_bytes) : 0, s->memory ? value(s->memory->usage_bytes) : 0);
}

/* Names of pods, namespaces and containers are DNS labels: they need no escaping in JSON. */
static void print_pods(struct buf *b, const Runtime__ListContainerStatsResponse *l)
{
	bool first = true;

	for (size_t i = 0; i < l->n_stats; i++) {
		const char *uid = label(l->stats[i], LABEL_POD_UID);
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen = seen || strcmp(label(l->stats[k], LABEL_POD_UID), uid) == 0;
		if (seen || !*uid)
			continue;
		buf_printf(b, "%s{\"podRef\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"},\"containers\":[", first ? "" : ",",
				label(l->stats[i], LABEL_POD_NAME), label(l->stats[i], LABEL_POD_NAMESPACE), uid);
		for (size_t k = i; k < l->n_stats; k++) {
			if (strcmp(label(l->stats[k], LABEL_POD_UID), uid) != 0)
				continue;
			if (k > i)
				buf_add1(b, ',');
			print_container(b, l->stats[k]);
		}
		buf_addc(b, "]}");
		first = false;
	}
}

static void stats_there(struct cri_call *c)
{
	struct stats_op *op = container_of(c, struct stats_op, call);
	struct http_request *r = op->r;
	Runtime__ListContainerStatsResponse *l = CRI_REPLY(c, Runtime__ListContainerStatsResponse);
	struct buf b = BUF_INIT;

	if (r && l) {
		buf_printf(&b, "{\"node\":{\"nodeName\":\"%s\"},\"pods\":[", op->k->host.node_name);
		print_pods(&b, l);
		buf_addc(&b, "]}\n");
		http_respond(r, 200, (struct http_header[]){{STR("Content-Type"), STR("application/json")}}, 1, buf_str(&b));
	} else if (r) {
		respond_text(r, 500, "%s\n", c->err.text);
	}
	buf_fini(&b);
	cri_call_fini(c);
	kubelet_idle(op->k);
	free(op);
}

void serve_stats(struct route_args *args, struct http_request *r)
{
	Runtime__ListContainerStatsRequest req = RUNTIME__LIST_CONTAINER_STATS_REQUEST__INIT;
	struct stats_op *op;

	if (strcmp(args->part[0], "summary") != 0) {
		respond_text(r, 404, "404 page not found\n");
		return;
	}
	op = xcalloc(1, sizeof(*op));
	op->k = args->k;
	op->r = r;
	r->user = op;
	r->on_cancel = on_cancel;
	op->call.done = stats_there;
	kubelet_busy(op->k);
	cri_start(op->k->cri, &op->call, CRI_LIST_CONTAINER_STATS, &req.base);
}
