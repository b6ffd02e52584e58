/* kontiki scale: how many replicas a Deployment or ReplicaSet shall have. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/kube.h"
#include "proto/json.h"
#include "proto/resource.h"

struct scale_opts {
	int64_t replicas, current;
	const char *dry_run, *selector;
	bool recursive, all;
	struct opt_list files;
};
#define O(member) offsetof(struct scale_opts, member)

static const struct opt rows[] = {
	{"replicas", 0, OPT_INT, O(replicas), "N", "how many there shall be", NULL, NULL},
	{"current-replicas", 0, OPT_INT, O(current), "N", "only if there are so many now", NULL, NULL},
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "objects with these labels", NULL, NULL},
	{"all", 0, OPT_BOOL, O(all), "", "all objects of the type in the namespace", NULL, NULL},
	{"filename", 'f', OPT_LIST, O(files), "FILE", "the objects that a manifest names", NULL, NULL},
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "with -f: folders in folders too", NULL, NULL},
	{"dry-run", 0, OPT_STR, O(dry_run), "none|client|server", "only say what would be done", NULL, "client"},
	OPT_END,
};
static const char usage[] = "usage: kontiki scale --replicas=N TYPE/NAME... | TYPE NAME...  [OPTIONS]\n";

static int scale(struct kube *k, const struct kube_target *t, const struct scale_opts *o)
{
	bool dry = o->dry_run && strcmp(o->dry_run, "client") == 0;
	struct client_req req;
	struct json *now;
	int64_t has;
	int rc = CMD_OK;

	if (o->current >= 0) {
		client_req_init(&req, CLIENT_GET, t->resource);
		req.ns = kube_target_ns(k, t);
		req.name = t->name;
		req.sub = "scale";
		req.accept = KUBE_ACCEPT_JSON;
		now = kube_do(k, &req) == 0 ? kube_answer(k, &req) : (kube_fail(k, &req), NULL);
		client_req_fini(&req);
		if (now == NULL)
			return CMD_FAILED;
		has = json_i64_or(json_getp(now, "spec.replicas"), 0);
		if (has != o->current) {
			fprintf(stderr, "error: Expected replicas to be %" PRId64 ", was %" PRId64 "\n", o->current, has);
			return CMD_FAILED;
		}
	}
	client_req_init(&req, CLIENT_PATCH, t->resource);
	req.ns = kube_target_ns(k, t);
	req.name = t->name;
	req.sub = "scale";
	req.accept = KUBE_ACCEPT_JSON;
	req.dry_run = o->dry_run && strcmp(o->dry_run, "server") == 0;
	req.content_type = CLIENT_MERGE_PATCH;
	req.body = arena_sprintf(&k->arena, "{\"spec\":{\"replicas\":%" PRId64 "}}", o->replicas);
	if (!dry && kube_do(k, &req) < 0)
		rc = kube_fail(k, &req);
	else
		printf("%s/%s scaled%s\n", kube_kind_word(k, t->resource), t->name,
				dry ? " (dry run)" : req.dry_run ? " (server dry run)" : "");
	client_req_fini(&req);
	return rc;
}

static int scale_listed(struct kube *k, const struct resource *r, const struct scale_opts *o)
{
	struct client_req req;
	struct json *list;
	int rc = CMD_OK;

	client_req_init(&req, CLIENT_LIST, r);
	req.ns = kube_ns(k, r);
	req.label_selector = o->selector;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(k, &req) == 0 ? kube_answer(k, &req) : (kube_fail(k, &req), NULL);
	client_req_fini(&req);
	JSON_ITEMS (it, json_getc(list, "items"))
		rc |= scale(k, &(struct kube_target){r, json_cstr(json_getp(it, "metadata.name")), NULL}, o);
	return list ? rc : CMD_FAILED;
}

static int scale_target(struct kube *k, const struct kube_target *t, const struct scale_opts *o)
{
	if (!resource_sub_find(t->resource, "scale")) {
		fprintf(stderr, "Error from server (NotFound): the server could not find the requested resource\n");
		return CMD_FAILED;
	}
	if (t->name)
		return scale(k, t, o);
	if (o->selector || o->all)
		return scale_listed(k, t->resource, o);
	fprintf(stderr, "error: resource(s) were provided, but no name was specified\n");
	return CMD_FAILED;
}

int cmd_scale(int argc, char **argv)
{
	struct scale_opts o = {.replicas = -1, .current = -1};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct kube_targets t;
	struct kube k;
	struct err e;
	int rc = CMD_OK;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("scale", &e);
	if (o.replicas < 0) {
		err_set(&e, ERR_BAD_REQUEST, "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
		opt_args_fini(&args);
		return cmd_usage("scale", &e);
	}
	if (kube_open(&k, &ko, &e) < 0) {
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	if ((o.files.n ? kube_targets_read(&k, &o.files, o.recursive, &t, &e) : kube_targets_parse(&k, args.v, args.n, &t, &e)) < 0) {
		rc = cmd_fail(&e);
	} else {
		for (size_t i = 0; i < t.n; i++)
			rc |= scale_target(&k, &t.v[i], &o);
	}
	kube_close(&k);
	opt_args_fini(&args);
	opt_list_fini(&o.files);
	return rc;
}
