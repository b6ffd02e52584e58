#include "orchestrator/agent/certs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/client/client.h"
#include "orchestrator/client/csr.h"
#include "orchestrator/client/pki_annotations.h"
#include "orchestrator/kubelet/fsutil.h"
#include "proto/certificates.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define LOOK_MS 10000
#define POLL_MS 1000
#define MAX_POLLS 600
/* After a refusal it is worth asking again, but not soon. */
#define REFUSED_MS 600000
#define FALLBACK "kubelet"
#define MAX_PEM 65536

static const struct {
	const char *file, *signer, *usage;
} uses[CERT_N] = {
	[CERT_CLIENT] = {"kubelet-client", CSR_SIGNER_KUBELET_CLIENT, "client auth"},
	[CERT_SERVING] = {"kubelet-serving", CSR_SIGNER_KUBELET_SERVING, "server auth"},
};

struct agent_certs {
	struct certs_cfg cfg;
	struct client *client;
	struct tls_ctx *ctx[CERT_N], *probe;
	struct loop_timer timer;
	struct client_req req;
	bool stopped, busy;
	enum cert_use use; /* that is being renewed */
	struct x509_key *key;
	char name[256]; /* of the request */
	unsigned polls;
	uint64_t stamp;  /* of the files that the contexts were made from */
	char told[512];  /* the annotations, as last patched */
};

static void look(struct loop_timer *t);
static void renew(struct agent_certs *c);
static void poll(struct loop_timer *t);

static void path_of(const struct agent_certs *c, const char *file, const char *ext, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s%s", c->cfg.pki_dir, file, ext);
}

/* --- Files ----------------------------------------------------------------------------------------------------- */

/* Its times, if certificate and key are there and belong together. */
static bool pair_is_good(const struct agent_certs *c, const char *file, int64_t *ret_from, int64_t *ret_to)
{
	struct x509_cert *cert = NULL;
	struct x509_key *key = NULL;
	char path[PATH_MAX];
	struct x509_info info;
	struct arena a;
	bool good;

	arena_init(&a);
	path_of(c, file, ".crt", path);
	good = x509_cert_load(path, &cert, NULL) == 0;
	path_of(c, file, ".key", path);
	good = good && x509_key_load(path, &key, NULL) == 0 && x509_cert_matches(cert, key) &&
	       x509_info_of(cert, &a, &info, NULL) == 0;
	if (good) {
		*ret_from = info.not_before;
		*ret_to = info.not_after;
	}
	arena_fini(&a);
	x509_cert_free(cert);
	x509_key_free(key);
	return good;
}

/* The pair of that use, or the one that the node joined with if that is still good for longer. */
static const char *current(const struct agent_certs *c, enum cert_use use, int64_t *ret_from, int64_t *ret_to)
{
	int64_t from = 0, to = 0;
	bool own = pair_is_good(c, uses[use].file, ret_from, ret_to);

	if (!pair_is_good(c, FALLBACK, &from, &to) || (own && *ret_to >= clock_wall_s()))
		return own ? uses[use].file : FALLBACK;
	*ret_from = from;
	*ret_to = to;
	return FALLBACK;
}

static struct tls_config config_of(enum cert_use use)
{
	return use == CERT_CLIENT ? (struct tls_config){.alpn = "h2,http/1.1"} :
				    (struct tls_config){.server = true, .verify = TLS_VERIFY_OPTIONAL, .alpn = "h2,http/1.1"};
}

static int load(struct agent_certs *c, enum cert_use use, struct err *e)
{
	struct tls_config tc = config_of(use);
	char crt[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
	int64_t from = 0, to = 0;
	const char *file = current(c, use, &from, &to);

	path_of(c, file, ".crt", crt);
	path_of(c, file, ".key", key);
	path_of(c, "ca", ".crt", ca);
	if (c->ctx[use])
		return tls_ctx_reload_files(c->ctx[use], &tc, crt, key, ca, e);
	return tls_ctx_new_files(&tc, crt, key, ca, &c->ctx[use], e);
}

static bool asked_for(const struct agent_certs *c, const char *file)
{
	struct stat want, have;
	char path[PATH_MAX];

	path_of(c, "rotate", "", path);
	if (stat(path, &want) < 0)
		return false;
	path_of(c, file, ".crt", path);
	return stat(path, &have) < 0 || have.st_mtime <= want.st_mtime;
}

static struct str read_pem(const struct agent_certs *c, const char *file, struct arena *a)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	char path[PATH_MAX];

	path_of(c, file, ".crt", path);
	return file_get(path, MAX_PEM, &text, NULL) == 0 ? arena_str(a, buf_str(&text)) : STR_NULL;
}

/* The name of a CA's key (pki_annotations.h); empty when it is none. */
static const char *ca_id(struct arena *a, struct str pem)
{
	char hash[X509_SPKI_HASH_SIZE];
	struct x509_cert *cert = NULL;
	const char *id = "";

	if (x509_cert_from_pem(pem, &cert, NULL) == 0 && x509_spki_hash(cert, hash, NULL) == 0)
		id = arena_printf(a, "%.16s", hash + strlen("sha256:"));
	x509_cert_free(cert);
	return id;
}

/* Which of the trusted CAs has signed it? */
static const char *issuer_of(const struct agent_certs *c, const char *file, struct str trusted, struct arena *a)
{
	struct x509_cert *cert = NULL;
	const char *id = "";
	char path[PATH_MAX];
	struct str one;

	path_of(c, file, ".crt", path);
	if (x509_cert_load(path, &cert, NULL) < 0)
		return "";
	while (*id == '\0' && x509_pem_next(&trusted, &one))
		if (x509_verify(cert, one, NULL) == 0)
			id = ca_id(a, one);
	x509_cert_free(cert);
	return id;
}

/* By another CA than the one that signs now, which comes first. */
static bool is_foreign(const struct agent_certs *c, const char *file)
{
	struct str trusted;
	struct arena a;
	bool foreign;

	arena_init(&a);
	trusted = read_pem(c, "ca", &a);
	foreign = trusted.n > 0 && strcmp(issuer_of(c, file, trusted, &a), ca_id(&a, trusted)) != 0;
	arena_fini(&a);
	return foreign;
}

static bool is_due(const struct agent_certs *c, enum cert_use use)
{
	int64_t from = 0, to = 0, now = clock_wall_s();
	const char *file = current(c, use, &from, &to);

	return now >= to - (to - from) / 5 || asked_for(c, uses[use].file) || is_foreign(c, file);
}

/* --- Asking ----------------------------------------------------------------------------------------------------- */

static void again(struct agent_certs *c, uint64_t ms, void (*fn)(struct loop_timer *))
{
	if (!c->stopped)
		loop_timer_start(&c->timer, c->cfg.loop, ms, fn);
}

static void give_up(struct agent_certs *c, const char *why, uint64_t ms)
{
	log_warn("agent", "certificate %s is not renewed yet: %s", uses[c->use].file, why);
	x509_key_free(TAKE(c->key));
	again(c, ms, look);
}

static int save(struct agent_certs *c, struct str pem, struct err *e)
{
	struct x509_cert *cert = NULL;
	char path[PATH_MAX];
	int rv = x509_cert_from_pem(pem, &cert, e);

	if (rv == 0 && !x509_cert_matches(cert, c->key))
		rv = err_set(e, ERR_INVALID, "the certificate is for another key");
	/* Between the two writes the pair does not match, and the one from the join would be used. */
	path_of(c, uses[c->use].file, ".key", path);
	if (rv == 0)
		rv = x509_key_save(c->key, path, e);
	path_of(c, uses[c->use].file, ".crt", path);
	if (rv == 0)
		rv = x509_cert_save(cert, path, e);
	x509_cert_free(cert);
	return rv;
}

static void signed_now(struct agent_certs *c, struct str pem)
{
	struct err e = ERR_INIT;

	if (save(c, pem, &e) < 0 || load(c, c->use, &e) < 0) {
		give_up(c, e.text, REFUSED_MS);
		return;
	}
	log_info("agent", "certificate renewed file=%s", uses[c->use].file);
	x509_key_free(TAKE(c->key));
	again(c, 1, look);
}

static const char *refusal(const Certificates__CertificateSigningRequest *o)
{
	for (size_t i = 0; o->status && i < o->status->n_conditions; i++)
		if (pb_streq(o->status->conditions[i]->type, "Denied") || pb_streq(o->status->conditions[i]->type, "Failed"))
			return pb_s(o->status->conditions[i]->message);
	return NULL;
}

static void polled(struct client_req *req)
{
	struct agent_certs *c = container_of(req, struct agent_certs, req);
	const Certificates__CertificateSigningRequest *o;

	c->busy = false;
	if (c->stopped) {
		client_req_fini(req);
		return;
	}
	o = req->err.code ? NULL : client_req_unpack(req, &certificates__certificate_signing_request__descriptor);
	if (o && o->status && o->status->certificate.len > 0)
		signed_now(c, str_of(o->status->certificate.data, o->status->certificate.len));
	else if (o && refusal(o))
		give_up(c, refusal(o), REFUSED_MS);
	else if (++c->polls >= MAX_POLLS)
		give_up(c, req->err.code ? req->err.text : "nobody has approved and signed the request", REFUSED_MS);
	else
		again(c, POLL_MS, poll);
	client_req_fini(req);
}

static void poll(struct loop_timer *t)
{
	struct agent_certs *c = container_of(t, struct agent_certs, timer);

	client_req_init(&c->req, CLIENT_GET, resource_find("certificates.k8s.io", "v1", "certificatesigningrequests"));
	c->req.name = c->name;
	c->req.done = polled;
	c->busy = true;
	client_do(c->client, &c->req);
}

static void asked(struct client_req *req)
{
	struct agent_certs *c = container_of(req, struct agent_certs, req);
	const Certificates__CertificateSigningRequest *o;

	c->busy = false;
	if (c->stopped) {
		client_req_fini(req);
		return;
	}
	o = req->err.code ? NULL : client_req_unpack(req, &certificates__certificate_signing_request__descriptor);
	if (!o || !o->metadata) {
		give_up(c, req->err.text, LOOK_MS);
	} else {
		snprintf(c->name, sizeof(c->name), "%s", pb_s(o->metadata->name));
		c->polls = 0;
		again(c, 100, poll);
	}
	client_req_fini(req);
}

static int ask(struct agent_certs *c, struct err *e)
{
	char cn[300];
	const char *const orgs[] = {"system:nodes", NULL}, *const sans[] = {c->cfg.node_name, c->cfg.node_ip, NULL};
	struct x509_spec spec = {.cn = cn, .orgs = orgs, .sans = c->use == CERT_SERVING ? sans : NULL};
	Certificates__CertificateSigningRequest *o;
	struct buf pem = BUF_INIT;
	struct str text;
	int rv;

	snprintf(cn, sizeof(cn), "system:node:%s", c->cfg.node_name);
	rv = x509_key_new(&c->key, e);
	if (rv == 0)
		rv = x509_csr_new(&spec, c->key, &pem, e);
	if (rv < 0) {
		buf_fini(&pem);
		return rv;
	}
	client_req_init(&c->req, CLIENT_CREATE, resource_find("certificates.k8s.io", "v1", "certificatesigningrequests"));
	o = pb_new_of(&c->req.arena, certificates__certificate_signing_request, Certificates__CertificateSigningRequest);
	pb_sub(&c->req.arena, o, "metadata");
	pb_sub(&c->req.arena, o, "spec");
	o->metadata->generate_name = "csr-";
	text = arena_str(&c->req.arena, buf_str(&pem));
	buf_fini(&pem);
	o->spec->has_request = true;
	o->spec->request = (ProtobufCBinaryData){text.n, (uint8_t *)(uintptr_t)text.p};
	o->spec->signer_name = uses[c->use].signer;
	pb_add_str(&c->req.arena, o->spec, "usages", "digital signature");
	pb_add_str(&c->req.arena, o->spec, "usages", uses[c->use].usage);
	c->req.msg = &o->base;
	c->req.done = asked;
	c->busy = true;
	client_do(c->client, &c->req);
	return 0;
}

static void renew(struct agent_certs *c)
{
	struct err e = ERR_INIT;

	for (c->use = 0; c->use < CERT_N && !is_due(c, c->use); c->use++)
		continue;
	if (c->use == CERT_N)
		again(c, LOOK_MS, look);
	else if (ask(c, &e) < 0)
		give_up(c, e.text, REFUSED_MS);
}

/* --- The CA ------------------------------------------------------------------------------------------------------- */

static uint64_t stamp_of(const struct agent_certs *c)
{
	static const char *const files[] = {"ca", FALLBACK, "kubelet-client", "kubelet-serving"};
	uint64_t h = 0xcbf29ce484222325u;
	char path[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		path_of(c, files[i], ".crt", path);
		if (stat(path, &st) == 0)
			h = (h ^ (uint64_t)st.st_ino ^ ((uint64_t)st.st_mtim.tv_sec << 20) ^ (uint64_t)st.st_mtim.tv_nsec) * 0x100000001b3u + 1;
	}
	return h;
}

static int load_probe(struct agent_certs *c, struct err *e)
{
	struct tls_config tc = {.alpn = "http/1.1"};
	char ca[PATH_MAX];

	path_of(c, "ca", ".crt", ca);
	return c->probe ? tls_ctx_reload_files(c->probe, &tc, NULL, NULL, ca, e) : tls_ctx_new_files(&tc, NULL, NULL, ca, &c->probe, e);
}

/* What has changed on disk, whoever changed it. */
static void take_up(struct agent_certs *c)
{
	uint64_t now = stamp_of(c);
	struct err e = ERR_INIT;

	if (now == c->stamp)
		return;
	if (load_probe(c, &e) < 0 || load(c, CERT_CLIENT, &e) < 0 || load(c, CERT_SERVING, &e) < 0)
		log_warn("agent", "changed certificates are not taken up yet: %s", e.text);
	else
		c->stamp = now;
}

/* The annotations as a merge patch. */
static struct str annotations(const struct agent_certs *c, struct arena *a)
{
	struct str trusted = read_pem(c, "ca", a), rest = trusted, one;
	const char *ids = "", *used = "";
	int64_t from = 0, to = 0;

	while (x509_pem_next(&rest, &one))
		ids = arena_printf(a, "%s%s%s", ids, *ids ? "," : "", ca_id(a, one));
	for (enum cert_use use = 0; use < CERT_N; use++) {
		const char *id = issuer_of(c, current(c, use, &from, &to), trusted, a);

		if (strstr(used, *id ? id : "unknown") == NULL)
			used = arena_printf(a, "%s%s%s", used, *used ? "," : "", *id ? id : "unknown");
	}
	return arena_sprintf(a, "{\"metadata\":{\"annotations\":{\"" PKI_TRUSTED "\":\"%s\",\"" PKI_USED "\":\"%s\"}}}", ids, used);
}

static void told(struct client_req *req)
{
	struct agent_certs *c = container_of(req, struct agent_certs, req);

	c->busy = false;
	/* No Node yet, or nobody to tell: the next look tries again. */
	if (req->err.code)
		c->told[0] = '\0';
	client_req_fini(req);
	if (!c->stopped)
		renew(c);
}

static void tell(struct agent_certs *c)
{
	struct str patch;

	take_up(c);
	client_req_init(&c->req, CLIENT_PATCH, resource_find("", "v1", "nodes"));
	patch = annotations(c, &c->req.arena);
	if (c->stamp != stamp_of(c) || str_eqc(patch, c->told)) {
		client_req_fini(&c->req);
		renew(c);
		return;
	}
	snprintf(c->told, sizeof(c->told), "%.*s", STR_FMT(patch));
	c->req.name = c->cfg.node_name;
	c->req.body = patch;
	c->req.content_type = CLIENT_MERGE_PATCH;
	c->req.done = told;
	c->busy = true;
	client_do(c->client, &c->req);
}

/* Over a connection that a CA trusted so far vouches for. */
static void fetched(struct client_req *req)
{
	struct agent_certs *c = container_of(req, struct agent_certs, req);
	struct str have, text = req->answer, one;
	struct x509_cert *cert = NULL;
	char path[PATH_MAX];
	struct err e = ERR_INIT;

	c->busy = false;
	if (c->stopped) {
		client_req_fini(req);
		return;
	}
	have = read_pem(c, "ca", &req->arena);
	if (!req->err.code && !str_eq(have, text) && x509_pem_next(&text, &one) && x509_cert_from_pem(one, &cert, NULL) == 0) {
		path_of(c, "ca", ".crt", path);
		if (file_put(path, req->answer, 0644, false, &e) < 0)
			log_warn("agent", "the cluster's new CA is not kept: %s", e.text);
		else
			log_info("agent", "took up the CAs that the cluster trusts");
	}
	x509_cert_free(cert);
	client_req_fini(req);
	tell(c);
}

static void look(struct loop_timer *t)
{
	struct agent_certs *c = container_of(t, struct agent_certs, timer);
	char path[PATH_MAX];

	path_of(c, "ca", ".key", path);
	if (access(path, F_OK) == 0) {
		tell(c); /* the server beside us writes ca.crt */
		return;
	}
	client_req_init(&c->req, CLIENT_RAW, NULL);
	c->req.raw_method = "GET";
	c->req.raw_path = "/kontiki/v1/ca";
	c->req.accept = "text/plain";
	c->req.done = fetched;
	c->busy = true;
	client_do(c->client, &c->req);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

struct agent_certs *certs_new(const struct certs_cfg *cfg)
{
	struct agent_certs *c = xcalloc(1, sizeof(*c));

	c->cfg = *cfg;
	return c;
}

int certs_probe(struct agent_certs *c, struct tls_ctx **ret, struct err *e)
{
	int rv = load_probe(c, e);

	if (rv == 0)
		*ret = tls_ctx_ref(c->probe);
	return rv;
}

int certs_contexts(struct agent_certs *c, struct tls_ctx *ret[CERT_N], struct err *e)
{
	c->stamp = stamp_of(c);
	for (enum cert_use use = 0; use < CERT_N; use++) {
		if (load(c, use, e) < 0)
			return -e->code;
		ret[use] = tls_ctx_ref(c->ctx[use]);
	}
	return 0;
}

void certs_start(struct agent_certs *c, struct client *client)
{
	c->client = client;
	again(c, LOOK_MS / 2, look);
}

void certs_stop(struct agent_certs *c)
{
	if (!c)
		return;
	c->stopped = true;
	loop_timer_stop(&c->timer);
}

void certs_free(struct agent_certs *c)
{
	if (!c)
		return;
	ASSERT(!c->busy);
	x509_key_free(c->key);
	for (enum cert_use use = 0; use < CERT_N; use++)
		tls_ctx_unref(c->ctx[use]);
	tls_ctx_unref(c->probe);
	free(c);
}
