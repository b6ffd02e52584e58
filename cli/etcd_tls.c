#include "cli/etcd_tls.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/local.h"
#include "io/x509.h"

/* --- Self-signed -------------------------------------------------------------------------------------------------- */

static const char **hosts(struct etcd_config *c, const struct etcd_urls *a, const struct etcd_urls *b)
{
	const struct etcd_urls *all[] = {a, b};
	const char **v = arena_new_array(&c->arena, const char *, a->n + b->n + 3);
	size_t n = 0;

	for (size_t k = 0; k < ARRAY_LEN(all); k++)
		for (size_t i = 0; i < all[k]->n; i++) {
			const char *host = all[k]->v[i].host;
			size_t len = strlen(host);

			if (len > 2 && host[0] == '[')
				host = arena_cstr(&c->arena, str_of(host + 1, len - 2));
			if (*host && strcmp(host, "0.0.0.0") != 0 && strcmp(host, "::") != 0)
				v[n++] = host;
		}
	v[n++] = "localhost";
	v[n++] = "127.0.0.1";
	return v;
}

/* An authority that lives for this moment only signs the one certificate; the file holds both, so that a client can be
 * told to trust it. */
static int sign(const struct x509_spec *spec, const char *cert_path, const char *key_path, struct err *e)
{
	struct x509_key *key = NULL, *ca_key = NULL;
	struct x509_cert *cert = NULL, *ca = NULL;
	struct buf pem = BUF_INIT;
	int rc = x509_key_new(&key, e);

	if (rc == 0)
		rc = x509_key_new(&ca_key, e);
	if (rc == 0)
		rc = x509_ca_new("kontiki etcd self-signed", spec->days, ca_key, &ca, e);
	if (rc == 0)
		rc = x509_sign(spec, key, ca, ca_key, &cert, e);
	if (rc == 0)
		rc = x509_cert_to_pem(cert, &pem, e);
	if (rc == 0)
		rc = x509_cert_to_pem(ca, &pem, e);
	if (rc == 0)
		rc = x509_key_save(key, key_path, e);
	if (rc == 0)
		rc = file_put(cert_path, buf_str(&pem), 0644, true, e);
	buf_fini(&pem);
	x509_key_free(key);
	x509_key_free(ca_key);
	x509_cert_free(cert);
	x509_cert_free(ca);
	return rc;
}

static int self_signed(struct etcd_config *c, struct etcd_tls *t, const char *what, const char **sans, struct err *e)
{
	const char *dir = arena_printf(&c->arena, "%s/fixtures/%s", c->data_dir, what);
	static const char *const orgs[] = {"etcd", NULL};
	struct x509_spec spec = {.cn = c->name, .orgs = orgs, .sans = sans, .days = c->cert_years * 365, .server = true, .client = true};
	struct x509_info info;
	struct x509_cert *old = NULL;
	struct err ignored;
	bool good;
	int rc = dir_make(dir, 0700, e);

	t->cert = arena_printf(&c->arena, "%s/cert.pem", dir);
	t->key = arena_printf(&c->arena, "%s/key.pem", dir);
	if (rc != 0)
		return rc;
	good = access(t->key, R_OK) == 0 && x509_cert_load(t->cert, &old, &ignored) == 0 &&
	       x509_info_of(old, &c->arena, &info, &ignored) == 0 && info.not_after > time(NULL) + 86400;
	x509_cert_free(old);
	return good ? 0 : sign(&spec, t->cert, t->key, e);
}

/* --- Contexts ----------------------------------------------------------------------------------------------------- */

static void note_times(struct etcd_tls_one *o)
{
	struct stat st;

	for (size_t i = 0; i < ETCD_TLS_FILES; i++)
		if (o->files[i] && stat(o->files[i], &st) == 0)
			o->seen[i] = st.st_mtim;
}

static int open_one(struct etcd_tls_one *o, const struct tls_config *cfg, const char *cert, const char *key, const char *ca,
		struct err *e)
{
	o->cfg = *cfg;
	o->files[0] = cert;
	o->files[1] = key;
	o->files[2] = ca;
	o->files[3] = cfg->crl_path;
	note_times(o);
	return tls_ctx_new_files(&o->cfg, cert, key, ca, &o->ctx, e);
}

static bool any_tls(const struct etcd_urls *a, const struct etcd_urls *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].tls)
			return true;
	return b && any_tls(b, NULL);
}

/* What holds for every context. OpenSSL has names of its own for ciphers, and keeps those of TLS 1.2 and of TLS 1.3 apart. */
static int choose_protocol(struct etcd_config *c, struct tls_config *cfg, struct err *e)
{
	const char *old = "", *new = "", *name;
	bool is_new;

	cfg->min_version = c->tls_min;
	cfg->max_version = c->tls_max;
	for (size_t i = 0; c->ciphers && c->ciphers[i]; i++) {
		name = tls_cipher_name(c->ciphers[i], &is_new);
		if (name == NULL)
			return err_set(e, ERR_BAD_REQUEST, "--cipher-suites: unexpected TLS cipher suite \"%s\"", c->ciphers[i]);
		if (is_new)
			new = arena_printf(&c->arena, "%s%s%s", new, *new ? ":" : "", name);
		else
			old = arena_printf(&c->arena, "%s%s%s", old, *old ? ":" : "", name);
	}
	cfg->ciphers = *old ? old : NULL;
	cfg->suites = *new ? new : NULL;
	return 0;
}

static int open_client(struct etcd_tls_set *s, struct etcd_config *c, struct err *e)
{
	struct tls_config cfg = {.server = true, .verify = c->client.verify ? TLS_VERIFY_REQUIRED : TLS_VERIFY_NONE,
			.alpn = "h2,http/1.1",
			.hosts = c->client.hosts,
			.crl_path = c->client.crl};
	int rc = choose_protocol(c, &cfg, e);

	if (rc != 0 || !any_tls(&c->listen_client, &c->listen_metrics))
		return rc;
	if (c->client.self_signed)
		rc = self_signed(c, &c->client, "client", hosts(c, &c->listen_client, &c->advertise_client), e);
	if (rc == 0)
		rc = open_one(&s->client, &cfg, c->client.cert, c->client.key, c->client.ca, e);
	return rc ? err_prefix(e, "the certificate for clients") : 0;
}

static int open_peer(struct etcd_tls_set *s, struct etcd_config *c, struct err *e)
{
	struct tls_config server = {.server = true, .verify = c->peer.verify ? TLS_VERIFY_REQUIRED : TLS_VERIFY_NONE,
			.hosts = c->peer.hosts,
			.crl_path = c->peer.crl};
	struct tls_config client = {.verify = c->peer.self_signed ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED, .crl_path = c->peer.crl};
	struct etcd_tls *t = &c->peer;
	int rc = choose_protocol(c, &server, e);

	if (rc == 0)
		rc = choose_protocol(c, &client, e);
	if (rc != 0 || !any_tls(&c->listen_peer, NULL))
		return rc;
	if (t->self_signed)
		rc = self_signed(c, t, "peer", hosts(c, &c->listen_peer, &c->advertise_peer), e);
	if (rc == 0)
		rc = open_one(&s->peer_server, &server, t->cert, t->key, t->ca, e);
	if (rc == 0)
		rc = open_one(&s->peer_client, &client, t->dial_cert ? t->dial_cert : t->cert, t->dial_key ? t->dial_key : t->key, t->ca, e);
	return rc ? err_prefix(e, "the certificate for peers") : 0;
}

int etcd_tls_open(struct etcd_tls_set *s, struct etcd_config *c, struct err *e)
{
	int rc = open_client(s, c, e);

	return rc ? rc : open_peer(s, c, e);
}

static void look_one(struct etcd_tls_one *o)
{
	struct err e = ERR_INIT;
	struct stat st;
	bool changed = false;

	for (size_t i = 0; o->ctx && i < ETCD_TLS_FILES; i++)
		changed = changed || (o->files[i] && stat(o->files[i], &st) == 0 &&
						     (st.st_mtim.tv_sec != o->seen[i].tv_sec || st.st_mtim.tv_nsec != o->seen[i].tv_nsec));
	if (!changed)
		return;
	note_times(o);
	if (tls_ctx_reload_files(o->ctx, &o->cfg, o->files[0], o->files[1], o->files[2], &e) == 0)
		log_info("etcd", "read the certificate again file=%s", o->files[0]);
	else
		log_warn("etcd", "the new certificate cannot be used, the old one stays: %s", e.text);
}

void etcd_tls_look(struct etcd_tls_set *s)
{
	look_one(&s->client);
	look_one(&s->peer_server);
	look_one(&s->peer_client);
}

void etcd_tls_close(struct etcd_tls_set *s)
{
	tls_ctx_unref(s->client.ctx);
	tls_ctx_unref(s->peer_server.ctx);
	tls_ctx_unref(s->peer_client.ctx);
}
