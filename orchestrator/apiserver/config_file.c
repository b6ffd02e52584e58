#include "orchestrator/apiserver/config_file.h"

#include "base/util.h"
#include "proto/cel/cel.h"
#include "proto/json.h"
#include "proto/yaml.h"

int config_file_parse(struct arena *a, struct str text, const char *kind, struct json **ret, struct err *e)
{
	static const char *const versions[] = {"apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"};
	struct json *doc;
	bool ours = false;

	if (yaml_parse(a, text, &doc, e) < 0)
		return -(int)e->code;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		ours |= json_eqc(json_getc(doc, "apiVersion"), versions[i]);
	if (!ours || !json_eqc(json_getc(doc, "kind"), kind))
		return err_set(e, ERR_INVALID, "this is no %s of apiserver.config.k8s.io/v1", kind);
	*ret = doc;
	return 0;
}

int config_file_known(const struct json *o, const char *path, const char *members, struct err *e)
{
	if (json_is_null(o))
		return 0;
	if (!json_is(o, JSON_OBJECT))
		return err_set(e, ERR_INVALID, "%s: an object is expected", path);
	JSON_MEMBERS (m, o) {
		struct str one, rest = str_from(members);
		bool known = false;

		while (rest.n > 0 && !known) {
			str_cut(rest, ' ', &one, &rest);
			known = str_eq(one, m->key);
		}
		if (!known)
			return err_set(e, ERR_INVALID, "%s: unknown field \"%.*s\"", path, STR_FMT(m->key));
	}
	return 0;
}

int config_file_string(struct arena *a, const struct json *o, const char *path, const char *member, bool needed, const char **ret, struct err *e)
{
	const struct json *v = json_getc(o, member);

	*ret = NULL;
	if (json_is_null(v) || (!needed && json_is(v, JSON_STRING) && json_str(v).n == 0))
		return needed ? err_set(e, ERR_INVALID, "%s.%s: Required value", path, member) : 0;
	if (!json_is(v, JSON_STRING))
		return err_set(e, ERR_INVALID, "%s.%s: a string is expected", path, member);
	if (json_str(v).n == 0)
		return err_set(e, ERR_INVALID, "%s.%s: Required value", path, member);
	*ret = arena_cstr(a, json_str(v));
	return 0;
}

int config_file_expression(struct arena *a, const struct cel_env *env, const char *path, const char *text, const struct cel_type *want,
		const struct cel_program **ret, struct err *e)
{
	struct str error;

	*ret = cel_compile(a, env, str_from(text), &error);
	if (!*ret)
		return err_set(e, ERR_INVALID, "%s: Invalid value: \"%.100s\": compilation failed: %.*s", path, text, (int)MIN(error.n, (size_t)300), error.p);
	if (want && cel_program_type(*ret)->kind != want->kind)
		return err_set(e, ERR_INVALID, "%s: Invalid value: \"%.100s\": must evaluate to %s", path, text, cel_type_text(a, want));
	return 0;
}
