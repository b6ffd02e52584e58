#include "cli/kube.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/kube_error.h"
#include "cli/local.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/tls.h"
#include "orchestrator/client/client_http.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/yaml.h"

#define CONFIG_MAX (8u << 20)

const struct opt kube_rows[] = {
	KUBE_OPT(kubeconfig, "kubeconfig", 0, OPT_STR, "FILE", "the kubeconfig (default $KUBECONFIG, ~/.kube/config, or this machine's cluster)"),
	KUBE_OPT(context, "context", 0, OPT_STR, "NAME", "the context to use"),
	KUBE_OPT(cluster, "cluster", 0, OPT_STR, "NAME", "the cluster to use"),
	KUBE_OPT(user, "user", 0, OPT_STR, "NAME", "the user to be"),
	KUBE_OPT(server, "server", 's', OPT_STR, "URL", "the server's address"),
	KUBE_OPT(token, "token", 0, OPT_STR, "TOKEN", "a bearer token"),
	KUBE_OPT(ns, "namespace", 'n', OPT_STR, "NAME", "the namespace"),
	KUBE_OPT(request_timeout, "request-timeout", 0, OPT_STR, "DURATION", "give up on a request after so long (\"10s\")"),
	KUBE_OPT(ca, "certificate-authority", 0, OPT_STR, "FILE", "the CA of the server's certificate"),
	KUBE_OPT(cert, "client-certificate", 0, OPT_STR, "FILE", "a client certificate"),
	KUBE_OPT(key, "client-key", 0, OPT_STR, "FILE", "its key"),
	KUBE_OPT(tls_server_name, "tls-server-name", 0, OPT_STR, "NAME", "the name to expect in the server's certificate"),
	KUBE_OPT(insecure, "insecure-skip-tls-verify", 0, OPT_BOOL, "", "do not check the server's certificate"),
	OPT_END,
};

/* --- Kubeconfig ------------------------------------------------------------------------------------------------ */

/* All files in order; what is named in an earlier one wins, as in kubectl. */
struct config {
	struct json *files[8];
	const char *folders[8];
	size_t n;
};

static int load(struct kube *k, struct config *c, const char *path, struct err *e)
{
	char *text = file_read(path, CONFIG_MAX, e), *slash;
	struct json *j = NULL;
	int rv;

	if (text == NULL)
		return -(int)ERR_IO;
	rv = yaml_parse(&k->arena, arena_str(&k->arena, str_from(text)), &j, e);
	free(text);
	if (rv < 0)
		return err_prefix(e, "%s", path);
	if (c->n < ARRAY_LEN(c->files)) {
		c->folders[c->n] = arena_strdup(&k->arena, path);
		slash = strrchr(c->folders[c->n], '/');
		if (slash)
			*slash = '\0';
		else
			c->folders[c->n] = ".";
		c->files[c->n++] = j;
	}
	return 0;
}

/* Where kubectl looks, and then where this machine's own clusters keep theirs. */
static int find_config(struct kube *k, const struct kube_opts *o, struct config *c, struct err *e)
{
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME"), *cluster = getenv("KONTIKI_CLUSTER");
	char paths[3][PATH_MAX];
	struct str rest = str_from(env), part;
	int rv = 0;

	if (o->kubeconfig)
		return load(k, c, o->kubeconfig, e);
	while (rest.n > 0 && rv == 0) {
		const char *path;

		str_cut(rest, ':', &part, &rest);
		path = arena_cstr(&k->arena, part);
		if (part.n > 0 && access(path, F_OK) == 0)
			rv = load(k, c, path, e);
	}
	if (rv < 0 || c->n > 0 || (env && *env))
		return rv;
	snprintf(paths[0], PATH_MAX, "%s/.kube/config", home && *home ? home : "/root");
	snprintf(paths[1], PATH_MAX, "%s/%s/admin.kubeconfig", LOCAL_DEFAULT_ROOT, cluster ? cluster : LOCAL_DEFAULT_NAME);
	snprintf(paths[2], PATH_MAX, "/var/lib/kontiki/admin.kubeconfig");
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (access(paths[i], R_OK) == 0)
			return load(k, c, paths[i], e);
	return 0;
}

static const struct json *entry(const struct config *c, const char *list, const char *member, const char *name, size_t *ret_file)
{
	for (size_t i = 0; i < c->n; i++)
		JSON_ITEMS (it, json_getc(c->files[i], list))
			if (json_eqc(json_getc(it, "name"), name)) {
				if (ret_file)
					*ret_file = i;
				return json_getc(it, member);
			}
	return NULL;
}

static const char *text_of(const struct json *j, const char *key)
{
	const char *s = json_cstr(json_getc(j, key));

	return *s ? s : NULL;
}

/* PEM from KEY-data (base64) or from the file that KEY names. */
static int pem(struct kube *k, const struct config *c, size_t file, const struct json *j, const char *key, struct str *ret,
		struct err *e)
{
	char data_key[64], path[PATH_MAX], *text;
	const char *s;
	struct buf b = BUF_INIT;

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	if ((s = text_of(j, data_key)) != NULL) {
		if (codec_base64_parse(str_from(s), &b) >= 0) {
			buf_fini(&b);
			return err_set(e, ERR_BAD_REQUEST, "kubeconfig: %s is no base64", data_key);
		}
		*ret = arena_str(&k->arena, buf_str(&b));
		buf_fini(&b);
		return 0;
	}
	if ((s = text_of(j, key)) == NULL)
		return 0;
	snprintf(path, sizeof(path), "%s%s%s", *s == '/' ? "" : c->folders[file], *s == '/' ? "" : "/", s);
	text = file_read(path, CONFIG_MAX, e);
	if (text == NULL)
		return -(int)ERR_IO;
	*ret = arena_str(&k->arena, str_from(text));
	free(text);
	return 0;
}

/* A flag's file wins over what the kubeconfig says. */
static int pem_file(struct kube *k, const char *path, struct str *ret, struct err *e)
{
	char *text = path ? file_read(path, CONFIG_MAX, e) : NULL;

	if (path == NULL)
		return 0;
	if (text == NULL)
		return -(int)ERR_IO;
	*ret = arena_str(&k->arena, str_from(text));
	free(text);
	return 0;
}

static int parse_server(struct kube *k, const char *url, struct err *e)
{
	struct str s = str_from(url), host, port;

	if (str_search(s, STR("://")) < 0)
		s = arena_sprintf(&k->arena, "https://%s", url);
	if (!str_has_prefix(s, STR("https://")))
		return err_set(e, ERR_BAD_REQUEST, "server address \"%s\": it must begin with https://", url);
	s = str_skip(s, 8);
	str_cut(s, '/', &s, &host);
	if (!str_cut(s, ':', &host, &port))
		port = STR("443");
	k->server_name = arena_cstr(&k->arena, host);
	k->address = arena_printf(&k->arena, "%.*s:%.*s", STR_FMT(host), STR_FMT(port));
	return 0;
}

static int configure(struct kube *k, const struct kube_opts *o, struct tls_config *tls, struct err *e)
{
	struct config c = {.n = 0};
	const char *name = o->context, *server;
	const struct json *context = NULL, *cluster = NULL, *user = NULL;
	size_t cluster_file = 0, user_file = 0;
	int rv = find_config(k, o, &c, e);

	for (size_t i = 0; name == NULL && i < c.n; i++)
		name = text_of(c.files[i], "current-context");
	if (rv == 0 && name) {
		context = entry(&c, "contexts", "context", name, NULL);
		if (context == NULL)
			return err_set(e, ERR_NOT_FOUND, "context \"%s\" does not exist", name);
	}
	name = o->cluster ? o->cluster : text_of(context, "cluster");
	if (rv == 0 && name)
		cluster = entry(&c, "clusters", "cluster", name, &cluster_file);
	name = o->user ? o->user : text_of(context, "user");
	if (rv == 0 && name)
		user = entry(&c, "users", "user", name, &user_file);
	server = o->server ? o->server : text_of(cluster, "server");
	if (rv == 0 && server == NULL)
		return err_set(e, ERR_NOT_FOUND,
				"no kubeconfig: set KUBECONFIG, or see `kontiki kubeconfig --help` for that of a local cluster");
	k->ns = o->ns ? o->ns : text_of(context, "namespace");
	k->ns = k->ns ? arena_strdup(&k->arena, k->ns) : "default";
	k->ns_given = o->ns != NULL;
	k->token = o->token ? o->token : text_of(user, "token");
	if (rv == 0)
		rv = parse_server(k, server, e);
	if (rv == 0)
		rv = pem(k, &c, cluster_file, cluster, "certificate-authority", &tls->ca_pem, e);
	if (rv == 0)
		rv = pem(k, &c, user_file, user, "client-certificate", &tls->cert_pem, e);
	if (rv == 0)
		rv = pem(k, &c, user_file, user, "client-key", &tls->key_pem, e);
	if (text_of(cluster, "tls-server-name"))
		k->server_name = text_of(cluster, "tls-server-name");
	if (o->tls_server_name)
		k->server_name = o->tls_server_name;
	if (rv == 0)
		rv = pem_file(k, o->ca, &tls->ca_pem, e);
	if (rv == 0)
		rv = pem_file(k, o->cert, &tls->cert_pem, e);
	if (rv == 0)
		rv = pem_file(k, o->key, &tls->key_pem, e);
	if (o->insecure || json_true(json_getc(cluster, "insecure-skip-tls-verify")))
		tls->verify = TLS_VERIFY_NONE;
	return rv;
}

bool kube_duration_ms(const char *text, int64_t *ret_ms)
{
	double total = 0;
	const char *p = text;

	if (*p == '\0')
		return false;
	while (*p) {
		char *end;
		double v = strtod(p, &end);

		if (end == p || v < 0)
			return false;
		p = end;
		if (strncmp(p, "ms", 2) == 0)
			total += v, p += 2;
		else if (*p == 's' || *p == '\0')
			total += v * 1000, p += *p == 's';
		else if (*p == 'm')
			total += v * 60000, p++;
		else if (*p == 'h')
			total += v * 3600000, p++;
		else
			return false;
	}
	*ret_ms = (int64_t)total;
	return total < 1e15;
}

int kube_open(struct kube *k, const struct kube_opts *o, struct err *e)
{
	struct tls_config tls = {.alpn = "h2,http/1.1"};
	struct client_http_cfg cfg = {0};
	int64_t ms;
	int rv;

	memset(k, 0, sizeof(*k));
	arena_init(&k->arena);
	k->loop = loop_new("cli");
	rv = configure(k, o, &tls, e);
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

const char *kube_ns(const struct kube *k, const struct resource *r)
{
	return r->namespaced ? k->ns : NULL;
}

const char *kube_kind_word(struct kube *k, const struct resource *r)
{
	return *r->group ? arena_printf(&k->arena, "%s.%s", r->singular, r->group) : r->singular;
}

const char *kube_escape(struct kube *k, const char *text)
{
	struct buf b = BUF_INIT;
	const char *out;

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_add1(&b, *p);
		else
			buf_printf(&b, "%%%02X", c);
	}
	out = arena_cstr(&k->arena, buf_str(&b));
	buf_fini(&b);
	return out;
}
