/* Ephemeral containers: what they may not have, and that an update only adds to them. */
#include "base/util.h"
#include "proto/validate-priv.h"

#define NOT_HERE "cannot be set for an Ephemeral Container"

static bool is_plain_container(const struct json *spec, struct str name)
{
	static const char *const lists[] = {"containers", "initContainers"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(spec, lists[i]))
			if (str_eq(json_str(json_getc(c, "name")), name))
				return true;
	return false;
}

/* They are no part of what the pod does: nothing waits for them, and nothing is kept for them. */
static void forbidden_fields(
	struct field_errs *e, const struct field_path *at, const struct json *c)
{
	static const char *const fields[] = {"ports", "resources", "resizePolicy", "restartPolicy",
		"restartPolicyRules", "livenessProbe", "readinessProbe", "startupProbe",
		"lifecycle"};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		struct field_path p = field_child(at, fields[i]);
		const struct json *v = json_getc(c, fields[i]);

		/* Of a probe or a hook its being there counts. */
		if (i >= 5 ? !json_is_null(v) : !validate__is_nothing(v))
			field_forbidden(e, &p, NOT_HERE);
	}
}

static void sub_paths(struct field_errs *e, const struct field_path *at, const struct json *c)
{
	static const char *const fields[] = {"subPath", "subPathExpr"};
	struct field_path all = field_child(at, "volumeMounts");
	size_t i = 0;

	JSON_ITEMS (m, json_getc(c, "volumeMounts")) {
		struct field_path mount = field_index(&all, i++);

		for (size_t k = 0; k < ARRAY_LEN(fields); k++) {
			struct field_path p = field_child(&mount, fields[k]);

			if (json_str(json_getc(m, fields[k])).n > 0)
				field_forbidden(e, &p, NOT_HERE);
		}
	}
}

void validate__ephemeral_containers(
	struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path all = field_child(up, "ephemeralContainers");
	size_t i = 0;

	JSON_ITEMS (c, json_getc(spec, "ephemeralContainers")) {
		struct field_path at = field_index(&all, i++),
				  restart = field_child(&at, "restartPolicy"),
				  target_path = field_child(&at, "targetContainerName");
		struct str target = json_str(json_getc(c, "targetContainerName"));

		if (!json_is_null(json_getc(c, "restartPolicy")))
			field_forbidden(e, &restart, "not supported for ephemeral containers");
		if (target.n > 0 && !is_plain_container(spec, target))
			field_not_found(e, &target_path, target);
		forbidden_fields(e, &at, c);
		sub_paths(e, &at, c);
	}
}

static const struct json *named(const struct json *list, struct str name)
{
	JSON_ITEMS (c, list)
		if (str_eq(json_str(json_getc(c, "name")), name))
			return c;
	return NULL;
}

void validate__ephemeral_update(const struct validate__ctx *c)
{
	struct field_path spec = field_child(NULL, "spec"),
			  list = field_child(&spec, "ephemeralContainers"), root = field_child(NULL, "");
	const struct json *now = json_getp(c->obj, "spec.ephemeralContainers");

	struct buf where = BUF_INIT;

	if (json_getc(json_getp(c->old, "metadata.annotations"), "kubernetes.io/config.mirror"))
		field_forbidden(c->errs, &root, "static pods do not support ephemeral containers");
	/* A patch may change their order: each is looked for by its name. */
	JSON_ITEMS (was, json_getp(c->old, "spec.ephemeralContainers")) {
		struct str name = json_str(json_getc(was, "name"));
		const struct json *is = named(now, name);

		if (!is)
			field_forbidden(c->errs, &list,
				"existing ephemeral containers \"%.*s\" may not be removed\n",
				STR_FMT(name));
		else if (validate__differ(is, was, &where))
			field_forbidden(c->errs, &list,
				"existing ephemeral containers \"%.*s\" may not be changed\n`%s` "
				"differs",
				STR_FMT(name), where.p);
		buf_clear(&where);
	}
	buf_fini(&where);
}
