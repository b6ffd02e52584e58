#include "cli/kube.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/kube_error.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/tls.h"
#include "orchestrator/client/client_http.h"
#include "proto/json.h"
#include "proto/resource.h"

int kube_open(struct kube *k, const struct kube_opts *o, struct err *e)
{
	struct tls_config tls = {.alpn = "h2,http/1.1"};
	struct client_http_cfg cfg = {0};
	struct kube_config c = {0};
	int64_t ms;
	int rv;

	memset(k, 0, sizeof(*k));
	/* A pager that stops reading is no news; what fails is told as a command's error. */
	log_threshold = LOG_ERROR;
	arena_init(&k->arena);
	k->loop = loop_new("cli");
	rv = kube_config_read(&k->arena, o, &c, e);
	k->ns = c.ns;
	k->ns_given = c.ns_given;
	k->address = c.address;
	k->server_name = c.server_name;
	k->token = c.token;
	tls.ca_pem = c.ca;
	tls.cert_pem = c.cert;
	tls.key_pem = c.key;
	tls.verify = c.insecure ? TLS_VERIFY_NONE : TLS_VERIFY_DEFAULT;
	if (rv == 0 && o->request_timeout) {
		if (kube_duration_ms(o->request_timeout, &ms) && ms < INT32_MAX)
			k->timeout_ms = (uint32_t)ms;
		else
			rv = err_set(e, ERR_BAD_REQUEST, "--request-timeout=%s is no duration such as 10s", o->request_timeout);
	}
	if (rv == 0)
		rv = tls_ctx_new(&tls, &k->tls, e);
	cfg.address = k->address;
	cfg.server_name = k->server_name;
	cfg.tls = k->tls;
	cfg.token = k->token;
	if (rv == 0)
		rv = client_http_new(k->loop, &cfg, &k->client, e);
	if (rv < 0)
		kube_close(k);
	return rv;
}

static void closed(void *data)
{
	struct kube *k = data;

	loop_stop(k->loop);
}

void kube_close(struct kube *k)
{
	if (k->client) {
		client_close(TAKE(k->client), closed, k);
		loop_run(k->loop);
	}
	tls_ctx_unref(TAKE(k->tls));
	loop_free(TAKE(k->loop));
	arena_fini(&k->arena);
}

int kube_run(struct kube *k, const struct kube_opts *o, struct opt_args *args, int (*run)(struct kube *, const struct opt_args *))
{
	struct err e;
	int rc;

	if (kube_open(k, o, &e) < 0) {
		rc = cmd_fail(&e);
	} else {
		rc = run(k, args);
		kube_close(k);
	}
	opt_args_fini(args);
	return rc;
}

/* --- Calls ------------------------------------------------------------------------------------------------------- */

struct call {
	struct client_req *req;
	struct loop *loop;
	bool done;
};

static struct call *current; /* one at a time: this is a command line */

static void on_done(struct client_req *req)
{
	current->done = true;
	loop_stop(current->loop);
}

int kube_do(struct kube *k, struct client_req *req)
{
	struct call c = {req, k->loop, false};

	current = &c;
	req->done = on_done;
	if (k->timeout_ms)
		req->timeout_ms = k->timeout_ms;
	client_do(k->client, req);
	while (!c.done)
		loop_run(k->loop);
	current = NULL;
	for (struct str line, rest = req->warnings; rest.n > 0;) {
		str_cut(rest, '\n', &line, &rest);
		fprintf(stderr, "Warning: %.*s\n", STR_FMT(line));
	}
	return req->err.code == ERR_OK ? 0 : -(int)req->err.code;
}

/* The client says how a connection failed; a refused one is worth kubectl's hint. */
static void print_unreachable(struct kube *k, const struct err *e)
{
	if (str_search(str_from(e->text), STR("refused")) >= 0)
		fprintf(stderr, "The connection to the server %s was refused - did you specify the right host or port?\n", k->address);
	else
		fprintf(stderr, "Unable to connect to the server %s: %s\n", k->address, e->text);
}

void kube_scratch_begin(struct kube *k, struct arena *kept)
{
	*kept = k->arena;
	arena_init(&k->arena);
}

void kube_scratch_end(struct kube *k, const struct arena *kept)
{
	arena_fini(&k->arena);
	k->arena = *kept;
}

static void stop_loop(struct loop_timer *t)
{
	loop_stop(loop_current());
}

void kube_pause(struct kube *k, uint64_t ms)
{
	struct loop_timer t = {.cb = NULL};

	loop_timer_start(&t, k->loop, ms, stop_loop);
	loop_run(k->loop);
}

int kube_fail_answer(struct kube *k, int http_status, struct str answer, const struct err *e, const char *when)
{
	struct json *status = NULL;
	struct buf b = BUF_INIT;

	if (http_status == 0)
		print_unreachable(k, e);
	else if (answer.n && json_parse(&k->arena, answer, NULL, &status, NULL) == 0 && kube_status_text(&b, status, when))
		fwrite(b.p, 1, b.n, stderr);
	else
		fprintf(stderr, "Error from server (%s): %s%s%s\n", err_reason(e->code), when ? when : "", when ? ": " : "", e->text);
	buf_fini(&b);
	return CMD_FAILED;
}

int kube_fail_when(struct kube *k, const struct client_req *req, const char *when)
{
	return kube_fail_answer(k, req->http_status, req->answer, &req->err, when);
}

int kube_fail(struct kube *k, const struct client_req *req)
{
	return kube_fail_when(k, req, NULL);
}

struct json *kube_answer(struct kube *k, const struct client_req *req)
{
	struct json *j;
	struct err e;

	if (json_parse(&k->arena, arena_str(&k->arena, req->answer), NULL, &j, &e) == 0)
		return j;
	fprintf(stderr, "error: the server's answer is not JSON: %s\n", e.text);
	return NULL;
}

struct json *kube_get(struct kube *k, const struct resource *r, const char *ns, const char *name, int *ret_status)
{
	struct json *j = NULL;
	struct client_req req;

	client_req_init(&req, CLIENT_GET, r);
	req.ns = ns;
	req.name = name;
	req.accept = KUBE_ACCEPT_JSON;
	if (kube_do(k, &req) == 0)
		j = kube_answer(k, &req);
	else if (req.http_status != 404)
		kube_fail(k, &req);
	*ret_status = req.http_status;
	client_req_fini(&req);
	return j;
}

/* --- Streams ----------------------------------------------------------------------------------------------------- */

int kube_http(struct kube *k, struct http_client **ret, struct err *e)
{
	struct http_client_config cfg = {.address = k->address, .server_name = k->server_name, .tls = k->tls, .proto = HTTP_PROTO_1};

	return http_client_new(k->loop, &cfg, ret, e);
}

static void http_closed(void *arg)
{
	loop_stop(arg);
}

void kube_http_close(struct kube *k, struct http_client *http)
{
	http_client_close(http, http_closed, k->loop);
	loop_run(k->loop);
}

size_t kube_auth_header(struct kube *k, struct http_header *out)
{
	if (!k->token)
		return 0;
	*out = (struct http_header){STR("authorization"), arena_sprintf(&k->arena, "Bearer %s", k->token)};
	return 1;
}
