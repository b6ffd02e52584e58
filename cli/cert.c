/* kontiki cert: the certificates of this machine's data directory. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "cli/renew.h"
#include "cli/rotate.h"
#include "io/x509.h"
#include "proto/duration.h"

#define WAIT_S (RENEW_EVERY_S + 20)

struct cert_opts {
	struct admin_opts admin;
	struct rotate_opts rotate;
	bool no_wait;
};

static const struct opt cert_rows[] = {
	ADMIN_ROWS(struct cert_opts, admin),
	{"no-wait", 0, OPT_BOOL, offsetof(struct cert_opts, no_wait), "", "rotate: do not wait until the running server has made them", NULL, NULL},
	{"yes", 0, OPT_BOOL, offsetof(struct cert_opts, rotate.yes), "", "rotate-ca, rotate-sa: do it; without it, only say what would be done", NULL, NULL},
	{"retire", 0, OPT_BOOL, offsetof(struct cert_opts, rotate.retire), "", "rotate-ca, rotate-sa: the second step, which ends the trust in the old one", NULL, NULL},
	{"cancel", 0, OPT_BOOL, offsetof(struct cert_opts, rotate.cancel), "", "rotate-ca, rotate-sa: take the new one back, before it signs", NULL, NULL},
	{"force", 0, OPT_BOOL, offsetof(struct cert_opts, rotate.force), "", "rotate-ca, rotate-sa: do not wait for those who are behind; they are locked out", NULL, NULL},
	{"wait", 0, OPT_INT, offsetof(struct cert_opts, rotate.wait_s), "SECONDS", "rotate-ca, rotate-sa: how long to wait for all of them (default 300)", NULL, NULL},
	OPT_END,
};

static const char cert_usage[] = "usage: kontiki cert status\n       kontiki cert rotate\n       kontiki cert rotate-ca [--yes] [--retire | --cancel] [--force]\n"
				 "       kontiki cert rotate-sa [--yes] [--retire | --cancel] [--force]\n\n"
				 "status lists the certificates in the data directory, how long they are good, and rotations under way.\n"
				 "rotate has the running server (or agent) make all of them anew, with new keys, except the CA; nothing restarts.\n"
				 "They also renew themselves before they expire.\n"
				 "rotate-ca replaces the cluster's CA, rotate-sa the key that signs service-account tokens, in two steps and while everything runs.\n"
				 "Without --yes they say what they would do.\n";

/* What the server makes; the agent's own are asked for by the agent. */
static const char *const leaves[] = {"apiserver", "apiserver-kubelet-client", "front-proxy-client", "peer", "admin", "kubelet"};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_cert(const char *name, const struct x509_cert *cert, struct arena *a)
{
	char left[DURATION_SIZE], until[CLOCK_RFC3339_SIZE];
	struct err e = ERR_INIT;
	struct x509_info info;
	int64_t s;

	if (x509_info_of(cert, a, &info, &e) < 0) {
		printf("%-30s cannot be read: %s\n", name, e.text);
		return;
	}
	s = info.not_after - clock_wall_s();
	duration_human(s, left);
	clock_rfc3339(info.not_after, until);
	printf("%-30s %-22s %-9s %-34.*s %.*s\n", name, until, s < 0 ? "expired" : left, STR_FMT(info.subject), STR_FMT(info.issuer));
}

/* All that the file holds: two CAs while one is being replaced. */
static void print_one(const char *dir, const char *name)
{
	struct x509_cert *cert = NULL;
	struct err e = ERR_INIT;
	char path[PATH_MAX], *text;
	struct str rest, one;
	struct arena a;

	arena_init(&a);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	text = file_read(path, 1 << 20, &e);
	rest = str_from(text);
	if (!text || !x509_pem_next(&rest, &one))
		printf("%-30s cannot be read: %s\n", name, e.code ? e.text : "no certificate in it");
	else
		do {
			if (x509_cert_from_pem(one, &cert, &e) < 0)
				printf("%-30s cannot be read: %s\n", name, e.text);
			else
				print_cert(name, cert, &a);
			x509_cert_free(TAKE(cert));
		} while (x509_pem_next(&rest, &one));
	free(text);
	arena_fini(&a);
}

static int status(const char *pki, struct err *e)
{
	char **names = NULL;
	size_t n = 0;
	DIR *d = opendir(pki);

	if (!d)
		return err_set(e, ERR_NOT_FOUND, "%s: no certificates there; give --data-dir", pki);
	for (struct dirent *de; (de = readdir(d));)
		if (str_has_suffix(str_from(de->d_name), STR(".crt"))) {
			names = xrealloc(names, (n + 1) * sizeof(*names));
			names[n++] = xstrdup(de->d_name);
		}
	closedir(d);
	if (n > 1)
		qsort(names, n, sizeof(*names), by_name);
	printf("%-30s %-22s %-9s %-34s %s\n", "CERTIFICATE", "EXPIRES", "LEFT", "SUBJECT", "ISSUER");
	for (size_t i = 0; i < n; i++) {
		print_one(pki, names[i]);
		free(names[i]);
	}
	free(names);
	return 0;
}

static bool all_there(const char *pki)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
		snprintf(path, sizeof(path), "%s/%s.crt", pki, leaves[i]);
		if (access(path, R_OK) < 0)
			return false;
	}
	return true;
}

/* A file that is newer than a certificate tells the agent to ask for another. */
static int touch(const char *pki, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/rotate", pki);
	return file_put(path, STR_NULL, 0600, true, e);
}

static int rotate(const struct cert_opts *o, const char *pki, struct err *e)
{
	char path[PATH_MAX];
	uint64_t end = clock_mono_ms() + WAIT_S * 1000;

	if (touch(pki, e) < 0)
		return -(int)e->code;
	if (!pki_has_ca_key(pki)) {
		printf("the agent asks for new certificates within %d seconds\n", RENEW_EVERY_S);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
		snprintf(path, sizeof(path), "%s/%s.crt", pki, leaves[i]);
		unlink(path);
	}
	while (!o->no_wait && !all_there(pki) && clock_mono_ms() < end)
		usleep(100000);
	if (!o->no_wait && !all_there(pki))
		return err_set(e, ERR_TIMEOUT, "no server runs on this data directory: it makes them when it starts");
	printf("certificates rotated\n");
	return 0;
}

/* A local cluster if one was named, else this machine's server. */
static int find_pki(struct cert_opts *o, char pki[PATH_MAX], struct err *e)
{
	const char *env = getenv("KONTIKI_DATA_DIR");
	struct local l;

	if (!o->admin.data_dir && (o->admin.name || o->admin.dir)) {
		if (!o->admin.name)
			o->admin.name = LOCAL_DEFAULT_NAME;
		if (local_load(&l, o->admin.name, o->admin.dir, e) < 0)
			return -(int)e->code;
		snprintf(pki, PATH_MAX, "%s/pki", l.dir);
		return 0;
	}
	if (!o->admin.data_dir)
		o->admin.data_dir = env && *env ? env : "/var/lib/kontiki";
	snprintf(pki, PATH_MAX, "%s/pki", o->admin.data_dir);
	return 0;
}

static int run(struct cert_opts *o, const struct opt_args *args, struct err *e)
{
	const char *verb = args->n == 1 ? args->v[0] : "";
	char pki[PATH_MAX], admin[PATH_MAX + 16];
	int rv = find_pki(o, pki, e);

	if (rv < 0)
		return rv;
	o->rotate.admin = &o->admin;
	if (o->rotate.wait_s <= 0)
		o->rotate.wait_s = 300;
	if (o->rotate.retire && o->rotate.cancel)
		return err_set(e, ERR_BAD_REQUEST, "give either --retire or --cancel");
	if (strcmp(verb, "status") == 0) {
		rv = status(pki, e);
		snprintf(admin, sizeof(admin), "%s/admin.crt", pki);
		if (rv == 0 && access(admin, R_OK) == 0)
			rotate_print_state(&o->admin);
		return rv;
	}
	if (strcmp(verb, "rotate-ca") == 0 || strcmp(verb, "rotate-sa") == 0)
		return rotate_run(&o->rotate, strcmp(verb, "rotate-ca") == 0 ? ROTATION_CA : ROTATION_SA, e);
	if (strcmp(verb, "rotate") != 0)
		return err_set(e, ERR_BAD_REQUEST, "say what to do: status, rotate, rotate-ca or rotate-sa");
	if (!o->admin.data_dir)
		return err_set(e, ERR_BAD_REQUEST, "rotate works on a node's own data directory: give --data-dir");
	return rotate(o, pki, e);
}

int cmd_cert(int argc, char **argv)
{
	struct cert_opts o = {0};
	struct opt_args args;
	struct err e = ERR_INIT;
	int rv;

	if (cmd_wants_help(argc, argv, cert_usage, cert_rows))
		return CMD_OK;
	if (opts_parse(cert_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("cert", &e);
	rv = run(&o, &args, &e);
	opt_args_fini(&args);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
