#include "cli/join.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/fetch.h"
#include "cli/join_claim.h"
#include "cli/join_names.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "io/http_server.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/apiserver/join_token.h"
#include "proto/json.h"
#include "raft/kv.h"

#define FILE_LIMIT 65536
#define BODY_LIMIT 65536
#define LEAF_DAYS 365
#define PASSWORD_BYTES 16

/* --- The serving side ---------------------------------------------------------------------------------------- */

static void answer_text(struct http_request *r, int status, const char *text)
{
	struct http_header h = {STR("content-type"), STR("text/plain; charset=utf-8")};

	http_respond(r, status, &h, 1, str_from(text));
}

static void answer_json(struct http_request *r, const struct json *j)
{
	struct http_header h = {STR("content-type"), STR("application/json")};

	http_respond(r, 200, &h, 1, json_text(&r->arena, j));
}

/* The servers' own token, unless it was replaced, or one made with `kontiki token`. */
static bool is_authorized(struct join_service *s, struct http_request *r, bool as_server)
{
	struct str auth = http_request_header(r, "authorization"), hash, given;
	const char *token = NULL, *secret = NULL;
	struct err e = ERR_INIT;

	if (!str_has_prefix(auth, STR("Bearer ")))
		return false;
	given = str_skip(auth, strlen("Bearer "));
	if (join_ensure_token(s->pki_dir, &r->arena, &token, &e) == 0 && join_token_parse(token, &r->arena, &hash, &secret, &e) == 0 &&
			x509_equal(given, str_from(secret)))
		return !join_token_replaced(kv_store(s->kv), given);
	return join_token_valid(kv_store(s->kv), given, as_server);
}

static bool add_file(struct join_service *s, struct arena *a, struct json *j, const char *name)
{
	struct err e;
	char *text = join__pki_read(s->pki_dir, name, &e);

	if (text == NULL) {
		log_warn("join", "cannot read %s: %s", name, e.text);
		return false;
	}
	json_setc(a, j, name, json_newc(a, text));
	free(text);
	return true;
}

static void add_members(struct join_service *s, struct arena *a, struct json *j)
{
	struct json *peers = json_new_array(a), *servers = json_new_array(a);
	struct kv_status *st = arena_new_of(a, struct kv_status);

	kv_status(s->kv, st);
	for (size_t i = 0; i < st->n_members; i++) {
		const char *url = st->members[i].url;

		json_push(a, peers, json_newc(a, st->members[i].addr));
		if (strncmp(url, "https://", 8) == 0)
			json_push(a, servers, json_newc(a, url + 8));
	}
	json_setc(a, j, "peers", peers);
	json_setc(a, j, "servers", servers);
}

static void serve_server(struct join_service *s, struct http_request *r)
{
	struct json *j = json_new_object(&r->arena);

	if (!add_file(s, &r->arena, j, "ca.crt") || !add_file(s, &r->arena, j, "ca.key") || !add_file(s, &r->arena, j, "sa.key") || !add_file(s, &r->arena, j, "join.token")) {
		answer_text(r, 503, "this server cannot read its keys\n");
		return;
	}
	add_members(s, &r->arena, j);
	log_info("join", "gave the cluster's keys to a joining server remote=%.*s", STR_FMT(r->remote));
	answer_json(r, j);
}

/* A node that asks for its certificate. */
struct joining {
	struct join_service *s;
	struct json *req;
};

static int names_check(struct join_service *s, struct http_request *r, const struct json *req, struct err *e)
{
	struct kv_status *st = arena_new_of(&r->arena, struct kv_status);

	kv_status(s->kv, st);
	return join_names_check(&(struct join_names){.name = json_cstr(json_getc(req, "name")), .addr = json_cstr(json_getc(req, "addr")),
			.remote = arena_cstr(&r->arena, r->remote), .service_ip = s->service_ip, .servers = st->members, .n_servers = st->n_members}, e);
}

static int sign_kubelet(struct join_service *s, struct arena *a, const struct json *req, struct buf *out, struct err *e)
{
	const char *name = json_cstr(json_getc(req, "name")), *addr = json_cstr(json_getc(req, "addr"));
	struct x509_spec spec = {.orgs = (const char *const[]){"system:nodes", NULL}, .sans = (const char *const[]){name, addr, NULL},
			.days = LEAF_DAYS, .server = true, .client = true};
	struct x509_cert *cert = NULL;
	struct pki_ca ca;
	int rv;

	spec.cn = arena_printf(a, "system:node:%s", name);
	rv = pki_ca_load(s->pki_dir, &ca, e);
	if (rv == 0)
		rv = x509_csr_sign(json_str(json_getc(req, "csr")), &spec, ca.cert, ca.key, &cert, e);
	if (rv == 0)
		rv = x509_cert_to_pem(cert, out, e);
	pki_ca_fini(&ca);
	x509_cert_free(cert);
	return rv;
}

static void refuse_node(struct http_request *r, const struct err *e)
{
	int status = e->code == ERR_FORBIDDEN ? 403 : e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT ? 503 : 400;

	log_warn("join", "refused a node's certificate remote=%.*s error=\"%s\"", STR_FMT(r->remote), e->text);
	answer_text(r, status, arena_printf(&r->arena, "%s\n", e->text));
}

static void name_claimed(struct http_request *, const struct err *);

static void agent_body(struct http_request *r, int status, struct str body)
{
	struct joining *jo = arena_new_of(&r->arena, struct joining);
	struct err e = ERR_INIT;

	if (status == -(int)ERR_CANCELED)
		return;
	jo->s = r->user;
	r->user = jo;
	if (status < 0 || json_parse(&r->arena, body, NULL, &jo->req, &e) < 0 || names_check(jo->s, r, jo->req, &e) < 0)
		refuse_node(r, &e);
	else
		join_claim(jo->s->kv, r, json_str(json_getc(jo->req, "name")), json_str(json_getc(jo->req, "password")), name_claimed);
}

static void name_claimed(struct http_request *r, const struct err *why)
{
	struct joining *jo = r->user;
	struct join_service *s = jo->s;
	struct json *req = jo->req, *j;
	struct buf pem = BUF_INIT;
	struct err e = ERR_INIT;

	if (why || sign_kubelet(s, &r->arena, req, &pem, &e) < 0) {
		refuse_node(r, why ? why : &e);
		buf_fini(&pem);
		return;
	}
	j = json_new_object(&r->arena);
	json_setc(&r->arena, j, "kubelet.crt", json_newc(&r->arena, pem.p));
	buf_fini(&pem);
	if (!add_file(s, &r->arena, j, "ca.crt")) {
		answer_text(r, 503, "this server cannot read its CA\n");
		return;
	}
	add_members(s, &r->arena, j);
	log_info("join", "gave a node its certificate name=%s", json_cstr(json_getc(req, "name")));
	answer_json(r, j);
}

static void on_cancel(struct http_request *r)
{
	http_respond_abort(r);
}

/* A POST whose token is looked up behind a read point: one that was just made is good, one that was just deleted is not. */
struct pending {
	struct kv_barrier barrier;
	struct join_service *s;
	struct http_request *http; /* NULL: gone */
	bool as_server;
};

static void pending_cancel(struct http_request *r)
{
	struct pending *p = r->user;

	p->http = NULL;
	http_respond_abort(r);
}

static void pending_over(struct kv_barrier *b)
{
	struct pending *p = container_of(b, struct pending, barrier);
	struct http_request *r = p->http;
	struct join_service *s = p->s;
	bool as_server = p->as_server, failed = b->err.code != 0;

	free(p);
	if (!r)
		return;
	r->user = s;
	r->on_cancel = on_cancel;
	if (failed) {
		answer_text(r, 503, "the cluster has no majority now\n");
	} else if (!is_authorized(s, r, as_server)) {
		log_warn("join", "refused: wrong secret remote=%.*s", STR_FMT(r->remote));
		answer_text(r, 401, "the join token is not this cluster's, has expired or been replaced, or is for nodes only\n");
	} else if (as_server) {
		serve_server(s, r);
	} else {
		http_request_body(r, BODY_LIMIT, agent_body);
	}
}

bool join_serve(struct join_service *s, struct http_request *r)
{
	bool is_server = str_eqc(r->path, "/kontiki/v1/join/server"), is_agent = str_eqc(r->path, "/kontiki/v1/join/agent");
	struct pending *p;

	if (str_eqc(r->path, "/kontiki/v1/ca") && str_eqc(r->method, "GET")) {
		char *pem = join__pki_read(s->pki_dir, "ca.crt", NULL);

		answer_text(r, pem ? 200 : 503, pem ? pem : "this server cannot read its CA\n");
		free(pem);
		return true;
	}
	if (!is_server && !is_agent)
		return false;
	if (!str_eqc(r->method, "POST")) {
		answer_text(r, 405, "use POST\n");
		return true;
	}
	p = xcalloc(1, sizeof(*p));
	p->s = s;
	p->http = r;
	p->as_server = is_server;
	p->barrier.done = pending_over;
	r->user = p;
	r->on_cancel = pending_cancel;
	kv_barrier(s->kv, &p->barrier);
	return true;
}

/* --- The joining side ------------------------------------------------------------------------------------------ */

static int parse_url(const struct join_node *n, struct arena *a, const char **ret, struct err *e)
{
	static const char scheme[] = "https://";
	struct str host = str_from(n->url), rest;

	if (!str_has_prefix(host, str_from(scheme)))
		return err_set(e, ERR_BAD_REQUEST, "\"%s\": give a server's URL such as https://10.0.0.1:6443", n->url);
	str_cut(str_skip(host, strlen(scheme)), '/', &host, &rest);
	*ret = str_find(host, ':') >= 0 ? arena_cstr(a, host) : arena_printf(a, "%.*s:6443", STR_FMT(host));
	return 0;
}

/*
 * The CA's certificate that the token's hash names. While the CA is being replaced there are two; only the named one is believed here, the
 * other comes with the answer that it vouches for.
 */
static int fetch_ca(const char *address, struct str hash, struct arena *a, const char **ret_pem, struct err *e)
{
	struct tls_config tc = {.verify = TLS_VERIFY_NONE};
	struct fetch f = {.address = address, .method = "GET", .path = "/kontiki/v1/ca"};
	char have[X509_SPKI_HASH_SIZE] = "";
	struct str rest, one;
	int rv = tls_ctx_new(&tc, &f.tls, e);

	if (rv == 0)
		rv = fetch(&f, a, e);
	tls_ctx_unref(f.tls);
	if (rv < 0)
		return err_prefix(e, "cannot reach the cluster at %s", address);
	if (f.status != 200)
		return err_set(e, ERR_UNAVAILABLE, "%s answered %d instead of the CA's certificate: is it a Kontiki server?", address, f.status);
	rest = f.answer;
	while (x509_pem_next(&rest, &one)) {
		if (join__ca_hash(one, have, e) < 0)
			return err_prefix(e, "the CA's certificate of %s", address);
		if (x509_equal(str_from(have), hash)) {
			*ret_pem = arena_cstr(a, one);
			return 0;
		}
	}
	if (have[0] == '\0')
		return err_set(e, ERR_PROTOCOL, "%s answered no certificate of a CA", address);
	return err_set(e, ERR_UNAUTHORIZED, "the server at %s belongs to another cluster than the token (its CA is sha256:%s)", address, have);
}

/* POST to the cluster, trusting its CA only. */
static int post(const struct join_node *n, const char *path, struct str body, struct arena *a, struct json **ret, struct err *e)
{
	struct tls_config tc = {.server = false};
	struct fetch f = {.method = "POST", .path = path, .body = body, .timeout_ms = 30000};
	const char *ca = NULL;
	struct str hash, trusted;
	int rv = join_token_parse(n->token, a, &hash, &f.token, e);

	if (rv == 0)
		rv = parse_url(n, a, &f.address, e);
	if (rv == 0)
		rv = fetch_ca(f.address, hash, a, &ca, e);
	if (rv < 0)
		return rv;
	tc.ca_pem = str_from(ca);
	rv = tls_ctx_new(&tc, &f.tls, e);
	if (rv == 0)
		rv = fetch(&f, a, e);
	tls_ctx_unref(f.tls);
	if (rv < 0)
		return err_prefix(e, "cannot join the cluster at %s", f.address);
	if (f.status != 200)
		return err_set(e, err_from_http(f.status), "the server at %s refused the join: %.*s", f.address, STR_FMT(str_trim(f.answer)));
	rv = json_parse(a, f.answer, NULL, ret, e);
	/* All that the cluster trusts now, as told by a server that the one in the token vouches for. */
	trusted = json_str(json_getc(*ret, "ca.crt"));
	return rv == 0 ? join__pki_write(n->pki_dir, "ca.crt", trusted.n ? trusted : str_from(ca), 0644, e) : rv;
}

static int string_list(const struct json *list, struct arena *a, const char *const **ret, size_t *ret_n, struct err *e)
{
	const char **v = arena_new_array(a, const char *, json_len(list) + 1);
	size_t n = 0;

	JSON_ITEMS (it, list)
		v[n++] = arena_cstr(a, json_str(it));
	*ret = v;
	*ret_n = n;
	return n > 0 ? 0 : err_set(e, ERR_PROTOCOL, "the cluster named no server");
}

int join_as_server(const struct join_node *n, struct arena *a, const char *const **ret_peers, size_t *ret_n, struct err *e)
{
	static const char *const files[] = {"ca.key", "sa.key", "join.token"};
	struct json *j = NULL;
	int rv = post(n, "/kontiki/v1/join/server", STR("{}"), a, &j, e);

	for (size_t i = 0; rv == 0 && i < ARRAY_LEN(files); i++)
		rv = join__pki_write(n->pki_dir, files[i], json_str(json_getc(j, files[i])), 0600, e);
	return rv == 0 ? string_list(json_getc(j, "peers"), a, ret_peers, ret_n, e) : rv;
}

/* What this machine shows to come back under its name: made once, and kept before it is shown. */
static int node_password(const struct join_node *n, struct arena *a, const char **ret, struct err *e)
{
	char *old = join__pki_read(n->pki_dir, "node.password", NULL), hex[2 * PASSWORD_BYTES + 1];
	uint8_t bytes[PASSWORD_BYTES];

	if (old) {
		*ret = arena_cstr(a, str_trim(str_from(old)));
		free(old);
		return 0;
	}
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	*ret = arena_strdup(a, hex);
	return join__pki_write(n->pki_dir, "node.password", arena_sprintf(a, "%s\n", hex), 0600, e);
}

int join_as_agent(const struct join_node *n, struct arena *a, const char *const **ret_servers, size_t *ret_n, struct err *e)
{
	struct x509_spec spec = {.orgs = (const char *const[]){"system:nodes", NULL}};
	struct x509_key *key = NULL;
	struct json *req = json_new_object(a), *j = NULL;
	const char *password = NULL;
	struct buf csr = BUF_INIT;
	char path[PATH_MAX];
	int rv = dir_make(n->pki_dir, 0700, e);

	spec.cn = arena_printf(a, "system:node:%s", n->name);
	if (rv == 0)
		rv = x509_key_new(&key, e);
	if (rv == 0)
		rv = x509_csr_new(&spec, key, &csr, e);
	if (rv == 0)
		rv = node_password(n, a, &password, e);
	if (rv == 0) {
		json_setc(a, req, "name", json_newc(a, n->name));
		json_setc(a, req, "password", json_newc(a, password));
		json_setc(a, req, "addr", json_newc(a, n->addr));
		json_setc(a, req, "csr", json_newc(a, csr.p));
		rv = post(n, "/kontiki/v1/join/agent", json_text(a, req), a, &j, e);
	}
	snprintf(path, sizeof(path), "%s/kubelet.key", n->pki_dir);
	if (rv == 0)
		rv = x509_key_save(key, path, e);
	if (rv == 0)
		rv = join__pki_write(n->pki_dir, "kubelet.crt", json_str(json_getc(j, "kubelet.crt")), 0644, e);
	x509_key_free(key);
	buf_fini(&csr);
	return rv == 0 ? string_list(json_getc(j, "servers"), a, ret_servers, ret_n, e) : rv;
}

/* --- The first cluster ------------------------------------------------------------------------------------- */

int members_parse(const char *list, int api_port, const char *name, struct arena *a, struct kv_peer **ret, size_t *ret_n, struct err *e)
{
	struct kv_peer *v = arena_new_array(a, struct kv_peer, KV_MAX_MEMBERS);
	struct str rest = str_from(list), one;
	bool more = rest.n > 0, self = false;
	size_t n = 0;

	while (more) {
		struct str who, addr, flag, host, port;

		more = str_cut(rest, ',', &one, &rest);
		str_cut(one, '+', &one, &flag);
		if (!str_cut(one, '=', &who, &addr) || !str_cut(addr, ':', &host, &port) || n == KV_MAX_MEMBERS ||
		    (flag.n > 0 && !str_eqc(flag, "witness")))
			return err_set(e, ERR_BAD_REQUEST,
				       "--initial-cluster \"%s\": at most %d members as NAME=IP:PORT or NAME=IP:PORT+witness, separated by commas", list,
				       KV_MAX_MEMBERS);
		v[n++] = (struct kv_peer){.name = arena_cstr(a, who), .addr = arena_cstr(a, addr), .witness = flag.n > 0,
					  .url = flag.n > 0 ? NULL : arena_printf(a, "https://%.*s:%d", STR_FMT(host), api_port)};
		self = self || str_eqc(who, name);
	}
	if (n > 0 && !self)
		return err_set(e, ERR_BAD_REQUEST, "--initial-cluster does not name this server (\"%s\")", name);
	*ret = v;
	*ret_n = n;
	return 0;
}
