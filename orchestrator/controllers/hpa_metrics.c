#include "orchestrator/controllers/hpa_metrics.h"

#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/apiserver/backend.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/customs.h"
#include "orchestrator/controllers/remotes.h"
#include "proto/duration.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/quantity.h"
#include "proto/resource.h"
#include "proto/selector.h"

/* What a metric says that does not say over which time it was measured. */
#define DEFAULT_WINDOW_MS 60000

/* --- Kinds ---------------------------------------------------------------------------------------------------------- */

static void add_target(struct hpa_target *v, size_t *n, const struct resource *res, const char *group, const char *kind)
{
	if (strcmp(res->kind, kind) != 0 || strcmp(res->group, group) != 0 || !res->served)
		return;
	for (size_t i = 0; i < *n; i++)
		if (strcmp(v[i].api_version, res->api_version) == 0 && strcmp(v[i].plural, res->plural) == 0)
			return;
	v[(*n)++] = (struct hpa_target){res->group, res->api_version, res->plural};
}

size_t hpa_targets(struct arena *a, const struct view *view, const char *group, const char *kind, struct hpa_target **ret)
{
	size_t n_max = n_resources, n = 0;

	LIST_FOR_EACH (k, &view->customs, struct custom_kind, link)
		n_max++;
	LIST_FOR_EACH (g, &view->remotes, struct remote_group, link)
		n_max += g->n_resources;
	*ret = arena_new_array(a, struct hpa_target, n_max);
	RESOURCE_FOR_EACH (r)
		add_target(*ret, &n, r, group, kind);
	LIST_FOR_EACH (k, &view->customs, struct custom_kind, link)
		add_target(*ret, &n, k->res, group, kind);
	LIST_FOR_EACH (g, &view->remotes, struct remote_group, link)
		for (size_t i = 0; i < g->n_resources; i++)
			add_target(*ret, &n, &g->resources[i], group, kind);
	return n;
}

const char *hpa_api_root(struct arena *a, const char *api_version)
{
	return arena_printf(a, strchr(api_version, '/') ? "/apis/%s" : "/api/%s", api_version);
}

/* --- Paths ----------------------------------------------------------------------------------------------------------- */

static const char *escaped(struct arena *a, const char *s)
{
	struct buf b = BUF_INIT;
	char *text;

	backend_escape(&b, str_from(s), false);
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

int hpa_selector_text(struct arena *a, const Meta__LabelSelector *pb, const char **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	struct selector sel;
	int r;

	*ret = "";
	if (!pb)
		return 0;
	r = selector_from_pb(a, pb, &sel, e);
	if (r < 0)
		return r;
	selector_print(&b, &sel);
	*ret = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return 0;
}

/* The best version of an aggregated group that is known to be there; NULL: none is. */
static const char *version_of(const struct view *view, const char *group)
{
	static const char *const known[] = {"v1beta2", "v1beta1"};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		LIST_FOR_EACH (g, &view->remotes, struct remote_group, link)
			if (strcmp(g->group, group) == 0 && strcmp(g->version, known[i]) == 0)
				return g->version;
	return NULL;
}

static int custom_path(struct arena *a, const struct view *view, const char *ns, const char *rest, const char *selector,
		const Autoscalingv2__MetricIdentifier *metric, const char **ret, struct err *e)
{
	static const char group[] = "custom.metrics.k8s.io";
	const char *version = version_of(view, group), *of_metric;
	int r = hpa_selector_text(a, metric->selector, &of_metric, e);

	if (r < 0)
		return r;
	if (!version)
		return err_set(e, ERR_NOT_FOUND, "no custom metrics API (%s) registered", group);
	*ret = arena_printf(a, "/apis/%s/%s/namespaces/%s/%s/%s?labelSelector=%s&metricLabelSelector=%s", group, version, escaped(a, ns), rest,
			escaped(a, pb_s(metric->name)), escaped(a, selector), escaped(a, of_metric));
	return 0;
}

static int object_path(struct arena *a, const struct view *view, const char *ns, const Autoscalingv2__ObjectMetricSource *o, const char **ret,
		struct err *e)
{
	const Autoscalingv2__CrossVersionObjectReference *ref = o->described_object;
	struct str group, version;
	struct hpa_target *targets;
	const char *g, *kind = pb_s(ref->kind);

	/* The namespace itself: another one than ours cannot be meant. */
	if (strcmp(kind, "Namespace") == 0 && strchr(pb_s(ref->api_version), '/') == NULL)
		return custom_path(a, view, ns, "metrics", "", o->metric, ret, e);
	g = str_cut(str_from(pb_s(ref->api_version)), '/', &group, &version) ? arena_cstr(a, group) : "";
	if (hpa_targets(a, view, g, kind, &targets) == 0)
		return err_set(e, ERR_NOT_FOUND,
				"unable to map kind %s%s%s to resource: no matches for kind \"%s\" in group \"%s\"", kind, *g ? "." : "", g, kind, g);
	return custom_path(a, view, ns,
			arena_printf(a, "%s%s%s/%s", targets[0].plural, *g ? "." : "", g, escaped(a, pb_s(ref->name))), "", o->metric, ret, e);
}

int hpa_metric_path(struct arena *a, const struct view *view, const char *ns, const char *selector, const Autoscalingv2__MetricSpec *m,
		const char **ret, struct err *e)
{
	const char *of_metric;
	int r;

	if (m->pods)
		return custom_path(a, view, ns, "pods/*", selector, m->pods->metric, ret, e);
	if (m->object)
		return object_path(a, view, ns, m->object, ret, e);
	if (m->external) {
		r = hpa_selector_text(a, m->external->metric->selector, &of_metric, e);
		if (r < 0)
			return r;
		*ret = arena_printf(a, "/apis/external.metrics.k8s.io/v1beta1/namespaces/%s/%s?labelSelector=%s", escaped(a, ns),
				escaped(a, pb_s(m->external->metric->name)), escaped(a, of_metric));
		return 0;
	}
	*ret = arena_printf(a, "/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods?labelSelector=%s", escaped(a, ns), escaped(a, selector));
	return 0;
}

/* --- Answers ---------------------------------------------------------------------------------------------------------- */

/* The items of a list; `api` is what errors call it. */
static int items_of(struct arena *a, struct str text, const char *api, struct json **ret, struct err *e)
{
	struct json *doc;

	if (json_parse(a, arena_str(a, text), NULL, &doc, e) < 0)
		return err_prefix(e, "unable to fetch metrics from %s metrics API", api);
	*ret = json_getc(doc, "items");
	if (json_len(*ret) == 0 || !json_is(*ret, JSON_ARRAY))
		return err_set(e, ERR_NOT_FOUND, "no metrics returned from %s metrics API", api);
	return 0;
}

static int64_t milli_of(const struct json *quantity)
{
	struct quantity q;

	return json_is(quantity, JSON_STRING) && quantity_parse(json_str(quantity), &q, NULL) == 0 ? quantity_milli(q) : 0;
}

static int64_t time_ms(const struct json *time)
{
	int64_t s;
	int32_t ns;

	return time_parse(json_str(time), &s, &ns) ? s * 1000 + ns / 1000000 : 0;
}

/* False when the pod is not measured, or not wholly. */
static bool sum_up(const struct json *pod, const char *resource, const char *container, bool *ret_found, int64_t *ret)
{
	struct json *containers = json_getc(pod, "containers");
	__int128 sum = 0;

	*ret_found = false;
	JSON_ITEMS (c, containers) {
		struct json *use = json_getc(json_getc(c, "usage"), resource);

		if (container[0] && !json_eqc(json_getc(c, "name"), container))
			continue;
		*ret_found = true;
		if (!use)
			return false;
		sum += milli_of(use);
	}
	*ret = sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
	return *ret_found;
}

int hpa_read_resource(struct arena *a, struct str text, const char *resource, const char *container, struct hpa_sample **ret, size_t *ret_n,
		struct err *e)
{
	struct json *items;
	int r;

	r = items_of(a, text, "resource", &items, e);
	if (r < 0)
		return r;
	*ret = arena_new_array(a, struct hpa_sample, json_len(items));
	*ret_n = 0;
	JSON_ITEMS (m, items) {
		struct hpa_sample *s = &(*ret)[*ret_n];
		bool found;

		if (sum_up(m, resource, container, &found, &s->milli)) {
			s->pod = arena_cstr(a, json_strp(m, "metadata.name"));
			s->at_ms = time_ms(json_getc(m, "timestamp"));
			if (!duration_parse(json_str(json_getc(m, "window")), &s->window_ms))
				s->window_ms = 0;
			s->window_ms /= 1000000;
			(*ret_n)++;
		} else if (container[0] && !found) {
			return err_set(e, ERR_NOT_FOUND,
					"failed to get container metrics: container %s not present in metrics for pod %.*s/%.*s", container,
					STR_FMT(json_strp(m, "metadata.namespace")), STR_FMT(json_strp(m, "metadata.name")));
		}
	}
	return 0;
}

int hpa_read_pods(struct arena *a, struct str text, struct hpa_sample **ret, size_t *ret_n, struct err *e)
{
	struct json *items;
	int r;

	r = items_of(a, text, "custom", &items, e);
	if (r < 0)
		return r;
	*ret = arena_new_array(a, struct hpa_sample, json_len(items));
	*ret_n = 0;
	JSON_ITEMS (m, items) {
		int64_t window_s = json_i64_or(json_getc(m, "windowSeconds"), DEFAULT_WINDOW_MS / 1000);

		(*ret)[(*ret_n)++] = (struct hpa_sample){.pod = arena_cstr(a, json_strp(m, "describedObject.name")),
				.milli = milli_of(json_getc(m, "value")), .at_ms = time_ms(json_getc(m, "timestamp")),
				.window_ms = MAX(0, MIN(window_s, INT32_MAX)) * 1000};
	}
	return 0;
}

int hpa_read_object(struct arena *a, struct str text, int64_t *ret, struct err *e)
{
	struct json *items;
	int r;

	r = items_of(a, text, "custom", &items, e);
	if (r < 0)
		return r;
	if (json_len(items) != 1)
		return err_set(e, ERR_BAD_REQUEST,
				"unable to fetch metrics from custom metrics API: the custom metrics API server returned %zu results when we asked for "
				"exactly one", json_len(items));
	*ret = milli_of(json_getc(json_at(items, 0), "value"));
	return 0;
}

int hpa_read_external(struct arena *a, struct str text, int64_t *ret, struct err *e)
{
	struct json *items;
	__int128 sum = 0;
	int r;

	r = items_of(a, text, "external", &items, e);
	if (r < 0)
		return r;
	JSON_ITEMS (m, items)
		sum += milli_of(json_getc(m, "value"));
	*ret = sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
	return 0;
}
