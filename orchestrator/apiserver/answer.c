#include "orchestrator/apiserver/answer.h"

#include "orchestrator/apiserver/audit.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/tables.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"
#include "proto/yaml.h"

/* Answers over this are compressed when the client can take it; upstream's limit too. */
#define GZIP_MIN (128u << 10)

static bool gzip(const struct buf *in, struct buf *out)
{
	z_stream z = {0};
	size_t bound;
	char *p;

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	bound = deflateBound(&z, in->n);
	p = buf_reserve(out, bound);
	z.next_in = (Bytef *)in->p;
	z.avail_in = (uInt)in->n;
	z.next_out = (Bytef *)p;
	z.avail_out = (uInt)bound;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END) {
		deflateEnd(&z);
		return false;
	}
	buf_advance(out, z.total_out);
	deflateEnd(&z);
	return true;
}

/* RFC 7234, section 5.5: 299 - "text". Quotes and backslashes are escaped, controls left out. */
static struct str warning_value(struct arena *a, struct str text)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_addc(&b, "299 - \"");
	for (size_t i = 0; i < text.n && b.n < 4096; i++) {
		char c = text.p[i];

		if (c == '"' || c == '\\')
			buf_add1(&b, '\\');
		if ((unsigned char)c >= ' ' && c != 127)
			buf_add1(&b, c);
	}
	buf_add1(&b, '"');
	return arena_str(a, buf_str(&b));
}

size_t api_answer_headers(struct api_request *req, const char *content_type, struct http_header h[API_MAX_HEADERS])
{
	struct str schema, level;
	size_t n = 0;

	if (!req->local)
		h[n++] = (struct http_header){STR("Audit-Id"), audit_id(req)};
	if (flow_uids(req, &schema, &level)) {
		h[n++] = (struct http_header){STR("X-Kubernetes-PF-FlowSchema-UID"), schema};
		h[n++] = (struct http_header){STR("X-Kubernetes-PF-PriorityLevel-UID"), level};
	}
	h[n++] = (struct http_header){STR("Content-Type"), str_from(content_type)};
	h[n++] = (struct http_header){STR("Cache-Control"), req->cache_control.n ? req->cache_control : STR("no-cache, private")};
	if (req->etag.n)
		h[n++] = (struct http_header){STR("ETag"), req->etag};
	if (req->location.n)
		h[n++] = (struct http_header){STR("Location"), req->location};
	if (req->vary.n)
		h[n++] = (struct http_header){STR("Vary"), req->vary};
	if (req->fail.retry_after_s > 0)
		h[n++] = (struct http_header){STR("Retry-After"),
				arena_sprintf(&req->arena, "%d", req->fail.retry_after_s)};
	for (size_t i = 0; i < req->n_warnings && n < API_MAX_HEADERS - 3; i++)
		h[n++] = (struct http_header){STR("Warning"), warning_value(&req->arena, req->warnings[i])};
	return n;
}

enum step_result api_answer_bytes(struct api_request *req, int status, const char *content_type, struct buf *body)
{
	struct http_header h[API_MAX_HEADERS];
	_cleanup_(buf_fini) struct buf packed = BUF_INIT;
	size_t n = api_answer_headers(req, content_type, h);

	if (status >= 500)
		api_count(req->srv, COUNT_errors_5xx);
	else if (status >= 400)
		api_count(req->srv, COUNT_errors_4xx);
	if (str_has_prefix(str_from(content_type), STR("application/json")))
		audit_keep_answer(req, buf_str(body));
	if (req->accept.gzip && body->n >= GZIP_MIN && !req->local && gzip(body, &packed)) {
		h[n++] = (struct http_header){STR("Content-Encoding"), STR("gzip")};
		h[n++] = (struct http_header){STR("Vary"), STR("Accept-Encoding")};
		buf_fini(body);
		*body = packed;
		buf_init(&packed, BUF_NO_LIMIT);
	}
	req->http_status = status;
	/* Before it leaves: what the request points to is its maker's, who may let go of it then. */
	audit_event(req, AUDIT_RESPONSE_COMPLETE);
	req->responder->respond(req, status, h, n, body);
	buf_fini(body);
	api_request_finish(req);
	return STEP_DONE;
}

enum step_result api_answer_tagged(struct api_request *req, const char *content_type, struct str tag, struct buf *body)
{
	req->etag = arena_sprintf(&req->arena, "\"%.*s\"", STR_FMT(tag));
	req->vary = STR("Accept");
	if (str_eq(http_header_get(&req->headers, "if-none-match"), req->etag)) {
		buf_clear(body);
		return api_answer_bytes(req, 304, content_type, body);
	}
	return api_answer_bytes(req, 200, content_type, body);
}

static enum step_result answer_doc_text(struct api_request *req, int status, const struct json *doc)
{
	struct buf out = BUF_INIT;

	if (req->accept.media == MEDIA_YAML) {
		yaml_print(&out, doc);
	} else {
		json_print(&out, doc, req->accept.pretty ? JSON_PRETTY2 : JSON_COMPACT);
		buf_add1(&out, '\n');
	}
	return api_answer_bytes(req, status, api_media_type(req->accept.media), &out);
}

enum step_result api_answer_dom(struct api_request *req, int status, const struct schema_type *t, struct json *doc)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct str raw;

	if (req->accept.media < MEDIA_PROTOBUF || !t)
		return answer_doc_text(req, status, doc);
	if (api_dom_encode(&req->arena, t, doc, &raw, &e) < 0)
		return api_fail_err(req, &e);
	if (req->accept.media == MEDIA_PROTOBUF)
		codec_wrap(&out, json_cstr(json_getc(doc, "apiVersion")), json_cstr(json_getc(doc, "kind")), raw);
	else
		buf_adds(&out, raw);
	return api_answer_bytes(req, status, api_media_type(req->accept.media), &out);
}

/* PartialObjectMetadata has the metadata in the same field as every object: cut all else off. */
struct str api_partial_of(struct arena *a, struct str raw)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	wire_add_bytes(&b, 1, storage_field(raw, 1));
	return arena_str(a, buf_str(&b));
}

enum step_result api_answer_stored(struct api_request *req, int status, struct str raw, uint64_t rv)
{
	const struct schema_type *t = resource_type(req->res);
	const char *version = req->res->api_version, *kind = req->res->kind;
	char room[STR_U64_SIZE];
	struct codec_opts opts = {.resource_version = rv ? str_u64(rv, room) : STR_NULL};
	_cleanup_(buf_fini) struct buf with_rv = BUF_INIT;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct json *doc;

	if (req->accept.as == AS_TABLE)
		return api_answer_table(req, status, raw, rv);
	if (req->accept.as != AS_OBJECT) {
		raw = api_partial_of(&req->arena, raw);
		t = schema_type_find("meta.v1.PartialObjectMetadata");
		version = req->accept.v1beta1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
		kind = "PartialObjectMetadata";
	}
	opts.api_version = version;
	opts.kind = kind;
	switch (req->accept.media) {
	case MEDIA_PROTOBUF_RAW:
		storage_with_rv(&out, raw, rv);
		break;
	case MEDIA_PROTOBUF:
		storage_with_rv(&with_rv, raw, rv);
		codec_wrap(&out, version, kind, buf_str(&with_rv));
		break;
	default:
		if (req->accept.media == MEDIA_YAML || req->accept.pretty) {
			if (codec_wire_to_dom(&req->arena, t, raw, &opts, &doc, &e) < 0)
				return api_fail_err(req, &e);
			return answer_doc_text(req, status, doc);
		}
		buf_reserve(&out, raw.n + raw.n / 2);
		if (codec_wire_to_json(&out, t, raw, &opts, &e) < 0) {
			buf_fini(&out);
			return api_fail_err(req, &e);
		}
		buf_add1(&out, '\n');
	}
	return api_answer_bytes(req, status, api_media_type(req->accept.media), &out);
}

/* --- Status ------------------------------------------------------------------------------------------------ */

int api_failure_status(const struct api_failure *f)
{
	return f->http_status ? f->http_status : err_http_status(f->err.code);
}

static struct json *causes_dom(struct arena *a, const struct api_failure *f)
{
	struct json *list = json_new_array(a);

	for (size_t i = 0; i < f->n_causes; i++) {
		struct json *c = json_new_object(a);

		json_setc(a, c, "reason", json_new_str(a, f->causes[i].reason));
		json_setc(a, c, "message", json_new_lossy(a, f->causes[i].message));
		json_setc(a, c, "field", json_new_lossy(a, f->causes[i].field));
		json_push(a, list, c);
	}
	return list;
}

static void set_unless_empty(struct arena *a, struct json *o, const char *key, struct str v)
{
	if (v.n > 0)
		json_setc(a, o, key, json_new_lossy(a, v));
}

/* What is told came from who is told, so that it may be any bytes. */
struct json *api_status_dom(struct api_request *req, const struct api_failure *f)
{
	struct arena *a = &req->arena;
	struct json *s = json_new_object(a), *d = json_new_object(a);

	json_setc(a, s, "kind", json_newc(a, "Status"));
	json_setc(a, s, "apiVersion", json_newc(a, "v1"));
	json_setc(a, s, "metadata", json_new_object(a));
	set_unless_empty(a, json_getc(s, "metadata"), "continue", f->continue_token);
	json_setc(a, s, "status", json_newc(a, "Failure"));
	json_setc(a, s, "message", json_new_lossy(a, f->message.p ? f->message : str_from(f->err.text)));
	if (!f->reason || f->reason[0])
		json_setc(a, s, "reason", json_newc(a, f->reason ? f->reason : err_reason(f->err.code)));
	if (f->has_details) {
		set_unless_empty(a, d, "name", f->name);
		set_unless_empty(a, d, "group", f->group);
		set_unless_empty(a, d, "kind", f->kind);
		set_unless_empty(a, d, "uid", f->uid);
	}
	if (f->n_causes > 0)
		json_setc(a, d, "causes", causes_dom(a, f));
	if (f->retry_after_s > 0)
		json_setc(a, d, "retryAfterSeconds", json_new_int(a, f->retry_after_s));
	if (json_len(d) > 0 || f->has_details || f->err.code == ERR_NOT_FOUND || f->err.code == ERR_METHOD_NOT_ALLOWED)
		json_setc(a, s, "details", d);
	json_setc(a, s, "code", json_new_int(a, api_failure_status(f)));
	return s;
}

void api_answer_failure(struct api_request *req)
{
	struct json *status = api_status_dom(req, &req->fail);
	int code = api_failure_status(&req->fail);

	if (code >= 500)
		log_info("apiserver", "%.*s %.*s user=%.*s status=%d: %.*s", STR_FMT(req->method), STR_FMT(req->target),
				STR_FMT(req->user.name), code, STR_FMT(req->fail.message));
	req->accept.as = AS_OBJECT;
	/* 499 is not a status that clients know. */
	api_answer_dom(req, code == 499 ? 503 : code, schema_type_find("meta.v1.Status"), status);
}

enum step_result api_answer_success(struct api_request *req, struct str name, struct str uid)
{
	struct arena *a = &req->arena;
	struct json *s = json_new_object(a), *d = json_new_object(a);

	json_setc(a, s, "kind", json_newc(a, "Status"));
	json_setc(a, s, "apiVersion", json_newc(a, "v1"));
	json_setc(a, s, "metadata", json_new_object(a));
	json_setc(a, s, "status", json_newc(a, "Success"));
	set_unless_empty(a, d, "name", name);
	set_unless_empty(a, d, "group", str_from(req->res->group));
	json_setc(a, d, "kind", json_newc(a, req->res->plural));
	set_unless_empty(a, d, "uid", uid);
	json_setc(a, s, "details", d);
	return api_answer_dom(req, 200, schema_type_find("meta.v1.Status"), s);
}
