#include <string.h>

#include "base/util.h"
#include "proto/quantity.h"
#include "proto/validate-priv.h"

/* Whether a part of the path is "..". */
static bool has_up(struct str path)
{
	struct str rest = path, part;
	bool more = path.n > 0;

	while (more) {
		more = str_cut(rest, '/', &part, &rest);
		if (str_eqc(part, ".."))
			return true;
	}
	return false;
}

bool validate__below(struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);
	struct str s = json_str(json_getc(obj, key));

	if (s.n > 0 && s.p[0] == '/')
		field_invalid_str(e, &path, s, "must be a relative path");
	if (!has_up(s))
		return true;
	field_invalid_str(e, &path, s, "must not contain '..'");
	return false;
}

static void relative_path(
	struct field_errs *e, const struct field_path *up, const struct json *item)
{
	struct field_path path = field_child(up, "path");
	struct str s = json_str(json_getc(item, "path"));

	if (s.n == 0)
		field_required(e, &path, "");
	else if (validate__below(e, up, item, "path") && str_has_prefix(s, STR("..")))
		field_invalid_str(e, &path, s, "must not start with '..'");
}

static void mode(
	struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);
	struct json *v = json_getc(obj, key);
	int64_t m = json_i64_or(v, 0);

	if (m < 0 || m > 0777)
		field_invalid(
			e, &path, v, "must be a number between 0 and 0777 (octal), both inclusive");
}

static void items(struct field_errs *e, const struct field_path *up, const struct json *src)
{
	struct field_path all = field_child(up, "items");
	size_t i = 0;

	JSON_ITEMS (it, json_getc(src, "items")) {
		struct field_path at = field_index(&all, i++);

		validate__required(e, &at, it, "key");
		relative_path(e, &at, it);
		mode(e, &at, it, "mode");
	}
}

/* A volume is the whole pod's: it has to say which container's. */
static void downward_resource(struct field_errs *e, const struct field_path *up, const struct json *item)
{
	struct field_path path = field_child(up, "resourceFieldRef");
	const struct json *ref = json_getc(item, "resourceFieldRef");

	if (validate__required(e, &path, ref, "containerName"))
		validate__resource_ref(e, &path, ref);
}

static void downward(struct field_errs *e, const struct field_path *up, const struct json *src)
{
	struct field_path all = field_child(up, "items");
	size_t i = 0;

	JSON_ITEMS (it, json_getc(src, "items")) {
		struct field_path at = field_index(&all, i++);
		bool field = !json_is_null(json_getc(it, "fieldRef")),
		     resource = !json_is_null(json_getc(it, "resourceFieldRef"));

		relative_path(e, &at, it);
		mode(e, &at, it, "mode");
		if (field && resource)
			field_invalid_str(e, &at, STR("resource"),
				"fieldRef and resourceFieldRef can not be specified "
				"simultaneously");
		else if (!field && !resource)
			field_required(e, &at, "one of fieldRef and resourceFieldRef is required");
		else if (resource)
			downward_resource(e, &at, it);
	}
}

/* ---- sources ---- */

typedef void source_fn(struct field_errs *, const struct field_path *, const struct json *);

static void host_path(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	static const char *const types[] = {
		"BlockDevice",
		"CharDevice",
		"Directory",
		"DirectoryOrCreate",
		"File",
		"FileOrCreate",
		"Socket",
		NULL,
	};
	struct field_path p = field_child(path, "path");
	struct str s = json_str(json_getc(src, "path"));

	if (s.n == 0)
		field_required(e, &p, "");
	else if (has_up(s))
		field_invalid_str(e, &p, s, "must not contain '..'");
	validate__one_of_opt(e, path, src, "type", types);
}

static void empty_dir(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	struct field_path p = field_child(path, "sizeLimit");
	struct json *v = json_getc(src, "sizeLimit");

	if (json_is(v, JSON_STRING) && quantity_sign(quantity_of(json_cstr(v))) < 0)
		field_forbidden(e, &p, "SizeLimit field must be a valid resource quantity");
}

static void secret(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	validate__required(e, path, src, "secretName");
	mode(e, path, src, "defaultMode");
	items(e, path, src);
}

static void config_map(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	validate__required(e, path, src, "name");
	mode(e, path, src, "defaultMode");
	items(e, path, src);
}

static void downward_api(
	struct field_errs *e, const struct field_path *path, const struct json *src)
{
	mode(e, path, src, "defaultMode");
	downward(e, path, src);
}

static void token(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	struct field_path p = field_child(path, "expirationSeconds");
	struct json *v = json_getc(src, "expirationSeconds");

	if (json_is(v, JSON_NUMBER) && json_i64_or(v, 600) < 600)
		field_invalid(e, &p, v, "may not specify a duration less than 10 minutes");
	relative_path(e, path, src);
}

static void named_items(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	validate__required(e, path, src, "name");
	items(e, path, src);
}

static void projected(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	static const struct {
		const char *name;
		source_fn *fn;
	} kinds[] = {
		{"secret", named_items},
		{"configMap", named_items},
		{"downwardAPI", downward},
		{"serviceAccountToken", token},
		{"clusterTrustBundle", NULL},
		{"podCertificate", NULL},
	};
	struct field_path all = field_child(path, "sources");
	size_t i = 0;

	mode(e, path, src, "defaultMode");
	JSON_ITEMS (s, json_getc(src, "sources")) {
		struct field_path at = field_index(&all, i++);
		size_t n = 0;

		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			struct field_path p = field_child(&at, kinds[k].name);

			if (json_is_null(json_getc(s, kinds[k].name)))
				continue;
			if (n++ > 0)
				field_forbidden(e, &p,
					"may not specify more than 1 volume type per source");
			else if (kinds[k].fn)
				kinds[k].fn(e, &p, json_getc(s, kinds[k].name));
		}
		if (n == 0)
			field_required(e, &at, "must specify a volume type");
	}
}

static void claim(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	validate__required(e, path, src, "claimName");
}

static void nfs(struct field_errs *e, const struct field_path *path, const struct json *src)
{
	validate__required(e, path, src, "server");
	validate__required(e, path, src, "path");
}

/* Every member of a volume but its name is a source; those without a row are not looked into. */
static const struct {
	const char *name;
	source_fn *fn;
} sources[] = {
	{"hostPath", host_path},
	{"emptyDir", empty_dir},
	{"secret", secret},
	{"configMap", config_map},
	{"downwardAPI", downward_api},
	{"projected", projected},
	{"persistentVolumeClaim", claim},
	{"nfs", nfs},
};

void validate__volume_source(struct field_errs *e, const struct field_path *path, struct str name,
	const struct json *source)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++)
		if (str_eqc(name, sources[i].name))
			sources[i].fn(e, path, source);
}

void validate__volumes(struct field_errs *e, const struct field_path *path,
	const struct json *volumes, struct json *names)
{
	size_t i = 0;

	JSON_ITEMS (v, volumes) {
		struct field_path at = field_index(path, i++), name_path = field_child(&at, "name");
		struct str name = json_str(json_getc(v, "name"));
		size_t n = 0;

		if (validate__required(e, &at, v, "name"))
			validate__name(e, &at, v, "name", validate_dns1123_label);
		if (name.n > 0 && json_get(names, name))
			field_duplicate(e, &name_path, name);
		json_set(e->arena, names, name, v);
		JSON_MEMBERS (m, v) {
			struct field_path p = field_child(&at, m->key.p);

			if (str_eqc(m->key, "name") || json_is_null(m->value))
				continue;
			if (n++ > 0) {
				field_forbidden(e, &p, "may not specify more than 1 volume type");
				continue;
			}
			validate__volume_source(e, &p, m->key, m->value);
		}
		if (n == 0)
			field_required(e, &at, "must specify a volume type");
	}
}
