/* kontiki status: how the cluster's store is, at a glance. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/etcd_client.h"
#include "cli/local.h"
#include "cli/store_client.h"
#include "cli/tabs.h"
#include "proto/json.h"

struct status_opts {
	struct store_client_opts where;
	const char *output;
};

static const struct opt status_rows[] = {
	STORE_CLIENT_ROWS(struct status_opts, where),
	{"output", 'o', OPT_STR, offsetof(struct status_opts, output), "json", "the whole answer instead of a table", NULL, NULL},
	OPT_END,
};

static const char status_usage[] = "usage: kontiki status [-o json]\n\n"
				   "Members, roles, how far each is behind, sizes and alarms of the replicated store, as one server sees them.\n"
				   "Exit status 0: healthy; 1: something needs somebody, or no server answers.\n";

static void add_size(struct buf *b, const struct json *m, const char *field)
{
	int64_t n = json_i64_or(json_getc(m, field), 0);

	if (n <= 0)
		buf_printf(b, "-\t");
	else if (n < 10 << 20)
		buf_printf(b, "%" PRId64 " KiB\t", n >> 10);
	else
		buf_printf(b, "%" PRId64 " MiB\t", n >> 20);
}

static void add_member(struct buf *b, const struct json *m)
{
	int64_t lag = json_i64_or(json_getc(m, "lag"), -1);
	bool started = json_true(json_getc(m, "started"));

	buf_printf(b, "%s\t%s%s\t%s\t", started ? json_cstr(json_getc(m, "name")) : "(not started)", json_cstr(json_getc(m, "role")),
		 json_true(json_getc(m, "witness")) ? ",witness" : "", !started ? "-" : json_true(json_getc(m, "reachable")) ? "up" : "DOWN");
	if (lag < 0)
		buf_printf(b, "-\t");
	else
		buf_printf(b, "%" PRId64 "\t", lag);
	add_size(b, m, "storeBytes");
	add_size(b, m, "storeUsedBytes");
	add_size(b, m, "walBytes");
	buf_printf(b, "%s\t%s\t%s\n", json_cstr(json_getc(m, "zone"))[0] ? json_cstr(json_getc(m, "zone")) : "-",
		 json_cstr(json_getc(m, "alarms"))[0] ? json_cstr(json_getc(m, "alarms")) : "-", json_cstr(json_getc(m, "address")));
}

/* The last pass through its store that looked for damage, and the one that is under way. */
static void print_check(const struct json *s)
{
	const char *last = json_cstr(json_getc(s, "storeCheckedAt")), *began = json_cstr(json_getc(s, "storeCheckBeganAt"));
	int64_t pages = json_i64_or(json_getc(s, "storeCheckedPages"), -1);

	/* An etcd does not tell. */
	if (pages < 0)
		return;
	printf("store of %s checked for damage: %s", json_cstr(json_getc(s, "name")), last[0] ? last : "not yet");
	if (began[0])
		printf(" (again since %s, %" PRId64 " MiB so far)", began, pages >> 8);
	printf("\n");
}

static void print_table(const struct json *s)
{
	struct buf text = BUF_INIT, aligned = BUF_INIT;

	buf_printf(&text, "NAME\tROLE\tSTATE\tLAG\tSTORE\tIN USE\tLOG\tDOMAIN\tALARMS\tADDRESS\n");
	JSON_ITEMS (m, json_getc(s, "members"))
		add_member(&text, m);
	tabs_align(&aligned, buf_str(&text), 2);
	printf("cluster %s, leader %s, term %" PRId64 ", revision %" PRId64 ", seen from %s\n\n%.*s\n", json_cstr(json_getc(s, "cluster")),
	       json_cstr(json_getc(s, "leader"))[0] ? json_cstr(json_getc(s, "leader")) : "none", json_i64_or(json_getc(s, "term"), 0),
	       json_i64_or(json_getc(s, "revision"), 0), json_cstr(json_getc(s, "name")), STR_FMT(buf_str(&aligned)));
	if (json_getc(s, "encryption"))
		printf("encrypted at rest: %s\n", json_cstr(json_getc(s, "encryption"))[0] ? json_cstr(json_getc(s, "encryption")) : "nothing");
	print_check(s);
	printf("%s\n", json_cstr(json_getc(s, "health")));
	JSON_ITEMS (p, json_getc(s, "problems"))
		printf("  %s: %s\n", json_true(json_getc(p, "warning")) ? "warning" : "PROBLEM", json_cstr(json_getc(p, "text")));
	buf_fini(&text);
	buf_fini(&aligned);
}

static int run(const struct status_opts *o, struct arena *a, bool *ret_healthy, struct err *e)
{
	struct str answer = STR_NULL;
	struct json *s = NULL;

	if (o->output && strcmp(o->output, "json") != 0)
		return err_set(e, ERR_BAD_REQUEST, "output \"%s\": only json is known", o->output);
	if (o->where.endpoints) {
		if (etcd_client_status(&o->where, a, &s, e) < 0)
			return -(int)e->code;
		answer = json_text(a, s);
	} else if (store_client_ask(&o->where, "GET", "/kontiki/v1/status", STR_NULL, a, &answer, e) < 0 || json_parse(a, answer, NULL, &s, e) < 0)
		return -(int)e->code;
	*ret_healthy = json_eqc(json_getc(s, "health"), "healthy");
	if (o->output)
		printf("%.*s\n", STR_FMT(str_trim(answer)));
	else
		print_table(s);
	return 0;
}

int cmd_status(int argc, char **argv)
{
	struct status_opts o = {.where.name = LOCAL_DEFAULT_NAME};
	struct opt_args args;
	struct err e = ERR_INIT;
	bool healthy = false;
	struct arena a;
	int rv;

	if (cmd_wants_help(argc, argv, status_usage, status_rows))
		return CMD_OK;
	if (opts_parse(status_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("status", &e);
	arena_init(&a);
	rv = args.n ? err_set(&e, ERR_BAD_REQUEST, "\"%s\": status takes no arguments", args.v[0]) : run(&o, &a, &healthy, &e);
	opt_args_fini(&args);
	arena_fini(&a);
	return rv < 0 ? cmd_fail(&e) : healthy ? CMD_OK : CMD_FAILED;
}
