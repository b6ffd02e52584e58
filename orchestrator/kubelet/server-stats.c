/* /metrics and /stats/summary: numbers about the node's containers, from the runtime. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/server-priv.h"

/*
 * The CPU's use is a rate: two readings and the time between. One that is young enough is kept from the last request; without
 * one, the answer waits for a second reading.
 */
#define SAMPLE_MIN_NS 900000000ull
#define SAMPLE_RENEW_NS 15000000000ull
#define SAMPLE_OLD_NS 120000000000ull
#define SECOND_READING_MS 1000

struct usage_sample {
	uint64_t at_ns, cpu_ns;
	uint64_t seen; /* the reading in which it was there last: others are forgotten */
};

struct stats_op {
	struct kubelet *k;
	struct http_request *r;
	struct cri_call call;
	struct loop_timer wait;
	bool second; /* reading */
};

static void on_cancel(struct http_request *r)
{
	struct stats_op *op = r->user;

	op->r = NULL;
	http_respond_abort(r);
	if (!loop_timer_active(&op->wait))
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

/*
 * Nanoseconds of CPU a second since the last reading of `id`; false when there is none to compare with. `cpu_ns` at `now`
 * becomes what the next one is compared with.
 */
static bool cpu_rate(struct kubelet *k, const char *id, uint64_t cpu_ns, uint64_t now, uint64_t *ret, uint64_t *ret_window)
{
	struct usage_sample *s = map_get(&k->usage, str_from(id));
	uint64_t age = s && now > s->at_ns ? now - s->at_ns : 0;
	bool known = s && age >= SAMPLE_MIN_NS && age < SAMPLE_OLD_NS && cpu_ns >= s->cpu_ns;

	if (known) {
		*ret = (uint64_t)((double)(cpu_ns - s->cpu_ns) * 1e9 / (double)age);
		*ret_window = MAX(*ret_window, age);
	}
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		map_put(&k->usage, str_from(id), s);
	}
	if (!s->at_ns || age >= SAMPLE_RENEW_NS || cpu_ns < s->cpu_ns) {
		s->at_ns = now;
		s->cpu_ns = cpu_ns;
	}
	s->seen = now;
	return known;
}

/* Time that the machine's CPUs were not idle, from /proc/stat; 0 when it cannot be read. */
static uint64_t node_cpu_ns(void)
{
	unsigned long long v[8] = {0};
	long hz = sysconf(_SC_CLK_TCK);
	FILE *f = fopen("/proc/stat", "re");
	int n = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6],
				    &v[7]) : 0;

	if (f)
		fclose(f);
	/* user nice system idle iowait irq softirq steal */
	return n < 4 || hz <= 0 ? 0 : (uint64_t)((double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) * 1e9 / (double)hz);
}

/* Memory that is not available for new work. */
static uint64_t node_memory(void)
{
	struct observation o;

	machine_memory(&o);
	return (uint64_t)(o.capacity - o.available);
}

/* What is being read: the time, and whether every rate is known. */
struct reading {
	struct kubelet *k;
	uint64_t now, window;
	char time[32];
	bool complete;
};

static void print_cpu(struct buf *b, struct reading *rd, const char *id, uint64_t cpu_ns)
{
	uint64_t rate = 0;

	if (!cpu_rate(rd->k, id, cpu_ns, rd->now, &rate, &rd->window))
		rd->complete = false;
	buf_printf(b, "\"cpu\":{\"time\":\"%s\",\"usageNanoCores\":%" PRIu64 ",\"usageCoreNanoSeconds\":%" PRIu64 "}", rd->time, rate,
			cpu_ns);
}

static void print_container(struct buf *b, struct reading *rd, const Runtime__ContainerStats *s)
{
	buf_printf(b, "{\"name\":\"%s\",", label(s, LABEL_CONTAINER_NAME));
	print_cpu(b, rd, s->attributes ? nz(s->attributes->id) : "?", s->cpu ? value(s->cpu->usage_core_nano_seconds) : 0);
	buf_printf(b, ",\"memory\":{\"time\":\"%s\",\"workingSetBytes\":%" PRIu64 ",\"usageBytes\":%" PRIu64 "}}", rd->time,
			s->memory ? value(s->memory->working_set_bytes) : 0, s->memory ? value(s->memory->usage_bytes) : 0);
}

/* Names of pods, namespaces and containers are DNS labels: they need no escaping in JSON. */
static void print_pods(struct buf *b, struct reading *rd, const Runtime__ListContainerStatsResponse *l)
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
			print_container(b, rd, l->stats[k]);
		}
		buf_addc(b, "]}");
		first = false;
	}
}

/* Containers that are gone take their samples with them. */
static void forget_old(struct kubelet *k, uint64_t now)
{
	struct map_entry *e;
	size_t i = 0;

	while ((e = map_next(&k->usage, &i)) != NULL) {
		struct usage_sample *s = e->value;

		if (s->seen == now)
			continue;
		map_del(&k->usage, e->key);
		free(s);
		i = 0;
	}
}

static bool print_summary(struct buf *b, struct kubelet *k, const Runtime__ListContainerStatsResponse *l)
{
	struct reading rd = {.k = k, .now = clock_mono_ns(), .complete = true};
	time_t wall = (time_t)clock_wall_s();
	struct tm tm;

	gmtime_r(&wall, &tm);
	strftime(rd.time, sizeof(rd.time), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_printf(b, "{\"node\":{\"nodeName\":\"%s\",", k->host.node_name);
	print_cpu(b, &rd, "", node_cpu_ns());
	buf_printf(b, ",\"memory\":{\"time\":\"%s\",\"workingSetBytes\":%" PRIu64 "}},\"pods\":[", rd.time, node_memory());
	print_pods(b, &rd, l);
	buf_printf(b, "],\"windowNanoSeconds\":%" PRIu64 "}\n", rd.window);
	forget_old(k, rd.now);
	return rd.complete;
}

static void stats_read(struct stats_op *op);

static void stats_again(struct loop_timer *t)
{
	struct stats_op *op = container_of(t, struct stats_op, wait);

	op->second = true;
	stats_read(op);
}

static void stats_there(struct cri_call *c)
{
	struct stats_op *op = container_of(c, struct stats_op, call);
	struct http_request *r = op->r;
	Runtime__ListContainerStatsResponse *l = CRI_REPLY(c, Runtime__ListContainerStatsResponse);
	struct buf b = BUF_INIT;

	if (r && l && !print_summary(&b, op->k, l) && !op->second && !op->k->stopping) {
		buf_fini(&b);
		cri_call_fini(c);
		loop_timer_start(&op->wait, op->k->loop, SECOND_READING_MS, stats_again);
		return;
	}
	if (r && l)
		http_respond(r, 200, (struct http_header[]){{STR("Content-Type"), STR("application/json")}}, 1, buf_str(&b));
	else if (r)
		respond_text(r, 500, "%s\n", c->err.text);
	buf_fini(&b);
	cri_call_fini(c);
	kubelet_idle(op->k);
	free(op);
}

static void stats_read(struct stats_op *op)
{
	Runtime__ListContainerStatsRequest req = RUNTIME__LIST_CONTAINER_STATS_REQUEST__INIT;

	op->call = (struct cri_call){.done = stats_there};
	cri_start(op->k->cri, &op->call, CRI_LIST_CONTAINER_STATS, &req.base);
}

void serve_stats(struct route_args *args, struct http_request *r)
{
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
	kubelet_busy(op->k);
	stats_read(op);
}
