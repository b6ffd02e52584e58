/* kontiki describe: fetches an object and what belongs to it; cli/describe.h lays it out. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/describe.h"
#include "cli/kube.h"
#include "proto/json.h"
#include "proto/resource.h"

struct describe_opts {
	const char *selector;
	bool all_namespaces, no_events, recursive, show_events;
	struct opt_list files;
};
#define O(member) offsetof(struct describe_opts, member)

static const struct opt rows[] = {
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "objects with these labels", NULL, NULL},
	{"all-namespaces", 'A', OPT_BOOL, O(all_namespaces), "", "of all namespaces", NULL, NULL},
	{"show-events", 0, OPT_BOOL, O(show_events), "", "with their events (default; --show-events=false: without)", NULL, NULL},
	{"filename", 'f', OPT_LIST, O(files), "FILE", "the objects that a manifest names", NULL, NULL},
	{"recursive", 'R', OPT_BOOL, O(recursive), "", "with -f: folders in folders too", NULL, NULL},
	OPT_END,
};
static const char usage[] = "usage: kontiki describe TYPE [NAME | PREFIX] | TYPE/NAME... | -f FILE  [OPTIONS]\n"
			    "\nShow objects in full, for people, with what belongs to them and what happened to them.\n";

struct describer {
	struct kube k;
	struct describe_opts o;
	size_t n_shown;
};

/* The items of a list, or NULL; errors are not told, the part is left out. */
static const struct json *list_items(struct kube *k, const char *group, const char *version, const char *plural, const char *ns, const char *fields)
{
	const struct resource *r = resource_find(group, version, plural);
	struct json *list = NULL;
	struct client_req req;

	if (!r)
		return NULL;
	client_req_init(&req, CLIENT_LIST, r);
	req.ns = ns;
	req.field_selector = fields;
	req.accept = KUBE_ACCEPT_JSON;
	if (kube_do(k, &req) == 0)
		list = kube_answer(k, &req);
	client_req_fini(&req);
	return list ? json_getc(list, "items") : NULL;
}

static const struct json *node_lease(struct kube *k, const char *name)
{
	struct json *lease = NULL;
	struct client_req req;

	client_req_init(&req, CLIENT_GET, resource_find("coordination.k8s.io", "v1", "leases"));
	req.ns = "kube-node-lease";
	req.name = name;
	req.accept = KUBE_ACCEPT_JSON;
	if (kube_do(k, &req) == 0)
		lease = kube_answer(k, &req);
	client_req_fini(&req);
	return lease;
}

/* Events about the object itself, not about an earlier one of its name. Nodes report about themselves by name. */
static const struct json *events_of(struct kube *k, const struct resource *r, const struct json *obj)
{
	const char *ns = r->namespaced ? json_cstr(json_getp(obj, "metadata.namespace")) : NULL;
	const char *name = json_cstr(json_getp(obj, "metadata.name"));
	struct json *mine = json_new_array(&k->arena);
	const char *fields = arena_printf(&k->arena, "involvedObject.name=%s,involvedObject.kind=%s", name, r->kind);

	JSON_ITEMS (e, list_items(k, "", "v1", "events", ns, fields)) {
		const struct json *uid = json_getp(e, "involvedObject.uid");

		if (!json_str(uid).n || json_equal(uid, json_getp(obj, "metadata.uid")) || json_eqc(uid, name))
			json_push(&k->arena, mine, e);
	}
	return mine;
}

static void show(struct describer *d, const struct resource *r, const struct json *obj)
{
	const char *ns = r->namespaced ? json_cstr(json_getp(obj, "metadata.namespace")) : NULL;
	const char *name = json_cstr(json_getp(obj, "metadata.name"));
	struct describe_more more = {.no_events = !d->o.show_events};
	unsigned needs = describe_needs(r);
	struct buf out = BUF_INIT;

	if (needs & DESCRIBE_REPLICA_SETS)
		more.replica_sets = list_items(&d->k, "apps", "v1", "replicasets", ns, NULL);
	if (needs & DESCRIBE_PODS)
		more.pods = list_items(&d->k, "", "v1", "pods", ns, ns ? NULL : arena_printf(&d->k.arena, "spec.nodeName=%s", name));
	if (needs & DESCRIBE_SLICES)
		more.slices = list_items(&d->k, "discovery.k8s.io", "v1", "endpointslices", ns, NULL);
	if (needs & DESCRIBE_LEASE)
		more.lease = node_lease(&d->k, name);
	if (needs & DESCRIBE_QUOTAS) {
		more.quotas = list_items(&d->k, "", "v1", "resourcequotas", name, NULL);
		more.limits = list_items(&d->k, "", "v1", "limitranges", name, NULL);
	}
	if ((needs & DESCRIBE_EVENTS) && d->o.show_events)
		more.events = events_of(&d->k, r, obj);
	if (d->n_shown++)
		buf_addc(&out, "\n\n");
	describe_object(&d->k.arena, r, obj, &more, clock_wall_s(), &out);
	kube_write(&out);
	buf_fini(&out);
}

/* All objects of a type, or those whose names begin with `prefix` (then none is an error). */
static int show_list(struct describer *d, const struct resource *r, const char *ns, const char *prefix)
{
	struct client_req req;
	struct json *list;
	size_t before = d->n_shown;

	client_req_init(&req, CLIENT_LIST, r);
	req.ns = !r->namespaced || d->o.all_namespaces ? NULL : ns;
	req.label_selector = d->o.selector;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(&d->k, &req) == 0 ? kube_answer(&d->k, &req) : (kube_fail(&d->k, &req), NULL);
	client_req_fini(&req);
	if (!list)
		return CMD_FAILED;
	JSON_ITEMS (it, json_getc(list, "items")) {
		if (prefix && !str_has_prefix(json_strp(it, "metadata.name"), str_from(prefix)))
			continue;
		/* The items of a list come without kind and version. */
		json_setc(&d->k.arena, it, "apiVersion", json_newc(&d->k.arena, r->api_version));
		json_setc(&d->k.arena, it, "kind", json_newc(&d->k.arena, r->kind));
		show(d, r, it);
		if (prefix)
			printf("\n");
	}
	if (d->n_shown > before || !prefix)
		return CMD_OK;
	fprintf(stderr, "Error from server (NotFound): %s%s%s \"%s\" not found\n", r->plural, *r->group ? "." : "", r->group, prefix);
	return CMD_FAILED;
}

static int show_target(struct describer *d, const struct resource *r, const char *ns, const char *name)
{
	const struct json *obj;
	int status;

	if (!name)
		return show_list(d, r, ns, NULL);
	obj = kube_get(&d->k, r, r->namespaced ? ns : NULL, name, &status);
	if (obj) {
		show(d, r, obj);
		return CMD_OK;
	}
	return status == 404 ? show_list(d, r, ns, name) : CMD_FAILED;
}

static int run(struct kube *k, const struct opt_args *args)
{
	struct describer *d = container_of(k, struct describer, k);
	struct kube_targets t;
	struct err e;
	int rc = CMD_OK;

	if (!d->o.files.n && !args->n) {
		err_set(&e, ERR_BAD_REQUEST, "You must specify the type of resource to describe. Use \"kontiki api-resources\" for a complete list of supported resources.");
		return cmd_fail(&e);
	}
	if ((d->o.files.n ? kube_targets_read(&d->k, &d->o.files, d->o.recursive, &t, &e)
			  : kube_targets_parse(&d->k, args->v, args->n, &t, &e)) < 0)
		return cmd_fail(&e);
	for (size_t i = 0; i < t.n; i++)
		rc |= show_target(d, t.v[i].resource, kube_target_ns(&d->k, &t.v[i]), t.v[i].name);
	if (!d->n_shown && rc == CMD_OK) {
		if (d->o.all_namespaces)
			fprintf(stderr, "No resources found\n");
		else
			fprintf(stderr, "No resources found in %s namespace.\n", d->k.ns);
	}
	return rc ? CMD_FAILED : CMD_OK;
}

int cmd_describe(int argc, char **argv)
{
	struct describer d = {.o = {.show_events = true}};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct err e;
	int rc;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &d.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("describe", &e);
	rc = kube_run(&d.k, &ko, &args, run);
	opt_list_fini(&d.o.files);
	return rc;
}
