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
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "cli/renew.h"
#include "io/x509.h"
#include "proto/duration.h"

#define WAIT_S (RENEW_EVERY_S + 20)

struct cert_opts {
	const char *data_dir;
	bool no_wait;
};

static const struct opt cert_rows[] = {
	{"data-dir", 0, OPT_STR, offsetof(struct cert_opts, data_dir), "DIR", "the node's data directory (default /var/lib/kontiki)", "KONTIKI_DATA_DIR", NULL},
	{"no-wait", 0, OPT_BOOL, offsetof(struct cert_opts, no_wait), "", "rotate: do not wait until the running server has made them", NULL, NULL},
	OPT_END,
};

static const char cert_usage[] = "usage: kontiki cert status\n       kontiki cert rotate\n\n"
				 "status lists the certificates in the data directory and how long they are good.\n"
				 "rotate has the running server (or agent) make all of them anew, with new keys, except the CA; nothing restarts.\n"
				 "They also renew themselves before they expire.\n";

/* What the server makes; the agent's own are asked for by the agent. */
static const char *const leaves[] = {"apiserver", "apiserver-kubelet-client", "peer", "admin", "kubelet"};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_one(const char *dir, const char *name)
{
	struct x509_cert *cert = NULL;
	struct x509_info info;
	struct err e = ERR_INIT;
	char path[PATH_MAX], left[DURATION_SIZE], until[CLOCK_RFC3339_SIZE];
	struct arena a;

	arena_init(&a);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (x509_cert_load(path, &cert, &e) < 0 || x509_info_of(cert, &a, &info, &e) < 0) {
		printf("%-30s cannot be read: %s\n", name, e.text);
	} else {
		int64_t s = info.not_after - clock_wall_s();

		duration_human(s, left);
		clock_rfc3339(info.not_after, until);
		printf("%-30s %-22s %-9s %.*s\n", name, until, s < 0 ? "expired" : left, STR_FMT(info.subject));
	}
	x509_cert_free(cert);
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
	printf("%-30s %-22s %-9s %s\n", "CERTIFICATE", "EXPIRES", "LEFT", "SUBJECT");
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
	return file_write(path, "", 0, 0600, e);
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

int cmd_cert(int argc, char **argv)
{
	struct cert_opts o = {.data_dir = "/var/lib/kontiki"};
	struct opt_args args;
	struct err e = ERR_INIT;
	char pki[PATH_MAX];
	int rv;

	if (cmd_wants_help(argc, argv, cert_usage, cert_rows))
		return CMD_OK;
	if (opts_parse(cert_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("cert", &e);
	snprintf(pki, sizeof(pki), "%s/pki", o.data_dir);
	if (args.n == 1 && strcmp(args.v[0], "status") == 0)
		rv = status(pki, &e);
	else if (args.n == 1 && strcmp(args.v[0], "rotate") == 0)
		rv = rotate(&o, pki, &e);
	else
		rv = err_set(&e, ERR_BAD_REQUEST, "say what to do: status or rotate");
	opt_args_fini(&args);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
