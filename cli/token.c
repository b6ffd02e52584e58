/* kontiki token: who may join. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/util.h"
#include "cli/admin.h"
#include "cli/cmd.h"
#include "cli/join.h"
#include "cli/local.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/apiserver/join_token.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/duration.h"
#include "proto/json.h"

#define SECRETS "/api/v1/namespaces/kube-system/secrets"

struct token_opts {
	struct admin_opts admin;
	const char *ttl, *description;
	bool agent_only;
};

static const struct opt token_rows[] = {
	ADMIN_ROWS(struct token_opts, admin),
	{"ttl", 0, OPT_STR, offsetof(struct token_opts, ttl), "DURATION", "create: how long it is good, such as 2h; 0: for ever (default 24h)", NULL, NULL},
	{"agent-only", 0, OPT_BOOL, offsetof(struct token_opts, agent_only), "", "create: nodes may join with it, servers may not", NULL, NULL},
	{"description", 0, OPT_STR, offsetof(struct token_opts, description), "TEXT", "create: what it is for", NULL, NULL},
	OPT_END,
};

static const char token_usage[] =
	"usage: kontiki token create [--ttl 24h] [--agent-only] [--description TEXT]\n       kontiki token list\n       kontiki token delete ID\n"
	"       kontiki token rotate\n\n"
	"Tokens let servers and nodes join. The cluster keeps only their hashes: a token is shown once, when it is made.\n"
	"rotate replaces the token that the servers made at their first start (pki/join.token), on all of them at once.\n";

struct token {
	const struct token_opts *o;
	struct admin admin;
	struct arena *a;
};

static int call(struct token *t, const char *method, const char *path, struct str body, struct json **ret, struct err *e)
{
	struct str answer;
	int rv = admin_call(&t->admin, t->a, method, path, body, &answer, e);

	return rv == 0 && ret ? json_parse(t->a, answer, NULL, ret, e) : rv;
}

static void set_data(struct token *t, struct json *doc, const char *key, const char *value)
{
	if (value && *value)
		json_setp(t->a, doc, arena_printf(t->a, "data.%s", key), json_new_str(t->a, api_base64(t->a, str_from(value))));
}

static struct str get_data(struct token *t, const struct json *doc, const char *key)
{
	struct str out;

	return api_base64_decode(t->a, json_str(json_getc(json_getc(doc, "data"), key)), &out) ? out : STR_NULL;
}

/* A Secret for a new token of that name (NULL: by its hash), and the token. */
static int make(struct token *t, const char *name, struct json **ret_doc, const char **ret_token, struct err *e)
{
	char hash[JOIN_TOKEN_HASH], until[CLOCK_RFC3339_SIZE] = "";
	int64_t ns = 24ll * 3600 * 1000000000;
	const char *secret;
	struct json *doc = json_new_object(t->a);

	if (t->o->ttl && strcmp(t->o->ttl, "0") == 0)
		ns = 0;
	else if (t->o->ttl && !duration_parse(str_from(t->o->ttl), &ns))
		return err_set(e, ERR_BAD_REQUEST, "--ttl \"%s\": give a duration such as 90m or 24h", t->o->ttl);
	if (ns < 0)
		return err_set(e, ERR_BAD_REQUEST, "--ttl: a time in the past");
	if (join_new_token(t->admin.ca_path, t->a, ret_token, &secret, e) < 0)
		return -(int)e->code;
	join_token_hash(str_from(secret), hash);
	if (ns > 0 && !name)
		clock_rfc3339(clock_wall_s() + ns / 1000000000, until);
	json_setp(t->a, doc, "metadata.name",
			json_newc(t->a, name ? name : arena_printf(t->a, JOIN_TOKEN_PREFIX "%.*s", JOIN_TOKEN_ID, hash)));
	json_setc(t->a, doc, "type", json_newc(t->a, JOIN_TOKEN_TYPE));
	set_data(t, doc, "hash", hash);
	set_data(t, doc, "expiration", until);
	set_data(t, doc, "usage", t->o->agent_only ? "agent" : "");
	set_data(t, doc, "description", t->o->description);
	*ret_doc = doc;
	return 0;
}

static int create(struct token *t, struct err *e)
{
	const char *token;
	struct json *doc;
	int rv = make(t, NULL, &doc, &token, e);

	if (rv == 0)
		rv = call(t, "POST", SECRETS, json_text(t->a, doc), NULL, e);
	if (rv == 0)
		printf("%s\n", token);
	return rv;
}

static int rotate(struct token *t, struct err *e)
{
	const char *token;
	struct json *doc;
	int rv = make(t, JOIN_TOKEN_DEFAULT, &doc, &token, e);

	if (rv < 0)
		return rv;
	rv = call(t, "PUT", SECRETS "/" JOIN_TOKEN_DEFAULT, json_text(t->a, doc), NULL, e);
	if (rv < 0 && e->code == ERR_NOT_FOUND) {
		err_clear(e);
		rv = call(t, "POST", SECRETS, json_text(t->a, doc), NULL, e);
	}
	if (rv == 0)
		printf("%s\n", token);
	return rv;
}

static int list(struct token *t, struct err *e)
{
	struct json *all;
	int rv = call(t, "GET", SECRETS "?fieldSelector=type%3Dkontiki.io%2Fjoin-token", STR_NULL, &all, e);

	if (rv < 0)
		return rv;
	printf("%-12s %-8s %-22s %s\n", "ID", "FOR", "EXPIRES", "DESCRIPTION");
	JSON_ITEMS (o, json_getc(all, "items")) {
		struct str name = str_skip(api_name(o), strlen(JOIN_TOKEN_PREFIX)), until = get_data(t, o, "expiration"),
			   use = get_data(t, o, "usage");

		printf("%-12.*s %-8.*s %-22.*s %.*s\n", STR_FMT(name), STR_FMT(use.n ? use : STR("all")),
				STR_FMT(until.n ? until : STR("never")), STR_FMT(get_data(t, o, "description")));
	}
	return 0;
}

static int delete(struct token *t, const char *id, struct err *e)
{
	int rv = call(t, "DELETE", arena_printf(t->a, SECRETS "/" JOIN_TOKEN_PREFIX "%s", id), STR_NULL, NULL, e);

	if (rv == 0)
		printf("token %s deleted\n", id);
	return rv;
}

static int run(struct token *t, const struct opt_args *args, struct err *e)
{
	const char *verb = args->n ? args->v[0] : "";
	size_t want = strcmp(verb, "delete") == 0 ? 2 : 1;
	int rv;

	if (args->n != want)
		return err_set(e, ERR_BAD_REQUEST, "say what to do: create, list, delete ID or rotate");
	rv = admin_open(&t->o->admin, t->a, &t->admin, e);
	if (rv < 0)
		return rv;
	if (strcmp(verb, "create") == 0)
		rv = create(t, e);
	else if (strcmp(verb, "list") == 0)
		rv = list(t, e);
	else if (strcmp(verb, "delete") == 0)
		rv = delete(t, args->v[1], e);
	else if (strcmp(verb, "rotate") == 0)
		rv = rotate(t, e);
	else
		rv = err_set(e, ERR_BAD_REQUEST, "say what to do: create, list, delete ID or rotate");
	admin_close(&t->admin);
	return rv;
}

int cmd_token(int argc, char **argv)
{
	struct token_opts o = {.admin.name = LOCAL_DEFAULT_NAME};
	struct opt_args args;
	struct err e = ERR_INIT;
	struct arena a;
	struct token t = {.o = &o, .a = &a};
	int rv;

	if (cmd_wants_help(argc, argv, token_usage, token_rows))
		return CMD_OK;
	if (opts_parse(token_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("token", &e);
	arena_init(&a);
	rv = run(&t, &args, &e);
	opt_args_fini(&args);
	arena_fini(&a);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
