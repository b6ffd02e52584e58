#include "orchestrator/apiserver/attrs.h"

#include <string.h>

#include "base/util.h"
#include "proto/duration.h"

static const char *const verb_names[] = {
		[API_GET] = "get",
		[API_LIST] = "list",
		[API_WATCH] = "watch",
		[API_CREATE] = "create",
		[API_UPDATE] = "update",
		[API_PATCH] = "patch",
		[API_DELETE] = "delete",
		[API_DELETE_COLLECTION] = "deletecollection",
		[API_OTHER] = "other",
};

const char *api_verb_name(enum api_verb v)
{
	return verb_names[v];
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Undo percent escapes (and '+' when it is a query). False on a broken escape or a NUL. */
static bool unescape(struct arena *a, struct str s, bool query, struct str *ret)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%') {
			int hi, lo;

			if (s.n - i < 3)
				return false;
			hi = hex(s.p[i + 1]);
			lo = hex(s.p[i + 2]);
			if (hi < 0 || lo < 0)
				return false;
			c = (char)(hi * 16 + lo);
			i += 2;
		} else if (c == '+' && query) {
			c = ' ';
		}
		if (c == '\0')
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	*ret = str_of(out, n);
	return true;
}

bool api_unescape(struct arena *a, struct str s, struct str *ret)
{
	return unescape(a, s, false, ret);
}

int api_target_parse(struct arena *a, struct str target, struct str *ret_path, struct api_query *ret_query, struct err *e)
{
	struct str raw_path, raw_query, rest, pair, key, value;
	size_t n = 1;

	str_cut(target, '?', &raw_path, &raw_query);
	if (raw_path.n == 0 || raw_path.p[0] != '/')
		return err_set(e, ERR_BAD_REQUEST, "the request path must start with \"/\"");
	if (!unescape(a, raw_path, false, ret_path))
		return err_set(e, ERR_BAD_REQUEST, "malformed escape in the request path");
	for (size_t i = 0; i < raw_query.n; i++)
		n += raw_query.p[i] == '&';
	ret_query->pairs = arena_new_array(a, struct api_query_pair, n);
	ret_query->n = 0;
	for (rest = raw_query; rest.n > 0;) {
		struct api_query_pair *q = &ret_query->pairs[ret_query->n];

		str_cut(rest, '&', &pair, &rest);
		if (pair.n == 0)
			continue;
		str_cut(pair, '=', &key, &value);
		if (!unescape(a, key, true, &q->key) || !unescape(a, value, true, &q->value))
			return err_set(e, ERR_BAD_REQUEST, "malformed escape in the query");
		ret_query->n++;
	}
	return 0;
}

struct str api_query_get(const struct api_query *q, const char *key)
{
	for (size_t i = 0; i < q->n; i++)
		if (str_eqc(q->pairs[i].key, key))
			return q->pairs[i].value;
	return STR_NULL;
}

bool api_query_has(const struct api_query *q, const char *key)
{
	for (size_t i = 0; i < q->n; i++)
		if (str_eqc(q->pairs[i].key, key))
			return true;
	return false;
}

bool api_query_truth(struct str s)
{
	return !(str_eqc(s, "0") || str_ieq(s, STR("false")) || str_ieq(s, STR("f")));
}

static bool is_digits(struct str s)
{
	size_t sign = s.n > 1 && (s.p[0] == '-' || s.p[0] == '+');

	for (size_t i = sign; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

static int number(const struct api_query *q, const char *key, int64_t *io, struct err *e)
{
	struct str s = api_query_get(q, key);

	if (s.n == 0)
		return 0;
	/* In the words of upstream's parser. */
	if (!str_to_i64(s, io))
		return err_set(e, ERR_BAD_REQUEST, "strconv.ParseInt: parsing \"%.*s\": %s", (int)MIN(s.n, (size_t)100), s.p,
				is_digits(s) ? "value out of range" : "invalid syntax");
	return 0;
}

bool api_attrs_is_long(const struct api_attrs *at)
{
	static const char *const subs[] = {"proxy", "exec", "attach", "portforward", "log"};

	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		if (str_eqc(at->sub, subs[i]))
			return true;
	return at->is_resource && at->verb == API_WATCH;
}

/* How long the client is going to wait. */
static int patience(const struct api_query *q, uint64_t *ret_ms, struct err *e)
{
	struct str s = api_query_get(q, "timeout");
	int64_t ns = 0;

	*ret_ms = 0;
	if (s.n > 0 && !duration_parse(s, &ns))
		return err_set(e, ERR_BAD_REQUEST, "invalid timeout specified in the request URL - time: invalid duration \"%.*s\"",
				(int)MIN(s.n, (size_t)100), s.p);
	if (ns > 0)
		*ret_ms = (uint64_t)MAX(ns / 1000000, 1);
	return 0;
}

int api_options_parse(const struct api_query *q, struct api_options *o, struct err *e)
{
	struct str s;

	memset(o, 0, sizeof(*o));
	o->grace_period_s = -1;
	o->label_selector = api_query_get(q, "labelSelector");
	o->field_selector = api_query_get(q, "fieldSelector");
	o->resource_version = api_query_get(q, "resourceVersion");
	o->resource_version_match = api_query_get(q, "resourceVersionMatch");
	o->continue_token = api_query_get(q, "continue");
	o->field_manager = api_query_get(q, "fieldManager");
	o->propagation_policy = api_query_get(q, "propagationPolicy");
	o->watch = api_query_has(q, "watch") && api_query_truth(api_query_get(q, "watch"));
	o->bookmarks = api_query_has(q, "allowWatchBookmarks") && api_query_truth(api_query_get(q, "allowWatchBookmarks"));
	o->send_initial_events_set = api_query_has(q, "sendInitialEvents");
	o->send_initial_events = o->send_initial_events_set && api_query_truth(api_query_get(q, "sendInitialEvents"));
	o->orphan_dependents_set = api_query_has(q, "orphanDependents");
	o->orphan_dependents = o->orphan_dependents_set && api_query_truth(api_query_get(q, "orphanDependents"));
	o->pretty = api_query_has(q, "pretty") && api_query_truth(api_query_get(q, "pretty"));
	o->force_set = api_query_has(q, "force");
	o->force = o->force_set && api_query_truth(api_query_get(q, "force"));
	if (number(q, "limit", &o->limit, e) || number(q, "timeoutSeconds", &o->timeout_s, e) ||
			number(q, "gracePeriodSeconds", &o->grace_period_s, e) || patience(q, &o->timeout_ms, e) < 0)
		return -e->code;
	s = api_query_get(q, "dryRun");
	if (s.n > 0 && !str_eqc(s, "All"))
		o->bad_dry_run = s;
	o->dry_run = s.n > 0;
	s = api_query_get(q, "fieldValidation");
	if (s.n == 0 || str_eqc(s, "Warn"))
		o->field_validation = FIELDS_WARN;
	else if (str_eqc(s, "Strict"))
		o->field_validation = FIELDS_STRICT;
	else if (str_eqc(s, "Ignore"))
		o->field_validation = FIELDS_IGNORE;
	else
		o->bad_field_validation = s;
	return 0;
}

/* Cut the first segment off *path, which starts with '/' or is empty. Empty segments are kept as they are. */
static struct str segment(struct str *path)
{
	struct str head, tail;

	if (path->n == 0)
		return STR_NULL;
	str_cut(str_skip(*path, 1), '/', &head, &tail);
	*path = str_skip(*path, 1 + head.n);
	return head;
}

static enum api_verb method_verb(struct str method, bool has_name)
{
	if (str_eqc(method, "GET") || str_eqc(method, "HEAD"))
		return has_name ? API_GET : API_LIST;
	if (str_eqc(method, "POST"))
		return API_CREATE;
	if (str_eqc(method, "PUT"))
		return API_UPDATE;
	if (str_eqc(method, "PATCH"))
		return API_PATCH;
	if (str_eqc(method, "DELETE"))
		return has_name ? API_DELETE : API_DELETE_COLLECTION;
	return API_OTHER;
}

/* namespaces/NS/RESOURCE..., namespaces/NAME[/status|/finalize], RESOURCE[/NAME[/SUB[/...]]] */
static void resource_parse(struct str rest, struct api_attrs *at)
{
	struct str first = segment(&rest);

	at->resource = first;
	if (str_eqc(first, "namespaces") && at->group.n == 0) {
		struct str ns = segment(&rest), copy = rest, next;

		at->name = ns;
		next = segment(&copy);
		if (next.n == 0)
			return;
		at->ns = ns;
		if (str_eqc(next, "status") || str_eqc(next, "finalize")) {
			at->sub = next;
			return;
		}
		at->resource = next;
		at->name = STR_NULL;
		rest = copy;
	} else if (str_eqc(first, "namespaces")) {
		at->ns = segment(&rest);
		at->resource = segment(&rest);
	}
	at->name = segment(&rest);
	at->sub = segment(&rest);
	at->sub_path = rest;
}

static struct str selector_name(struct str selector)
{
	struct str term, rest = selector, key, value;

	while (rest.n > 0) {
		str_cut(rest, ',', &term, &rest);
		if (str_cut(term, '=', &key, &value) && str_eqc(str_trim(key), "metadata.name")) {
			if (value.n > 0 && value.p[0] == '=')
				value = str_skip(value, 1);
			return str_trim(value);
		}
	}
	return STR_NULL;
}

void api_attrs_parse(struct arena *a, struct str method, struct str path, const struct api_query *q, struct api_attrs *at)
{
	struct str rest = path, root;
	bool watch = false;

	(void)a;
	memset(at, 0, sizeof(*at));
	at->method = method;
	at->path = path;
	at->verb = API_OTHER;
	while (rest.n > 1 && rest.p[rest.n - 1] == '/')
		rest.n--;
	root = segment(&rest);
	if (str_eqc(root, "apis"))
		at->group = segment(&rest);
	if (str_eqc(root, "api") || (str_eqc(root, "apis") && at->group.n > 0)) {
		at->version = segment(&rest);
		if (str_has_prefix(rest, STR("/watch/"))) {
			watch = true;
			rest = str_skip(rest, 6);
		}
		at->is_resource = at->version.n > 0 && rest.n > 1;
	}
	if (!at->is_resource) {
		at->verb = method_verb(method, true);
		return;
	}
	resource_parse(rest, at);
	/* What is behind a proxy is passed on as it is, slashes at its end too. */
	if (str_eqc(at->sub, "proxy"))
		at->sub_path = str_skip(path, (size_t)(at->sub.p + at->sub.n - path.p));
	at->verb = method_verb(method, at->name.n > 0);
	if (str_eqc(at->resource, "namespaces") && at->group.n == 0 && at->sub.n == 0)
		at->ns = at->name;
	/* Of one object the query says nothing: it is got, unless the path says that it is watched. */
	if (at->name.n == 0 || str_eqc(at->resource, "namespaces"))
		watch |= at->verb == API_LIST && api_query_has(q, "watch") && api_query_truth(api_query_get(q, "watch"));
	/* A watch of one name is a watch of the collection with a selector on the name. */
	if (watch && at->sub.n == 0 && (at->verb == API_LIST || at->verb == API_GET))
		at->verb = API_WATCH;
	if ((at->verb == API_LIST || at->verb == API_WATCH) && at->name.n == 0)
		at->name = selector_name(api_query_get(q, "fieldSelector"));
}
