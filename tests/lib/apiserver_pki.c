#include "tests/lib/apiserver_pki.h"

#include <stdio.h>
#include <unistd.h>

#include "io/x509.h"
#include "orchestrator/apiserver/apiserver.h"

static const char *in(const char *dir, const char *name)
{
	static char paths[16][4096];
	static unsigned next;
	char *p = paths[next++ % 16];

	snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
	return p;
}

static int pair(const char *dir, const char *crt, const char *key_name, const struct x509_spec *spec,
		const struct x509_cert *ca, const struct x509_key *ca_key, struct err *e)
{
	struct x509_key *key = NULL;
	struct x509_cert *cert = NULL;
	int r = -1;

	if (x509_key_new(&key, e) == 0 && x509_sign(spec, key, ca, ca_key, &cert, e) == 0 &&
			x509_cert_save(cert, in(dir, crt), e) == 0 && x509_key_save(key, in(dir, key_name), e) == 0)
		r = 0;
	x509_cert_free(cert);
	x509_key_free(key);
	return r;
}

int apiserver_pki_make(const char *dir, struct err *e)
{
	const char *names[] = {"localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "hook.default.svc", NULL};
	const char *masters[] = {"system:masters", NULL}, *nodes[] = {"system:nodes", NULL};
	struct x509_spec server = {.cn = "kube-apiserver", .sans = names, .days = 30, .server = true, .client = true};
	struct x509_spec admin = {.cn = "kubernetes-admin", .orgs = masters, .days = 30, .client = true};
	struct x509_spec node = {.cn = "system:node:node1", .orgs = nodes, .days = 30, .client = true};
	struct x509_spec other = {.cn = "jane", .days = 30, .client = true};
	struct x509_key *ca_key = NULL, *sa = NULL;
	struct x509_cert *ca = NULL;
	FILE *f;
	int r = -1;

	if (access(in(dir, "ca.crt"), F_OK) == 0)
		return 0;
	if (x509_key_new(&ca_key, e) == 0 && x509_ca_new("test-ca", 365, ca_key, &ca, e) == 0 &&
			pair(dir, "server.crt", "server.key", &server, ca, ca_key, e) == 0 &&
			pair(dir, "admin.crt", "admin.key", &admin, ca, ca_key, e) == 0 &&
			pair(dir, "node1.crt", "node1.key", &node, ca, ca_key, e) == 0 &&
			pair(dir, "jane.crt", "jane.key", &other, ca, ca_key, e) == 0 && x509_key_new(&sa, e) == 0 &&
			x509_key_save(sa, in(dir, "sa.key"), e) == 0 && x509_cert_save(ca, in(dir, "ca.crt"), e) == 0)
		r = 0;
	f = fopen(in(dir, "tokens"), "we");
	if (f) {
		fputs("test-token,tess,1,system:masters\nweak-token,walt,2\n", f);
		fclose(f);
	}
	x509_cert_free(ca);
	x509_key_free(ca_key);
	x509_key_free(sa);
	return r;
}

void apiserver_pki_cfg(const char *dir, struct apiserver_cfg *c)
{
	c->cert = in(dir, "server.crt");
	c->key = in(dir, "server.key");
	c->ca = in(dir, "ca.crt");
	c->sa_key = in(dir, "sa.key");
	c->token_file = in(dir, "tokens");
	c->kubelet_client_cert = in(dir, "admin.crt");
	c->kubelet_client_key = in(dir, "admin.key");
}

int apiserver_pki_kubeconfig(const char *dir, uint16_t port, struct err *e)
{
	FILE *f = fopen(in(dir, "admin.kubeconfig"), "we");

	if (!f)
		return err_set(e, ERR_IO, "cannot write the kubeconfig in %s", dir);
	fprintf(f,
			"apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n"
			"    server: https://127.0.0.1:%u\n    certificate-authority: %s\ncontexts:\n- name: test\n"
			"  context: {cluster: test, user: admin}\nusers:\n- name: admin\n  user:\n"
			"    client-certificate: %s\n    client-key: %s\n",
			port, in(dir, "ca.crt"), in(dir, "admin.crt"), in(dir, "admin.key"));
	fclose(f);
	return 0;
}
