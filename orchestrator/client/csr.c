#include "orchestrator/client/csr.h"

#include "base/util.h"

enum csr_signer csr_signer_of(struct str name)
{
	static const char *const names[] = {CSR_SIGNER_CLIENT, CSR_SIGNER_KUBELET_CLIENT, CSR_SIGNER_KUBELET_SERVING,
			CSR_SIGNER_LEGACY};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(name, names[i]))
			return (enum csr_signer)i;
	return CSR_OTHER;
}

static bool has_usage(const struct csr *c, const char *usage)
{
	for (size_t i = 0; i < c->n_usages; i++)
		if (str_eqc(c->usages[i], usage))
			return true;
	return false;
}

/* Every usage is one of `auth`, "digital signature" and "key encipherment", and `auth` is among them. */
static bool usages_are(const struct csr *c, const char *auth)
{
	for (size_t i = 0; i < c->n_usages; i++)
		if (!str_eqc(c->usages[i], auth) && !str_eqc(c->usages[i], "digital signature") &&
				!str_eqc(c->usages[i], "key encipherment"))
			return false;
	return has_usage(c, auth);
}

static int is_node(const struct x509_info *info, struct err *e)
{
	if (info->n_orgs != 1 || !str_eqc(info->orgs[0], "system:nodes"))
		return err_set(e, ERR_INVALID, "subject organization is not system:nodes");
	if (!str_has_prefix(info->cn, STR("system:node:")) || info->cn.n == strlen("system:node:"))
		return err_set(e, ERR_INVALID, "subject common name does not begin with system:node: ");
	return 0;
}

static int check_kubelet_client(const struct csr *c, const struct x509_info *info, struct err *e)
{
	int r = is_node(info, e);

	if (r < 0)
		return r;
	if (info->n_dns)
		return err_set(e, ERR_INVALID, "DNS subjectAltNames are not allowed");
	if (info->n_emails)
		return err_set(e, ERR_INVALID, "Email subjectAltNames are not allowed");
	if (info->n_ips)
		return err_set(e, ERR_INVALID, "IP subjectAltNames are not allowed");
	if (info->n_uris)
		return err_set(e, ERR_INVALID, "URI subjectAltNames are not allowed");
	if (!usages_are(c, "client auth"))
		return err_set(e, ERR_INVALID, "usages did not match [key encipherment digital signature client auth]");
	return 0;
}

static int check_kubelet_serving(const struct csr *c, const struct x509_info *info, struct err *e)
{
	int r = is_node(info, e);

	if (r < 0)
		return r;
	if (info->n_dns + info->n_ips == 0)
		return err_set(e, ERR_INVALID, "DNS or IP subjectAltName is required");
	if (info->n_emails)
		return err_set(e, ERR_INVALID, "Email subjectAltNames are not allowed");
	if (info->n_uris)
		return err_set(e, ERR_INVALID, "URI subjectAltNames are not allowed");
	if (!usages_are(c, "server auth"))
		return err_set(e, ERR_INVALID, "usages did not match [key encipherment digital signature server auth]");
	return 0;
}

static int check_client(const struct csr *c, struct err *e)
{
	if (!usages_are(c, "client auth"))
		return err_set(e, ERR_INVALID, "usages are not a subset of [key encipherment digital signature client auth] with client auth");
	return 0;
}

int csr_check(struct arena *a, enum csr_signer signer, const struct csr *c, struct x509_info *info, struct err *e)
{
	if (x509_info_from_csr(c->pem, a, info, e) < 0)
		return err_prefix(e, "unable to parse the request");
	switch (signer) {
	case CSR_CLIENT:
		return check_client(c, e);
	case CSR_KUBELET_CLIENT:
		return check_kubelet_client(c, info, e);
	case CSR_KUBELET_SERVING:
		return check_kubelet_serving(c, info, e);
	case CSR_LEGACY:
		return 0;
	case CSR_OTHER:
		break;
	}
	return err_set(e, ERR_INVALID, "not a signer of this cluster");
}

static const char *const *c_strings(struct arena *a, const struct str *list, size_t n)
{
	const char **out = arena_new_array(a, const char *, n + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = arena_cstr(a, list[i]);
	return out;
}

static const char *const *names_of(struct arena *a, const struct x509_info *info)
{
	const char **out = arena_new_array(a, const char *, info->n_dns + info->n_ips + info->n_uris + 1);
	size_t n = 0;

	for (size_t i = 0; i < info->n_dns; i++)
		out[n++] = arena_cstr(a, info->dns[i]);
	for (size_t i = 0; i < info->n_ips; i++)
		out[n++] = arena_cstr(a, info->ips[i]);
	for (size_t i = 0; i < info->n_uris; i++)
		out[n++] = arena_printf(a, "URI:%.*s", STR_FMT(info->uris[i]));
	return out;
}

int csr_sign(struct arena *a, const struct csr *c, const struct x509_info *info, const struct x509_cert *ca,
		const struct x509_key *key, int64_t max_seconds, int64_t now_s, struct buf *ret_pem, struct err *e)
{
	int64_t seconds = c->seconds > 0 ? MIN(MAX(c->seconds, (int64_t)CSR_MIN_SECONDS), max_seconds) : max_seconds;
	struct x509_spec spec = {.orgs = c_strings(a, info->orgs, info->n_orgs), .sans = names_of(a, info),
			.not_after = now_s + seconds, .server = has_usage(c, "server auth"), .client = has_usage(c, "client auth")};
	struct x509_cert *cert = NULL;
	int rv;

	if (info->cn.n > 0)
		spec.cn = arena_cstr(a, info->cn);
	rv = x509_csr_sign(c->pem, &spec, ca, key, &cert, e);
	if (rv == 0)
		rv = x509_cert_to_pem(cert, ret_pem, e);
	x509_cert_free(cert);
	return rv;
}
