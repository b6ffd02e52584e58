/* kontiki member: the members of the replicated store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/fetch.h"
#include "cli/local.h"
#include "io/tls.h"
#include "proto/json.h"

struct member_opts {
	const char *name, *dir, *data_dir, *server;
};

static const struct opt member_rows[] = {
	{"name", 0, OPT_STR, offsetof(struct member_opts, name), "NAME", "a local cluster (default " LOCAL_DEFAULT_NAME ")", "KONTIKI_CLUSTER", NULL},
	{"dir", 0, OPT_STR, offsetof(struct member_opts, dir), "DIR", "its folder (default " LOCAL_DEFAULT_ROOT "/NAME)", "KONTIKI_CLUSTER_DIR", NULL},
	{"data-dir", 0, OPT_STR, offsetof(struct member_opts, data_dir), "DIR", "instead: this server's data directory", NULL, NULL},
	{"server", 0, OPT_STR, offsetof(struct member_opts, server), "IP:PORT", "with --data-dir: the server to ask (default 127.0.0.1:6443)", NULL, NULL},
	OPT_END,
};

static const char member_usage[] = "usage: kontiki member list\n       kontiki member remove NAME\n       kontiki member transfer NAME\n\n"
				   "remove takes a server out of the cluster for good: its data directory cannot come back.\n"
				   "transfer makes it the leader.\n";

/* Where to ask, and with which identity. */
static int connect_to(const struct member_opts *o, struct fetch *f, struct arena *a, struct err *e)
{
	struct tls_config tc = {.server = false};
	struct local l;
	const char *pki;

	if (o->data_dir) {
		pki = arena_printf(a, "%s/pki", o->data_dir);
		f->address = o->server ? o->server : "127.0.0.1:6443";
	} else {
		if (local_load(&l, o->name, o->dir, e) < 0)
			return -(int)e->code;
		pki = arena_printf(a, "%s/pki", l.dir);
		f->address = arena_printf(a, "127.0.0.1:%u", l.port);
	}
	return tls_ctx_new_files(&tc, arena_printf(a, "%s/admin.crt", pki), arena_printf(a, "%s/admin.key", pki), arena_printf(a, "%s/ca.crt", pki),
			&f->tls, e);
}

static int print_list(struct str text, struct arena *a, struct err *e)
{
	struct json *all = NULL;

	if (json_parse(a, text, NULL, &all, e) < 0)
		return -(int)e->code;
	printf("%-20s %-18s %-24s %-8s %s\n", "NAME", "ID", "ADDRESS", "ROLE", "URL");
	JSON_ITEMS (m, all)
		printf("%-20s %-18s %-24s %-8s %s\n", json_cstr(json_getc(m, "name")), json_cstr(json_getc(m, "id")),
				json_cstr(json_getc(m, "address")), json_cstr(json_getc(m, "role")), json_cstr(json_getc(m, "url")));
	return 0;
}

static int run(const struct member_opts *o, const struct opt_args *args, struct arena *a, struct err *e)
{
	const char *verb = args->n ? args->v[0] : "", *path = "/kontiki/v1/members";
	bool lists = strcmp(verb, "list") == 0, removes = strcmp(verb, "remove") == 0, transfers = strcmp(verb, "transfer") == 0;
	struct fetch f = {.method = lists ? "GET" : removes ? "DELETE" : "POST", .timeout_ms = 60000};
	int rv;

	if (!lists && !removes && !transfers)
		return err_set(e, ERR_BAD_REQUEST, "say what to do: list, remove NAME or transfer NAME");
	if (!lists && args->n != 2)
		return err_set(e, ERR_BAD_REQUEST, "which member? 'kontiki member list' shows them");
	f.path = lists ? path : arena_printf(a, "%s/%s", path, args->v[1]);
	rv = connect_to(o, &f, a, e);
	if (rv == 0)
		rv = fetch(&f, a, e);
	tls_ctx_unref(f.tls);
	if (rv < 0)
		return rv;
	if (f.status != 200)
		return err_set(e, err_from_http(f.status), "%.*s", STR_FMT(str_trim(f.answer)));
	if (lists)
		return print_list(f.answer, a, e);
	printf("member %s %s\n", args->v[1], removes ? "removed" : "leads");
	return 0;
}

int cmd_member(int argc, char **argv)
{
	struct member_opts o = {.name = LOCAL_DEFAULT_NAME};
	struct opt_args args;
	struct err e = ERR_INIT;
	struct arena a;
	int rv;

	if (cmd_wants_help(argc, argv, member_usage, member_rows))
		return CMD_OK;
	if (opts_parse(member_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("member", &e);
	arena_init(&a);
	rv = run(&o, &args, &a, &e);
	opt_args_fini(&args);
	arena_fini(&a);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
