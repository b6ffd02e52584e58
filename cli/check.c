/*
 * kontiki check: is this server set up safely? A table of questions in the manner of the CIS benchmark, each answered by looking: at the
 * files of the data directory, at the sockets of this machine, at what the API says to a stranger and to the administrator.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/fetch.h"
#include "cli/local.h"
#include "io/tls.h"
#include "io/x509.h"
#include "proto/json.h"

#define SOON_S (30 * 24 * 3600)

struct check_opts {
	const char *data_dir, *server, *kubelet;
};

static const struct opt check_rows[] = {
	{"data-dir", 0, OPT_STR, offsetof(struct check_opts, data_dir), "DIR", "the server's data directory (default /var/lib/kontiki)", "KONTIKI_DATA_DIR", NULL},
	{"server", 0, OPT_STR, offsetof(struct check_opts, server), "IP:PORT", "its API (default 127.0.0.1:6443)", NULL, NULL},
	{"kubelet", 0, OPT_STR, offsetof(struct check_opts, kubelet), "IP:PORT", "its kubelet (default 127.0.0.1:10250)", NULL, NULL},
	OPT_END,
};

static const char check_usage[] = "usage: kontiki check\n\n"
				  "Prints what passes, what fails, and what could be better, on this server. Exit status 1 when something fails.\n";

enum result { PASS, WARN, FAIL, SKIP };

struct check {
	const struct check_opts *o;
	struct arena *a;
	const char *pki;
	const char *why; /* of a result that is no pass */
};

/* --- Files ----------------------------------------------------------------------------------------------------- */

static enum result mode_is(struct check *c, const char *path, mode_t allowed)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		c->why = arena_printf(c->a, "%s is not there", path);
		return SKIP;
	}
	if ((st.st_mode & 07777 & ~allowed) == 0)
		return PASS;
	c->why = arena_printf(c->a, "%s has mode %04o: others can read it; chmod %04o", path, (unsigned)(st.st_mode & 07777), (unsigned)allowed);
	return FAIL;
}

static enum result dir_private(struct check *c)
{
	return mode_is(c, c->pki, 0700);
}

static enum result keys_private(struct check *c)
{
	enum result r = PASS;
	DIR *d = opendir(c->pki);

	for (struct dirent *de; d && r == PASS && (de = readdir(d));)
		if (str_has_suffix(str_from(de->d_name), STR(".key")) || strcmp(de->d_name, "join.token") == 0)
			r = mode_is(c, arena_printf(c->a, "%s/%s", c->pki, de->d_name), 0600);
	if (d)
		closedir(d);
	return r;
}

static enum result kubeconfig_private(struct check *c)
{
	return mode_is(c, arena_printf(c->a, "%s/admin.kubeconfig", c->o->data_dir), 0600);
}

static enum result certs_fresh(struct check *c)
{
	enum result r = PASS;
	DIR *d = opendir(c->pki);

	for (struct dirent *de; d && (de = readdir(d));) {
		struct x509_cert *cert = NULL;
		struct x509_info info;

		if (!str_has_suffix(str_from(de->d_name), STR(".crt")))
			continue;
		if (x509_cert_load(arena_printf(c->a, "%s/%s", c->pki, de->d_name), &cert, NULL) == 0 &&
				x509_info_of(cert, c->a, &info, NULL) == 0 && info.not_after < clock_wall_s() + SOON_S) {
			r = info.not_after < clock_wall_s() ? FAIL : WARN;
			c->why = arena_printf(c->a, "%s expires within 30 days and has not been renewed", de->d_name);
		}
		x509_cert_free(cert);
	}
	if (d)
		closedir(d);
	return r;
}

/* --- Sockets ---------------------------------------------------------------------------------------------------- */

/* Does anybody listen on that port, on an address that is not loopback? */
static bool listens_off_host(unsigned port)
{
	static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		char line[512], addr[64];
		unsigned p, state;
		FILE *f = fopen(tables[i], "re");

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, " %*d: %63[0-9A-F]:%x %*[0-9A-F]:%*x %x", addr, &p, &state) == 3 && state == 0x0a && p == port)
				/* Little-endian words: 127.x.y.z ends in 7F, ::1 in 01000000. */
				found = found || (strlen(addr) == 8 ? strcmp(addr + 6, "7F") != 0 :
								    strcmp(addr, "00000000000000000000000001000000") != 0);
		if (f)
			fclose(f);
	}
	return found;
}

static enum result no_plain_ports(struct check *c)
{
	static const unsigned ports[] = {10248, 10255, 8080, 8001};

	for (size_t i = 0; i < ARRAY_LEN(ports); i++)
		if (listens_off_host(ports[i])) {
			c->why = arena_printf(c->a, "port %u is open to other machines without TLS", ports[i]);
			return FAIL;
		}
	return PASS;
}

/* --- The API ------------------------------------------------------------------------------------------------------- */

static int ask(struct check *c, const char *address, bool admin, const char *path, struct str *ret, struct err *e)
{
	struct tls_config tc = {.verify = TLS_VERIFY_REQUIRED};
	struct fetch f = {.address = address, .method = "GET", .path = path, .timeout_ms = 5000};
	const char *crt = arena_printf(c->a, "%s/admin.crt", c->pki), *key = arena_printf(c->a, "%s/admin.key", c->pki);
	int rv = tls_ctx_new_files(&tc, admin ? crt : NULL, admin ? key : NULL, arena_printf(c->a, "%s/ca.crt", c->pki), &f.tls, e);

	/* The kubelet's certificate is for the node's name and address, not for loopback. */
	if (rv == 0 && address == c->o->kubelet) {
		tls_ctx_unref(f.tls);
		tc.verify = TLS_VERIFY_NONE;
		rv = tls_ctx_new(&tc, &f.tls, e);
	}
	if (rv == 0)
		rv = fetch(&f, c->a, e);
	tls_ctx_unref(f.tls);
	if (ret)
		*ret = f.answer;
	return rv < 0 ? rv : f.status;
}

static enum result refused(struct check *c, const char *address, const char *path, const char *what)
{
	struct err e = ERR_INIT;
	int status = ask(c, address, false, path, NULL, &e);

	if (status == 401 || status == 403)
		return PASS;
	c->why = status < 0 ? arena_strdup(c->a, e.text) : arena_printf(c->a, "%s answered %d", what, status);
	return status < 0 ? SKIP : FAIL;
}

static enum result api_refuses(struct check *c)
{
	return refused(c, c->o->server, "/api/v1/secrets", "the API, asked for all Secrets by a stranger,");
}

static enum result kubelet_refuses(struct check *c)
{
	return refused(c, c->o->kubelet, "/metrics", "the kubelet, asked by a stranger,");
}

static enum result encrypted(struct check *c)
{
	struct json *doc;
	struct err e = ERR_INIT;
	struct str answer;

	if (ask(c, c->o->server, true, "/kontiki/v1/status", &answer, &e) != 200 || json_parse(c->a, answer, NULL, &doc, &e) < 0) {
		c->why = "the server does not answer";
		return SKIP;
	}
	if (json_str(json_getc(doc, "encryption")).n > 0)
		return PASS;
	c->why = "Secrets are stored as they are: consider --encryption-provider-config";
	return WARN;
}

static bool is_stranger(const struct json *subject)
{
	return json_eqc(json_getc(subject, "name"), "system:unauthenticated") || json_eqc(json_getc(subject, "name"), "system:anonymous");
}

static bool is_default_account(const struct json *subject)
{
	return json_eqc(json_getc(subject, "kind"), "ServiceAccount") && json_eqc(json_getc(subject, "name"), "default");
}

static enum result bindings(struct check *c, bool (*bad)(const struct json *), const char *fine_role, const char *what)
{
	struct json *doc;
	struct err e = ERR_INIT;
	struct str answer;

	if (ask(c, c->o->server, true, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &answer, &e) != 200 ||
			json_parse(c->a, answer, NULL, &doc, &e) < 0) {
		c->why = "the server does not answer";
		return SKIP;
	}
	JSON_ITEMS (b, json_getc(doc, "items"))
		JSON_ITEMS (s, json_getc(b, "subjects"))
			if (bad(s) && !(fine_role && json_eqc(json_getp(b, "roleRef.name"), fine_role))) {
				c->why = arena_printf(c->a, "ClusterRoleBinding %s gives %s %s", json_cstr(json_getp(b, "metadata.name")), what,
						      json_cstr(json_getp(b, "roleRef.name")));
				return FAIL;
			}
	return PASS;
}

static enum result strangers_bound(struct check *c)
{
	return bindings(c, is_stranger, "system:public-info-viewer", "strangers");
}

static enum result default_bound(struct check *c)
{
	return bindings(c, is_default_account, NULL, "a default service account");
}

/* --- The table --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *text;
	enum result (*look)(struct check *);
} questions[] = {
	{"the folder of keys is private", dir_private},
	{"keys and tokens are private", keys_private},
	{"the administrator's kubeconfig is private", kubeconfig_private},
	{"certificates are fresh", certs_fresh},
	{"nothing listens off the host without TLS", no_plain_ports},
	{"the API refuses strangers", api_refuses},
	{"the kubelet refuses strangers", kubelet_refuses},
	{"no role is bound to strangers", strangers_bound},
	{"no cluster-wide role is bound to a default service account", default_bound},
	{"Secrets are encrypted at rest", encrypted},
};

static int run(const struct check_opts *o, struct arena *a)
{
	static const char *const words[] = {"pass", "warn", "FAIL", "skip"};
	struct check c = {.o = o, .a = a, .pki = arena_printf(a, "%s/pki", o->data_dir)};
	unsigned n[4] = {0};

	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		enum result r;

		c.why = NULL;
		r = questions[i].look(&c);
		n[r]++;
		printf("[%s] %s%s%s\n", words[r], questions[i].text, r == PASS ? "" : ": ", r == PASS ? "" : c.why ? c.why : "");
	}
	printf("%u passed, %u failed, %u could be better, %u could not be looked at\n", n[PASS], n[FAIL], n[WARN], n[SKIP]);
	return n[FAIL] ? 1 : CMD_OK;
}

int cmd_check(int argc, char **argv)
{
	struct check_opts o = {.data_dir = "/var/lib/kontiki", .server = "127.0.0.1:6443", .kubelet = "127.0.0.1:10250"};
	struct opt_args args;
	struct err e = ERR_INIT;
	struct arena a;
	int rv;

	if (cmd_wants_help(argc, argv, check_usage, check_rows))
		return CMD_OK;
	if (opts_parse(check_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("check", &e);
	opt_args_fini(&args);
	arena_init(&a);
	rv = run(&o, &a);
	arena_fini(&a);
	return rv;
}
