/*
 * etcd_load: load for anything that speaks the etcd v3 API, so that two servers can be compared with the same client.
 *
 *	etcd_load --endpoints HOST:PORT[,...] [--op OP] [--clients N] [--connections N] [--seconds S | --count N] [...]
 *
 *	put      write keys of 32 bytes with --size bytes, at random among --keys
 *	get      linearizable reads of single keys      sget    the same, serializable
 *	range    serializable reads of 1,000 keys       mixed   one put for each four gets
 *	fill     put every one of --keys once, in batches of 100 in a transaction, then stop
 *	watch    --watchers watchers on the prefix of all keys, while --clients put; counts events that arrive
 *	gap      one client an endpoint puts without a pause; --signal is sent to --pid after --seconds; prints how long
 *	         nobody had a write acknowledged afterwards, and each client's own longest wait
 *
 * put, get, sget, range and mixed use a client that does as little as it can (tests/bench/h2_unary.h), the others io/grpc.h.
 * A client has one request under way at a time. Clients share --connections HTTP/2 connections (default: one each), which
 * are spread over the endpoints. Prints one line of key=value pairs; latencies in milliseconds, and the longest pause in which nobody
 * had an answer. One thread, so that the load takes no
 * more than a core from what it measures.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/grpc.h"
#include "io/tls.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "tests/bench/h2_unary.h"

#define KEY_SIZE 32
#define PREFIX "/bench/"
#define FILL_BATCH 100
#define MAX_ENDPOINTS 16

enum op { OP_PUT, OP_GET, OP_SGET, OP_RANGE, OP_MIXED, OP_FILL, OP_WATCH, OP_GAP };
static const char *const op_names[] = {"put", "get", "sget", "range", "mixed", "fill", "watch", "gap"};

static struct options {
	const char *endpoints[MAX_ENDPOINTS];
	unsigned n_endpoints, clients, connections, watchers, size;
	uint64_t keys, count;
	double seconds;
	enum op op;
	pid_t pid;
	int signal;
	const char *ca, *cert, *key;
} opt = {.clients = 1, .keys = 10000, .size = 256, .seconds = 5, .watchers = 1000, .signal = SIGKILL};

/* Latencies: buckets of 1/64 of a power of two microseconds, so that a percentile is right to 1.6 %. */
#define SUB_BITS 6
static struct hist {
	uint64_t n, bucket[64 << SUB_BITS], max_us;
} hist;

static unsigned bucket_of(uint64_t us)
{
	unsigned shift;

	if (us < (1u << SUB_BITS))
		return (unsigned)us;
	shift = 63u - (unsigned)__builtin_clzll(us) - SUB_BITS;
	return ((shift + 1) << SUB_BITS) + (unsigned)((us >> shift) & ((1u << SUB_BITS) - 1));
}

static double bucket_us(unsigned b)
{
	unsigned shift = b >> SUB_BITS;

	if (shift == 0)
		return b;
	return (double)((uint64_t)((b & ((1u << SUB_BITS) - 1)) | (1u << SUB_BITS)) << (shift - 1));
}

static void hist_add(struct hist *h, uint64_t us)
{
	h->n++;
	h->bucket[bucket_of(us)]++;
	if (us > h->max_us)
		h->max_us = us;
}

static double hist_ms(const struct hist *h, double quantile)
{
	uint64_t seen = 0, want = (uint64_t)((double)h->n * quantile);

	for (unsigned b = 0; b < sizeof(h->bucket) / sizeof(h->bucket[0]); b++) {
		seen += h->bucket[b];
		if (seen > want)
			return bucket_us(b) / 1000;
	}
	return (double)h->max_us / 1000;
}

struct client {
	struct grpc_call call;
	struct grpc_channel *channel;
	struct h2_unary_call light_call;
	struct h2_unary *light; /* instead of the channel */
	uint64_t began_ns, longest_us, last_ack_ns;
	unsigned endpoint;
	bool out; /* a request is under way */
};

static struct loop *loop;
static struct client *clients;
static uint64_t n_started, n_ok, n_errors, n_events, filled, load_began_ns, longest_silence_ns, last_ack_ns_of_all,
	longest_pause_ns;
static uint64_t signal_ns;
static bool ending;
static char last_error[200];
static char *value;
static struct loop_timer stop_timer;

static uint64_t random64(void)
{
	static uint64_t s;

	if (s == 0)
		s = clock_mono_ns() | 1;
	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s * 0x2545f4914f6cdd1dull;
}

static void make_key(char out[KEY_SIZE + 1], uint64_t i)
{
	memcpy(out, PREFIX, sizeof(PREFIX) - 1);
	for (size_t at = KEY_SIZE; at > sizeof(PREFIX) - 1; i /= 10)
		out[--at] = (char)('0' + i % 10);
	out[KEY_SIZE] = '\0';
}

static ProtobufCBinaryData bytes_of(const char *p, size_t n)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)p, .len = n};
}

/* The request of one put, get or range. Encoded anew each time: that is what a client does. */
static void put_request(struct buf *b, uint64_t i)
{
	Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
	char k[KEY_SIZE + 1];

	make_key(k, i);
	r.key = bytes_of(k, KEY_SIZE);
	r.value = bytes_of(value, opt.size);
	pb_pack(&r, b);
}

static void range_request(struct buf *b, uint64_t i, bool serializable, unsigned n)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
	char k[KEY_SIZE + 1], end[KEY_SIZE + 1];

	make_key(k, i);
	r.key = bytes_of(k, KEY_SIZE);
	r.serializable = serializable;
	if (n > 1) {
		make_key(end, i + n);
		r.range_end = bytes_of(end, KEY_SIZE);
		r.limit = n;
	}
	pb_pack(&r, b);
}

static void fill_request(struct buf *b)
{
	Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__RequestOp ops[FILL_BATCH], *pointers[FILL_BATCH];
	Etcdserverpb__PutRequest puts[FILL_BATCH];
	char keys[FILL_BATCH][KEY_SIZE + 1];

	for (; t.n_success < FILL_BATCH && filled < opt.keys; filled++) {
		size_t i = t.n_success++;

		make_key(keys[i], filled);
		etcdserverpb__put_request__init(&puts[i]);
		puts[i].key = bytes_of(keys[i], KEY_SIZE);
		puts[i].value = bytes_of(value, opt.size);
		etcdserverpb__request_op__init(&ops[i]);
		ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		ops[i].request_put = &puts[i];
		pointers[i] = &ops[i];
	}
	t.success = pointers;
	pb_pack(&t, b);
}

static bool no_more(void)
{
	if (ending || (opt.count != 0 && n_started >= opt.count))
		return true;
	return opt.op == OP_FILL && filled >= opt.keys;
}

static void next(struct client *c);

static void note_ack(struct client *c, uint64_t now)
{
	if (last_ack_ns_of_all != 0 && now - last_ack_ns_of_all > longest_pause_ns)
		longest_pause_ns = now - last_ack_ns_of_all;
	if (signal_ns != 0 && c->last_ack_ns != 0 && (now - c->last_ack_ns) / 1000 > c->longest_us)
		c->longest_us = (now - c->last_ack_ns) / 1000;
	c->last_ack_ns = now;
	/* The last answers of the old leader may arrive just after the signal: what counts is the longest silence. */
	if (signal_ns != 0 && now - last_ack_ns_of_all > longest_silence_ns)
		longest_silence_ns = now - last_ack_ns_of_all;
	last_ack_ns_of_all = now;
}

static void answered(struct client *c, int code, struct str text)
{
	uint64_t now = clock_mono_ns();

	c->out = false;
	if (code == GRPC_OK) {
		n_ok++;
		hist_add(&hist, (now - c->began_ns) / 1000);
		note_ack(c, now);
	} else if (!ending) {
		n_errors++;
		snprintf(last_error, sizeof(last_error), "%s: %.*s", grpc_code_name(code), (int)text.n, text.p);
	}
}

static void on_done(struct grpc_call *call)
{
	struct client *c = container_of(call, struct client, call);

	answered(c, call->code, call->status);
	grpc_call_fini(call);
	next(c);
}

static void on_light_done(struct h2_unary_call *call)
{
	struct client *c = container_of(call, struct client, light_call);

	answered(c, call->code, STR(""));
	next(c);
}

static void request_of(struct buf *b, const char **method)
{
	bool put = opt.op == OP_PUT || opt.op == OP_WATCH || opt.op == OP_GAP || (opt.op == OP_MIXED && random64() % 5 == 0);

	*method = "/etcdserverpb.KV/Range";
	if (opt.op == OP_FILL) {
		*method = "/etcdserverpb.KV/Txn";
		fill_request(b);
	} else if (put) {
		*method = "/etcdserverpb.KV/Put";
		put_request(b, random64() % opt.keys);
	} else if (opt.op == OP_RANGE) {
		range_request(b, random64() % (opt.keys > 1000 ? opt.keys - 1000 : 1), true, 1000);
	} else {
		range_request(b, random64() % opt.keys, opt.op == OP_SGET, 1);
	}
}

static void next(struct client *c)
{
	static struct buf request = BUF_INIT;
	const char *method;

	if (no_more()) {
		bool any = false;

		for (unsigned i = 0; i < opt.clients; i++)
			any |= clients[i].out;
		if (!any)
			loop_stop(loop);
		return;
	}
	buf_clear(&request);
	request_of(&request, &method);
	c->out = true;
	c->began_ns = clock_mono_ns();
	n_started++;
	if (c->light != NULL) {
		c->light_call.method = method;
		c->light_call.done = on_light_done;
		h2_unary_start(c->light, &c->light_call, buf_str(&request));
		return;
	}
	c->call = (struct grpc_call){.method = method, .done = on_done, .timeout_ms = opt.op == OP_GAP ? 1000 : 10000};
	grpc_unary(c->channel, &c->call, buf_str(&request));
}

/* Watchers: many on a stream, as one client of etcd has them. */
struct watch_stream {
	struct grpc_call call;
	unsigned n_wanted, n_created;
};
static unsigned n_watching;

static void start_clients(void)
{
	load_began_ns = clock_mono_ns();
	for (unsigned i = 0; i < opt.clients; i++)
		next(&clients[i]);
}

static void on_watch_message(struct grpc_call *call, struct str message)
{
	struct watch_stream *w = container_of(call, struct watch_stream, call);
	static struct arena arena;
	Etcdserverpb__WatchResponse *r = pb_unpack(&arena, &etcdserverpb__watch_response__descriptor, message);

	if (r == NULL || r->canceled) {
		fprintf(stderr, "etcd_load: a watch was refused: %s\n", r ? r->cancel_reason : "unreadable answer");
		exit(1);
	}
	n_events += r->n_events;
	if (r->created) {
		w->n_created++;
		if (++n_watching == opt.watchers)
			start_clients();
	}
	arena_fini(&arena);
}

static void on_watch_done(struct grpc_call *call)
{
	if (!ending) {
		fprintf(stderr, "etcd_load: a watch stream ended: %s: %.*s\n", grpc_code_name(call->code), (int)call->status.n,
			call->status.p);
		exit(1);
	}
}

static void start_watchers(struct grpc_channel **channels, unsigned n)
{
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	Etcdserverpb__WatchRequest r = ETCDSERVERPB__WATCH_REQUEST__INIT;
	struct watch_stream *streams = xcalloc(n, sizeof(*streams));
	struct buf b = BUF_INIT;

	create.key = bytes_of(PREFIX, strlen(PREFIX));
	create.range_end = bytes_of("/bench0", 7);
	r.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	r.create_request = &create;
	pb_pack(&r, &b);
	for (unsigned i = 0; i < n; i++) {
		streams[i].call = (struct grpc_call){.method = "/etcdserverpb.Watch/Watch", .wait_ready = true,
						     .on_message = on_watch_message, .done = on_watch_done};
		grpc_start(channels[i], &streams[i].call);
	}
	for (unsigned i = 0; i < opt.watchers; i++)
		grpc_send(&streams[i % n].call, buf_str(&b), NULL);
	buf_fini(&b);
}

static void on_end(struct loop_timer *t)
{
	ending = true;
	loop_stop(loop);
}

static void on_signal_time(struct loop_timer *t)
{
	signal_ns = clock_mono_ns();
	longest_silence_ns = 0;
	if (kill(opt.pid, opt.signal) != 0) {
		perror("etcd_load: --pid");
		exit(1);
	}
	loop_timer_start(t, loop, (uint64_t)(opt.seconds * 1000) + 3000, on_end);
}

static struct tls_ctx *client_tls(void)
{
	struct tls_config c = {.alpn = "h2"};
	struct tls_ctx *ctx;
	struct err e = ERR_INIT;

	if (opt.ca == NULL)
		return NULL;
	if (tls_ctx_new_files(&c, opt.cert, opt.key, opt.ca, &ctx, &e) != 0) {
		fprintf(stderr, "etcd_load: %s\n", e.text);
		exit(1);
	}
	return ctx;
}

static bool is_light(void)
{
	return (opt.op == OP_PUT || opt.op == OP_GET || opt.op == OP_SGET || opt.op == OP_RANGE || opt.op == OP_MIXED) &&
	       opt.size + KEY_SIZE + 16 <= H2_UNARY_MAX;
}

static struct grpc_channel *channel_to(const char *endpoint, struct tls_ctx *tls)
{
	struct grpc_channel_config cfg = {.address = endpoint, .tls = tls};
	struct grpc_channel *channel;
	struct err e = ERR_INIT;

	if (grpc_channel_new(loop, &cfg, &channel, &e) != 0) {
		fprintf(stderr, "etcd_load: %s: %s\n", endpoint, e.text);
		exit(1);
	}
	return channel;
}

static void run(void)
{
	struct tls_ctx *tls = client_tls();
	unsigned n = opt.connections;
	struct grpc_channel **channels = xcalloc(n, sizeof(struct grpc_channel *));
	struct h2_unary **lights = xcalloc(n, sizeof(struct h2_unary *));

	for (unsigned i = 0; i < n; i++) {
		const char *endpoint = opt.endpoints[i % opt.n_endpoints];

		if (is_light())
			lights[i] = h2_unary_new(loop, endpoint, tls);
		else
			channels[i] = channel_to(endpoint, tls);
	}
	clients = xcalloc(opt.clients, sizeof(*clients));
	for (unsigned i = 0; i < opt.clients; i++) {
		clients[i].channel = channels[i % n];
		clients[i].light = lights[i % n];
		clients[i].endpoint = i % n % opt.n_endpoints;
	}
	if (opt.op == OP_WATCH)
		start_watchers(channels, n);
	else
		start_clients();
	if (opt.op == OP_GAP)
		loop_timer_start(&stop_timer, loop, (uint64_t)(opt.seconds * 1000), on_signal_time);
	else if (opt.op != OP_FILL && opt.count == 0)
		loop_timer_start(&stop_timer, loop, (uint64_t)(opt.seconds * 1000), on_end);
	loop_run(loop);
}

static void report(void)
{
	double s = (double)(clock_mono_ns() - load_began_ns) / 1e9;
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	printf("op=%s clients=%u ok=%" PRIu64 " errors=%" PRIu64 " seconds=%.2f rate=%.0f p50=%.2f p99=%.2f max=%.2f cpu=%.2f",
	       op_names[opt.op], opt.clients, n_ok, n_errors, s, (double)n_ok / s, hist_ms(&hist, 0.5), hist_ms(&hist, 0.99),
	       (double)hist.max_us / 1000, (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
	printf(" pause=%.1f", (double)longest_pause_ns / 1e6);
	if (opt.op == OP_WATCH)
		printf(" events=%" PRIu64 " event_rate=%.0f", n_events, (double)n_events / s);
	if (opt.op == OP_GAP) {
		printf(" gap=%.1f", (double)longest_silence_ns / 1e6);
		for (unsigned i = 0; i < opt.clients; i++)
			printf(" client%u=%.1f", i, (double)clients[i].longest_us / 1000);
	}
	if (n_errors != 0)
		printf(" error=\"%s\"", last_error);
	putchar('\n');
}

static void usage(FILE *f)
{
	fprintf(f, "etcd_load --endpoints HOST:PORT[,...] [--op put|get|sget|range|mixed|fill|watch|gap] [--clients N]\n"
		   "    [--connections N] [--seconds S] [--count N] [--keys N] [--size BYTES] [--watchers N]\n"
		   "    [--pid PID --signal NUMBER] [--cacert FILE --cert FILE --key FILE]\n");
}

static void bad(const char *what, const char *arg)
{
	fprintf(stderr, "etcd_load: %s: %s\n", what, arg);
	usage(stderr);
	exit(2);
}

static uint64_t number(const char *name, const char *arg, uint64_t min)
{
	char *end;
	uint64_t v = strtoull(arg, &end, 10);

	if (*end != 0 || *arg == 0 || v < min)
		bad(name, arg);
	return v;
}

static void parse(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"endpoints", 1, NULL, 'e'}, {"op", 1, NULL, 'o'}, {"clients", 1, NULL, 'c'}, {"connections", 1, NULL, 'n'},
		{"seconds", 1, NULL, 's'}, {"count", 1, NULL, 't'}, {"keys", 1, NULL, 'k'}, {"size", 1, NULL, 'z'},
		{"watchers", 1, NULL, 'w'}, {"pid", 1, NULL, 'p'}, {"signal", 1, NULL, 'g'}, {"cacert", 1, NULL, 'A'},
		{"cert", 1, NULL, 'C'}, {"key", 1, NULL, 'K'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int o;

	while ((o = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		switch (o) {
		case 'e':
			for (char *rest, *p = strtok_r(optarg, ",", &rest); p; p = strtok_r(NULL, ",", &rest)) {
				if (opt.n_endpoints == MAX_ENDPOINTS)
					bad("too many endpoints", p);
				opt.endpoints[opt.n_endpoints++] = p;
			}
			break;
		case 'o':
			for (opt.op = OP_PUT; strcmp(op_names[opt.op], optarg) != 0; opt.op++)
				if (opt.op == OP_GAP)
					bad("unknown --op", optarg);
			break;
		case 'c': opt.clients = (unsigned)number("--clients", optarg, 1); break;
		case 'n': opt.connections = (unsigned)number("--connections", optarg, 1); break;
		case 's': opt.seconds = (double)number("--seconds", optarg, 1); break;
		case 't': opt.count = number("--count", optarg, 1); break;
		case 'k': opt.keys = number("--keys", optarg, 1); break;
		case 'z': opt.size = (unsigned)number("--size", optarg, 0); break;
		case 'w': opt.watchers = (unsigned)number("--watchers", optarg, 1); break;
		case 'p': opt.pid = (pid_t)number("--pid", optarg, 2); break;
		case 'g': opt.signal = (int)number("--signal", optarg, 1); break;
		case 'A': opt.ca = optarg; break;
		case 'C': opt.cert = optarg; break;
		case 'K': opt.key = optarg; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	if (opt.n_endpoints == 0 || optind != argc)
		bad("needs", "--endpoints");
	if (opt.op == OP_GAP) {
		opt.clients = opt.n_endpoints;
		if (opt.pid == 0)
			bad("--op gap needs", "--pid");
	}
	if (opt.connections == 0)
		opt.connections = opt.clients > opt.n_endpoints ? opt.clients : opt.n_endpoints;
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	value = xmalloc(opt.size + 1);
	for (unsigned i = 0; i < opt.size; i++)
		value[i] = (char)('a' + random64() % 26);
	loop = loop_new("load");
	run();
	report();
	return n_ok == 0;
}
