#include "orchestrator/apiserver/decode.h"

#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/managed.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/codec.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/yaml.h"

/* A value of a tree takes some sixty bytes: three megabytes of "0,0,0" must not become a hundred. No object has nearly so many. */
#define BODY_MAX_VALUES 500000
#define STRICT_MAX 100
#define DUPLICATE "duplicate field"
#define OBJECT_TYPES "application/json, application/yaml, application/vnd.kubernetes.protobuf"
#define CUSTOM_OBJECT_TYPES "application/json, application/yaml"
#define CUSTOM_PATCH_TYPES "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"

const struct schema_type *api_view_type(const struct api_request *req)
{
	if (req->subres && req->subres->type)
		return schema_type_find(req->subres->type);
	return resource_type(req->res);
}

const char *api_view_version(const struct api_request *req)
{
	return req->subres && req->subres->type ? req->subres->api_version : req->res->api_version;
}

const char *api_view_kind(const struct api_request *req)
{
	return req->subres && req->subres->type ? req->subres->kind : req->res->kind;
}

static struct str content_type(const struct api_request *req)
{
	struct str type, rest;

	str_cut(http_header_get(&req->headers, "content-type"), ';', &type, &rest);
	return str_trim(type);
}

/* Upstream's reader of JSON skips what it does not know, and does not see that it comes twice. Its readers of YAML and patches do. */
static void forget_unknown(struct api_request *req, const struct schema_type *type, const struct codec_errs *errs)
{
	size_t kept = 0;

	if (type->json == SCHEMA_CUSTOM || req->at.verb == API_PATCH || str_eqc(content_type(req), "application/yaml"))
		return;
	for (size_t i = 0; i < req->n_strict; i++) {
		bool unknown = false;

		for (size_t k = 0; k < errs->n; k++)
			unknown |= str_eq(req->strict[i], arena_sprintf(&req->arena, DUPLICATE " \"%s\"", errs->items[k].path));
		if (!unknown)
			req->strict[kept++] = req->strict[i];
	}
	req->n_strict = kept;
}

/* What is wrong with the document, in the arena; {NULL, 0}: nothing. */
static struct str normalize(struct api_request *req, const struct schema_type *type, struct json **io)
{
	_cleanup_(buf_fini) struct buf wire = BUF_INIT, text = BUF_INIT;
	const struct codec_err *hard;
	struct codec_errs errs;
	struct err e = ERR_INIT;

	codec_errs_init(&errs, &req->arena);
	buf_reserve(&wire, req->body.n); /* the wire form is the shorter one */
	codec_to_wire(&wire, type, *io, &errs);
	hard = codec_errs_hard(&errs);
	if (hard)
		return str_from(hard->message);
	forget_unknown(req, type, &errs);
	if (errs.n + req->n_strict > 0 && req->opt.field_validation == FIELDS_STRICT) {
		codec_errs_strict_message(&errs, req->strict, req->n_strict, &text);
		return arena_str(&req->arena, buf_str(&text));
	}
	if (req->opt.field_validation == FIELDS_WARN) {
		for (size_t i = 0; i < req->n_strict; i++)
			api_warn(req, "%.*s", STR_FMT(req->strict[i]));
		for (size_t i = 0; i < errs.n; i++)
			api_warn(req, "%s", errs.items[i].message);
	}
	req->n_strict = 0;
	if (codec_wire_to_dom(&req->arena, type, arena_str(&req->arena, buf_str(&wire)), NULL, io, &e) < 0)
		return arena_sprintf(&req->arena, "%s", e.text);
	return STR_NULL;
}

/* "v1" of "apps/v1". */
static struct str bare_version(const struct schema_type *type)
{
	struct str group, version;

	return !type->root ? STR("v1") : str_cut(str_from(type->api_version), '/', &group, &version) ? version : group;
}

enum step_result api_normalize(struct api_request *req, const struct schema_type *type, struct json **io)
{
	struct str why = normalize(req, type, io);

	return !why.p ? STEP_NEXT
		      : api_fail(req, ERR_BAD_REQUEST, "%s in version \"%.*s\" cannot be handled as a %s: %.*s", type->kind,
					STR_FMT(bare_version(type)), type->kind, STR_FMT(why));
}

/* The name of the package in which upstream has the type that its storage works with. */
static struct str internal_package(const struct schema_type *type)
{
	struct str group, rest, name = str_from(type->api_version);

	if (!type->root)
		return STR("v1");
	if (!str_cut(name, '/', &group, &rest) || str_eqc(group, "events.k8s.io"))
		return STR("core");
	str_cut(group, '.', &group, &rest);
	return group;
}

/* Why a body of that kind is none of the type: it can be read and not be converted, or nobody knows it. */
static struct str no_way_from(struct arena *a, const struct schema_type *type, struct str version, struct str kind)
{
	struct str group, bare;

	if (!str_cut(version, '/', &group, &bare))
		bare = version;
	if (resource_find_kind(arena_cstr(a, version), arena_cstr(a, kind)))
		return arena_sprintf(a, "converting (%.*s.%.*s) to (%.*s.%s): unknown conversion", STR_FMT(bare), STR_FMT(kind),
				STR_FMT(internal_package(type)), type->kind);
	return arena_sprintf(a, "no kind \"%.*s\" is registered for version \"%.*s\" in scheme "
				"\"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
			STR_FMT(kind), STR_FMT(version));
}

/* What a patch leaves says itself what it is; a strategic one is of the type whatever it says. */
static struct str patched_kind(struct api_request *req, const struct schema_type *type, const struct json *o)
{
	struct str version = json_str(json_getc(o, "apiVersion")), kind = json_str(json_getc(o, "kind"));

	if (req->patch_type == PATCH_STRATEGIC || type->json == SCHEMA_CUSTOM || !type->root || version.n == 0 || kind.n == 0 ||
			(str_eqc(version, type->api_version) && str_eqc(kind, type->kind)))
		return STR_NULL;
	if (str_eqc(kind, type->kind) && resource_find_kind(arena_cstr(&req->arena, version), type->kind))
		return STR_NULL;
	return no_way_from(&req->arena, type, version, kind);
}

/* Upstream names the patch itself when it is a strategic one, else what it makes of the object; and no object. */
enum step_result api_normalize_patched(struct api_request *req, const struct schema_type *type, struct json **io)
{
	_cleanup_(buf_fini) struct buf value = BUF_INIT, text = BUF_INIT;
	struct field_path path = field_child(NULL, "patch");
	struct json *before = *io;
	struct str why = patched_kind(req, type, before);
	struct api_cause *cause;
	struct field_errs errs;

	if (!why.p)
		why = normalize(req, type, io);
	if (!why.p)
		return STEP_NEXT;
	if (req->patch_type == PATCH_STRATEGIC) {
		json_sort(&req->arena, req->sent);
		json_print_go(&value, req->sent);
	} else {
		json_print(&value, before, JSON_COMPACT);
	}
	field_errs_init(&errs, &req->arena);
	field_invalid_str(&errs, &path, buf_str(&value), "%.*s", STR_FMT(why));
	field_errs_print(&text, &errs);
	cause = arena_new_of(&req->arena, struct api_cause);
	*cause = (struct api_cause){STR("FieldValueInvalid"), errs.items[0].message, errs.items[0].field};
	req->fail.causes = cause;
	req->fail.n_causes = 1;
	req->fail.has_details = true;
	return api_fail(req, ERR_INVALID, " \"\" is invalid: %.*s", STR_FMT(buf_str(&text)));
}

/*
 * A built-in kind of another name or version: upstream reads the body as what it says that it is, and then finds no way from there to the
 * endpoint's kind; of a kind that does not exist it knows nothing.
 */
static enum step_result fail_other_kind(struct api_request *req, const struct schema_type *type, struct str version, struct str kind)
{
	struct str want = str_from(type->api_version), group, bare;

	if (version.n == 0)
		version = type->root ? want : STR("v1");
	if (kind.n == 0)
		kind = str_from(type->kind);
	if (!str_cut(version, '/', &group, &bare))
		bare = version;
	if (resource_find_kind(arena_cstr(&req->arena, version), arena_cstr(&req->arena, kind)) && str_eqc(kind, type->kind))
		return api_fail(req, ERR_BAD_REQUEST,
				"the API version in the data (%.*s) does not match the expected API version (%.*s)",
				STR_FMT(version), STR_FMT(want));
	return api_fail(req, ERR_BAD_REQUEST, "%.*s in version \"%.*s\" cannot be handled as a %s: %.*s", STR_FMT(kind), STR_FMT(bare),
			type->kind, STR_FMT(no_way_from(&req->arena, type, version, kind)));
}

/* Missing kind and apiVersion are the endpoint's; given ones must be. */
static enum step_result check_kind(struct api_request *req, const struct schema_type *type, struct str version,
		struct str kind, bool lenient)
{
	struct str want = str_from(type->api_version);
	bool other_kind = kind.n > 0 && !str_eqc(kind, type->kind);

	if (type->json != SCHEMA_CUSTOM &&
			(other_kind || (version.n > 0 && !lenient && type->root && !str_eq(version, want))))
		return fail_other_kind(req, type, version, kind);
	if (other_kind)
		return api_fail(req, ERR_BAD_REQUEST,
				"%.*s in version \"%.*s\" cannot be handled as a %s: no kind \"%.*s\" is registered for this "
				"resource",
				STR_FMT(kind), STR_FMT(version), type->kind, STR_FMT(kind));
	if (version.n > 0 && !lenient && type->root && !str_eq(version, want))
		return api_fail(req, ERR_BAD_REQUEST,
				"the API version in the data (%.*s) does not match the expected API version (%.*s)",
				STR_FMT(version), STR_FMT(want));
	return STEP_NEXT;
}

static enum step_result decode_wire(struct api_request *req, const struct schema_type *type, bool lenient)
{
	struct codec_envelope env = {.wire = req->body};
	struct err e = ERR_INIT;

	/* In-process clients send the plain message. */
	if (!(req->local && !codec_is_wrapped(req->body))) {
		if (codec_unwrap(req->body, &env, &e) < 0)
			return api_fail_err(req, &e);
		if (check_kind(req, type, env.api_version, env.kind, lenient) != STEP_NEXT)
			return STEP_FAIL;
	}
	if (codec_wire_to_dom(&req->arena, type, env.wire, NULL, &req->sent, &e) < 0)
		return api_fail(req, ERR_BAD_REQUEST, "%s cannot be decoded: %s", type->kind, e.text);
	return STEP_NEXT;
}

static void strict(struct api_request *req, const char *what, struct str path)
{
	/* Of many strange keys the first say enough. */
	if (req->n_strict < STRICT_MAX)
		req->strict[req->n_strict++] = arena_sprintf(&req->arena, "%s \"%.*s\"", what, STR_FMT(path));
}

static void keep_dups(struct api_request *req, const struct json_opts *opts)
{
	if (opts->n_dups == 0)
		return;
	req->strict = arena_new_array(&req->arena, struct str, STRICT_MAX);
	for (size_t i = 0; i < opts->n_dups; i++)
		strict(req, DUPLICATE, opts->dups[i]);
}

/* What the reader of YAML says is one error with a line each, and a warning each. */
static void keep_yaml_dups(struct api_request *req, const struct json_opts *opts, const char *prefix)
{
	_cleanup_(buf_fini) struct buf all = BUF_INIT;

	req->n_strict = 0;
	if (opts->n_dups == 0)
		return;
	req->strict = arena_new_array(&req->arena, struct str, STRICT_MAX);
	if (req->opt.field_validation != FIELDS_STRICT) {
		for (size_t i = 0; i < opts->n_dups && i < STRICT_MAX; i++)
			req->strict[req->n_strict++] = opts->dups[i];
		return;
	}
	buf_printf(&all, "%syaml: unmarshal errors:", prefix);
	for (size_t i = 0; i < opts->n_dups; i++)
		buf_printf(&all, "\n  %.*s", STR_FMT(opts->dups[i]));
	req->strict[req->n_strict++] = arena_str(&req->arena, buf_str(&all));
}

/* A JSON patch is told apart from the object that it makes: "json patch unknown field "[0].foo"". */
static void keep_json_patch(struct api_request *req, const struct json_opts *opts)
{
	static const char *const known[] = {"op", "path", "from", "value"};
	size_t n = 0;

	req->strict = arena_new_array(&req->arena, struct str, STRICT_MAX);
	JSON_ITEMS (op, req->sent) {
		struct str at = arena_sprintf(&req->arena, "[%zu].", n++);

		if (!json_is(op, JSON_OBJECT))
			continue;
		JSON_MEMBERS (m, op) {
			bool is_known = false;

			for (size_t i = 0; i < ARRAY_LEN(known); i++)
				is_known |= str_eqc(m->key, known[i]);
			if (!is_known)
				strict(req, "json patch unknown field", arena_sprintf(&req->arena, "%.*s%.*s", STR_FMT(at), STR_FMT(m->key)));
		}
		for (size_t i = 0; i < opts->n_dups; i++) {
			struct str rest = str_skip(opts->dups[i], at.n);

			/* What is inside of a value is the object's. */
			if (str_has_prefix(opts->dups[i], at) && str_find(rest, '.') < 0 && str_find(rest, '[') < 0)
				strict(req, "json patch " DUPLICATE, opts->dups[i]);
		}
	}
}

/* One document, with the paths of its duplicate keys. */
static int parse_yaml(struct api_request *req, struct json_opts *opts, struct err *e)
{
	struct yaml_stream *ys = yaml_open(&req->arena, req->body);
	struct json *more;
	int rc = yaml_next(ys, &req->sent, e);

	if (rc < 0)
		return rc;
	if (rc == 0)
		req->sent = json_new_null(&req->arena);
	opts->n_dups = yaml_dups(ys, &opts->dups);
	rc = yaml_next(ys, &more, e);
	return rc > 0 ? err_set(e, ERR_BAD_REQUEST, "the body holds more than one document") : rc;
}

/* The beginning of what was sent, as upstream shows it. */
static struct str summary(struct api_request *req)
{
	_cleanup_(buf_fini) struct buf hex = BUF_INIT;
	struct str body = req->body, head = str_sub(body, 0, MIN(body.n, (size_t)30));
	const char *more = body.n > head.n ? " ..." : "";

	if (body.n == 0)
		return STR("<empty>");
	if (body.p[0] == '{')
		return arena_sprintf(&req->arena, "%.*s%s", STR_FMT(head), more);
	for (size_t i = 0; i < head.n; i++)
		buf_printf(&hex, "%02x", (unsigned char)head.p[i]);
	return arena_sprintf(&req->arena, "%.*s%s", STR_FMT(buf_str(&hex)), more);
}

static const char *go_kind(const struct json *v)
{
	static const char *const names[] = {[JSON_NULL] = "null", [JSON_BOOL] = "bool", [JSON_NUMBER] = "number",
			[JSON_STRING] = "string", [JSON_ARRAY] = "array", [JSON_OBJECT] = "object"};

	return names[v->type];
}

/* Before anything else upstream looks for the kind, which only an object has; null is one without members. */
static enum step_result fail_no_object(struct api_request *req, const struct schema_type *type)
{
	return api_fail(req, ERR_BAD_REQUEST,
			"the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse error: json: cannot "
			"unmarshal %s into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
			"\"json:\\\"kind,omitempty\\\"\" } (%.*s)",
			type->kind, go_kind(req->sent), STR_FMT(summary(req)));
}

static enum step_result decode_text(struct api_request *req, const struct schema_type *type, bool yaml, bool lenient)
{
	struct json_opts opts = {.max_nodes = BODY_MAX_VALUES};
	struct err e = ERR_INIT;
	enum step_result r;

	if ((yaml ? parse_yaml(req, &opts, &e) : json_parse(&req->arena, req->body, &opts, &req->sent, &e)) < 0)
		return api_fail(req, e.code == ERR_TOO_LARGE ? ERR_TOO_LARGE : ERR_BAD_REQUEST,
				"the object provided is unrecognized (must be of type %s): %s%s (%.*s)", type->kind,
				yaml ? "" : "couldn't get version/kind; json parse error: ", e.text, STR_FMT(summary(req)));
	if (json_is_null(req->sent))
		req->sent = json_new_object(&req->arena);
	if (!json_is(req->sent, JSON_OBJECT))
		return fail_no_object(req, type);
	/* Of built-in kinds the path says enough; what has a schema made at run time says itself what it is. */
	if (req->res && req->res->custom && !lenient && type == resource_type(req->res))
		for (size_t i = 0; i < 2; i++)
			if (json_str(json_getc(req->sent, i ? "apiVersion" : "kind")).n == 0)
				return api_fail(req, ERR_BAD_REQUEST,
						"the object provided is unrecognized (must be of type %s): Object '%s' is missing in '%.*s' (%.*s)",
						type->kind, i ? "apiVersion" : "Kind", (int)MIN(req->body.n, (size_t)1000), req->body.p,
						STR_FMT(summary(req)));
	if (yaml)
		keep_yaml_dups(req, &opts, "");
	else
		keep_dups(req, &opts);
	r = check_kind(req, type, json_str(json_getc(req->sent, "apiVersion")), json_str(json_getc(req->sent, "kind")),
			lenient);
	if (r != STEP_NEXT)
		return r;
	if (lenient)
		req->opt.field_validation = FIELDS_IGNORE;
	return api_normalize(req, type, &req->sent);
}

/* Packed bodies are not unpacked: nobody sends them, and nobody gets a bomb in. */
static enum step_result check_encoding(struct api_request *req)
{
	struct str encoding = http_header_get(&req->headers, "content-encoding");

	if (encoding.n == 0 || str_ieq(encoding, STR("identity")))
		return STEP_NEXT;
	return api_fail(req, ERR_UNSUPPORTED_MEDIA, "the content encoding \"%.*s\" is not supported for request bodies; send it as it is",
			(int)MIN(encoding.n, (size_t)40), encoding.p);
}

static enum step_result decode_body(struct api_request *req, const struct schema_type *type, bool lenient)
{
	struct str ct = content_type(req);

	if (check_encoding(req) != STEP_NEXT)
		return STEP_FAIL;
	if (type->json == SCHEMA_CUSTOM && !req->local && str_eqc(ct, "application/vnd.kubernetes.protobuf"))
		return api_fail(req, ERR_UNSUPPORTED_MEDIA,
				"the body of the request was in an unknown format - accepted media types include: " CUSTOM_OBJECT_TYPES);
	if (str_eqc(ct, "application/vnd.kubernetes.protobuf"))
		return decode_wire(req, type, lenient);
	if (str_eqc(ct, "application/yaml"))
		return decode_text(req, type, true, lenient);
	if (ct.n == 0 || str_eqc(ct, "application/json") || str_eqc(ct, "*/*"))
		return decode_text(req, type, false, lenient);
	return api_fail(req, ERR_UNSUPPORTED_MEDIA,
			"the body of the request was in an unknown format - accepted media types include: " OBJECT_TYPES);
}

enum step_result api_decode_body(struct api_request *req, const char *type_name, bool lenient)
{
	const struct schema_type *type = schema_type_find(type_name);

	ASSERT(type);
	return decode_body(req, type, lenient);
}

enum step_result api__decode_object(struct api_request *req)
{
	if (managed_check_options(req) != STEP_NEXT)
		return STEP_FAIL;
	return decode_body(req, api_view_type(req), false);
}

/* What is applied stays as it was written: which fields it names counts, before any default. */
static enum step_result decode_configuration(struct api_request *req)
{
	struct json_opts opts = {.max_nodes = BODY_MAX_VALUES};
	struct err e = ERR_INIT;

	req->patch_type = PATCH_APPLY;
	if (managed_check_options(req) != STEP_NEXT)
		return STEP_FAIL;
	/* Most write JSON, which is YAML too, but much faster to read. */
	if (!(str_has_prefix(req->body, STR("{")) && json_parse(&req->arena, req->body, &opts, &req->sent, &e) == 0 && opts.n_dups == 0) &&
			parse_yaml(req, &opts, &e) < 0)
		return api_fail(req, e.code == ERR_TOO_LARGE ? ERR_TOO_LARGE : ERR_BAD_REQUEST, "error decoding YAML: %s", e.text);
	if (!json_is(req->sent, JSON_OBJECT))
		return api_fail(req, ERR_BAD_REQUEST, "error decoding YAML: an object expected");
	keep_yaml_dups(req, &opts, "error strict decoding YAML: error converting YAML to JSON: ");
	return STEP_NEXT;
}

enum step_result api__decode_patch(struct api_request *req)
{
	static const struct {
		const char *media;
		enum api_patch_type type;
	} types[] = {
			{"application/json-patch+json", PATCH_JSON},
			{"application/merge-patch+json", PATCH_MERGE},
			{"application/strategic-merge-patch+json", PATCH_STRATEGIC},
	};
	struct json_opts opts = {.max_nodes = BODY_MAX_VALUES};
	struct str ct = content_type(req);
	struct err e = ERR_INIT;

	if (check_encoding(req) != STEP_NEXT)
		return STEP_FAIL;
	if (str_eqc(ct, "application/apply-patch+yaml"))
		return decode_configuration(req);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (types[i].type == PATCH_STRATEGIC && req->res->custom)
			return api_fail(req, ERR_UNSUPPORTED_MEDIA,
					"the body of the request was in an unknown format - accepted media types include: " CUSTOM_PATCH_TYPES);
		if (!str_eqc(ct, types[i].media))
			continue;
		req->patch_type = types[i].type;
		if (managed_check_options(req) != STEP_NEXT)
			return STEP_FAIL;
		if (json_parse(&req->arena, req->body, &opts, &req->sent, &e) < 0)
			return api_fail(req, ERR_BAD_REQUEST, "error decoding patch: %s", e.text);
		if (!json_is(req->sent, req->patch_type == PATCH_JSON ? JSON_ARRAY : JSON_OBJECT))
			return api_fail(req, ERR_BAD_REQUEST, "%sjson: cannot unmarshal %s into Go value of type %s",
					req->patch_type == PATCH_STRATEGIC ? "" : "error decoding patch: ", go_kind(req->sent),
					req->patch_type == PATCH_JSON ? "[]handlers.jsonPatchOp" : "map[string]interface {}");
		if (req->patch_type == PATCH_JSON)
			keep_json_patch(req, &opts);
		else
			keep_dups(req, &opts);
		return STEP_NEXT;
	}
	if (req->res->custom)
		return api_fail(req, ERR_UNSUPPORTED_MEDIA,
				"the body of the request was in an unknown format - accepted media types include: " CUSTOM_PATCH_TYPES);
	req->fail.has_details = true;
	return api_fail(req, ERR_UNSUPPORTED_MEDIA, "415: Unsupported Media Type");
}
