#include "tests/unit/orchestrator/apiserver/hook_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/objects.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

char hook_rig_ca[8192], hook_rig_dir[128];
unsigned hook_rig_request_ms;
static struct http_server *server;
static struct http_handler handler;
static struct tls_ctx *tls;

static void keep_dir(const char *dir, struct apiserver_cfg *cfg)
{
	cfg->request_timeout_ms = hook_rig_request_ms;
	snprintf(hook_rig_dir, sizeof(hook_rig_dir), "%s", dir);
}

void hook_rig_start(void (*on_request)(struct http_handler *, struct http_request *))
{
	struct http_server_config hc = {.address = "127.0.0.1:0"};
	struct tls_config tc = {.server = true, .alpn = "h2,http/1.1"};
	struct buf pem = BUF_INIT;
	char cert[160], key[160];
	struct err e = ERR_INIT;
	FILE *f;

	rig_configure = keep_dir;
	rig_start();
	snprintf(cert, sizeof(cert), "%s/server.crt", hook_rig_dir);
	snprintf(key, sizeof(key), "%s/server.key", hook_rig_dir);
	assert_int_equal(tls_ctx_new_files(&tc, cert, key, NULL, &tls, &e), 0);
	handler.on_request = on_request;
	hc.tls = tls;
	assert_int_equal(http_server_new(rig_loop, &hc, &handler, &server, &e), 0);
	snprintf(cert, sizeof(cert), "%s/ca.crt", hook_rig_dir);
	f = fopen(cert, "re");
	assert_non_null(f);
	buf_reserve(&pem, 8192);
	pem.n = fread(pem.p, 1, 6000, f);
	fclose(f);
	snprintf(hook_rig_ca, sizeof(hook_rig_ca), "%.*s", STR_FMT(api_base64(&rig_arena, buf_str(&pem))));
	buf_fini(&pem);
}

static void closed(void *arg)
{
	*(int *)arg = 1;
}

void hook_rig_stop(void)
{
	int done = 0;

	http_server_close(server, 0, closed, &done);
	rig_until(&done);
	tls_ctx_unref(tls);
	rig_stop();
}

unsigned hook_rig_port(void)
{
	return http_server_port(server);
}

static void call_over(struct http_call *c, const struct err *e)
{
	assert_non_null(e);
	c->status = 1;
}

void hook_rig_leave(const char *path, const char *body, int *begun, int *gone)
{
	char cert[160], key[160], ca[160];
	struct tls_config tc = {.alpn = "http/1.1"};
	struct http_header type = {STR("Content-Type"), STR("application/json")};
	struct http_client_config hc = {.proto = HTTP_PROTO_1,
			.address = arena_printf(&rig_arena, "127.0.0.1:%u", apiserver_port(rig_server))};
	struct http_call call = {.method = body ? "POST" : "GET", .path = path, .headers = &type, .n_headers = 1,
			.body = body ? str_from(body) : STR_NULL, .done = call_over};
	struct http_client *client;
	struct tls_ctx *ctx;
	struct err e = ERR_INIT;
	int done = 0;

	snprintf(cert, sizeof(cert), "%s/admin.crt", hook_rig_dir);
	snprintf(key, sizeof(key), "%s/admin.key", hook_rig_dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", hook_rig_dir);
	assert_int_equal(tls_ctx_new_files(&tc, cert, key, ca, &ctx, &e), 0);
	hc.tls = ctx;
	assert_int_equal(http_client_new(rig_loop, &hc, &client, &e), 0);
	*begun = 0;
	http_call_start(client, &call);
	rig_until(begun);
	*gone = 0;
	http_client_close(client, closed, &done);
	rig_until(&done);
	rig_until(gone);
	http_call_fini(&call);
	tls_ctx_unref(ctx);
}
