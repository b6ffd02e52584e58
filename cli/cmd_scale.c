/* kontiki scale: how many replicas a Deployment or ReplicaSet shall have. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/kube.h"
#include "proto/json.h"
#include "proto/resource.h"

struct scale_opts {
	int64_t replicas, current;
};
static const struct opt rows[] = {
	{"replicas", 0, OPT_INT, offsetof(struct scale_opts, replicas), "N", "how many there shall be", NULL, NULL},
	{"current-replicas", 0, OPT_INT, offsetof(struct scale_opts, current), "N", "only if there are so many now", NULL, NULL},
	OPT_END,
};
static const char usage[] = "usage: kontiki scale --replicas=N TYPE/NAME... | TYPE NAME...  [OPTIONS]\n";

static int scale(struct kube *k, const struct kube_target *t, const struct scale_opts *o)
{
	struct client_req req;
	struct json *now;
	int64_t has;
	int rc = CMD_OK;

	if (o->current >= 0) {
		client_req_init(&req, CLIENT_GET, t->resource);
		req.ns = kube_ns(k, t->resource);
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
	req.ns = kube_ns(k, t->resource);
	req.name = t->name;
	req.sub = "scale";
	req.accept = KUBE_ACCEPT_JSON;
	req.content_type = CLIENT_MERGE_PATCH;
	req.body = arena_sprintf(&k->arena, "{\"spec\":{\"replicas\":%" PRId64 "}}", o->replicas);
	if (kube_do(k, &req) < 0)
		rc = kube_fail(k, &req);
	else
		printf("%s/%s scaled\n", kube_kind_word(k, t->resource), t->name);
	client_req_fini(&req);
	return rc;
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
	if (kube_targets_parse(&k, args.v, args.n, &t, &e) < 0) {
		rc = cmd_fail(&e);
	} else {
		for (size_t i = 0; i < t.n; i++) {
			int one;

			if (t.v[i].name == NULL || !resource_sub_find(t.v[i].resource, "scale")) {
				fprintf(stderr, "error: %s\n", t.v[i].name ? "this kind cannot be scaled" : "resource name may not be empty");
				one = CMD_FAILED;
			} else {
				one = scale(&k, &t.v[i], &o);
			}
			rc = one != CMD_OK ? one : rc;
		}
	}
	kube_close(&k);
	opt_args_fini(&args);
	return rc;
}
