/* kontiki member: the members of the replicated store. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/etcd_client.h"
#include "cli/local.h"
#include "cli/store_client.h"
#include "proto/json.h"

struct member_opts {
	struct store_client_opts where;
	const char *address, *url, *zone;
	bool learner, witness;
};

static const struct opt member_rows[] = {
	STORE_CLIENT_ROWS(struct member_opts, where),
	{"address", 0, OPT_STR, offsetof(struct member_opts, address), "IP:PORT", "add, update: where its peers reach it (several: with commas)", NULL, NULL},
	{"url", 0, OPT_STR, offsetof(struct member_opts, url), "URL", "update: where clients reach its API", NULL, NULL},
	{"failure-domain", 0, OPT_STR, offsetof(struct member_opts, zone), "WORD", "add, update: what it fails together with (a rack, a zone)", NULL, NULL},
	{"learner", 0, OPT_BOOL, offsetof(struct member_opts, learner), "", "add: it gets the data but no vote until it is promoted", NULL, NULL},
	{"witness", 0, OPT_BOOL, offsetof(struct member_opts, witness), "", "add: it votes and serves no API", NULL, NULL},
	OPT_END,
};

static const char member_usage[] =
	"usage: kontiki member list\n"
	"       kontiki member add --address IP:PORT [--learner] [--witness] [--failure-domain WORD]\n"
	"       kontiki member promote|remove|transfer NAME|ID\n"
	"       kontiki member update NAME|ID [--address IP:PORT] [--url URL] [--failure-domain WORD]\n\n"
	"add makes a place for a server that is then started with --join and this address; without it, --join makes its own.\n"
	"promote gives a learner its vote. remove takes a server out of the cluster for good: its data directory cannot come back.\n"
	"transfer makes it the leader. update says where a member is from now on; one that is started elsewhere says so itself.\n";

static void print_member(const struct json *m)
{
	const char *role = json_cstr(json_getc(m, "role"));
	char what[64];

	snprintf(what, sizeof(what), "%s%s", role, json_true(json_getc(m, "witness")) ? ",witness" : "");
	printf("%-20s %-18s %-24s %-16s %-10s %s\n", json_true(json_getc(m, "started")) ? json_cstr(json_getc(m, "name")) : "(not started)",
	       json_cstr(json_getc(m, "id")), json_cstr(json_getc(m, "address")), what, json_cstr(json_getc(m, "zone")), json_cstr(json_getc(m, "url")));
}

static void print_list(const struct json *all)
{
	printf("%-20s %-18s %-24s %-16s %-10s %s\n", "NAME", "ID", "ADDRESS", "ROLE", "DOMAIN", "URL");
	JSON_ITEMS (m, all)
		print_member(m);
}

static struct str body_of(const struct member_opts *o, struct arena *a)
{
	struct json *j = json_new_object(a);

	if (o->address)
		json_setc(a, j, "address", json_newc(a, o->address));
	if (o->url)
		json_setc(a, j, "url", json_newc(a, o->url));
	if (o->zone)
		json_setc(a, j, "zone", json_newc(a, o->zone));
	json_setc(a, j, "learner", json_new_bool(a, o->learner));
	json_setc(a, j, "witness", json_new_bool(a, o->witness));
	return json_text(a, j);
}

/* verb, whether it names a member, the request, and what is said when it is done */
static const struct verb {
	const char *name;
	bool one;
	const char *method, *suffix, *done;
} verbs[] = {
	{"list", false, "GET", "", NULL},
	{"add", false, "POST", "", NULL},
	{"remove", true, "DELETE", "", "removed"},
	{"transfer", true, "POST", "/transfer", "leads"},
	{"promote", true, "POST", "/promote", "votes"},
	{"update", true, "PUT", "", "updated"},
};

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* Through an etcd API, which knows no failure domains and no witnesses. */
static int run_etcd(const struct member_opts *o, const struct verb *v, const char *who, struct arena *a, struct err *e)
{
	struct str id = STR_NULL;
	struct json *all;
	int rv;

	if (o->zone || o->witness || o->url)
		return err_set(e, ERR_BAD_REQUEST, "--failure-domain, --witness and --url: an etcd API has no such thing");
	if (strcmp(v->name, "list") == 0) {
		rv = etcd_client_members(&o->where, a, &all, e);
		if (rv == 0)
			print_list(all);
		return rv;
	}
	rv = etcd_client_change(&o->where, v->name, who, o->address, o->learner, a, &id, e);
	if (rv != 0)
		return rv;
	if (who)
		printf("member %s %s\n", who, v->done);
	else
		printf("a place for the member at %s is made, id %.*s: start it there with --initial-cluster-state existing\n", o->address, STR_FMT(id));
	return 0;
}

static int run(const struct member_opts *o, const struct opt_args *args, struct arena *a, struct err *e)
{
	const struct verb *v = verb_find(args->n ? args->v[0] : "");
	bool adds = v && strcmp(v->name, "add") == 0, updates = v && strcmp(v->name, "update") == 0;
	const char *path = "/kontiki/v1/members";
	struct str answer = STR_NULL;
	struct json *all = NULL;
	int rv;

	if (!v)
		return err_set(e, ERR_BAD_REQUEST, "say what to do: list, add, promote, update, remove or transfer");
	if (args->n != (v->one ? 2 : 1))
		return err_set(e, ERR_BAD_REQUEST, v->one ? "which member? 'kontiki member list' shows them" : "\"%s\" takes no name", v->name);
	if (adds && !o->address)
		return err_set(e, ERR_BAD_REQUEST, "where will it be? give --address IP:PORT of its peer port");
	if (updates && !o->address && !o->url && !o->zone)
		return err_set(e, ERR_BAD_REQUEST, "what is new? give --address, --url or --failure-domain");
	if (o->where.endpoints)
		return run_etcd(o, v, args->n > 1 ? args->v[1] : NULL, a, e);
	if (v->one)
		path = arena_printf(a, "%s/%s%s", path, args->v[1], v->suffix);
	rv = store_client_ask(&o->where, v->method, path, adds || updates ? body_of(o, a) : STR_NULL, a, &answer, e);
	if (rv < 0)
		return rv;
	if (strcmp(v->name, "list") == 0) {
		if (json_parse(a, answer, NULL, &all, e) < 0)
			return -(int)e->code;
		print_list(all);
	} else if (adds) {
		printf("a place for the member at %s is made, id %.*s: start the server there with --join\n", o->address, STR_FMT(str_trim(answer)));
	} else {
		printf("member %s %s\n", args->v[1], v->done);
	}
	return 0;
}

int cmd_member(int argc, char **argv)
{
	struct member_opts o = {.where.name = LOCAL_DEFAULT_NAME};
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
