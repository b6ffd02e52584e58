#include "cli/pki.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/local.h"
#include "io/x509.h"
#include "orchestrator/apiserver/front_proxy.h"

#define CA_DAYS 3650
#define LEAF_DAYS 365
#define RENEW_BEFORE_S (30 * 24 * 3600)
#define PEM_LIMIT 65536

static void path_of(const char *dir, const char *name, const char *ext, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s%s", dir, name, ext);
}

static bool has_file(const char *dir, const char *name)
{
	char path[PATH_MAX];

	path_of(dir, name, "", path);
	return access(path, R_OK) == 0;
}

bool pki_has_ca_key(const char *dir)
{
	return has_file(dir, "ca.key");
}

static int make_key(const char *dir, const char *name, struct x509_key **ret, struct err *e)
{
	char path[PATH_MAX];
	int rv = x509_key_new(ret, e);

	path_of(dir, name, ".key", path);
	if (rv == 0)
		rv = x509_key_save(*ret, path, e);
	return rv;
}

int pki_ensure_ca(const char *dir, struct err *e)
{
	struct x509_key *key = NULL, *sa = NULL;
	struct x509_cert *ca = NULL;
	char path[PATH_MAX];
	int rv = dir_make(dir, 0700, e);

	if (rv < 0)
		return rv;
	if (has_file(dir, "ca.crt") != has_file(dir, "ca.key"))
		return err_set(e, ERR_FAILED_PRECONDITION,
				"%s has only one of ca.crt and ca.key: restore the other from a backup, or "
				"remove both for a new cluster", dir);
	if (!has_file(dir, "ca.key")) {
		rv = make_key(dir, "ca", &key, e);
		if (rv == 0)
			rv = x509_ca_new("kontiki-ca", CA_DAYS, key, &ca, e);
		path_of(dir, "ca", ".crt", path);
		if (rv == 0)
			rv = x509_cert_save(ca, path, e);
	}
	if (rv == 0 && !has_file(dir, "sa.key"))
		rv = make_key(dir, "sa", &sa, e);
	x509_key_free(key);
	x509_key_free(sa);
	x509_cert_free(ca);
	return rv;
}

void pki_ca_fini(struct pki_ca *ca)
{
	x509_key_free(ca->key);
	x509_cert_free(ca->cert);
	free(ca->pem);
	free(ca->trusted);
	x509_key_free(ca->sa_key);
	memset(ca, 0, sizeof(*ca));
}

/* The one that belongs to the key: while the CA is being replaced there are two. */
static int find_signer(const char *dir, const char *name, struct pki_ca *ca, struct err *e)
{
	struct str rest = str_from(ca->trusted), one;
	int rv;

	while (x509_pem_next(&rest, &one)) {
		rv = x509_cert_from_pem(one, &ca->cert, e);
		if (rv < 0)
			return err_prefix(e, "%s/%s.crt", dir, name);
		if (x509_cert_matches(ca->cert, ca->key)) {
			ca->pem = str_dup(one);
			return 0;
		}
		x509_cert_free(TAKE(ca->cert));
	}
	return err_set(e, ERR_CORRUPT, "%s/%s.crt and %s.key do not belong together", dir, name, name);
}

static int ca_load(const char *dir, const char *name, struct pki_ca *ca, struct err *e)
{
	char path[PATH_MAX];
	int rv;

	memset(ca, 0, sizeof(*ca));
	path_of(dir, name, ".key", path);
	rv = x509_key_load(path, &ca->key, e);
	path_of(dir, name, ".crt", path);
	if (rv == 0) {
		ca->trusted = file_read(path, PEM_LIMIT, e);
		rv = ca->trusted ? find_signer(dir, name, ca, e) : -(int)ERR_IO;
	}
	return rv;
}

int pki_ca_load(const char *dir, struct pki_ca *ca, struct err *e)
{
	return ca_load(dir, "ca", ca, e);
}

int pki_ca_load_all(const char *dir, struct pki_ca *ca, struct err *e)
{
	char path[PATH_MAX];
	int rv = pki_ca_load(dir, ca, e);

	path_of(dir, "sa", ".key", path);
	return rv == 0 ? x509_key_load(path, &ca->sa_key, e) : rv;
}

static bool has_name(const struct str *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_ieq(names[i], str_from(name)))
			return true;
	return false;
}

/* A certificate file is the certificate and, where one is to be sent along, a further one. */
static bool chain_is(const char *dir, const char *name, const char *chain)
{
	char path[PATH_MAX], *text;
	struct str rest, one;
	bool same = false;

	path_of(dir, name, ".crt", path);
	text = file_read(path, PEM_LIMIT, NULL);
	rest = str_from(text);
	if (text && x509_pem_next(&rest, &one)) {
		bool more = x509_pem_next(&rest, &one);

		same = more == (chain != NULL) && (!more || str_eq(one, str_trim(str_from(chain))));
	}
	free(text);
	return same;
}

/* Still good: readable, signed by the CA as it signs now, fresh, and for all these names. */
static bool leaf_is_good(const char *dir, const char *name, const struct x509_spec *spec, const struct pki_ca *ca)
{
	struct x509_cert *cert = NULL;
	struct x509_key *key = NULL;
	struct x509_info info;
	struct arena a;
	char path[PATH_MAX];
	bool good;

	arena_init(&a);
	path_of(dir, name, ".crt", path);
	good = x509_cert_load(path, &cert, NULL) == 0;
	path_of(dir, name, ".key", path);
	good = good && x509_key_load(path, &key, NULL) == 0 && x509_cert_matches(cert, key) &&
	       x509_verify(cert, str_from(ca->pem), NULL) == 0 && x509_info_of(cert, &a, &info, NULL) == 0 &&
	       info.not_after > clock_wall_s() + RENEW_BEFORE_S && str_eqc(info.cn, spec->cn);
	for (const char *const *s = spec->sans; good && s && *s; s++)
		good = has_name(info.dns, info.n_dns, *s) || has_name(info.ips, info.n_ips, *s);
	arena_fini(&a);
	x509_cert_free(cert);
	x509_key_free(key);
	return good;
}

static int save_leaf(const char *path, const struct x509_cert *cert, const char *chain, struct err *e)
{
	_cleanup_(buf_fini) struct buf pem = BUF_INIT;
	int rv = x509_cert_to_pem(cert, &pem, e);

	if (chain)
		buf_addc(&pem, chain);
	return rv == 0 ? file_put(path, buf_str(&pem), 0644, true, e) : rv;
}

static int ensure_chained(const char *dir, const char *name, const struct x509_spec *spec, const struct pki_ca *ca, const char *chain,
		struct err *e)
{
	struct x509_key *key = NULL;
	struct x509_cert *cert = NULL;
	char path[PATH_MAX];
	int rv;

	if (leaf_is_good(dir, name, spec, ca) && chain_is(dir, name, chain))
		return 0;
	rv = make_key(dir, name, &key, e);
	if (rv == 0)
		rv = x509_sign(spec, key, ca->cert, ca->key, &cert, e);
	path_of(dir, name, ".crt", path);
	if (rv == 0)
		rv = save_leaf(path, cert, chain, e);
	x509_key_free(key);
	x509_cert_free(cert);
	return rv < 0 ? err_prefix(e, "certificate %s", name) : 0;
}

static int ensure_leaf(const char *dir, const char *name, const struct x509_spec *spec, const struct pki_ca *ca, struct err *e)
{
	return ensure_chained(dir, name, spec, ca, NULL, e);
}

/* The CA signed by the one before it, while both are trusted (rotation.h); only beside a key that is the new one. */
static char *cross_of(const char *dir, const struct pki_ca *ca)
{
	struct x509_cert *cross = NULL;
	char path[PATH_MAX], *text;

	path_of(dir, "ca-cross", ".crt", path);
	text = file_read(path, PEM_LIMIT, NULL);
	if (text && (x509_cert_from_pem(str_from(text), &cross, NULL) < 0 || !x509_cert_matches(cross, ca->key)))
		free(TAKE(text));
	x509_cert_free(cross);
	return text;
}

#define ORGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int ensure_apiserver(const char *dir, const struct pki_node *n, const struct pki_ca *ca, struct err *e)
{
	const char *sans[64];
	struct x509_spec spec = {.cn = "kube-apiserver", .sans = sans, .days = LEAF_DAYS, .server = true};
	struct arena a;
	_cleanup_(freep) char *cross = cross_of(dir, ca);
	size_t k = 0;
	int rv;

	arena_init(&a);
	sans[k++] = "localhost";
	sans[k++] = "127.0.0.1";
	sans[k++] = "kubernetes";
	sans[k++] = "kubernetes.default";
	sans[k++] = "kubernetes.default.svc";
	sans[k++] = arena_printf(&a, "kubernetes.default.svc.%s", n->domain);
	sans[k++] = n->service_ip;
	sans[k++] = n->name;
	sans[k++] = n->addr;
	for (const char *const *s = n->sans; s && *s && k + 1 < ARRAY_LEN(sans); s++)
		sans[k++] = *s;
	sans[k] = NULL;
	rv = ensure_chained(dir, "apiserver", &spec, ca, cross, e);
	arena_fini(&a);
	return rv;
}

static int ensure_kubelet(const char *dir, const struct pki_node *n, const struct pki_ca *ca, struct err *e)
{
	char cn[300];
	struct x509_spec spec = {.cn = cn, .orgs = ORGS("system:nodes"), .sans = ORGS(n->name, n->addr),
			.days = LEAF_DAYS, .server = true, .client = true};

	snprintf(cn, sizeof(cn), "system:node:%s", n->name);
	return ensure_leaf(dir, "kubelet", &spec, ca, e);
}

/* A CA of this server alone: nobody else's certificates may say who asks. */
static int make_proxy_ca(const char *dir, const struct pki_node *n, struct err *e)
{
	struct x509_key *key = NULL;
	struct x509_cert *ca = NULL;
	char cn[300], path[PATH_MAX];
	int rv = make_key(dir, "front-proxy-ca", &key, e);

	snprintf(cn, sizeof(cn), FRONT_PROXY_CA "%.40s", n->name);
	if (rv == 0)
		rv = x509_ca_new(cn, CA_DAYS, key, &ca, e);
	path_of(dir, "front-proxy-ca", ".crt", path);
	if (rv == 0)
		rv = x509_cert_save(ca, path, e);
	x509_key_free(key);
	x509_cert_free(ca);
	return rv;
}

static int ensure_front_proxy(const char *dir, const struct pki_node *n, struct err *e)
{
	struct x509_spec spec = {.cn = FRONT_PROXY_NAME, .days = LEAF_DAYS, .client = true};
	struct pki_ca ca;
	int rv = 0;

	if (!has_file(dir, "front-proxy-ca.crt") || !has_file(dir, "front-proxy-ca.key"))
		rv = make_proxy_ca(dir, n, e);
	if (rv < 0)
		return rv;
	rv = ca_load(dir, "front-proxy-ca", &ca, e);
	if (rv == 0)
		rv = ensure_leaf(dir, "front-proxy-client", &spec, &ca, e);
	pki_ca_fini(&ca);
	return rv;
}

int pki_ensure_server(const char *dir, const struct pki_node *n, struct err *e)
{
	struct x509_spec peer = {.cn = n->name, .orgs = ORGS("kontiki:peers"), .sans = ORGS(n->name, n->addr),
			.days = LEAF_DAYS, .server = true, .client = true};
	struct x509_spec kubelet_client = {.cn = "kube-apiserver-kubelet-client", .orgs = ORGS("system:masters"),
			.days = LEAF_DAYS, .client = true};
	struct pki_ca ca;
	int rv = pki_ca_load(dir, &ca, e);

	if (rv == 0)
		rv = ensure_apiserver(dir, n, &ca, e);
	if (rv == 0)
		rv = ensure_leaf(dir, "peer", &peer, &ca, e);
	if (rv == 0)
		rv = ensure_leaf(dir, "apiserver-kubelet-client", &kubelet_client, &ca, e);
	if (rv == 0)
		rv = ensure_kubelet(dir, n, &ca, e);
	if (rv == 0)
		rv = ensure_front_proxy(dir, n, e);
	pki_ca_fini(&ca);
	return rv;
}

int pki_ensure_kubelet(const char *dir, const struct pki_node *n, struct err *e)
{
	struct pki_ca ca;
	int rv = pki_ca_load(dir, &ca, e);

	if (rv == 0)
		rv = ensure_kubelet(dir, n, &ca, e);
	pki_ca_fini(&ca);
	return rv;
}

int pki_ensure_admin(const char *dir, struct err *e)
{
	struct x509_spec spec = {.cn = "kubernetes-admin", .orgs = ORGS("system:masters"), .days = LEAF_DAYS,
			.client = true};
	struct pki_ca ca;
	int rv = pki_ca_load(dir, &ca, e);

	if (rv == 0)
		rv = ensure_leaf(dir, "admin", &spec, &ca, e);
	pki_ca_fini(&ca);
	return rv;
}

static int add_base64(struct buf *out, const char *label, const char *dir, const char *name, const char *ext, struct err *e)
{
	char path[PATH_MAX], *text;
	size_t n;
	char *to;

	path_of(dir, name, ext, path);
	text = file_read(path, PEM_LIMIT, e);
	if (text == NULL)
		return -(int)ERR_IO;
	n = strlen(text);
	buf_addc(out, label);
	to = buf_reserve(out, (n + 2) / 3 * 4 + 1);
	ASSERT(to != NULL);
	buf_advance(out, (size_t)EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)text, (int)n));
	buf_add1(out, '\n');
	free(text);
	return 0;
}

int pki_kubeconfig(const char *dir, const char *user, const char *name, const char *url, struct buf *out, struct err *e)
{
	int rv;

	buf_printf(out, "apiVersion: v1\nkind: Config\nclusters:\n- name: %s\n  cluster:\n    server: %s\n", name, url);
	rv = add_base64(out, "    certificate-authority-data: ", dir, "ca", ".crt", e);
	buf_printf(out, "users:\n- name: %s-%s\n  user:\n", name, user);
	if (rv == 0)
		rv = add_base64(out, "    client-certificate-data: ", dir, user, ".crt", e);
	if (rv == 0)
		rv = add_base64(out, "    client-key-data: ", dir, user, ".key", e);
	buf_printf(out, "contexts:\n- name: %s\n  context:\n    cluster: %s\n    user: %s-%s\ncurrent-context: %s\n", name,
			name, name, user, name);
	return rv;
}

int pki_copy_ca(const char *from, const char *to, struct err *e)
{
	static const struct {
		const char *name;
		mode_t mode;
	} files[] = {{"ca.crt", 0644}, {"ca.key", 0600}, {"sa.key", 0600}};
	int rv = dir_make(to, 0700, e);

	for (size_t i = 0; rv == 0 && i < ARRAY_LEN(files); i++) {
		char path[PATH_MAX], *text;

		path_of(from, files[i].name, "", path);
		text = file_read(path, PEM_LIMIT, e);
		if (text == NULL)
			return -(int)ERR_IO;
		path_of(to, files[i].name, "", path);
		rv = file_put(path, str_from(text), files[i].mode, true, e);
		free(text);
	}
	return rv;
}
