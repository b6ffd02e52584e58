/* kontiki wait: until objects have a condition, a value, exist, or are gone. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/kube.h"
#include "cli/kube_wait.h"
#include "proto/json.h"
#include "proto/resource.h"

#define POLL_MIN_MS 50
#define POLL_MAX_MS 500

struct wait_opts {
	const char *condition, *timeout, *selector, *fields;
	bool all, all_namespaces, recursive;
	struct opt_list files;
};
#define O(member) offsetof(struct wait_opts, member)

static const struct opt rows[] = {
	{"for", 0, OPT_STR, O(condition), "WHAT", "condition=NAME[=VALUE], jsonpath='{PATH}'[=VALUE], create or delete", NULL, NULL},
	{"timeout", 0, OPT_STR, O(timeout), "DURATION", "how long to wait (default 30s; 0: look once; negative: a week)", NULL, NULL},
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "objects with these labels", NULL, NULL},
	{"field-selector", 0, OPT_STR, O(fields), "QUERY", "objects with these fields", NULL, NULL},
	{"all", 0, OPT_BOOL, O(all), "", "all objects of the type in the namespace", NULL, NULL},
	{"all-namespaces", 'A', OPT_BOOL, O(all_namespaces), "", "of all namespaces", NULL, NULL},
	{"filename", 'f', OPT_LIST, O(files), "FILE", "the objects that a manifest names", NULL, NULL},
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "with -f: folders in folders too", NULL, NULL},
	OPT_END,
};
static const char usage[] = "usage: kontiki wait TYPE NAME... | TYPE/NAME... | TYPE -l QUERY | -f FILE  --for=WHAT [--timeout=30s]\n";

struct waiter {
	struct kube k;
	struct wait_opts o;
	struct kube_condition condition;
	uint64_t deadline; /* of the monotonic clock */
	bool once;         /* no time to wait was given */
};

/* One look: 1: it is so, 0: not yet, negative: the error has been printed. */
static int look(struct waiter *w, const struct resource *r, const char *ns, const char *name, const char *uid)
{
	int status, met;
	struct json *obj = kube_get(&w->k, r, ns, name, &status);
	struct err e;

	if (!obj && status != 404)
		return -1;
	if (!obj && w->condition.kind != KUBE_WAIT_DELETE && w->condition.kind != KUBE_WAIT_CREATE) {
		kube_not_found(*r->group ? arena_printf(&w->k.arena, "%s.%s", r->plural, r->group) : r->plural, name);
		return -1;
	}
	if (obj && uid && !json_eqc(json_getp(obj, "metadata.uid"), uid))
		obj = NULL; /* another one of that name */
	met = kube_condition_met(&w->k.arena, &w->condition, obj, &e);
	if (met < 0)
		cmd_fail(&e);
	return met;
}

static int wait_one(struct waiter *w, const struct resource *r, const char *ns, const char *name, const char *uid)
{
	unsigned pause = POLL_MIN_MS;

	for (;;) {
		struct arena kept;
		int met;

		kube_scratch_begin(&w->k, &kept);
		met = look(w, r, ns, name, uid);
		kube_scratch_end(&w->k, &kept);
		if (met < 0)
			return CMD_FAILED;
		if (met) {
			printf("%s/%s condition met\n", kube_kind_word(&w->k, r), name);
			fflush(stdout);
			return CMD_OK;
		}
		if (clock_mono_ms() >= w->deadline) {
			fprintf(stderr, "error: %s %s/%s\n", w->once ? "condition not met for" : "timed out waiting for the condition on", r->plural,
					name);
			return CMD_FAILED;
		}
		kube_pause(&w->k, MIN((uint64_t)pause, w->deadline - clock_mono_ms()));
		pause = MIN(pause * 2, (unsigned)POLL_MAX_MS);
	}
}

static int wait_listed(struct waiter *w, const struct resource *r, size_t *n)
{
	struct client_req req;
	struct json *list;
	int rc = CMD_OK;

	client_req_init(&req, CLIENT_LIST, r);
	req.ns = w->o.all_namespaces ? NULL : kube_ns(&w->k, r);
	req.label_selector = w->o.selector;
	req.field_selector = w->o.fields;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(&w->k, &req) == 0 ? kube_answer(&w->k, &req) : (kube_fail(&w->k, &req), NULL);
	client_req_fini(&req);
	JSON_ITEMS (it, json_getc(list, "items")) {
		++*n;
		rc |= wait_one(w, r, r->namespaced ? json_cstr(json_getp(it, "metadata.namespace")) : NULL,
				json_cstr(json_getp(it, "metadata.name")), json_cstr(json_getp(it, "metadata.uid")));
	}
	return list ? rc : CMD_FAILED;
}

/* With --for=delete what is not there at the beginning is already gone; else its uid says which one is meant. */
static int wait_target(struct waiter *w, const struct kube_target *t, size_t *n)
{
	const char *ns = kube_target_ns(&w->k, t), *uid = NULL;
	int status;

	if (!t->name)
		return wait_listed(w, t->resource, n);
	++*n;
	if (w->condition.kind == KUBE_WAIT_DELETE) {
		struct json *obj = kube_get(&w->k, t->resource, ns, t->name, &status);

		if (!obj)
			return status == 404 ? CMD_OK : CMD_FAILED;
		uid = json_cstr(json_getp(obj, "metadata.uid"));
	}
	return wait_one(w, t->resource, ns, t->name, uid);
}

static int run(struct kube *k, const struct opt_args *args)
{
	struct waiter *w = container_of(k, struct waiter, k);
	int64_t ms = 30000;
	struct kube_targets t;
	struct err e;
	size_t n = 0;
	int rc = CMD_OK;

	if (!w->o.condition) {
		err_set(&e, ERR_BAD_REQUEST, "required flag \"for\" is not set");
		return cmd_fail(&e);
	}
	if (kube_condition_parse(&w->k.arena, w->o.condition, &w->condition, &e) < 0)
		return cmd_fail(&e);
	if (w->o.timeout && w->o.timeout[0] == '-')
		ms = 7LL * 24 * 3600 * 1000;
	else if (w->o.timeout && !kube_duration_ms(w->o.timeout, &ms)) {
		err_set(&e, ERR_BAD_REQUEST, "invalid argument \"%s\" for \"--timeout\" flag: it is no duration such as 30s", w->o.timeout);
		return cmd_fail(&e);
	}
	w->deadline = clock_mono_ms() + (uint64_t)ms;
	w->once = ms == 0;
	if ((w->o.files.n ? kube_targets_read(&w->k, &w->o.files, w->o.recursive, &t, &e)
			  : kube_targets_parse(&w->k, args->v, args->n, &t, &e)) < 0)
		return cmd_fail(&e);
	for (size_t i = 0; i < t.n; i++) {
		if (!t.v[i].name && !w->o.all && !w->o.selector && !w->o.fields) {
			err_set(&e, ERR_BAD_REQUEST, "resource(s) were provided, but no name was specified");
			return cmd_fail(&e);
		}
		rc |= wait_target(w, &t.v[i], &n);
	}
	if (n == 0 && rc == CMD_OK && w->condition.kind != KUBE_WAIT_DELETE) {
		err_set(&e, ERR_NOT_FOUND, "no matching resources found");
		return cmd_fail(&e);
	}
	return rc ? CMD_FAILED : CMD_OK;
}

int cmd_wait(int argc, char **argv)
{
	struct waiter w = {.deadline = 0};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct err e;
	int rc;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &w.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("wait", &e);
	rc = kube_run(&w.k, &ko, &args, run);
	opt_list_fini(&w.o.files);
	return rc;
}
