/* /metrics, in the text format of Prometheus. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "store/store.h"

struct sample {
	struct kv_status kv;
	struct kv_figures figures;
	struct store_stats store;
	bool learner;
	uint64_t puts, deletes, txns, ranges, grants, revokes, renewals, read_failures, pending, failed, streams, watchers, slow, events, leader_changes, bytes_in, bytes_out;
	double rss, vsize, cpu_s, started_s, open_fds, max_fds;
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

	if (f != NULL && fscanf(f, "%ld %ld", &size, &resident) == 2) {
		s->vsize = (double)size * (double)sysconf(_SC_PAGESIZE);
		s->rss = (double)resident * (double)sysconf(_SC_PAGESIZE);
	}
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
	kv_figures(srv->kv, &s->figures);
	s->puts = store_count(srv->store, STORE_PUTS);
	s->deletes = store_count(srv->store, STORE_DELETES);
	s->txns = store_count(srv->store, STORE_TXNS);
	s->grants = store_count(srv->store, STORE_GRANTS);
	s->revokes = store_count(srv->store, STORE_REVOKES);
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
		s->read_failures += load(&el->read_failures);
		s->renewals += load(&el->renewals);
		for (size_t m = 0; m < etcd__n_methods; m++)
			if (strcmp(etcd__methods[m].path, "/etcdserverpb.KV/Range") == 0)
				s->ranges += load(&el->counters[m].handled[GRPC_OK]);
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

/* --- Histograms ----------------------------------------------------------------------------------------------------- */

/* `labels` without braces, NULL: none. Several parts of one and the same make one, as the loops' do. */
static void add_histogram(struct buf *b, const char *name, const char *labels, const struct histogram *const *parts, size_t n_parts)
{
	const char *comma = labels ? "," : "", *open = labels ? "{" : "", *close = labels ? "}" : "";
	unsigned n = parts[0]->n;
	uint64_t upto = 0;
	double sum = 0;

	labels = labels ? labels : "";
	for (unsigned i = 0; i <= n; i++) {
		upto = 0;
		for (size_t k = 0; k < n_parts; k++)
			upto += histogram_upto(parts[k], i);
		if (i < n)
			buf_printf(b, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels, comma, histogram_bound(parts[0], i), upto);
		else
			buf_printf(b, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, upto);
	}
	for (size_t k = 0; k < n_parts; k++)
		sum += histogram_sum(parts[k]);
	buf_printf(b, "%s_sum%s%s%s %.9g\n%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, sum, name, open, labels, close, upto);
}

static void add_disk(struct etcd_server *srv, struct buf *b)
{
	const struct histogram *log = kv_log_writes(srv->kv), *commits = store_commits(srv->store);

	head(b, "etcd_disk_wal_fsync_duration_seconds", "histogram", "The latency distributions of fsync called by WAL.");
	add_histogram(b, "etcd_disk_wal_fsync_duration_seconds", NULL, &log, 1);
	head(b, "etcd_disk_backend_commit_duration_seconds", "histogram", "The latency distributions of commit called by backend.");
	add_histogram(b, "etcd_disk_backend_commit_duration_seconds", NULL, &commits, 1);
}

static void add_peers(const struct sample *s, struct buf *b)
{
	static const struct {
		const char *name, *label, *help;
		size_t at;
	} rows[] = {
		{"etcd_network_peer_sent_bytes_total", "To", "The total number of bytes sent to peers.", offsetof(struct kv_peer_figures, sent)},
		{"etcd_network_peer_received_bytes_total", "From", "The total number of bytes received from peers.",
				offsetof(struct kv_peer_figures, received)},
		{"etcd_network_peer_sent_failures_total", "To", "The total number of send failures from peers.",
				offsetof(struct kv_peer_figures, failures)},
	};
	const struct kv_figures *f = &s->figures;
	char labels[64];

	for (size_t r = 0; r < ARRAY_LEN(rows) && f->n_peers > 0; r++) {
		head(b, rows[r].name, "counter", rows[r].help);
		for (size_t i = 0; i < f->n_peers; i++)
			buf_printf(b, "%s{%s=\"%" PRIx64 "\"} %" PRIu64 "\n", rows[r].name, rows[r].label, f->peers[i].id,
					*(const uint64_t *)((const char *)&f->peers[i] + rows[r].at));
	}
	if (f->n_peers == 0)
		return;
	head(b, "etcd_network_active_peers", "gauge", "The current number of active peer connections.");
	for (size_t i = 0; i < f->n_peers; i++)
		buf_printf(b, "etcd_network_active_peers{Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"} %d\n", s->kv.member_id, f->peers[i].id,
				f->peers[i].active);
	head(b, "etcd_network_peer_round_trip_time_seconds", "histogram", "Round-Trip-Time histogram between peers");
	for (size_t i = 0; i < f->n_peers; i++) {
		const struct histogram *h = &f->peers[i].round_trips;

		snprintf(labels, sizeof(labels), "To=\"%" PRIx64 "\"", f->peers[i].id);
		add_histogram(b, "etcd_network_peer_round_trip_time_seconds", labels, &h, 1);
	}
}

/* --- gRPC, by method ------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = {
		[ETCD_UNARY] = "unary", [ETCD_SERVER] = "server_stream", [ETCD_BIDI] = "bidi_stream"};

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

/* Of the unary methods that somebody has called. */
static void add_handling(struct etcd_server *srv, struct buf *b)
{
	static const char name[] = "grpc_server_handling_seconds";

	head(b, name, "histogram", "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.");
	for (size_t i = 0; i < etcd__n_methods; i++) {
		const struct etcd_method *m = &etcd__methods[i];
		const struct histogram *parts[ARRAY_LEN(srv->loops)];
		char labels[160];

		if (m->kind != ETCD_UNARY || total(srv, i, STARTED, 0) == 0)
			continue;
		for (unsigned k = 0; k < srv->n_loops; k++)
			parts[k] = &srv->loops[k]->counters[i].took;
		snprintf(labels, sizeof(labels), "grpc_method=\"%s\",grpc_service=\"%s\",grpc_type=\"unary\"", m->name, m->service);
		add_histogram(b, name, labels, parts, srv->n_loops);
	}
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
				add_grpc_line(b, "grpc_server_handled_total", m, etcd_code_name(code), n);
		}
	add_handling(srv, b);
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
	add_disk(srv, &b);
	add_peers(&s, &b);
	add_grpc(srv, &b);
	http_respond(r, 200, type, ARRAY_LEN(type), buf_str(&b));
	buf_fini(&b);
}
