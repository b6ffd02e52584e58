/* Which pod and which container a command means; declared in cli/kube.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/kube.h"
#include "proto/json.h"
#include "proto/resource.h"

static const struct json *condition(const struct json *pod, const char *type)
{
	JSON_ITEMS (c, json_getp(pod, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return c;
	return NULL;
}

/* How good a pod is to talk to: assigned, running, ready. */
static int rank(const struct json *pod)
{
	const char *phase = json_cstr(json_getp(pod, "status.phase"));
	bool ready = json_eqc(json_getc(condition(pod, "Ready"), "status"), "True");

	return (json_strp(pod, "spec.nodeName").n ? 8 : 0) + (strcmp(phase, "Running") == 0 ? 4 : strcmp(phase, "Pending") == 0 ? 0 : 2) + ready;
}

/* Of equally good ones that which has been ready for longer, then the older; RFC 3339 texts sort by time. */
static bool is_better(const struct json *a, const struct json *b)
{
	int by_rank = rank(a) - rank(b), by_time;

	if (by_rank)
		return by_rank > 0;
	by_time = rank(a) % 2 ? str_cmp(json_str(json_getc(condition(a, "Ready"), "lastTransitionTime")),
						json_str(json_getc(condition(b, "Ready"), "lastTransitionTime")))
			      : 0;
	if (by_time == 0)
		by_time = str_cmp(json_strp(a, "metadata.creationTimestamp"), json_strp(b, "metadata.creationTimestamp"));
	return by_time < 0;
}

/* key=value,... of a label selector's matchLabels, or of a service's plain selector. */
static const char *selector_text(struct kube *k, const struct json *obj)
{
	const struct json *labels = json_getp(obj, "spec.selector.matchLabels");
	struct buf b = BUF_INIT;
	const char *text;

	if (labels == NULL)
		labels = json_getp(obj, "spec.selector");
	JSON_MEMBERS (m, labels)
		if (json_is(m->value, JSON_STRING))
			buf_printf(&b, "%s%.*s=%.*s", b.n ? "," : "", STR_FMT(m->key), STR_FMT(m->value->s));
	text = arena_cstr(&k->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

/* The best pod of several; others are told of, so that nobody takes one for all. */
static const char *pod_by_selector(struct kube *k, const char *selector)
{
	const struct json *best = NULL;
	struct client_req req;
	struct json *list;

	client_req_init(&req, CLIENT_LIST, resource_find("", "v1", "pods"));
	req.ns = k->ns;
	req.label_selector = selector;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(k, &req) == 0 ? kube_answer(k, &req) : (kube_fail(k, &req), NULL);
	JSON_ITEMS (pod, json_getc(list, "items"))
		if (best == NULL || is_better(pod, best))
			best = pod;
	client_req_fini(&req);
	if (json_len(json_getc(list, "items")) > 1)
		fprintf(stderr, "Found %zu pods, using pod/%s\n", json_len(json_getc(list, "items")),
				json_cstr(json_getp(best, "metadata.name")));
	return best ? json_cstr(json_getp(best, "metadata.name")) : NULL;
}

const char *kube_find_pod(struct kube *k, const char *arg)
{
	const char *slash = strchr(arg, '/'), *name, *selector;
	const struct resource *r = NULL;
	struct json *obj;
	int status;

	if (slash == NULL)
		return arg;
	r = resource_by_name(arena_cstr(&k->arena, str_of(arg, (size_t)(slash - arg))));
	if (r == NULL || !r->served) {
		fprintf(stderr, "error: the server doesn't have a resource type \"%.*s\"\n", (int)(slash - arg), arg);
		return NULL;
	}
	if (strcmp(r->plural, "pods") == 0)
		return slash + 1;
	obj = kube_get(k, r, kube_ns(k, r), slash + 1, &status);
	if (obj == NULL) {
		if (status == 404)
			fprintf(stderr, "Error from server (NotFound): %s%s%s \"%s\" not found\n", r->plural, *r->group ? "." : "",
					r->group, slash + 1);
		return NULL;
	}
	selector = selector_text(k, obj);
	name = *selector ? pod_by_selector(k, selector) : NULL;
	if (name == NULL)
		fprintf(stderr, "error: no pods found for %s\n", arg);
	return name;
}

int kube_not_found(const char *resource, const char *name)
{
	fprintf(stderr, "Error from server (NotFound): %s \"%s\" not found\n", resource, name);
	return CMD_FAILED;
}

bool kube_has_container(const struct json *pod, const char *name)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers", "spec.ephemeralContainers"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getp(pod, lists[i]))
			if (json_eqc(json_getc(c, "name"), name))
				return true;
	return false;
}

/* "a, b, c (init)" */
static const char *container_names(struct kube *k, const struct json *pod)
{
	static const struct {
		const char *path, *note;
	} lists[] = {{"spec.containers", ""}, {"spec.ephemeralContainers", " (ephem)"}, {"spec.initContainers", " (init)"}};
	const char *text = "";

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getp(pod, lists[i].path))
			text = arena_printf(&k->arena, "%s%s%s%s", text, *text ? ", " : "", json_cstr(json_getc(c, "name")), lists[i].note);
	return text;
}

const char *kube_pick_container(struct kube *k, const struct json *pod, const char *wanted, bool quiet)
{
	const struct json *containers = json_getp(pod, "spec.containers");
	const char *name = json_cstr(json_getc(json_getp(pod, "metadata.annotations"), "kubectl.kubernetes.io/default-container"));

	if (wanted)
		return wanted;
	if (*name && kube_has_container(pod, name))
		return name;
	name = json_cstr(json_getc(json_at(containers, 0), "name"));
	if (!quiet && json_len(containers) + json_len(json_getp(pod, "spec.initContainers")) +
				      json_len(json_getp(pod, "spec.ephemeralContainers")) > 1)
		fprintf(stderr, "Defaulted container \"%s\" out of: %s\n", name, container_names(k, pod));
	return name;
}
