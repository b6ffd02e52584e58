/* kontiki label, annotate: set and remove labels and annotations; cli/kube_meta.h makes the patch. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/kube.h"
#include "cli/kube_meta.h"
#include "proto/json.h"
#include "proto/resource.h"

struct label_opts {
	const char *selector, *fields, *dry_run, *output;
	bool overwrite, all, all_namespaces, list, recursive;
	struct opt_list files;
};
#define O(member) offsetof(struct label_opts, member)

static const struct opt rows[] = {
	{"overwrite", 0, OPT_BOOL, O(overwrite), "", "also where the key has a value", NULL, NULL},
	{"all", 0, OPT_BOOL, O(all), "", "on all objects of the type in the namespace", NULL, NULL},
	{"all-namespaces", 'A', OPT_BOOL, O(all_namespaces), "", "of all namespaces", NULL, NULL},
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "on objects with these labels", NULL, NULL},
	{"field-selector", 0, OPT_STR, O(fields), "QUERY", "on objects with these fields", NULL, NULL},
	{"list", 0, OPT_BOOL, O(list), "", "print what there is", NULL, NULL},
	{"filename", 'f', OPT_LIST, O(files), "FILE", "on the objects that a manifest names", NULL, NULL},
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "with -f: folders in folders too", NULL, NULL},
	{"output", 'o', OPT_STR, O(output), "FORMAT", "print the objects: json, yaml, name, jsonpath=...", NULL, NULL},
	{"dry-run", 0, OPT_STR, O(dry_run), "none|client|server", "only say what would be done", NULL, "client"},
	OPT_END,
};

struct labeler {
	struct kube k;
	struct label_opts o;
	struct kube_printer printer;
	const char *what; /* "labels", "annotations" */
	struct meta_change *changes;
	size_t n_changes;
};

static bool only_removes(const struct labeler *l)
{
	for (size_t i = 0; i < l->n_changes; i++)
		if (!l->changes[i].remove)
			return false;
	return true;
}

static const char *done_word(const struct labeler *l, bool changed)
{
	bool labels = strcmp(l->what, "labels") == 0;

	if (!labels)
		return "annotated";
	return !changed ? "not labeled" : only_removes(l) ? "unlabeled" : "labeled";
}

static void list_them(struct labeler *l, const struct json *obj)
{
	JSON_MEMBERS (m, json_getc(json_getc(obj, "metadata"), l->what))
		printf("%.*s=%s\n", STR_FMT(m->key), json_cstr(m->value));
}

static void tell_missing(struct labeler *l, const struct json *obj)
{
	for (size_t i = 0; i < l->n_changes; i++)
		if (l->changes[i].remove && strcmp(l->what, "labels") == 0 &&
				!json_get(json_getp(obj, "metadata.labels"), l->changes[i].key))
			printf("label \"%.*s\" not found.\n", STR_FMT(l->changes[i].key));
}

static int change_one(struct labeler *l, const struct resource *r, const char *ns, struct json *obj)
{
	const char *name = json_cstr(json_getp(obj, "metadata.name"));
	bool dry = l->o.dry_run && strcmp(l->o.dry_run, "client") == 0;
	struct client_req req;
	struct json *patch;
	struct err e;
	int rc = CMD_OK;

	if (l->o.list) {
		list_them(l, obj);
		return CMD_OK;
	}
	if (meta_patch(&l->k.arena, l->what, obj, l->changes, l->n_changes, l->o.overwrite, &patch, &e) < 0)
		return cmd_fail(&e);
	tell_missing(l, obj);
	client_req_init(&req, CLIENT_PATCH, r);
	req.ns = ns;
	req.name = name;
	req.body = json_text(&l->k.arena, patch);
	req.content_type = CLIENT_MERGE_PATCH;
	req.accept = KUBE_ACCEPT_JSON;
	req.dry_run = l->o.dry_run && strcmp(l->o.dry_run, "server") == 0;
	req.field_manager = strcmp(l->what, "labels") == 0 ? "kubectl-label" : "kubectl-annotate";
	if (json_len(patch) && !dry) {
		if (kube_do(&l->k, &req) < 0)
			rc = kube_fail(&l->k, &req);
		else
			obj = kube_answer(&l->k, &req);
	}
	if (rc == CMD_OK && obj && l->o.output)
		rc = kube_print(&l->k, &l->printer, obj, true, &e) < 0 ? cmd_fail(&e) : CMD_OK;
	else if (rc == CMD_OK)
		printf("%s/%s %s%s\n", kube_kind_word(&l->k, r), name, done_word(l, json_len(patch) > 0),
				dry ? " (dry run)" : req.dry_run ? " (server dry run)" : "");
	client_req_fini(&req);
	return rc;
}

static int change_listed(struct labeler *l, const struct resource *r)
{
	struct client_req req;
	struct json *list;
	int rc = CMD_OK;

	client_req_init(&req, CLIENT_LIST, r);
	req.ns = l->o.all_namespaces ? NULL : kube_ns(&l->k, r);
	req.label_selector = l->o.selector;
	req.field_selector = l->o.fields;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(&l->k, &req) == 0 ? kube_answer(&l->k, &req) : (kube_fail(&l->k, &req), NULL);
	client_req_fini(&req);
	JSON_ITEMS (it, json_getc(list, "items"))
		rc |= change_one(l, r, r->namespaced ? json_cstr(json_getp(it, "metadata.namespace")) : NULL, it);
	return list ? rc : CMD_FAILED;
}

static int change_target(struct labeler *l, const struct kube_target *t)
{
	const char *ns = kube_target_ns(&l->k, t);
	struct json *obj;
	int status;

	if (!t->name)
		return change_listed(l, t->resource);
	obj = kube_get(&l->k, t->resource, ns, t->name, &status);
	if (obj)
		return change_one(l, t->resource, ns, obj);
	if (status == 404)
		kube_not_found(*t->resource->group ? arena_printf(&l->k.arena, "%s.%s", t->resource->plural, t->resource->group)
						   : t->resource->plural,
				t->name);
	return CMD_FAILED;
}

static int run(struct kube *k, const struct opt_args *args)
{
	struct labeler *l = container_of(k, struct labeler, k);
	struct kube_targets t;
	struct err e;
	int rc = CMD_OK;

	l->n_changes = meta_count_changes(args->v, args->n);
	if (kube_printer_parse(&l->k, l->o.output, &l->printer, &e) < 0 ||
			meta_parse(&l->k.arena, l->what, args->v + args->n - l->n_changes, l->n_changes, &l->changes, &e) < 0)
		return cmd_fail(&e);
	if (l->n_changes == 0 && !l->o.list) {
		err_set(&e, ERR_BAD_REQUEST, "at least one %.*s update is required", (int)strlen(l->what) - 1, l->what);
		return cmd_fail(&e);
	}
	if ((l->o.files.n ? kube_targets_read(&l->k, &l->o.files, l->o.recursive, &t, &e)
			  : kube_targets_parse(&l->k, args->v, args->n - l->n_changes, &t, &e)) < 0)
		return cmd_fail(&e);
	for (size_t i = 0; i < t.n; i++) {
		if (!t.v[i].name && !l->o.all && !l->o.selector && !l->o.fields && !l->o.list) {
			err_set(&e, ERR_BAD_REQUEST, "resource(s) were provided, but no name was specified");
			return cmd_fail(&e);
		}
		rc |= change_target(l, &t.v[i]);
	}
	return rc ? CMD_FAILED : CMD_OK;
}

static int label(const char *command, const char *what, const char *usage, int argc, char **argv)
{
	struct labeler l = {.what = what};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct err e;
	int rc;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &l.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage(command, &e);
	rc = kube_run(&l.k, &ko, &args, run);
	opt_list_fini(&l.o.files);
	return rc;
}

int cmd_label(int argc, char **argv)
{
	return label("label", "labels", "usage: kontiki label TYPE NAME... | TYPE/NAME... | -f FILE  KEY=VALUE... KEY-...\n\nSet and remove labels.\n",
			argc, argv);
}

int cmd_annotate(int argc, char **argv)
{
	return label("annotate", "annotations",
			"usage: kontiki annotate TYPE NAME... | TYPE/NAME... | -f FILE  KEY=VALUE... KEY-...\n\nSet and remove annotations.\n", argc, argv);
}
