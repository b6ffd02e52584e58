#include "cli/kube_wait.h"

#include <string.h>

#include "proto/json.h"
#include "proto/jsonpath.h"

static int parse_path(struct arena *a, struct str text, struct kube_condition *ret, struct err *e)
{
	ptrdiff_t close = str_rfind(text, '}');
	struct str path = close >= 0 ? str_sub(text, 0, (size_t)close + 1) : text, rest;

	if (close >= 0) {
		rest = str_skip(text, (size_t)close + 1);
	} else if (str_find(text, '=') >= 0) {
		rest = str_skip(text, (size_t)str_find(text, '='));
		path = str_sub(text, 0, (size_t)str_find(text, '='));
	} else {
		rest = STR_NULL;
	}
	if (path.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "jsonpath expression cannot be empty");
	if (rest.n && rest.p[0] != '=')
		return err_set(e, ERR_BAD_REQUEST, "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'");
	if (rest.n == 1)
		return err_set(e, ERR_BAD_REQUEST, "jsonpath wait has to have a value after equal sign");
	*ret = (struct kube_condition){KUBE_WAIT_PATH, arena_cstr(a, path), rest.n ? arena_cstr(a, str_trim(str_skip(rest, 1))) : NULL};
	return 0;
}

int kube_condition_parse(struct arena *a, const char *text, struct kube_condition *ret, struct err *e)
{
	struct str s = str_from(text), name, value;

	if (strcmp(text, "delete") == 0 || strcmp(text, "create") == 0) {
		*ret = (struct kube_condition){strcmp(text, "delete") == 0 ? KUBE_WAIT_DELETE : KUBE_WAIT_CREATE, "", NULL};
		return 0;
	}
	if (str_has_prefix(s, STR("condition="))) {
		bool has_value = str_cut(str_skip(s, 10), '=', &name, &value);

		*ret = (struct kube_condition){KUBE_WAIT_CONDITION, arena_cstr(a, name), has_value ? arena_cstr(a, value) : "true"};
		return name.n ? 0 : err_set(e, ERR_BAD_REQUEST, "--for=condition= needs the condition's name");
	}
	if (str_has_prefix(s, STR("jsonpath=")))
		return parse_path(a, str_skip(s, 9), ret, e);
	return err_set(e, ERR_BAD_REQUEST, "unrecognized condition: \"%s\"", text);
}

/* A controller that has not seen the latest change yet has nothing to say about it. */
static bool is_stale(const struct json *obj)
{
	int64_t seen, is;

	return json_i64(json_getp(obj, "status.observedGeneration"), &seen) && json_i64(json_getp(obj, "metadata.generation"), &is) && seen < is;
}

static int has_condition(const struct kube_condition *c, const struct json *obj)
{
	if (is_stale(obj))
		return 0;
	JSON_ITEMS (it, json_getp(obj, "status.conditions"))
		if (str_ieq(json_str(json_getc(it, "type")), str_from(c->name)))
			return str_ieq(json_str(json_getc(it, "status")), str_from(c->value));
	return 0;
}

static int has_value(struct arena *a, const struct kube_condition *c, const struct json *obj, struct err *e)
{
	struct json **found;
	size_t n;

	if (jsonpath_find(a, str_from(c->name), obj, &found, &n, e) < 0)
		return -(int)e->code;
	if (n == 0 || json_is_null(found[0]))
		return 0;
	if (n > 1)
		return err_set(e, ERR_BAD_REQUEST, "given jsonpath expression matches more than one value");
	if (json_is(found[0], JSON_OBJECT) || json_is(found[0], JSON_ARRAY))
		return c->value ? err_set(e, ERR_BAD_REQUEST, "jsonpath leads to a nested object or list, which cannot be compared to a value") : 1;
	return !c->value || str_eqc(json_is(found[0], JSON_STRING) ? found[0]->s : json_text(a, found[0]), c->value);
}

int kube_condition_met(struct arena *a, const struct kube_condition *c, const struct json *obj, struct err *e)
{
	switch (c->kind) {
	case KUBE_WAIT_DELETE:
		return obj == NULL;
	case KUBE_WAIT_CREATE:
		return obj != NULL;
	case KUBE_WAIT_CONDITION:
		return obj ? has_condition(c, obj) : 0;
	case KUBE_WAIT_PATH:
		return obj ? has_value(a, c, obj, e) : 0;
	}
	return 0;
}
