/* kontiki delete: remove objects, and wait until they are gone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/kube.h"
#include "proto/json.h"
#include "proto/resource.h"

struct delete_opts {
	const char *selector, *fields, *cascade, *timeout, *output, *dry_run;
	bool all, all_namespaces, force, now, ignore_not_found, wait, recursive;
	int64_t grace;
	struct opt_list files;
};
#define O(member) offsetof(struct delete_opts, member)

static const struct opt rows[] = {
	{"filename", 'f', OPT_LIST, O(files), "FILE", "the objects that a manifest, a folder or - (standard input) names", NULL, NULL},
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "folders in folders too", NULL, NULL},
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "objects with these labels", NULL, NULL},
	{"field-selector", 0, OPT_STR, O(fields), "QUERY", "objects with these fields", NULL, NULL},
	{"all", 0, OPT_BOOL, O(all), "", "all objects of the type in the namespace", NULL, NULL},
	{"all-namespaces", 'A', OPT_BOOL, O(all_namespaces), "", "with --all or -l: of all namespaces", NULL, NULL},
	{"grace-period", 0, OPT_INT, O(grace), "SECONDS", "time to end in good order (default: the object's)", NULL, NULL},
	{"force", 0, OPT_BOOL, O(force), "", "at once, without waiting for the node", NULL, NULL},
	{"now", 0, OPT_BOOL, O(now), "", "the same as --grace-period=1", NULL, NULL},
	{"cascade", 0, OPT_STR, O(cascade), "background|foreground|orphan", "what becomes of what they own", NULL, "background"},
	{"ignore-not-found", 0, OPT_BOOL, O(ignore_not_found), "", "what is not there is no error", NULL, NULL},
	{"wait", 0, OPT_BOOL, O(wait), "", "wait until they are gone (default; --wait=false does not)", NULL, NULL},
	{"timeout", 0, OPT_STR, O(timeout), "DURATION", "how long to wait (default: without end)", NULL, NULL},
	{"output", 'o', OPT_STR, O(output), "name", "print only the names", NULL, NULL},
	{"dry-run", 0, OPT_STR, O(dry_run), "none|client|server", "only say what would be done", NULL, "client"},
	OPT_END,
};
static const char usage[] = "usage: kontiki delete TYPE NAME... | TYPE/NAME... | TYPE -l QUERY | TYPE --all | -f FILE...  [OPTIONS]\n";

struct doomed {
	const struct resource *resource;
	const char *ns, *name, *uid; /* uid NULL: not deleted */
};

struct del {
	struct kube k;
	struct delete_opts o;
	const char *propagation;
	struct doomed *v;
	size_t n;
	int rc;
};

static void add(struct del *d, const struct resource *r, const char *ns, const char *name)
{
	d->v = arena_grow(&d->k.arena, d->v, d->n * sizeof(*d->v), (d->n + 1) * sizeof(*d->v));
	d->v[d->n++] = (struct doomed){r, ns, name, NULL};
}

static int add_listed(struct del *d, const struct resource *r)
{
	struct client_req req;
	struct json *list;

	client_req_init(&req, CLIENT_LIST, r);
	req.ns = d->o.all_namespaces ? NULL : kube_ns(&d->k, r);
	req.label_selector = d->o.selector;
	req.field_selector = d->o.fields;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(&d->k, &req) == 0 ? kube_answer(&d->k, &req) : (kube_fail(&d->k, &req), NULL);
	client_req_fini(&req);
	if (list == NULL)
		return CMD_FAILED;
	JSON_ITEMS (it, json_getc(list, "items"))
		add(d, r, r->namespaced ? json_cstr(json_getp(it, "metadata.namespace")) : NULL,
				json_cstr(json_getp(it, "metadata.name")));
	return CMD_OK;
}

static int collect(struct del *d, const struct opt_args *args, struct err *e)
{
	struct kube_targets t;
	int rv = d->o.files.n ? kube_targets_read(&d->k, &d->o.files, d->o.recursive, &t, e)
			      : kube_targets_parse(&d->k, args->v, args->n, &t, e);

	for (size_t i = 0; rv == 0 && i < t.n; i++) {
		if (t.v[i].name)
			add(d, t.v[i].resource, kube_target_ns(&d->k, &t.v[i]), t.v[i].name);
		else if (!d->o.all && !d->o.selector && !d->o.fields)
			rv = err_set(e, ERR_BAD_REQUEST, "resource(s) were provided, but no name was specified");
		else if (add_listed(d, t.v[i].resource) != CMD_OK)
			d->rc = CMD_FAILED;
	}
	return rv;
}

/* The uid of what was deleted: in the answer's object, or in a Status' details. */
static const char *answer_uid(struct del *d, const struct client_req *req)
{
	struct json *j = kube_answer(&d->k, req);
	const char *uid = json_cstr(json_getp(j, "metadata.uid"));

	return *uid ? uid : json_cstr(json_getp(j, "details.uid"));
}

static void delete_one(struct del *d, struct doomed *x)
{
	const char *word = kube_kind_word(&d->k, x->resource);
	struct client_req req;
	bool dry = d->o.dry_run && strcmp(d->o.dry_run, "client") == 0;

	client_req_init(&req, CLIENT_DELETE, x->resource);
	req.ns = x->ns;
	req.name = x->name;
	req.accept = KUBE_ACCEPT_JSON;
	req.propagation_policy = d->propagation;
	req.grace_period_seconds = d->o.force && d->o.grace < 0 ? 0 : d->o.now ? 1 : d->o.grace;
	req.dry_run = d->o.dry_run && strcmp(d->o.dry_run, "server") == 0;
	if (!dry && kube_do(&d->k, &req) < 0) {
		if (req.http_status != 404 || !d->o.ignore_not_found)
			d->rc = kube_fail(&d->k, &req);
		client_req_fini(&req);
		return;
	}
	if (d->o.output && strcmp(d->o.output, "name") == 0)
		printf("%s/%s\n", word, x->name);
	else
		printf("%s \"%s\" %sdeleted%s\n", word, x->name, d->o.force ? "force " : "",
				dry ? " (dry run)" : req.dry_run ? " (server dry run)" : "");
	fflush(stdout);
	if (!dry && !req.dry_run)
		x->uid = answer_uid(d, &req);
	client_req_fini(&req);
}

static bool is_gone(struct del *d, const struct doomed *x, bool *ret_failed)
{
	struct arena kept;
	int status;
	struct json *j;
	bool gone;

	kube_scratch_begin(&d->k, &kept);
	j = kube_get(&d->k, x->resource, x->ns, x->name, &status);
	*ret_failed = j == NULL && status != 404;
	gone = j == NULL || !json_eqc(json_getp(j, "metadata.uid"), x->uid);
	kube_scratch_end(&d->k, &kept);
	return gone;
}

static void wait_gone(struct del *d, int64_t limit_ms)
{
	uint64_t began = clock_mono_ms();

	for (size_t i = 0; i < d->n; i++) {
		bool failed = false;
		uint64_t step = 50;

		while (d->v[i].uid && *d->v[i].uid && !is_gone(d, &d->v[i], &failed) && !failed) {
			if (limit_ms >= 0 && clock_mono_ms() - began > (uint64_t)limit_ms) {
				fprintf(stderr, "error: timed out waiting for the condition on %s/%s\n", d->v[i].resource->plural,
						d->v[i].name);
				d->rc = CMD_FAILED;
				return;
			}
			kube_pause(&d->k, step);
			step = MIN(step * 2, 500u);
		}
		if (failed)
			d->rc = CMD_FAILED;
	}
}

static int check(struct del *d, int64_t *ret_limit, struct err *e)
{
	static const struct {
		const char *word, *policy;
	} policies[] = {{"background", "Background"}, {"foreground", "Foreground"}, {"orphan", "Orphan"}, {"true", "Background"},
			{"false", "Orphan"}};

	*ret_limit = -1;
	if (d->o.timeout && strcmp(d->o.timeout, "0") != 0 && strcmp(d->o.timeout, "0s") != 0 &&
			!kube_duration_ms(d->o.timeout, ret_limit))
		return err_set(e, ERR_BAD_REQUEST, "--timeout=%s is no duration such as 30s", d->o.timeout);
	if (d->o.grace >= 0 && d->o.now)
		return err_set(e, ERR_BAD_REQUEST, "--now and --grace-period cannot be specified together");
	if (d->o.grace == 0 && !d->o.force)
		d->o.grace = 1; /* as kubectl: at once only by force */
	d->propagation = "Background";
	if (d->o.cascade == NULL)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (strcmp(policies[i].word, d->o.cascade) == 0) {
			d->propagation = policies[i].policy;
			return 0;
		}
	return err_set(e, ERR_BAD_REQUEST, "invalid cascade value (%s). Must be \"background\", \"foreground\", or \"orphan\"", d->o.cascade);
}

int cmd_delete(int argc, char **argv)
{
	struct del d = {.o = {.wait = true, .grace = -1}};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	int64_t limit_ms = -1;
	struct err e;
	int rv;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &d.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("delete", &e);
	if (kube_open(&d.k, &ko, &e) < 0) {
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	rv = check(&d, &limit_ms, &e);
	if (rv == 0)
		rv = collect(&d, &args, &e);
	if (rv < 0) {
		d.rc = cmd_fail(&e);
	} else {
		if (d.o.force)
			fprintf(stderr,
					"Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.\n");
		if (d.n == 0 && d.rc == CMD_OK)
			printf("No resources found\n");
		for (size_t i = 0; i < d.n; i++)
			delete_one(&d, &d.v[i]);
		if (d.o.wait)
			wait_gone(&d, limit_ms);
	}
	kube_close(&d.k);
	opt_args_fini(&args);
	opt_list_fini(&d.o.files);
	return d.rc;
}
