/* Claims of devices, their classes, and the slices in which drivers publish them. Expressions are not compiled here. */
#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

#define REQUESTS_MAX 32u
#define SELECTORS_MAX 32u
#define DEVICES_MAX 128u

static void selector(struct field_errs *e, const struct field_path *at, const struct json *s)
{
	struct field_path cel = field_child(at, "cel");

	if (json_is_null(json_getc(s, "cel")))
		field_required(e, &cel, "");
	else
		validate__required(e, &cel, json_getc(s, "cel"), "expression");
}

static void selectors(struct field_errs *e, const struct field_path *up, const struct json *obj)
{
	struct field_path path = field_child(up, "selectors");

	if (json_len(json_getc(obj, "selectors")) > SELECTORS_MAX)
		field_too_many(e, &path, json_len(json_getc(obj, "selectors")), SELECTORS_MAX);
	validate__each(e, up, obj, "selectors", selector);
}

/* How many of which class. */
static void wanted(struct field_errs *e, const struct field_path *path, const struct json *r)
{
	static const char *const modes[] = {"All", "ExactCount", NULL};
	int64_t count = json_i64_or(json_getc(r, "count"), 0);

	if (validate__required(e, path, r, "deviceClassName"))
		validate__name(e, path, r, "deviceClassName", validate_dns1123_subdomain);
	selectors(e, path, r);
	validate__one_of(e, path, r, "allocationMode", modes);
	if (json_eqc(json_getc(r, "allocationMode"), "ExactCount") && count <= 0)
		validate__bad_count(e, path, r, "count", "must be greater than zero");
	if (json_eqc(json_getc(r, "allocationMode"), "All") && count != 0)
		validate__bad_count(e, path, r, "count", "must not be specified when allocationMode is 'All'");
}

static void sub_request(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	if (validate__required(e, at, r, "name"))
		validate__name(e, at, r, "name", validate_dns1123_label);
	wanted(e, at, r);
}

static void request(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	struct field_path exactly = field_child(at, "exactly");
	bool exact = !json_is_null(json_getc(r, "exactly")), first = json_len(json_getc(r, "firstAvailable")) > 0;

	if (validate__required(e, at, r, "name"))
		validate__name(e, at, r, "name", validate_dns1123_label);
	if (exact && first)
		field_invalid_str(e, at, STR(""), "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
	else if (!exact && !first)
		field_required(e, at, "exactly one of `exactly` or `firstAvailable` is required");
	if (exact)
		wanted(e, &exactly, json_getc(r, "exactly"));
	validate__each(e, at, r, "firstAvailable", sub_request);
}

static void claim_spec(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	struct field_path devices = field_child(path, "devices"), all = field_child(&devices, "requests");
	struct json *list = json_getp(spec, "devices.requests"), *seen = json_new_object(e->arena);
	size_t i = 0;

	if (json_len(list) > REQUESTS_MAX)
		field_too_many(e, &all, json_len(list), REQUESTS_MAX);
	JSON_ITEMS (r, list) {
		struct field_path at = field_index(&all, i++);

		request(e, &at, r);
		validate__once(e, seen, &at, r, "name");
	}
}

/* Both spec and spec.spec are said once. */
static void spec_kept(const struct validate__ctx *c, const struct field_path *path)
{
	if (c->old && !json_equal(json_getc(c->obj, "spec"), json_getc(c->old, "spec")))
		field_invalid(c->errs, path, json_getc(c->obj, "spec"), "field is immutable");
}

void validate__resource_claim(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec");

	if (c->sub[0] != '\0')
		return;
	claim_spec(c->errs, &path, json_getc(c->obj, "spec"));
	spec_kept(c, &path);
}

void validate__resource_claim_template(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), meta = field_child(&path, "metadata"),
			  inner = field_child(&path, "spec");
	const struct json *spec = json_getc(c->obj, "spec");

	validate__template_meta(c->errs, &meta, json_getc(spec, "metadata"));
	claim_spec(c->errs, &inner, json_getc(spec, "spec"));
	spec_kept(c, &path);
}

void validate__device_class(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec");

	selectors(c->errs, &path, json_getc(c->obj, "spec"));
}

static void device(struct field_errs *e, const struct field_path *at, const struct json *d)
{
	if (validate__required(e, at, d, "name"))
		validate__name(e, at, d, "name", validate_dns1123_label);
}

void validate__resource_slice(const struct validate__ctx *c)
{
	static const char *const places[] = {"nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"};
	struct field_path path = field_child(NULL, "spec"), pool = field_child(&path, "pool"),
			  devices = field_child(&path, "devices"), sel = field_child(&path, "nodeSelector");
	const struct json *spec = json_getc(c->obj, "spec"), *p = json_getc(spec, "pool"), *was = json_getc(c->old, "spec");
	size_t n = 0;

	if (validate__required(c->errs, &path, spec, "driver"))
		validate__name(c->errs, &path, spec, "driver", validate_dns1123_subdomain);
	validate__required(c->errs, &pool, p, "name");
	if (json_i64_or(json_getc(p, "resourceSliceCount"), 0) <= 0)
		validate__bad_count(c->errs, &pool, p, "resourceSliceCount", "must be greater than zero");
	validate__nonneg(c->errs, &pool, p, "generation");
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const struct json *v = json_getc(spec, places[i]);

		n += json_is(v, JSON_BOOL) ? json_true(v) : !json_is_null(v);
	}
	if (n == 0)
		field_required(c->errs, &path,
			"exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required");
	else if (n > 1)
		field_invalid(c->errs, &path, spec,
			"exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple "
			"fields are set");
	validate__name_opt(c->errs, &path, spec, "nodeName", validate_dns1123_subdomain);
	if (!json_is_null(json_getc(spec, "nodeSelector")))
		validate__node_selector(c->errs, &sel, json_getc(spec, "nodeSelector"));
	if (json_len(json_getc(spec, "devices")) > DEVICES_MAX)
		field_too_many(c->errs, &devices, json_len(json_getc(spec, "devices")), DEVICES_MAX);
	validate__each(c->errs, &path, spec, "devices", device);
	if (!c->old)
		return;
	validate__immutable(c->errs, &path, spec, was, "driver");
	validate__immutable(c->errs, &pool, p, json_getc(was, "pool"), "name");
	validate__immutable(c->errs, &path, spec, was, "nodeName");
}
