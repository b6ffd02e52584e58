#include "tests/unit/orchestrator/apiserver/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "io/websocket.h"
#include "orchestrator/apiserver/apiserver.h"
#include "proto/wire.h"
#include "raft/kv.h"
#include "store/store.h"
#include "tests/lib/apiserver_pki.h"

/* Only what hangs is ended by this: a busy machine is slow. */
#define RIG_WAIT_MS 60000

struct arena rig_arena;
struct loop *rig_loop;
struct apiserver *rig_server;
void (*rig_configure)(const char *dir, struct apiserver_cfg *);

static char dir[64];
static struct kv *kv;
static struct http_client *client;
static struct tls_ctx *tls;
static struct http_header headers[8];
static size_t n_headers;
static const char *media;
static struct str warnings; /* of the last answer */
static struct http_headers answer; /* its headers, in rig_arena */

static void must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static void closed(void *arg)
{
	*(int *)arg = 1;
}

void rig_until(const int *flag)
{
	uint64_t end = clock_mono_ms() + RIG_WAIT_MS;

	while (!*flag && clock_mono_ms() < end)
		loop_turn(rig_loop, 50);
	if (!*flag)
		fail_msg("waited for a minute");
}

static void client_drop(void)
{
	int done = 0;

	if (!client)
		return;
	http_client_close(client, closed, &done);
	rig_until(&done);
	tls_ctx_unref(tls);
	client = NULL;
}

void rig_as(const char *who)
{
	struct tls_config tc = {.alpn = "http/1.1"};
	struct http_client_config hc = {.proto = HTTP_PROTO_1, .tls = NULL};
	char address[64], cert[128], key[128], ca[128];
	struct err e = ERR_INIT;

	client_drop();
	snprintf(address, sizeof(address), "127.0.0.1:%u", apiserver_port(rig_server));
	snprintf(cert, sizeof(cert), "%s/%s.crt", dir, who ? who : "");
	snprintf(key, sizeof(key), "%s/%s.key", dir, who ? who : "");
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	must(tls_ctx_new_files(&tc, who ? cert : NULL, who ? key : NULL, ca, &tls, &e), &e);
	hc.address = address;
	hc.tls = tls;
	must(http_client_new(rig_loop, &hc, &client, &e), &e);
}

void rig_start(void)
{
	struct kv_cfg kc = {.name = "n1", .nosync = true};
	struct apiserver_cfg cfg = {.listen = "127.0.0.1:0", .advertise = "127.0.0.1", .name = "n1", .n_loops = 2,
			.service_cidr = "10.96.0.0/16"};
	struct err e = ERR_INIT;
	uint64_t end = clock_mono_ms() + RIG_WAIT_MS;

	log_set_level("error");
	arena_init(&rig_arena);
	rig_loop = loop_new("test");
	strcpy(dir, "/tmp/kontiki-apiserver-XXXXXX");
	assert_non_null(mkdtemp(dir));
	must(apiserver_pki_make(dir, &e), &e);
	kc.data_dir = dir;
	must(kv_start(&kc, &kv, &e), &e);
	apiserver_pki_cfg(dir, &cfg);
	if (rig_configure)
		rig_configure(dir, &cfg);
	must(apiserver_start(&cfg, kv, &rig_server, &e), &e);
	rig_as("admin");
	while (!apiserver_ready(rig_server) && clock_mono_ms() < end)
		loop_turn(rig_loop, 10);
	assert_true(apiserver_ready(rig_server));
}

struct store *rig_store(void)
{
	return kv_store(kv);
}

struct http_client *rig_client(void)
{
	return client;
}

void rig_stop(void)
{
	char command[128];

	client_drop();
	apiserver_stop(rig_server);
	kv_stop(kv);
	loop_free(rig_loop);
	arena_fini(&rig_arena);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

struct compaction {
	struct kv_req req;
	int done;
};

static void compacted(struct kv_req *r)
{
	container_of(r, struct compaction, req)->done = 1;
}

void rig_compact(void)
{
	struct compaction c = {.done = 0};
	struct kv_status st;
	struct buf command = BUF_INIT;
	size_t mark;

	kv_status(kv, &st);
	wire_add_uint(&command, 3, (uint64_t)clock_wall_ns() / 1000000);
	mark = wire_open(&command, 13);
	wire_add_uint(&command, 1, (uint64_t)store_revision(kv_store(kv)));
	wire_close(&command, mark);
	c.req.command = buf_str(&command);
	c.req.done = compacted;
	kv_propose(kv, &c.req);
	rig_until(&c.done);
	must(c.req.err.code ? -1 : 0, &c.req.err);
	free(c.req.response);
	buf_fini(&command);
}

void rig_header(const char *name, const char *value)
{
	headers[n_headers++] = (struct http_header){str_from(name), str_from(value)};
}

void rig_type(const char *m)
{
	media = m;
}

struct waiting {
	struct http_call call;
	int done;
	struct err err;
};

static void call_done(struct http_call *c, const struct err *e)
{
	struct waiting *w = container_of(c, struct waiting, call);

	if (e)
		w->err = *e;
	w->done = 1;
}

struct str rig_raw(const char *method, const char *path, struct str body, int want)
{
	/* Not on the stack: a call that a failed test leaves behind must not be written over by the next test. */
	struct waiting *w = arena_new_of(&rig_arena, struct waiting);
	struct str text;

	w->call.method = method;
	w->call.path = path;
	w->call.done = call_done;
	if (body.p) {
		rig_header("Content-Type", media ? media : "application/json");
		w->call.body = body;
	}
	w->call.headers = headers;
	w->call.n_headers = n_headers;
	http_call_start(client, &w->call);
	rig_until(&w->done);
	if (w->err.code)
		fail_msg("%s %s: %s", method, path, w->err.text);
	text = arena_str(&rig_arena, buf_str(&w->call.body_in));
	if (want && w->call.status != want)
		fail_msg("%s %s: status %d instead of %d: %.*s", method, path, w->call.status, want, STR_FMT(text));
	warnings = STR("");
	for (size_t i = 0; i < w->call.response.n; i++)
		if (str_eqc(w->call.response.h[i].name, "warning"))
			warnings = arena_sprintf(&rig_arena, "%.*s%.*s\n", STR_FMT(warnings), STR_FMT(w->call.response.h[i].value));
	answer = (struct http_headers){arena_new_array(&rig_arena, struct http_header, w->call.response.n + 1), w->call.response.n};
	for (size_t i = 0; i < answer.n; i++)
		answer.h[i] = (struct http_header){arena_str(&rig_arena, w->call.response.h[i].name),
				arena_str(&rig_arena, w->call.response.h[i].value)};
	http_call_fini(&w->call);
	n_headers = 0;
	media = NULL;
	return text;
}

bool rig_breaks_off(const char *path)
{
	struct waiting *w = arena_new_of(&rig_arena, struct waiting);
	bool broken;

	w->call.method = "GET";
	w->call.path = path;
	w->call.done = call_done;
	http_call_start(client, &w->call);
	rig_until(&w->done);
	broken = w->call.status == 200 && w->err.code;
	http_call_fini(&w->call);
	return broken;
}

void rig_leave(const char *path, const int *when)
{
	struct waiting *w = arena_new_of(&rig_arena, struct waiting);

	w->call.method = "GET";
	w->call.path = path;
	w->call.headers = headers;
	w->call.n_headers = n_headers;
	w->call.done = call_done;
	http_call_start(client, &w->call);
	rig_until(when);
	http_call_cancel(&w->call);
	rig_until(&w->done);
	http_call_fini(&w->call);
	n_headers = 0;
}

const char *rig_answer_header(const char *name)
{
	return arena_cstr(&rig_arena, http_header_get(&answer, name));
}

struct str rig_warnings(void)
{
	return warnings;
}

struct json *rig_call(const char *method, const char *path, const char *body, int want)
{
	struct str text = rig_raw(method, path, body ? str_from(body) : STR_NULL, want);
	struct json *doc = NULL;

	return json_parse(&rig_arena, text, NULL, &doc, NULL) < 0 ? json_new_str(&rig_arena, text) : doc;
}

struct rig_watch {
	struct http_call call;
	struct buf in;
	struct json *events;
	int done, reached, begun;
	size_t want;
	struct websocket *ws; /* NULL: plain HTTP */
	struct websocket_user user;
	struct http_header headers[WEBSOCKET_N_HEADERS];
};

static void watch_data(struct http_call *c, struct str bytes)
{
	struct rig_watch *w = container_of(c, struct rig_watch, call);
	ptrdiff_t end;
	struct json *doc;

	buf_adds(&w->in, bytes);
	while ((end = str_find(buf_str(&w->in), '\n')) >= 0) {
		struct str line = arena_str(&rig_arena, str_sub(buf_str(&w->in), 0, (size_t)end));

		assert_int_equal(json_parse(&rig_arena, line, NULL, &doc, NULL), 0);
		json_push(&rig_arena, w->events, doc);
		buf_consume(&w->in, (size_t)end + 1);
	}
	w->reached = json_len(w->events) >= w->want;
}

static void watch_over(struct http_call *c, const struct err *e)
{
	struct rig_watch *w = container_of(c, struct rig_watch, call);

	(void)e;
	w->done = 1;
}

static void watch_headers(struct http_call *c)
{
	container_of(c, struct rig_watch, call)->begun = 1;
}

void rig_watch_begun(struct rig_watch *w)
{
	rig_until(&w->begun);
}

struct rig_watch *rig_watch(const char *path)
{
	struct rig_watch *w = arena_new_of(&rig_arena, struct rig_watch);

	buf_init(&w->in, BUF_NO_LIMIT);
	w->events = json_new_array(&rig_arena);
	w->call = (struct http_call){.method = "GET", .path = path, .on_headers = watch_headers, .on_data = watch_data, .done = watch_over};
	http_call_start(client, &w->call);
	return w;
}

static void ws_message(struct websocket_user *u, struct websocket *ws, struct str message, bool binary)
{
	struct rig_watch *w = container_of(u, struct rig_watch, user);
	struct json *doc;

	(void)ws;
	assert_false(binary);
	assert_int_equal(json_parse(&rig_arena, message, NULL, &doc, NULL), 0);
	json_push(&rig_arena, w->events, doc);
	w->reached = json_len(w->events) >= w->want;
}

static void ws_closed(struct websocket_user *u, struct websocket *ws, int code, struct str reason)
{
	struct rig_watch *w = container_of(u, struct rig_watch, user);

	(void)reason;
	assert_int_equal(code, 1000);
	websocket_close(ws, 1000, "");
	w->done = 1;
}

static void ws_begun(struct http_call *c, const struct err *error)
{
	struct rig_watch *w = container_of(c, struct rig_watch, call);
	struct err e = ERR_INIT;

	if (error)
		fail_msg("%s", error->text);
	must(websocket_from_call(c, &w->user, 0, &w->ws, &e), &e);
}

struct rig_watch *rig_ws_watch(const char *path)
{
	struct rig_watch *w = arena_new_of(&rig_arena, struct rig_watch);

	w->events = json_new_array(&rig_arena);
	w->user.on_message = ws_message;
	w->user.on_close = ws_closed;
	w->call = (struct http_call){.method = "GET", .path = path, .upgrade = true, .headers = w->headers, .done = ws_begun};
	w->call.n_headers = websocket_call_headers(&rig_arena, NULL, w->headers);
	http_call_start(client, &w->call);
	return w;
}

struct json *rig_event(struct rig_watch *w, size_t n)
{
	w->want = n + 1;
	w->reached = json_len(w->events) >= w->want;
	rig_until(&w->reached);
	return json_at(w->events, n);
}

size_t rig_watch_stop(struct rig_watch *w)
{
	if (!w->done && w->ws) {
		websocket_close(w->ws, 1000, "");
		w->done = 1;
	} else if (!w->done) {
		http_call_cancel(&w->call);
	}
	return rig_watch_end(w);
}

size_t rig_watch_end(struct rig_watch *w)
{
	rig_until(&w->done);
	http_call_fini(&w->call);
	buf_fini(&w->in);
	return json_len(w->events);
}
