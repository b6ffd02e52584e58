/* kontiki version and api-resources: what this program is, and what the server is and has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/kube.h"
#include "proto/json.h"
#include "proto/yaml.h"

/* ---- version ---- */

struct version_opts {
	bool client;
	const char *output;
};
static const struct opt version_rows[] = {
	{"client", 0, OPT_BOOL, offsetof(struct version_opts, client), "", "only this program's", NULL, NULL},
	{"output", 'o', OPT_STR, offsetof(struct version_opts, output), "json|yaml", "in another form", NULL, NULL},
	OPT_END,
};

/* GET of any path as JSON; NULL with the error printed unless `quiet`. */
static struct json *get_path(struct kube *k, const char *path)
{
	struct json *j = NULL;
	struct client_req req;

	client_req_init(&req, CLIENT_RAW, NULL);
	req.raw_method = "GET";
	req.raw_path = path;
	req.accept = KUBE_ACCEPT_JSON;
	if (kube_do(k, &req) < 0)
		kube_fail(k, &req);
	else
		j = kube_answer(k, &req);
	client_req_fini(&req);
	return j;
}

static void print_document(const struct json *doc, bool yaml)
{
	struct buf b = BUF_INIT;

	if (yaml) {
		yaml_print(&b, doc);
	} else {
		json_print(&b, doc, JSON_PRETTY);
		buf_add1(&b, '\n');
	}
	kube_write(&b);
	buf_fini(&b);
}

static int print_version(struct kube *k, const struct version_opts *o, bool ask)
{
	struct json *doc = json_new_object(&k->arena), *server = ask ? get_path(k, "/version") : NULL;

	json_setp(&k->arena, doc, "clientVersion.gitVersion", json_newc(&k->arena, PACKAGE_VERSION));
	if (server)
		json_setc(&k->arena, doc, "serverVersion", server);
	if (o->output) {
		print_document(doc, strcmp(o->output, "yaml") == 0);
	} else {
		printf("kontiki %s\n", PACKAGE_VERSION);
		if (server)
			printf("Server Version: %s\n", json_cstr(json_getc(server, "gitVersion")));
	}
	return ask && !server ? CMD_FAILED : CMD_OK;
}

int cmd_version(int argc, char **argv)
{
	struct version_opts o = {0};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct kube k = {0};
	struct err e = ERR_INIT;
	bool has_server;
	int rc;

	if (cmd_wants_help(argc, argv, "usage: kontiki version [--client] [-o json|yaml]\n", version_rows))
		return CMD_OK;
	if (opts_parse(version_rows, &o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("version", &e);
	if (o.output && strcmp(o.output, "json") != 0 && strcmp(o.output, "yaml") != 0) {
		err_set(&e, ERR_BAD_REQUEST, "--output must be 'yaml' or 'json'");
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	/* Without a cluster there is still this program to tell of. */
	has_server = !o.client && kube_open(&k, &ko, &e) == 0;
	if (!has_server)
		arena_init(&k.arena);
	rc = print_version(&k, &o, has_server);
	if (has_server)
		kube_close(&k);
	else
		arena_fini(&k.arena);
	opt_args_fini(&args);
	return rc;
}

/* ---- api-resources ---- */

struct api_opts {
	const char *output, *group, *namespaced, *verbs, *sort_by;
	bool no_headers;
};
#define O(member) offsetof(struct api_opts, member)

static const struct opt api_rows[] = {
	{"output", 'o', OPT_STR, O(output), "wide|name", "more columns, or only names", NULL, NULL},
	{"api-group", 0, OPT_STR, O(group), "GROUP", "only of this group (\"\" is the core group)", NULL, NULL},
	{"namespaced", 0, OPT_STR, O(namespaced), "true|false", "only those with, or without, namespaces", NULL, "true"},
	{"verbs", 0, OPT_STR, O(verbs), "VERB,...", "only those with all of these verbs", NULL, NULL},
	{"no-headers", 0, OPT_BOOL, O(no_headers), "", "without the first line", NULL, NULL},
	{"sort-by", 0, OPT_STR, O(sort_by), "name|kind", "in another order than by group and name", NULL, NULL},
	OPT_END,
};

struct api_row {
	const char *group, *name, *shorts, *version, *kind, *verbs, *categories;
	bool namespaced;
};

struct api_table {
	struct kube k;
	struct api_opts o;
	struct api_row *v;
	size_t n;
};

static const char *joined(struct kube *k, const struct json *list)
{
	const char *text = "";

	JSON_ITEMS (it, list)
		text = arena_printf(&k->arena, "%s%s%s", text, *text ? "," : "", json_cstr(it));
	return text;
}

static bool list_has(const char *list, struct str word)
{
	struct str one, rest = str_from(list);

	while (rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		if (str_eq(one, word))
			return true;
	}
	return false;
}

static bool is_wanted(const struct api_opts *o, const struct api_row *r)
{
	struct str verb, rest = str_from(o->verbs);

	if (strchr(r->name, '/') || !*r->verbs)
		return false;
	if (o->group && strcmp(o->group, r->group) != 0)
		return false;
	if (o->namespaced && r->namespaced != (strcmp(o->namespaced, "true") == 0))
		return false;
	while (rest.n > 0) {
		str_cut(rest, ',', &verb, &rest);
		if (!list_has(r->verbs, verb))
			return false;
	}
	return true;
}

static int add_version(struct api_table *t, const char *group, const char *version)
{
	const char *path = *group ? arena_printf(&t->k.arena, "/apis/%s", version) : "/api/v1";
	struct json *list = get_path(&t->k, path);

	JSON_ITEMS (it, json_getc(list, "resources")) {
		struct api_row r = {
			.group = group,
			.name = json_cstr(json_getc(it, "name")),
			.shorts = joined(&t->k, json_getc(it, "shortNames")),
			.version = version,
			.kind = json_cstr(json_getc(it, "kind")),
			.verbs = joined(&t->k, json_getc(it, "verbs")),
			.categories = joined(&t->k, json_getc(it, "categories")),
			.namespaced = json_true(json_getc(it, "namespaced")),
		};

		if (!is_wanted(&t->o, &r))
			continue;
		t->v = arena_grow(&t->k.arena, t->v, t->n * sizeof(*t->v), (t->n + 1) * sizeof(*t->v));
		t->v[t->n++] = r;
	}
	return list ? CMD_OK : CMD_FAILED;
}

static int collect(struct api_table *t)
{
	int rc = add_version(t, "", "v1");
	struct json *groups = rc == CMD_OK ? get_path(&t->k, "/apis") : NULL;

	JSON_ITEMS (g, json_getc(groups, "groups"))
		rc |= add_version(t, json_cstr(json_getc(g, "name")), json_cstr(json_getp(g, "preferredVersion.groupVersion")));
	return groups ? rc : CMD_FAILED;
}

static int by_group(const void *va, const void *vb)
{
	const struct api_row *a = va, *b = vb;
	int rv = strcmp(a->group, b->group);

	return rv ? rv : strcmp(a->name, b->name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct api_row *)a)->name, ((const struct api_row *)b)->name);
}

static int by_kind(const void *a, const void *b)
{
	return strcmp(((const struct api_row *)a)->kind, ((const struct api_row *)b)->kind);
}

static void print_rows(struct api_table *t)
{
	static const char *const titles[] = {"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"};
	bool wide = t->o.output && strcmp(t->o.output, "wide") == 0;
	size_t n_columns = wide ? 7 : 5, n_cells = (t->n + 1) * n_columns, width[7] = {0};
	const char **cells = arena_new_array(&t->k.arena, const char *, n_cells);
	struct buf b = BUF_INIT;

	for (size_t i = 0; i <= t->n; i++) {
		const struct api_row *r = &t->v[i ? i - 1 : 0];
		const char *row[] = {r->name, r->shorts, r->version, r->namespaced ? "true" : "false", r->kind, r->verbs, r->categories};

		for (size_t c = 0; c < n_columns; c++) {
			cells[i * n_columns + c] = i ? row[c] : titles[c];
			if (i || !t->o.no_headers)
				width[c] = MAX(width[c], strlen(cells[i * n_columns + c]));
		}
	}
	for (size_t i = t->o.no_headers ? n_columns : 0; i < n_cells; i++)
		if ((i + 1) % n_columns)
			buf_printf(&b, "%-*s   ", (int)width[i % n_columns], cells[i]);
		else
			buf_printf(&b, "%s\n", cells[i]);
	kube_write(&b);
	buf_fini(&b);
}

static void print_names(const struct api_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		printf("%s%s%s\n", t->v[i].name, *t->v[i].group ? "." : "", t->v[i].group);
}

static int show_resources(struct api_table *t)
{
	const char *s = t->o.sort_by;
	int rc = collect(t);

	if (t->n == 0)
		return rc;
	qsort(t->v, t->n, sizeof(*t->v), !s ? by_group : strcmp(s, "kind") == 0 ? by_kind : by_name);
	if (t->o.output && strcmp(t->o.output, "name") == 0)
		print_names(t);
	else
		print_rows(t);
	return rc;
}

int cmd_api_resources(int argc, char **argv)
{
	struct api_table t = {.n = 0};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct err e;
	int rc;

	if (cmd_wants_help(argc, argv, "usage: kontiki api-resources [OPTIONS]\n\nThe kinds of objects that the server has.\n", api_rows))
		return CMD_OK;
	if (opts_parse(api_rows, &t.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("api-resources", &e);
	if (t.o.output && strcmp(t.o.output, "wide") != 0 && strcmp(t.o.output, "name") != 0) {
		err_set(&e, ERR_BAD_REQUEST, "--output %s is not available", t.o.output);
		rc = cmd_fail(&e);
	} else if (kube_open(&t.k, &ko, &e) < 0) {
		rc = cmd_fail(&e);
	} else {
		rc = show_resources(&t);
		kube_close(&t.k);
	}
	opt_args_fini(&args);
	return rc;
}
