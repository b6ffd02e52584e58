#include "cli/kube_meta.h"

#include <string.h>

#include "proto/json.h"
#include "proto/selector.h"

static bool is_change(struct str arg)
{
	return str_find(arg, '=') > 0 || (arg.n > 1 && arg.p[arg.n - 1] == '-');
}

size_t meta_count_changes(const char *const *args, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_change(str_from(args[i])))
			return n - i;
	return 0;
}

static int check_label(struct arena *a, const struct meta_change *c, struct err *e)
{
	const char *why = label_key_error(a, c->key);

	if (why)
		return err_set(e, ERR_BAD_REQUEST, "invalid label key \"%.*s\": %s", STR_FMT(c->key), why);
	why = c->remove ? NULL : label_value_error(a, c->value);
	if (why)
		return err_set(e, ERR_BAD_REQUEST, "invalid label value: \"%.*s=%.*s\": %s", STR_FMT(c->key), STR_FMT(c->value), why);
	return 0;
}

int meta_parse(struct arena *a, const char *what, const char *const *args, size_t n, struct meta_change **ret, struct err *e)
{
	struct meta_change *v = arena_new_array(a, struct meta_change, n + 1);

	for (size_t i = 0; i < n; i++) {
		struct str arg = str_from(args[i]);

		if (!is_change(arg))
			return err_set(e, ERR_BAD_REQUEST, "unknown %s spec: %s", what, args[i]);
		if (!str_cut(arg, '=', &v[i].key, &v[i].value)) {
			v[i].key = str_sub(arg, 0, arg.n - 1);
			v[i].remove = true;
		}
		if (strcmp(what, "labels") == 0 && check_label(a, &v[i], e) < 0)
			return -(int)e->code;
		for (size_t k = 0; k < i; k++)
			if (str_eq(v[k].key, v[i].key) && v[k].remove != v[i].remove)
				return err_set(e, ERR_BAD_REQUEST, "cannot modify and remove the same %.*s: %.*s", (int)strlen(what) - 1, what,
						STR_FMT(v[i].key));
	}
	*ret = v;
	return 0;
}

int meta_patch(struct arena *a, const char *what, const struct json *obj, const struct meta_change *v, size_t n, bool overwrite,
		struct json **ret, struct err *e)
{
	const struct json *have = json_getc(json_getc(obj, "metadata"), what);
	struct json *changes = json_new_object(a), *patch = json_new_object(a), *meta;

	for (size_t i = 0; i < n; i++) {
		const struct json *old = json_get(have, v[i].key);

		if (v[i].remove) {
			if (old)
				json_set(a, changes, v[i].key, json_new_null(a));
			continue;
		}
		if (old && str_eq(json_str(old), v[i].value))
			continue;
		if (old && !overwrite)
			return err_set(e, ERR_BAD_REQUEST, "'%.*s' already has a value (%s), and --overwrite is false", STR_FMT(v[i].key),
					json_cstr(old));
		json_set(a, changes, v[i].key, json_new_str(a, v[i].value));
	}
	if (json_len(changes)) {
		meta = json_new_object(a);
		json_setc(a, meta, what, changes);
		json_setc(a, patch, "metadata", meta);
	}
	*ret = patch;
	return 0;
}
