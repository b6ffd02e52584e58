/*
 * Namespace deletion: everything in a terminating namespace goes, then the finalizer that held it. What holds it up stands in its
 * conditions: objects that are still there, finalizers that nobody takes away, and an aggregated API server that does not say what it
 * has, so that nobody can know whether that is all.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/customs.h"
#include "orchestrator/controllers/remotes.h"
#include "proto/core.pb-c.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define FINALIZER "kubernetes"
#define FAILURE "NamespaceDeletionDiscoveryFailure"
/* Nothing tells us when objects of aggregated servers are gone, or when the server has said what it has. */
#define AGAIN_MS 2000
#define EARLY_MS 100
/* What goes by itself within so many seconds is not worth telling. */
#define YOUNG_S 2

static bool has_finalizer(const Core__Namespace *ns)
{
	return ns->spec && pb_has_str((const char *const *)ns->spec->finalizers, ns->spec->n_finalizers, FINALIZER);
}

static void each_resource(struct reconcile *r, const char *ns, void (*fn)(struct reconcile *, const struct resource *, const char *ns),
		unsigned verb)
{
	RESOURCE_FOR_EACH (res)
		if (res->served && res->namespaced && (res->verbs & verb))
			fn(r, res, ns);
	INFORMER_FOR_EACH (o, r->view->inf[VIEW_CRDS]) {
		const struct resource *res = crd_resource(r->arena, o);

		if (res && res->namespaced)
			fn(r, res, ns);
	}
}

/* --- Aggregated servers ---- */

static void each_remote(struct reconcile *r, void (*fn)(struct reconcile *, const struct resource *, const char *ns))
{
	LIST_FOR_EACH (g, &r->view->remotes, struct remote_group, link)
		for (size_t i = 0; g->available && i < g->n_resources; i++)
			if (g->resources[i].namespaced && (g->resources[i].verbs & V_LIST) && (g->resources[i].verbs & (V_DELETE | V_DELETECOLLECTION)))
				fn(r, &g->resources[i], r->name);
}

/* All at once where the server can, else one by one as they are known. */
static void remove_all(struct reconcile *r, const struct resource *res, const char *ns)
{
	const struct custom_kind *k = custom_kind_named(r->view, str_from(remote_kind_name(r->arena, res)));

	if (res->verbs & V_DELETECOLLECTION) {
		plan_delete_collection(r, res, ns);
		return;
	}
	if (!k)
		return;
	INFORMER_FOR_EACH (o, k->inf)
		if (pb_streq(o->meta->namespace_, ns))
			plan_delete_of(r, res, o, NULL);
}

/* One that answers has not been asked yet. */
static bool is_early(const struct view *v)
{
	LIST_FOR_EACH (g, &v->remotes, struct remote_group, link)
		if (g->available && !g->known)
			return true;
	return false;
}

/* Which group versions cannot be asked; NULL: none. */
static const char *silent_groups(struct reconcile *r)
{
	const char *text = NULL;
	unsigned n = 0;

	LIST_FOR_EACH (g, &r->view->remotes, struct remote_group, link)
		if (!g->available) {
			text = arena_printf(r->arena, "%s%s%s/%s: stale GroupVersion discovery: %s/%s", text ? text : "", text ? ", " : "", g->group,
					g->version, g->group, g->version);
			n++;
		}
	return n ? arena_printf(r->arena, "Discovery failed for some groups, %u failing: unable to retrieve the complete list of server APIs: %s",
				n, text) : NULL;
}

/* --- What holds it up, in its conditions ---- */

/* "a has 1 resource instances, b has 2 ..."; `what` is such a word as "has". */
static const char *in_order(struct arena *a, struct json *counts, const char *what)
{
	const char *text = "";

	json_sort(a, counts);
	JSON_MEMBERS (m, counts)
		text = arena_printf(a, "%s%s%.*s %s %lld resource instances", text, *text ? ", " : "", STR_FMT(m->key), what,
				(long long)json_i64_or(m->value, 0));
	return text;
}

/* Upstream's words. `left` as the round before found it; NULL: nothing. */
static void say_left(struct reconcile *r, const struct json *left, const char **ret_resources, const char **ret_finalizers)
{
	struct json *kinds = json_new_object(r->arena), *holders = json_new_object(r->arena);

	JSON_MEMBERS (of, left) {
		JSON_MEMBERS (n, of->value) {
			int64_t more = json_i64_or(n->value, 0);

			if (n->key.n == 0)
				json_set(r->arena, kinds, of->key, json_new_int(r->arena, more));
			else
				json_set(r->arena, holders, n->key,
						json_new_int(r->arena, json_i64_or(json_get(holders, n->key), 0) + more));
		}
	}
	*ret_resources = json_len(kinds) ? arena_printf(r->arena, "Some resources are remaining: %s",
							   in_order(r->arena, kinds, "has")) :
					       NULL;
	*ret_finalizers = json_len(holders) ? arena_printf(r->arena, "Some content in the namespace has finalizers remaining: %s",
							     in_order(r->arena, holders, "in")) :
						 NULL;
}

/* Pods take their time to end, and nothing else is asked for until they have. */
static const struct json *pods_left(struct reconcile *r, struct informer_objs pods)
{
	struct json *left = json_new_object(r->arena), *of = json_new_object(r->arena);

	json_setc(r->arena, of, "", json_new_int(r->arena, (int64_t)pods.n));
	for (size_t i = 0; i < pods.n; i++)
		for (size_t k = 0; k < pods.v[i]->meta->n_finalizers; k++) {
			const char *f = arena_strdup(r->arena, pods.v[i]->meta->finalizers[k]);

			json_setc(r->arena, of, f, json_new_int(r->arena, json_i64_or(json_getc(of, f), 0) + 1));
		}
	json_setc(r->arena, left, "pods.", of);
	return left;
}

/* True: the condition is another than it was. `message` NULL: it does not hold, for the second reason and message of the row. */
static bool set_condition(struct reconcile *r, Core__Namespace *ns, const char *type, const char *const words[3], const char *message)
{
	const char *status = message ? "True" : "False", *reason = message ? words[0] : words[1];
	Core__NamespaceCondition *c = NULL;

	message = message ? message : words[2];
	for (size_t i = 0; ns->status && i < ns->status->n_conditions; i++)
		if (pb_streq(ns->status->conditions[i]->type, type))
			c = ns->status->conditions[i];
	if (c && pb_streq(c->status, status) && pb_streq(c->message, message))
		return false;
	if (!c)
		c = pb_add(r->arena, pb_sub(r->arena, ns, "status"), "conditions");
	if (!pb_streq(c->status, status))
		c->last_transition_time = time_now(r->arena, r->now_s);
	c->type = arena_strdup(r->arena, type);
	c->status = arena_strdup(r->arena, status);
	c->reason = arena_strdup(r->arena, reason);
	c->message = arena_strdup(r->arena, message);
	return true;
}

/* Tells what is new; true: it did, and the round should end with that. Of a namespace where somebody is silent no more is known. */
static bool tell(struct reconcile *r, const Core__Namespace *ns, const char *silent, const struct json *left)
{
	static const struct {
		const char *type, *words[3];
	} rows[] = {
		{FAILURE, {"DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"}},
		{"NamespaceDeletionGroupVersionParsingFailure",
				{"GroupVersionParsingFailed", "ParsedGroupVersions", "All legacy kube types successfully parsed"}},
		{"NamespaceDeletionContentFailure",
				{"ContentDeletionFailed", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"}},
		{"NamespaceContentRemaining", {"SomeResourcesRemain", "ContentRemoved", "All content successfully removed"}},
		{"NamespaceFinalizersRemaining",
				{"SomeFinalizersRemain", "ContentHasNoFinalizers", "All content-preserving finalizers finished"}},
	};
	const char *messages[ARRAY_LEN(rows)] = {silent};
	Core__Namespace *copy = pb_copy(r->arena, ns);
	bool changed = false;

	say_left(r, left, &messages[3], &messages[4]);
	for (size_t i = 0; i < (silent ? 1 : ARRAY_LEN(rows)); i++)
		changed = set_condition(r, copy, rows[i].type, rows[i].words, messages[i]) || changed;
	if (changed)
		plan_update_status(r, VIEW_NAMESPACES, copy);
	return changed;
}

static void reconcile_namespace(struct reconcile *r)
{
	const char *silent = silent_groups(r);
	const struct informer_obj *o = view_get(r->view, VIEW_NAMESPACES, NULL, r->name);
	const Core__Namespace *ns = informer_msg(o);
	struct informer_objs pods = informer_index_get(r->view->pods_by_namespace, str_from(r->name));
	bool is_young, told = false;
	Core__Namespace *copy;

	if (ns == NULL || o->meta->deletion_timestamp == NULL || !has_finalizer(ns))
		return;
	each_resource(r, r->name, plan_delete_collection, V_DELETECOLLECTION);
	each_remote(r, remove_all);
	/* Whoever reads what is told finds everything else gone. */
	plan_stage(r);
	if (silent || is_early(r->view)) {
		if (silent)
			tell(r, ns, silent, NULL);
		plan_again(r, silent ? AGAIN_MS : EARLY_MS);
		return;
	}
	is_young = r->now_s - time_s(o->meta->deletion_timestamp) < YOUNG_S;
	if (!is_young && (pods.n > 0 || r->left))
		told = tell(r, ns, NULL, pods.n > 0 ? pods_left(r, pods) : r->left);
	/* Each pod that goes brings us back here, and so does what was told. */
	if (pods.n > 0 && is_young)
		plan_again(r, AGAIN_MS);
	if (pods.n > 0 || told)
		return;
	each_resource(r, r->name, plan_expect_empty, V_DELETECOLLECTION);
	each_remote(r, plan_expect_empty);
	plan_stage(r);
	copy = pb_copy(r->arena, ns);
	for (size_t i = copy->spec->n_finalizers; i-- > 0;)
		if (pb_streq(copy->spec->finalizers[i], FINALIZER))
			pb_remove(copy->spec, "finalizers", i);
	plan_update_sub(r, VIEW_NAMESPACES, "finalize", copy);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const struct informer_obj *ns = view_get(v, VIEW_NAMESPACES, NULL, pb_s(o->meta->namespace_));

	if (ns && ns->meta->deletion_timestamp != NULL)
		enqueue_key(q, ns->key);
}

/* What was waited for may answer now. */
static void map_registration(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	INFORMER_FOR_EACH (ns, v->inf[VIEW_NAMESPACES])
		if (ns->meta->deletion_timestamp != NULL)
			enqueue_key(q, ns->key);
}

const struct controller_row controller_namespace = {
	.name = "namespace-controller",
	.account = "namespace-controller",
	.watches = {{VIEW_NAMESPACES, map_self}, {VIEW_PODS, map_pod}, {VIEW_APISERVICES, map_registration}},
	.reconcile = reconcile_namespace,
};
