/*
 * kontiki apply, create: make objects be as manifests say.
 *
 * `apply` works as kubectl's: what was applied is kept in an annotation, and the patch that is sent is made of three states - the
 * one applied last, the new one and the one on the server - so that fields which others have set stay.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/kube.h"
#include "cli/kube_apply.h"
#include "proto/json.h"
#include "proto/resource.h"

#define CONFLICT_TRIES 5

struct apply_opts {
	const char *output, *dry_run, *field_manager, *validate;
	bool recursive, server_side, force_conflicts, record;
	struct opt_list files;
};
#define O(member) offsetof(struct apply_opts, member)

#define COMMON_ROWS                                                                                                    \
	{"filename", 'f', OPT_LIST, O(files), "FILE", "a manifest, a folder of them, or - for standard input", NULL, NULL},    \
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "folders in folders too", NULL, NULL},                             \
	{"output", 'o', OPT_STR, O(output), "FORMAT", "print the objects: json, yaml, name, jsonpath=...", NULL, NULL},     \
	{"dry-run", 0, OPT_STR, O(dry_run), "none|client|server", "only say what would be done", NULL, "client"},         \
	{"field-manager", 0, OPT_STR, O(field_manager), "NAME", "who owns the fields that are set", NULL, NULL},           \
	{"validate", 0, OPT_STR, O(validate), "true|false|ignore|warn|strict", "what to do about unknown fields (default strict)", NULL, "true"}

static const struct opt apply_rows[] = {
	COMMON_ROWS,
	{"server-side", 0, OPT_BOOL, O(server_side), "", "let the server merge", NULL, NULL},
	{"force-conflicts", 0, OPT_BOOL, O(force_conflicts), "", "with --server-side: take fields over that others own", NULL, NULL},
	{"record", 0, OPT_BOOL, O(record), "", "keep the command as the change's cause", NULL, NULL},
	OPT_END,
};
static const struct opt create_rows[] = {
	COMMON_ROWS,
	OPT_END,
};
static const char apply_usage[] = "usage: kontiki apply -f FILE... [OPTIONS]\n"
				  "\nMake objects be as manifests say; what exists is changed, what does not is created.\n";
static const char create_usage[] = "usage: kontiki create -f FILE... | create namespace NAME  [OPTIONS]\n"
				   "\nCreate objects; one that exists already is an error.\n";

struct apply {
	struct kube k;
	struct apply_opts o;
	struct kube_printer printer;
	const char *query, *cause;
	const char *source; /* the file of the object at hand */
	bool create_only, print;
};

static bool dry_client(const struct apply *a)
{
	return a->o.dry_run && (strcmp(a->o.dry_run, "client") == 0 || strcmp(a->o.dry_run, "true") == 0);
}

static bool dry_server(const struct apply *a)
{
	return a->o.dry_run && strcmp(a->o.dry_run, "server") == 0;
}

static int say(struct apply *a, const struct resource *r, const char *name, const char *what, struct json *result)
{
	struct err e;

	if (a->print)
		return kube_print(&a->k, &a->printer, result, true, &e) < 0 ? cmd_fail(&e) : CMD_OK;
	printf("%s/%s %s%s\n", kube_kind_word(&a->k, r), name, what,
			dry_client(a) ? " (dry run)" : dry_server(a) ? " (server dry run)" : "");
	return CMD_OK;
}

static int send(struct apply *a, struct client_req *req, const struct resource *r, const char *ns, const char *name,
		struct json *body, const char *type)
{
	req->ns = ns;
	req->name = name;
	req->body = body ? json_text(&a->k.arena, body) : STR_NULL;
	req->content_type = type;
	req->accept = KUBE_ACCEPT_JSON;
	req->dry_run = dry_server(a);
	req->field_manager = a->o.field_manager ? a->o.field_manager : a->create_only ? "kubectl-create" : "kubectl-client-side-apply";
	req->query = a->query;
	return kube_do(&a->k, req);
}

static int create(struct apply *a, const struct resource *r, const char *ns, const char *name, struct json *doc)
{
	struct client_req req;
	struct json *result;
	int rc;

	if (dry_client(a))
		return say(a, r, name, "created", doc);
	client_req_init(&req, CLIENT_CREATE, r);
	if (send(a, &req, r, ns, NULL, doc, CLIENT_JSON) < 0) {
		rc = kube_fail_when(&a->k, &req, arena_printf(&a->k.arena, "error when creating \"%s\"", a->source));
	} else {
		result = kube_answer(&a->k, &req);
		rc = result ? say(a, r, json_cstr(json_getp(result, "metadata.name")), "created", result) : CMD_FAILED;
	}
	client_req_fini(&req);
	return rc;
}

static int server_side(struct apply *a, const struct resource *r, const char *ns, const char *name, struct json *doc)
{
	struct client_req req;
	struct json *result;
	int rc;

	client_req_init(&req, CLIENT_PATCH, r);
	if (a->o.field_manager == NULL)
		a->o.field_manager = "kubectl";
	if (send(a, &req, r, ns, name, doc, CLIENT_APPLY_PATCH) < 0) {
		rc = kube_fail(&a->k, &req);
	} else {
		result = kube_answer(&a->k, &req);
		rc = result ? say(a, r, name, "serverside-applied", result) : CMD_FAILED;
	}
	client_req_fini(&req);
	return rc;
}

/* kubectl's words for a patch that was refused. */
static const char *patch_failed(struct apply *a, const struct resource *r, const char *ns, const char *name, struct str text)
{
	return arena_printf(&a->k.arena,
			"error when applying patch:\n%.*s\nto:\nResource: \"%s%s%s, Resource=%s\", GroupVersionKind: \"%s%s%s, Kind=%s\"\nName: \"%s\", Namespace: \"%s\"\nfor: \"%s\": error when patching \"%s\"",
			STR_FMT(text), r->group, "/", r->version, r->plural, r->group, "/", r->version, r->kind, name, ns ? ns : "", a->source,
			a->source);
}

/* -1: conflict, come again. Else the exit status. */
static int patch(struct apply *a, const struct resource *r, const char *ns, const char *name, struct json *modified,
		struct json *live, bool last_try)
{
	struct arena *ar = &a->k.arena;
	struct json *diff, *result;
	struct client_req req;
	struct err e;
	int rc = CMD_OK;

	if (!apply_has_last(live))
		fprintf(stderr,
				"Warning: resource %s/%s is missing the " APPLY_LAST
				" annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.\n",
				r->plural, name);
	if (apply_patch(ar, resource_type(r), modified, live, &diff, &e) < 0)
		return cmd_fail(&e);
	/* Without sending anything kubectl does not claim to know that nothing would change. */
	if (dry_client(a))
		return say(a, r, name, "configured", modified);
	if (json_len(diff) == 0)
		return say(a, r, name, "unchanged", live);
	client_req_init(&req, CLIENT_PATCH, r);
	if (send(a, &req, r, ns, name, diff, CLIENT_STRATEGIC_PATCH) < 0) {
		rc = req.err.code == ERR_CONFLICT && !last_try
				     ? -1
				     : kube_fail_when(&a->k, &req, patch_failed(a, r, ns, name, req.body));
	} else {
		result = kube_answer(&a->k, &req);
		rc = result ? say(a, r, name, "configured", result) : CMD_FAILED;
	}
	client_req_fini(&req);
	return rc;
}

static int apply_doc(struct apply *a, const struct json *doc, const char *source)
{
	const struct resource *r;
	const char *ns, *name;
	struct json *modified, *live;
	struct err e;
	int status, rc = -1;

	a->source = source;
	if (kube_doc_target(&a->k, doc, !a->create_only, &r, &ns, &name, &e) < 0) {
		if (e.code == ERR_NOT_FOUND)
			fprintf(stderr, "error: resource mapping not found for name: \"%s\" namespace: \"%s\" from \"%s\": %s\nensure CRDs are installed first\n",
					json_cstr(json_getp(doc, "metadata.name")), json_cstr(json_getp(doc, "metadata.namespace")), source, e.text);
		else
			cmd_fail(&e);
		return CMD_FAILED;
	}
	if (a->create_only)
		return create(a, r, ns, name, json_copy(&a->k.arena, doc));
	if (a->o.server_side)
		return server_side(a, r, ns, name, json_copy(&a->k.arena, doc));
	modified = apply_modified(&a->k.arena, doc, r->namespaced ? ns : NULL, a->cause);
	for (int i = 1; rc < 0; i++) {
		live = kube_get(&a->k, r, ns, name, &status);
		if (live == NULL && status != 404)
			return CMD_FAILED;
		rc = live ? patch(a, r, ns, name, modified, live, i == CONFLICT_TRIES) : create(a, r, ns, name, modified);
	}
	return rc;
}

static int validation(struct apply *a, struct err *e)
{
	const char *v = a->o.validate, *word;

	if (v == NULL || strcmp(v, "true") == 0 || strcmp(v, "strict") == 0)
		word = "Strict";
	else if (strcmp(v, "warn") == 0)
		word = "Warn";
	else if (strcmp(v, "false") == 0 || strcmp(v, "ignore") == 0)
		word = "Ignore";
	else
		return err_set(e, ERR_BAD_REQUEST, "invalid argument \"%s\" for \"--validate\" flag", v);
	a->query = arena_printf(&a->k.arena, "fieldValidation=%s%s", word,
			a->o.server_side && a->o.force_conflicts ? "&force=true" : "");
	if (a->o.dry_run && !dry_client(a) && !dry_server(a) && strcmp(a->o.dry_run, "none") != 0)
		return err_set(e, ERR_BAD_REQUEST, "Invalid dry-run value (%s). Must be \"none\", \"server\", or \"client\".", a->o.dry_run);
	return 0;
}

/* `create namespace NAME`, the one that manifests are seldom written for. */
static int create_namespace(struct apply *a, const char *name)
{
	struct arena *ar = &a->k.arena;
	struct json *doc = json_new_object(ar);

	json_setc(ar, doc, "apiVersion", json_newc(ar, "v1"));
	json_setc(ar, doc, "kind", json_newc(ar, "Namespace"));
	json_setp(ar, doc, "metadata.name", json_newc(ar, name));
	return apply_doc(a, doc, "command line");
}

static int run(bool create_only, int argc, char **argv)
{
	const struct opt *rows = create_only ? create_rows : apply_rows;
	const char *command = create_only ? "create" : "apply";
	struct apply a = {.create_only = create_only};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct kube_docs docs = {0};
	struct err e;
	int rv, rc = CMD_OK;
	bool ns_form;

	if (cmd_wants_help(argc, argv, create_only ? create_usage : apply_usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &a.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage(command, &e);
	ns_form = create_only && args.n == 2 && (strcmp(args.v[0], "namespace") == 0 || strcmp(args.v[0], "ns") == 0);
	if (a.o.files.n == 0 && !ns_form) {
		err_set(&e, ERR_BAD_REQUEST, "must specify -f");
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	if (kube_open(&a.k, &ko, &e) < 0) {
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	rv = kube_printer_parse(&a.k, a.o.output, &a.printer, &e);
	a.print = a.printer.kind != OUT_TABLE && a.printer.kind != OUT_WIDE;
	if (rv == 0)
		rv = validation(&a, &e);
	if (a.o.record) {
		struct buf b = BUF_INIT;

		buf_printf(&b, "kontiki %s", command);
		for (int i = 0; i < argc; i++)
			buf_printf(&b, " %s", argv[i]);
		a.cause = arena_cstr(&a.k.arena, buf_str(&b));
		buf_fini(&b);
	}
	if (rv == 0 && !ns_form)
		rv = kube_read_manifests(&a.k, &a.o.files, a.o.recursive, &docs, &e);
	if (rv == 0 && !ns_form && docs.n == 0)
		rv = err_set(&e, ERR_BAD_REQUEST, "no objects passed to %s", command);
	if (rv < 0)
		rc = cmd_fail(&e);
	else if (ns_form)
		rc = create_namespace(&a, args.v[1]);
	/* One document that fails does not keep the others from being applied. */
	for (size_t i = 0; rv == 0 && i < docs.n; i++) {
		int one = apply_doc(&a, docs.v[i], docs.source[i]);

		if (one != CMD_OK)
			rc = one;
	}
	kube_close(&a.k);
	opt_args_fini(&args);
	opt_list_fini(&a.o.files);
	return rc;
}

int cmd_apply(int argc, char **argv)
{
	return run(false, argc, argv);
}

int cmd_create(int argc, char **argv)
{
	return run(true, argc, argv);
}
