#include "cli/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "cli/describe-priv.h"
#include "cli/tabs.h"
#include "proto/duration.h"
#include "proto/resource.h"
#include "proto/selector.h"

#define PADDING 2u
#define ANNOTATION_MAX 140u
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

static const struct {
	const char *group, *kind;
	void (*fn)(struct describe *, const struct json *);
	unsigned needs;
	bool events;
} kinds[] = {
	{"", "Pod", describe__pod, 0, true},
	{"", "Node", describe__node, DESCRIBE_PODS | DESCRIBE_LEASE, true},
	{"apps", "Deployment", describe__deployment, DESCRIBE_REPLICA_SETS, true},
	{"apps", "ReplicaSet", describe__replica_set, DESCRIBE_PODS, true},
	{"", "Service", describe__service, DESCRIBE_SLICES, true},
	{"", "Endpoints", describe__endpoints, 0, true},
	{"discovery.k8s.io", "EndpointSlice", describe__endpoint_slice, 0, true},
	{"", "ServiceAccount", describe__service_account, 0, true},
	{"", "Namespace", describe__namespace, DESCRIBE_QUOTAS, false},
	{"", "ConfigMap", describe__config_map, 0, true},
	{"", "Secret", describe__secret, 0, false},
};

/* The row of a kind, or -1. */
static int find_kind(const struct resource *r)
{
	for (size_t i = 0; r && i < ARRAY_LEN(kinds); i++)
		if (strcmp(r->group, kinds[i].group) == 0 && strcmp(r->kind, kinds[i].kind) == 0)
			return (int)i;
	return -1;
}

unsigned describe_needs(const struct resource *r)
{
	int i = find_kind(r);

	return i < 0 ? DESCRIBE_EVENTS : kinds[i].needs | (kinds[i].events ? DESCRIBE_EVENTS : 0);
}

/* ---- events ---- */

static int64_t event_time(const struct json *e)
{
	static const char *const paths[] = {"series.lastObservedTime", "lastTimestamp", "eventTime", "firstTimestamp"};
	int64_t s;
	int32_t ns;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (time_parse(json_strp(e, paths[i]), &s, &ns))
			return s;
	return 0;
}

static int by_event_time(const void *a, const void *b)
{
	int64_t x = event_time(*(const struct json *const *)a), y = event_time(*(const struct json *const *)b);

	return x < y ? -1 : x > y;
}

static const char *event_interval(struct describe *d, const struct json *e)
{
	const struct json *first = json_getc(e, "eventTime"), *series = json_getc(e, "series");

	if (!json_str(first).n)
		first = json_getc(e, "firstTimestamp");
	if (json_is(series, JSON_OBJECT))
		return arena_printf(d->arena, "%s (x%s over %s)", describe__age(d, json_getc(series, "lastObservedTime")),
				describe__scalar(d, json_getc(series, "count")), describe__age(d, first));
	if (json_i64_or(json_getc(e, "count"), 0) > 1)
		return arena_printf(d->arena, "%s (x%s over %s)", describe__age(d, json_getc(e, "lastTimestamp")),
				describe__scalar(d, json_getc(e, "count")), describe__age(d, first));
	return describe__age(d, first);
}

static void describe_events(struct describe *d)
{
	size_t n = json_len(d->more->events);
	struct json **sorted;

	if (n == 0) {
		describe__put(d, 0, "Events:\t<none>\n");
		return;
	}
	sorted = arena_memdup(d->arena, d->more->events->items, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_event_time);
	describe__put(d, 0, "Events:\n  Type\tReason\tAge\tFrom\tMessage\n");
	describe__put(d, 1, "----\t------\t----\t----\t-------\n");
	for (size_t i = 0; i < n; i++) {
		const struct json *e = sorted[i];
		const char *from = json_cstr(json_getp(e, "source.component"));

		describe__put(d, 1, "%s\t%s\t%s\t%s\t%s\n", json_cstr(json_getc(e, "type")), json_cstr(json_getc(e, "reason")),
				event_interval(d, e), *from ? from : json_cstr(json_getc(e, "reportingComponent")),
				arena_cstr(d->arena, str_trim(json_str(json_getc(e, "message")))));
	}
}

void describe_object(struct arena *a, const struct resource *r, const struct json *obj, const struct describe_more *more, int64_t now,
		struct buf *out)
{
	struct describe d = {a, BUF_INIT, now, more};
	int i = find_kind(r);
	size_t body;

	if (i < 0)
		describe__generic(&d, obj);
	else
		kinds[i].fn(&d, obj);
	body = d.text.n;
	if (!more->no_events && (i < 0 || kinds[i].events))
		describe_events(&d);
	/* Events that are there stand in columns of their own; "Events: <none>" is a line like the others. */
	if (json_len(more->events) == 0 || more->no_events)
		body = d.text.n;
	tabs_align(out, str_sub(buf_str(&d.text), 0, body), PADDING);
	tabs_align(out, str_skip(buf_str(&d.text), body), PADDING);
	buf_fini(&d.text);
}

/* ---- the writer ---- */

void describe__put(struct describe *d, unsigned level, const char *fmt, ...)
{
	va_list ap;

	for (unsigned i = 0; i < level; i++)
		buf_addc(&d->text, "  ");
	va_start(ap, fmt);
	buf_vprintf(&d->text, fmt, ap);
	va_end(ap);
}

const char *describe__time(struct describe *d, const struct json *t)
{
	char text[64];
	int64_t s;
	int32_t ns;
	time_t when;
	struct tm tm;

	if (!time_parse(json_str(t), &s, &ns))
		return "<unset>";
	when = (time_t)s;
	if (!localtime_r(&when, &tm))
		return "<unset>";
	strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S %z", &tm);
	return arena_strdup(d->arena, text);
}

const char *describe__age(struct describe *d, const struct json *t)
{
	char text[DURATION_SIZE];
	int64_t s;
	int32_t ns;

	if (!time_parse(json_str(t), &s, &ns))
		return "<unknown>";
	duration_human(d->now - s, text);
	return arena_strdup(d->arena, text);
}

const char *describe__scalar(struct describe *d, const struct json *v)
{
	switch (json_type(v)) {
	case JSON_STRING:
	case JSON_NUMBER:
		return arena_cstr(d->arena, v->s);
	case JSON_BOOL:
		return v->b ? "true" : "false";
	case JSON_NULL:
		return "<nil>";
	default:
		return json_text(d->arena, v).p;
	}
}

const char *describe__or(const char *text, const char *when_empty)
{
	return text && *text ? text : when_empty;
}

const char *describe__join(struct describe *d, const struct json *array, const char *between)
{
	struct buf b = BUF_INIT;
	const char *text;

	JSON_ITEMS (it, array)
		buf_printf(&b, "%s%s", b.n ? between : "", describe__scalar(d, it));
	text = arena_cstr(d->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

const char *describe__controller(struct describe *d, const struct json *obj)
{
	JSON_ITEMS (ref, json_getp(obj, "metadata.ownerReferences"))
		if (json_true(json_getc(ref, "controller")))
			return arena_printf(d->arena, "%s/%s", json_cstr(json_getc(ref, "kind")), json_cstr(json_getc(ref, "name")));
	return "";
}

const char *describe__label_selector(struct describe *d, const struct json *selector)
{
	struct buf b = BUF_INIT;
	struct selector sel;
	const char *text = "<none>";

	if (selector_from_json(d->arena, selector, &sel, NULL) < 0)
		return "<error>";
	selector_print(&b, &sel);
	if (b.n)
		text = arena_cstr(d->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

const struct json_member *describe__sorted(struct describe *d, const struct json *obj, size_t *ret_n)
{
	struct json_member *v;

	*ret_n = json_is(obj, JSON_OBJECT) ? obj->n : 0;
	if (*ret_n == 0)
		return NULL;
	v = arena_memdup(d->arena, obj->members, *ret_n * sizeof(*v));
	qsort(v, *ret_n, sizeof(*v), by_key);
	return v;
}

/* ---- what all kinds have ---- */

void describe__name(struct describe *d, const struct json *obj, bool with_namespace)
{
	describe__put(d, 0, "Name:\t%s\n", json_cstr(json_getp(obj, "metadata.name")));
	if (with_namespace)
		describe__put(d, 0, "Namespace:\t%s\n", json_cstr(json_getp(obj, "metadata.namespace")));
}

void describe__labels(struct describe *d, const char *title, const struct json *labels)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, labels, &n);

	describe__put(d, 0, "%s:\t%s", title, n ? "" : "<none>\n");
	for (size_t i = 0; i < n; i++)
		describe__put(d, 0, "%s%.*s=%s\n", i ? "\t" : "", STR_FMT(m[i].key), describe__scalar(d, m[i].value));
}

static void annotation_lines(struct describe *d, struct str value)
{
	bool more = true;

	while (more) {
		struct str line;

		more = str_cut(value, '\n', &line, &value);
		describe__put(d, 0, "\t  %.*s%s\n", (int)MIN(line.n, (size_t)ANNOTATION_MAX - 2), line.p ? line.p : "",
				line.n > ANNOTATION_MAX - 2 ? "..." : "");
	}
}

void describe__annotations(struct describe *d, const char *title, const struct json *annotations)
{
	size_t n, shown = 0;
	const struct json_member *m = describe__sorted(d, annotations, &n);

	describe__put(d, 0, "%s:\t", title);
	for (size_t i = 0; i < n; i++) {
		struct str v = json_str(m[i].value);

		if (str_eq(m[i].key, STR(LAST_APPLIED)))
			continue;
		if (str_has_suffix(v, STR("\n")))
			v.n--;
		describe__put(d, 0, "%s%.*s:", shown++ ? "\t" : "", STR_FMT(m[i].key));
		if (v.n + m[i].key.n + 2 > ANNOTATION_MAX || str_find(v, '\n') >= 0) {
			describe__put(d, 0, "\n");
			annotation_lines(d, v);
		} else {
			describe__put(d, 0, " %.*s\n", STR_FMT(v));
		}
	}
	if (!shown)
		describe__put(d, 0, "<none>\n");
}

/* ---- kinds that nobody laid out ---- */

/* "creationTimestamp" -> "Creation Timestamp", "apiVersion" -> "API Version"; other characters leave a key as it is. */
static const char *label_of(struct describe *d, struct str key)
{
	static const char *const acronyms[] = {"api", "url", "uid", "osb", "guid"};
	struct buf b = BUF_INIT;
	const char *text;

	for (size_t i = 0; i < key.n; i++)
		if (!((key.p[i] | 32) >= 'a' && (key.p[i] | 32) <= 'z') && key.p[i] != '-')
			return arena_cstr(d->arena, key);
	for (size_t i = 0, end; i < key.n; i = end) {
		struct str word;
		bool is_acronym = false;

		/* A word is a run of capitals, the last of which begins the next word, or one capital and small letters. */
		for (end = i + 1; end < key.n && key.p[end] != '-'; end++) {
			bool up = key.p[end] >= 'A' && key.p[end] <= 'Z', was_up = key.p[end - 1] >= 'A' && key.p[end - 1] <= 'Z';
			bool next_low = end + 1 < key.n && key.p[end + 1] >= 'a' && key.p[end + 1] <= 'z';

			if (up && (!was_up || next_low))
				break;
		}
		word = str_sub(key, i, end);
		if (b.n)
			buf_add1(&b, ' ');
		for (size_t k = 0; k < ARRAY_LEN(acronyms); k++)
			is_acronym |= str_ieq(word, str_from(acronyms[k]));
		for (size_t k = 0; k < word.n; k++) {
			bool low = word.p[k] >= 'a' && word.p[k] <= 'z';

			buf_add1(&b, low && (k == 0 || is_acronym) ? (char)(word.p[k] - 32) : word.p[k]);
		}
		if (end < key.n && key.p[end] == '-')
			end++;
	}
	text = arena_cstr(d->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

static bool is_skipped(const char *prefix, struct str key)
{
	static const char *const skip[] = {"managedFields", "name", "namespace", "labels", "annotations"};

	for (size_t i = 0; strcmp(prefix, "metadata") == 0 && i < ARRAY_LEN(skip); i++)
		if (str_eqc(key, skip[i]))
			return true;
	return false;
}

static void content(struct describe *d, unsigned level, const struct json *obj, const char *prefix)
{
	size_t n;
	const struct json_member *m = describe__sorted(d, obj, &n);

	for (size_t i = 0; i < n; i++) {
		const struct json *v = m[i].value;

		if (is_skipped(prefix, m[i].key))
			continue;
		if (!json_is(v, JSON_OBJECT) && !json_is(v, JSON_ARRAY)) {
			describe__put(d, level, "%s:\t%s\n", label_of(d, m[i].key), describe__scalar(d, v));
			continue;
		}
		describe__put(d, level, "%s:\n", label_of(d, m[i].key));
		if (json_is(v, JSON_OBJECT))
			content(d, level + 1, v, level == 0 ? arena_cstr(d->arena, m[i].key) : "");
		JSON_ITEMS (it, v)
			if (json_is(it, JSON_OBJECT))
				content(d, level + 1, it, "");
			else
				describe__put(d, level + 1, "%s\n", describe__scalar(d, it));
	}
}

void describe__generic(struct describe *d, const struct json *obj)
{
	describe__name(d, obj, true);
	describe__labels(d, "Labels", json_getp(obj, "metadata.labels"));
	describe__annotations(d, "Annotations", json_getp(obj, "metadata.annotations"));
	content(d, 0, obj, "");
}
