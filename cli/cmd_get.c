/* kontiki get: one or many objects, as a table, JSON, YAML, names or by a template, once or as they change. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/kube.h"
#include "io/loop.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/jsonpath.h"
#include "proto/resource.h"
#include "proto/table.h"

struct get_opts {
	const char *output, *selector, *fields, *sort_by, *raw;
	bool all_namespaces, watch, watch_only, no_headers, show_labels, ignore_not_found, show_kind, recursive, show_managed;
	int64_t chunk;
	struct opt_list files, label_columns;
};
#define O(member) offsetof(struct get_opts, member)

static const struct opt rows[] = {
	{"output", 'o', OPT_STR, O(output), "FORMAT", "json, yaml, name, wide, jsonpath=..., custom-columns=...", NULL, NULL},
	{"all-namespaces", 'A', OPT_BOOL, O(all_namespaces), "", "of all namespaces", NULL, NULL},
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "only objects with these labels (\"app=web,tier in (a,b)\")", NULL, NULL},
	{"field-selector", 0, OPT_STR, O(fields), "QUERY", "only objects with these fields (\"status.phase=Running\")", NULL, NULL},
	{"watch", 'w', OPT_BOOL, O(watch), "", "go on and show changes", NULL, NULL},
	{"watch-only", 0, OPT_BOOL, O(watch_only), "", "show only changes", NULL, NULL},
	{"no-headers", 0, OPT_BOOL, O(no_headers), "", "without the first line", NULL, NULL},
	{"show-labels", 0, OPT_BOOL, O(show_labels), "", "with all labels as the last column", NULL, NULL},
	{"label-columns", 'L', OPT_LIST, O(label_columns), "LABEL", "with this label as a column", NULL, NULL},
	{"show-kind", 0, OPT_BOOL, O(show_kind), "", "names with their kind", NULL, NULL},
	{"sort-by", 0, OPT_STR, O(sort_by), "PATH", "sort by this field (\".metadata.creationTimestamp\")", NULL, NULL},
	{"ignore-not-found", 0, OPT_BOOL, O(ignore_not_found), "", "what is not there is no error", NULL, NULL},
	{"filename", 'f', OPT_LIST, O(files), "FILE", "the objects that a manifest names", NULL, NULL},
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "with -f: folders in folders too", NULL, NULL},
	{"show-managed-fields", 0, OPT_BOOL, O(show_managed), "", "with metadata.managedFields (JSON and YAML)", NULL, NULL},
	{"chunk-size", 0, OPT_INT, O(chunk), "N", "ask for lists in parts of N (default 500; 0: whole)", NULL, NULL},
	{"raw", 0, OPT_STR, O(raw), "PATH", "print what the server answers for this path", NULL, NULL},
	OPT_END,
};
static const char usage[] = "usage: kontiki get TYPE[,TYPE] [NAME...] | TYPE/NAME... | -f FILE  [OPTIONS]\n"
			    "\nShow objects: `kontiki get pods`, `kontiki get deploy,svc -A -o wide`, `kontiki get pod web -o yaml`.\n";

#define MAX_COLUMNS 64

struct get {
	struct kube k;
	struct get_opts o;
	struct kube_printer printer;
	struct kube_targets targets;
	struct opt_list labels;        /* -L, taken apart */
	size_t widths[MAX_COLUMNS];    /* of a watch's columns, which only grow */
	bool table;
};

/* --- One answer ---------------------------------------------------------------------------------------------------- */

static bool has_rows(const struct json *table)
{
	return json_len(json_getc(table, "rows")) > 0;
}

/* A refused selector is told with what it was meant to select. */
static const char *selection(struct get *g, const struct kube_target *t, const struct client_req *req)
{
	if (req->http_status != 400 || !(g->o.selector || g->o.fields))
		return NULL;
	return arena_printf(&g->k.arena, "Unable to find \"%s%s%s, Resource=%s\" that match label selector \"%s\", field selector \"%s\"",
			t->resource->group, "/", t->resource->version, t->resource->plural, g->o.selector ? g->o.selector : "",
			g->o.fields ? g->o.fields : "");
}

/* One request; several when a list comes in parts: then the parts' items (or rows) end up in the first. */
static int fetch(struct get *g, const struct kube_target *t, struct json **ret)
{
	const char *part = g->table ? "rows" : "items", *more = NULL;
	struct client_req req;
	struct json *j = NULL;

	*ret = NULL;
	do {
		client_req_init(&req, t->name ? CLIENT_GET : CLIENT_LIST, t->resource);
		req.ns = g->o.all_namespaces && !t->name ? NULL : kube_target_ns(&g->k, t);
		req.name = t->name;
		req.label_selector = g->o.selector;
		req.field_selector = g->o.fields;
		req.limit = t->name ? 0 : g->o.chunk;
		req.continue_token = more;
		req.accept = g->table ? KUBE_ACCEPT_TABLE : KUBE_ACCEPT_JSON;
		if (g->table && g->o.sort_by)
			req.query = "includeObject=Object";
		if (kube_do(&g->k, &req) < 0) {
			int rc = CMD_OK;

			if (req.http_status != 404 || !g->o.ignore_not_found || !t->name)
				rc = kube_fail_when(&g->k, &req, selection(g, t, &req));
			client_req_fini(&req);
			return rc;
		}
		j = kube_answer(&g->k, &req);
		client_req_fini(&req);
		if (j == NULL)
			return CMD_FAILED;
		if (*ret == NULL)
			*ret = j;
		else
			JSON_ITEMS (it, json_getc(j, part))
				json_push(&g->k.arena, json_getc(*ret, part), it);
		more = json_cstr(json_getp(j, "metadata.continue"));
	} while (!t->name && *more);
	return CMD_OK;
}

/* --- Sorting ------------------------------------------------------------------------------------------------------- */

struct sortable {
	struct json *item;
	const char *text;
	double number;
	bool is_number;
	size_t at; /* equal ones keep their order */
};

static int by_value(const void *va, const void *vb)
{
	const struct sortable *a = va, *b = vb;
	int rv;

	if (a->is_number && b->is_number)
		rv = (a->number > b->number) - (a->number < b->number);
	else
		rv = strcmp(a->text, b->text);
	return rv ? rv : (a->at > b->at) - (a->at < b->at);
}

static int sort_list(struct get *g, struct json *list, struct err *e)
{
	struct json *items = json_getc(list, g->table ? "rows" : "items");
	size_t n = json_len(items);
	struct sortable *v = arena_new_array(&g->k.arena, struct sortable, n + 1);

	for (size_t i = 0; i < n; i++) {
		struct json *it = json_at(items, i), **found;
		size_t n_found = 0;

		v[i] = (struct sortable){.item = it, .text = "", .at = i};
		if (jsonpath_find(&g->k.arena, str_from(g->o.sort_by), g->table ? json_getc(it, "object") : it, &found, &n_found, e) < 0)
			return -(int)e->code;
		if (n_found > 0) {
			v[i].is_number = json_f64(found[0], &v[i].number);
			v[i].text = json_is(found[0], JSON_STRING) ? json_cstr(found[0])
								   : json_text(&g->k.arena, found[0]).p;
		}
	}
	if (n > 0)
		qsort(v, n, sizeof(*v), by_value);
	for (size_t i = 0; i < n; i++)
		items->items[i] = v[i].item;
	return 0;
}

/* --- Tables -------------------------------------------------------------------------------------------------------- */

static void show_table(struct get *g, const struct resource *r, const struct json *table, bool headers)
{
	struct buf out = BUF_INIT;
	bool watching = g->o.watch || g->o.watch_only;
	struct table_print p = {
		.wide = g->printer.kind == OUT_WIDE,
		.no_headers = !headers || g->o.no_headers,
		.with_namespace = g->o.all_namespaces && r->namespaced,
		.show_labels = g->o.show_labels,
		.show_kind = g->o.show_kind || g->targets.several_kinds,
		.kind_prefix = kube_kind_word(&g->k, r),
		.label_columns = g->labels.v,
		.n_label_columns = g->labels.n,
		.widths = watching ? g->widths : NULL,
		.n_widths = ARRAY_LEN(g->widths),
	};

	table_print(&out, table, &p);
	kube_write(&out);
	buf_fini(&out);
}

/* Targets of one kind that follow each other make one table. */
static int get_tables(struct get *g, struct err *e)
{
	bool any = false, printed = false;
	int rc = CMD_OK;

	for (size_t i = 0; i < g->targets.n;) {
		const struct resource *r = g->targets.v[i].resource;
		struct json *table = NULL, *more;

		for (; i < g->targets.n && g->targets.v[i].resource == r; i++) {
			int one = fetch(g, &g->targets.v[i], &more);

			if (one != CMD_OK)
				rc = one;
			if (table == NULL)
				table = more;
			else
				JSON_ITEMS (row, json_getc(more, "rows"))
					json_push(&g->k.arena, json_getc(table, "rows"), row);
		}
		if (table && g->o.sort_by && sort_list(g, table, e) < 0)
			return cmd_fail(e);
		if (!has_rows(table))
			continue;
		if (printed && !g->o.no_headers)
			printf("\n");
		show_table(g, r, table, true);
		any = printed = true;
	}
	if (!any && rc == CMD_OK && !g->o.ignore_not_found) {
		if (g->o.all_namespaces || !g->targets.v[0].resource->namespaced)
			fprintf(stderr, "No resources found\n");
		else
			fprintf(stderr, "No resources found in %s namespace.\n", g->k.ns);
	}
	return rc;
}

/* --- Other forms ----------------------------------------------------------------------------------------------------- */

static void hide_managed(struct json *obj)
{
	json_delp(obj, "metadata.managedFields");
	JSON_ITEMS (it, json_getc(obj, "items"))
		json_delp(it, "metadata.managedFields");
}

/* One named object is shown as it is; everything else as one list. */
static int get_objects(struct get *g, struct err *e)
{
	struct arena *a = &g->k.arena;
	bool single = g->targets.n == 1 && g->targets.v[0].name;
	struct json *list = json_new_object(a), *items = json_new_array(a), *j;
	int rc = CMD_OK;

	for (size_t i = 0; i < g->targets.n; i++) {
		const struct resource *r = g->targets.v[i].resource;
		int one = fetch(g, &g->targets.v[i], &j);

		if (one != CMD_OK)
			rc = one;
		if (j == NULL)
			continue;
		if (single) {
			list = j;
			break;
		}
		if (g->targets.v[i].name) {
			json_push(a, items, j);
			continue;
		}
		JSON_ITEMS (it, json_getc(j, "items")) {
			/* Items of a list come without these; kubectl shows them. */
			struct json *full = json_new_object(a);

			json_setc(a, full, "apiVersion", json_newc(a, r->api_version));
			json_setc(a, full, "kind", json_newc(a, r->kind));
			JSON_MEMBERS (m, it)
				json_set(a, full, m->key, m->value);
			json_push(a, items, full);
		}
	}
	if (rc != CMD_OK && (single || json_len(items) == 0))
		return rc;
	if (single && json_len(list) == 0)
		return rc;
	if (!single) {
		json_setc(a, list, "apiVersion", json_newc(a, "v1"));
		json_setc(a, list, "items", items);
		json_setc(a, list, "kind", json_newc(a, "List"));
		json_setp(a, list, "metadata.resourceVersion", json_newc(a, ""));
		if (g->o.sort_by && sort_list(g, list, e) < 0)
			return cmd_fail(e);
	}
	if (!g->o.show_managed)
		hide_managed(list);
	return kube_print(&g->k, &g->printer, list, g->o.no_headers, e) < 0 ? cmd_fail(e) : rc;
}

/* --- Watching ---------------------------------------------------------------------------------------------------------- */

struct watcher {
	struct client_watch watch;
	struct get *g;
	const struct resource *resource;
	const char *name;
	char rv[24];
	bool headers, failed, expired;
};

static void show_event(struct client_watch *cw, enum client_event event, struct str object, uint64_t rv)
{
	struct watcher *w = container_of(cw, struct watcher, watch);
	struct get *g = w->g;
	struct json *obj, *table;
	struct arena kept;
	struct err e;

	snprintf(w->rv, sizeof(w->rv), "%" PRIu64, rv);
	if (event == CLIENT_BOOKMARK)
		return;
	kube_scratch_begin(&g->k, &kept);
	if (codec_wire_to_dom(&g->k.arena, resource_type(w->resource), object, NULL, &obj, &e) < 0) {
		cmd_fail(&e);
	} else if (!w->name || json_eqc(json_getp(obj, "metadata.name"), w->name)) {
		if (g->table) {
			table = table_new(&g->k.arena, w->resource, NULL);
			table_add(&g->k.arena, table, w->resource, obj, TABLE_METADATA, clock_wall_s());
			show_table(g, w->resource, table, w->headers);
			w->headers = false;
		} else {
			if (g->printer.kind == OUT_YAML)
				printf("---\n");
			hide_managed(obj);
			if (kube_print(&g->k, &g->printer, obj, true, &e) < 0)
				cmd_fail(&e);
		}
	}
	kube_scratch_end(&g->k, &kept);
}

static void watch_ended(struct client_watch *cw, const struct err *e)
{
	struct watcher *w = container_of(cw, struct watcher, watch);

	w->expired = e->code == ERR_EXPIRED || e->code == ERR_GONE;
	w->failed = e->code != ERR_OK && !w->expired && e->code != ERR_UNAVAILABLE;
	if (w->failed)
		cmd_fail(e);
	loop_stop(w->g->k.loop);
}

static int watch_forever(struct get *g)
{
	const struct kube_target *t = &g->targets.v[0];
	struct watcher w = {.g = g, .resource = t->resource, .name = t->name, .headers = true};
	struct json *list = NULL;
	bool table = g->table;
	char selector[300];
	int rc;

	/* The state so far, by the same list that `get` shows, and the version from which changes follow. */
	if (t->name)
		snprintf(selector, sizeof(selector), "metadata.name=%.250s", t->name);
	g->table = false;
	rc = fetch(g, &(struct kube_target){t->resource, NULL, NULL}, &list);
	g->table = table;
	if (rc != CMD_OK || list == NULL)
		return CMD_FAILED;
	snprintf(w.rv, sizeof(w.rv), "%s", json_cstr(json_getp(list, "metadata.resourceVersion")));
	if (!g->o.watch_only) {
		struct err e;

		rc = g->table ? get_tables(g, &e) : get_objects(g, &e);
		if (rc != CMD_OK)
			return rc;
		w.headers = false;
	}
	while (!w.failed && !w.expired) {
		client_watch_init(&w.watch, t->resource);
		w.watch.ns = g->o.all_namespaces ? NULL : kube_ns(&g->k, t->resource);
		w.watch.label_selector = g->o.selector;
		w.watch.field_selector = t->name ? selector : g->o.fields;
		w.watch.resource_version = w.rv;
		w.watch.bookmarks = true;
		w.watch.event = show_event;
		w.watch.end = watch_ended;
		client_watch_start(g->k.client, &w.watch);
		loop_run(g->k.loop);
		/* A server that went away is replaced by another one behind the same address. */
		kube_pause(&g->k, 200);
	}
	if (w.expired)
		fprintf(stderr, "error: the watch has expired: too many changes since the last one seen\n");
	return CMD_FAILED;
}

/* --- The command --------------------------------------------------------------------------------------------------------- */

static int get_raw(struct get *g)
{
	struct client_req req;
	int rc = CMD_OK;

	client_req_init(&req, CLIENT_RAW, NULL);
	req.raw_method = "GET";
	req.raw_path = g->o.raw;
	req.accept = "application/json, */*";
	if (kube_do(&g->k, &req) < 0)
		rc = kube_fail(&g->k, &req);
	else
		fwrite(req.answer.p, 1, req.answer.n, stdout);
	client_req_fini(&req);
	return rc;
}

/* -L a,b -L c */
static void split_labels(struct get *g)
{
	for (size_t i = 0; i < g->o.label_columns.n; i++) {
		struct str label, rest = str_from(g->o.label_columns.v[i]);

		while (rest.n > 0) {
			size_t n = g->labels.n++;

			str_cut(rest, ',', &label, &rest);
			g->labels.v = arena_grow(&g->k.arena, g->labels.v, n * sizeof(*g->labels.v), (n + 1) * sizeof(*g->labels.v));
			g->labels.v[n] = arena_cstr(&g->k.arena, label);
		}
	}
}

int cmd_get(int argc, char **argv)
{
	struct kube_opts ko = {0};
	struct get g = {.o = {.chunk = 500}};
	struct opt_args args = {0};
	struct err e;
	int rv, rc;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &g.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("get", &e);
	if (kube_open(&g.k, &ko, &e) < 0) {
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	split_labels(&g);
	rv = kube_printer_parse(&g.k, g.o.output, &g.printer, &e);
	g.table = g.printer.kind == OUT_TABLE || g.printer.kind == OUT_WIDE;
	if (rv == 0 && !g.o.raw && !g.o.files.n && !args.n) {
		fprintf(stderr, "You must specify the type of resource to get. Use \"kontiki api-resources\" for a complete list of supported resources.\n\n");
		rv = err_set(&e, ERR_BAD_REQUEST, "Required resource not specified.");
	}
	if (rv == 0 && !g.o.raw)
		rv = g.o.files.n ? kube_targets_read(&g.k, &g.o.files, g.o.recursive, &g.targets, &e) : kube_targets_parse(&g.k, args.v, args.n, &g.targets, &e);
	if (rv == 0 && (g.o.watch || g.o.watch_only) && g.targets.n != 1)
		rv = err_set(&e, ERR_BAD_REQUEST, "you may only specify a single resource type to watch");
	if (rv < 0)
		rc = cmd_fail(&e);
	else if (g.o.raw)
		rc = get_raw(&g);
	else if (g.o.watch || g.o.watch_only)
		rc = watch_forever(&g);
	else
		rc = g.table ? get_tables(&g, &e) : get_objects(&g, &e);
	kube_close(&g.k);
	opt_args_fini(&args);
	opt_list_fini(&g.o.files);
	opt_list_fini(&g.o.label_columns);
	return rc;
}
