/* /metrics, in the text format of Prometheus. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "store/store.h"

struct sample {
	struct kv_status kv;
	struct store_stats store;
	bool learner;
	uint64_t pending, failed, streams, watchers, slow, events, leader_changes, bytes_in, bytes_out;
	double rss, cpu_s, started_s, open_fds, max_fds;
};

static uint64_t load(_Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void sample_process(struct sample *s)
{
	FILE *f = fopen("/proc/self/statm", "r");
	DIR *d = opendir("/proc/self/fd");
	struct rlimit limit;
	struct rusage use;
	long size, resident;

	if (f != NULL && fscanf(f, "%ld %ld", &size, &resident) == 2)
		s->rss = (double)resident * (double)sysconf(_SC_PAGESIZE);
	if (f != NULL)
		fclose(f);
	if (getrusage(RUSAGE_SELF, &use) == 0)
		s->cpu_s = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
			   (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	while (d != NULL && readdir(d) != NULL)
		s->open_fds++;
	if (d != NULL)
		closedir(d);
	s->open_fds = MAX(0, s->open_fds - 3); /* ".", ".." and the folder itself */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		s->max_fds = (double)limit.rlim_cur;
}

static void sample_take(struct etcd_server *srv, struct sample *s)
{
	struct err e;

	*s = (struct sample){.started_s = (double)srv->started_s};
	kv_status(srv->kv, &s->kv);
	(void)store_stats(srv->store, &s->store, &e);
	for (size_t i = 0; i < s->kv.n_members; i++)
		s->learner |= s->kv.members[i].self && s->kv.members[i].role != KV_VOTER;
	for (unsigned i = 0; i < srv->n_loops; i++) {
		struct etcd_loop *el = srv->loops[i];

		s->pending += load(&el->pending_proposals);
		s->failed += load(&el->failed_proposals);
		s->streams += load(&el->n_watch_streams);
		s->watchers += load(&el->n_watchers);
		s->slow += load(&el->slow_watchers);
		s->events += load(&el->n_events);
		s->bytes_in += load(&el->bytes_in);
		s->bytes_out += load(&el->bytes_out);
		/* Every loop sees every change. */
		s->leader_changes = MAX(s->leader_changes, load(&el->leader_changes));
	}
	sample_process(s);
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add(struct buf *b, const char *name, const char *type, const char *help, double value)
{
	head(b, name, type, help);
	buf_printf(b, "%s %.17g\n", name, value);
}

/* --- gRPC, by method ------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = {
		[ETCD_UNARY] = "unary", [ETCD_SERVER] = "server_stream", [ETCD_BIDI] = "bidi_stream"};
/* As gRPC's Go library spells its codes. */
static const char *const codes[ETCD_N_CODES] = {"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
		"AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
		"Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"};

enum grpc_figure { STARTED, RECEIVED, SENT, HANDLED };

static uint64_t total(struct etcd_server *srv, size_t method, enum grpc_figure which, int code)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < srv->n_loops; i++) {
		struct etcd_counters *c = &srv->loops[i]->counters[method];

		n += load(which == STARTED    ? &c->started
			  : which == RECEIVED ? &c->messages_in
			  : which == SENT     ? &c->messages_out
					      : &c->handled[code]);
	}
	return n;
}

static void add_grpc_line(struct buf *b, const char *name, size_t method, const char *code, uint64_t value)
{
	const struct etcd_method *m = &etcd__methods[method];

	buf_printf(b, "%s{", name);
	if (code != NULL)
		buf_printf(b, "grpc_code=\"%s\",", code);
	buf_printf(b, "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"%s\"} %" PRIu64 "\n", m->name, m->service,
			kinds[m->kind], value);
}

static void add_grpc(struct etcd_server *srv, struct buf *b)
{
	static const struct {
		const char *name, *help;
		enum grpc_figure which;
	} figures[] = {
			{"grpc_server_started_total", "Total number of RPCs started on the server.", STARTED},
			{"grpc_server_msg_received_total", "Total number of RPC stream messages received on the server.", RECEIVED},
			{"grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.", SENT},
	};

	for (size_t i = 0; i < ARRAY_LEN(figures); i++) {
		head(b, figures[i].name, "counter", figures[i].help);
		for (size_t m = 0; m < etcd__n_methods; m++)
			add_grpc_line(b, figures[i].name, m, NULL, total(srv, m, figures[i].which, 0));
	}
	head(b, "grpc_server_handled_total", "counter", "Total number of RPCs completed on the server, regardless of success or failure.");
	for (size_t m = 0; m < etcd__n_methods; m++)
		for (int code = 0; code < ETCD_N_CODES; code++) {
			uint64_t n = total(srv, m, HANDLED, code);

			if (n > 0 || code == GRPC_OK)
				add_grpc_line(b, "grpc_server_handled_total", m, codes[code], n);
		}
}

void etcd__metrics(struct etcd_port *port, struct http_request *r)
{
	static const struct http_header type[] = {
			{STR_INIT("content-type"), STR_INIT("text/plain; version=0.0.4; charset=utf-8")}};
	struct etcd_server *srv = port->el->srv;
	struct buf b = BUF_INIT;
	struct sample s;

	sample_take(srv, &s);
#define METRIC(name, type, value, help) add(&b, name, type, help, (double)(value));
#include "orchestrator/etcd/metrics.def"
#undef METRIC
	head(&b, "etcd_server_id", "gauge", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.");
	buf_printf(&b, "etcd_server_id{server_id=\"%" PRIx64 "\"} 1\n", srv->member_id);
	head(&b, "etcd_server_version", "gauge", "Which version is running. 1 for 'server_version' label with current version.");
	buf_printf(&b, "etcd_server_version{server_version=\"" ETCD_VERSION "\"} 1\n");
	head(&b, "etcd_cluster_version", "gauge", "Which version is running. 1 for 'cluster_version' label with current cluster version");
	buf_printf(&b, "etcd_cluster_version{cluster_version=\"3.5\"} 1\n");
	add_grpc(srv, &b);
	http_respond(r, 200, type, ARRAY_LEN(type), buf_str(&b));
	buf_fini(&b);
}
