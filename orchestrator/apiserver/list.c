/*
 * Lists: from a range of keys, at one revision, what is selected, in the form that is wanted.
 *
 *	api__list:  list_range: keys and revision, out of the path, resourceVersion or a continue token
 *	            > api_list_stream, when it is large and can leave in pieces (list_stream.c); else here, whole:
 *	            > list_scan: objects into a struct list_out > list_answer: around them what makes it a list
 *
 * A continue token names the revision and the key to go on at, so that all pages are of one state; one whose revision has been compacted
 * is answered with a token for the present. Objects that a webhook is to convert first are collected by the scan, and
 * the list is made again, at the same revision, when they have been. deletecollection takes its pages (names only) and its answer from the same range.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/jws.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/list_count.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/tables.h"
#include "proto/codec.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"
#include "store/view.h"

/* --- Continue tokens: {"v":"meta.k8s.io/v1","rv":N,"start":"ns/name"} in base64url --------------------------------- */

static struct str token_make(struct arena *a, int64_t rv, struct str start)
{
	struct json *t = json_new_object(a);

	json_setc(a, t, "v", json_newc(a, "meta.k8s.io/v1"));
	json_setc(a, t, "rv", json_new_int(a, rv));
	json_setc(a, t, "start", json_new_str(a, start));
	return jws_base64url(a, json_text(a, t));
}

static enum step_result token_read(struct api_request *req, int64_t *ret_rv, struct str *ret_start)
{
	struct str text;
	struct json *t;

	const char *why = NULL;

	if (!jws_base64url_decode(&req->arena, req->opt.continue_token, &text))
		why = ": it is no base64";
	else if (json_parse(&req->arena, text, NULL, &t, NULL) < 0 || !json_is(t, JSON_OBJECT))
		why = ": it was not given by this server";
	else if (!json_eqc(json_getc(t, "v"), "meta.k8s.io/v1"))
		why = ": server does not recognize this encoded version";
	else if (!json_i64(json_getc(t, "rv"), ret_rv) || *ret_rv == 0)
		why = ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
	else if (json_str(json_getc(t, "start")).n == 0)
		why = ": encoded start key empty (version meta.k8s.io/v1)";
	if (why)
		return api_fail(req, ERR_BAD_REQUEST, "invalid continue token: continue key is not valid%s", why);
	*ret_start = json_str(json_getc(t, "start"));
	return STEP_NEXT;
}

/* --- Lists ---------------------------------------------------------------------------------------------------------- */

/* A list being written, in whichever form. */
struct list_out {
	struct api_request *req;
	const struct schema_type *type;
	struct buf items;
	struct json *table;
	enum table_include include;
	int64_t now;
	bool first;
	size_t n, bytes; /* objects, and what is stored of them */
};

static int list_add(struct list_out *o, struct str raw, uint64_t rv, struct err *e)
{
	struct api_request *req = o->req;
	char text[24];
	struct codec_opts opts = {.resource_version = str_of(text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, rv))};
	_cleanup_(buf_fini) struct buf with_rv = BUF_INIT;
	struct json *doc;

	o->n++;
	o->bytes += raw.n;
	if (req->accept.as == AS_TABLE) {
		if (codec_wire_to_dom(&req->arena, o->type, raw, &opts, &doc, e) < 0)
			return -e->code;
		table_add(&req->arena, o->table, req->res, doc, o->include, o->now);
		return 0;
	}
	if (req->accept.as != AS_OBJECT)
		raw = api_partial_of(&req->arena, raw);
	if (req->accept.media >= MEDIA_PROTOBUF) {
		storage_with_rv(&with_rv, raw, rv);
		wire_add_bytes(&o->items, 2, buf_str(&with_rv));
		return 0;
	}
	return codec_json_list_item(&o->items, o->type, raw, opts.resource_version, &o->first, e);
}

static enum step_result list_answer(struct list_out *o, const struct codec_list_meta *meta)
{
	struct api_request *req = o->req;
	const char *kind = req->res->list_kind, *version = req->res->api_version;
	_cleanup_(buf_fini) struct buf plain = BUF_INIT;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct json *doc;

	if (req->accept.as == AS_TABLE) {
		api_table_list_meta(&req->arena, o->table, meta);
		return api_answer_table_doc(req, 200, o->table);
	}
	if (req->accept.as != AS_OBJECT) {
		kind = "PartialObjectMetadataList";
		version = req->accept.v1beta1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
	}
	if (req->accept.media == MEDIA_PROTOBUF_RAW) {
		codec_wire_list_begin(&out, meta);
		buf_adds(&out, buf_str(&o->items));
	} else if (req->accept.media == MEDIA_PROTOBUF) {
		codec_wire_list_begin(&plain, meta);
		buf_adds(&plain, buf_str(&o->items));
		codec_wrap(&out, version, kind, buf_str(&plain));
	} else {
		codec_json_list_begin(&out, kind, version, meta);
		buf_adds(&out, buf_str(&o->items));
		codec_json_list_end(&out);
		if (req->accept.media == MEDIA_YAML || req->accept.pretty) {
			int r = json_parse(&req->arena, buf_str(&out), NULL, &doc, &e);

			buf_fini(&out);
			if (r < 0)
				return api_fail_err(req, &e);
			return api_answer_dom(req, 200, NULL, doc);
		}
		buf_add1(&out, '\n');
	}
	return api_answer_bytes(req, 200, api_media_type(req->accept.media), &out);
}

static enum step_result expired(struct api_request *req, int64_t now, struct str start)
{
	if (req->opt.continue_token.n == 0)
		return api_fail(req, ERR_EXPIRED, "The resourceVersion for the provided list is too old.");
	api_fail(req, ERR_EXPIRED,
			"The provided continue parameter is too old to display a consistent list result. You can start a new "
			"list without the continue parameter, or use the continue token in this response to retrieve the "
			"remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
			"that were created, modified, or deleted between the time the first chunk was returned and now may show "
			"up in the list.");
	req->fail.continue_token = token_make(&req->arena, now, start);
	return STEP_FAIL;
}

enum step_result api_fail_list(struct api_request *req, const struct err *e, int64_t now, struct str start)
{
	return e->code == ERR_EXPIRED ? expired(req, now, start) : api_fail_err(req, e);
}

/* Objects of the range into `o`, until the limit. */
static enum step_result list_scan(struct list_out *o, struct api_list_scan *s, struct store_view *v,
		const struct api_selection *sel)
{
	struct api_request *req = o->req;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;
	size_t pending = 0;
	int r;

	view_iter_init(&it, v, s->key, s->end, s->rev, 0);
	while ((r = view_iter_next(&it, &kv, &e)) > 0) {
		struct str raw;

		/* Where all are selected, that there is one more says enough: nobody has to convert it. */
		if (sel->all && req->opt.limit > 0 && o->n >= (size_t)req->opt.limit) {
			s->more = true;
			r = 0;
			break;
		}
		r = storage_unwrap_as(&req->arena, req->res, kv.key, kv.value, convert_conversions(req), &raw, &e);
		/* Those that are to be converted first are collected, as if all of them were selected. */
		if (r == -ERR_PENDING && (req->opt.limit <= 0 || o->n + ++pending < (size_t)req->opt.limit))
			continue;
		if (r < 0)
			break;
		if (!api_selection_matches(sel, raw))
			continue;
		if (req->opt.limit > 0 && o->n >= (size_t)req->opt.limit) {
			s->more = true;
			r = 0;
			break;
		}
		s->last = arena_str(&req->arena, kv.key);
		r = list_add(o, raw, (uint64_t)kv.mod_revision, &e);
		if (r < 0)
			break;
	}
	view_iter_fini(&it);
	if ((r >= 0 || r == -ERR_PENDING) && convert_wants(req->conv))
		return api_convert(req);
	return r >= 0 ? STEP_NEXT : api_fail_list(req, &e, view_revision(v), s->start);
}

static enum step_result list_range(struct api_request *req, struct api_list_scan *s, struct store_view *v)
{
	struct str rv = req->opt.resource_version;
	uint64_t n = 0;

	api_key_range(req, &s->key, &s->end);
	s->prefix = storage_prefix(&req->arena, req->res, req->at.ns);
	s->rev = view_revision(v);
	/* What has to wait for conversions goes on with what it began with. */
	if (req->conv && *convert_revision(req->conv) == 0)
		*convert_revision(req->conv) = s->rev;
	if (req->conv)
		s->rev = *convert_revision(req->conv);
	if (req->opt.continue_token.n > 0) {
		int64_t at;

		if (rv.n > 0 && !str_eqc(rv, "0"))
			return api_fail(req, ERR_BAD_REQUEST, "specifying resource version is not allowed when using continue");
		if (token_read(req, &at, &s->start) != STEP_NEXT)
			return STEP_FAIL;
		if (at > 0)
			s->rev = at;
		s->key = arena_sprintf(&req->arena, "%.*s%.*s", STR_FMT(s->prefix), STR_FMT(s->start));
		s->key.n++; /* with its NUL: the first key behind */
		s->end = storage_end(&req->arena, s->prefix);
	} else if (str_to_u64(rv, &n) && n > 0 &&
			(str_eqc(req->opt.resource_version_match, "Exact") ||
					(req->opt.resource_version_match.n == 0 && req->opt.limit > 0))) {
		/* A first page at a version without a match is of just that version, as it was before there were matches. */
		s->rev = (int64_t)n;
	}
	return STEP_NEXT;
}

void api_list_counted(struct api_request *req, struct api_list_scan *s, const struct list_count *c)
{
	s->counted = true;
	s->rest = c->rest;
	s->more = c->more;
	s->last = arena_str(&req->arena, buf_str(&c->last));
}

void api_list_meta(struct api_request *req, const struct api_list_scan *s, struct store_view *v, bool all,
		struct codec_list_meta *ret)
{
	struct err e = ERR_INIT;
	struct str behind;
	int64_t left;

	*ret = (struct codec_list_meta)CODEC_LIST_META_INIT;
	ret->resource_version = arena_sprintf(&req->arena, "%" PRId64, s->rev);
	if (!s->more)
		return;
	behind = arena_str(&req->arena, s->last);
	behind.n++;
	ret->continue_token = token_make(&req->arena, s->rev, str_skip(s->last, s->prefix.n));
	if (s->counted)
		ret->remaining = s->rest;
	else if (all && view_count(v, behind, s->end, s->rev, &left, &e) == 0)
		ret->remaining = left;
}

/* What the request wants of the objects that it is answered with. */
static enum step_result list_out_begin(struct list_out *o, struct api_request *req)
{
	*o = (struct list_out){.req = req, .items = BUF_INIT, .first = true, .now = clock_wall_s()};
	if (!table_include_parse(api_query_get(&req->query, "includeObject"), &o->include))
		return api_fail(req, ERR_BAD_REQUEST, "unrecognized includeObject value: \"%.*s\"",
				STR_FMT(api_query_get(&req->query, "includeObject")));
	if (req->accept.as == AS_PARTIAL && req->at.verb == API_LIST)
		return api__wrong_form(req, "PartialObjectMetadata", "a", "List");
	o->type = req->accept.as == AS_PARTIAL || req->accept.as == AS_PARTIAL_LIST ?
				 schema_type_find("meta.v1.PartialObjectMetadata") : resource_type(req->res);
	if (req->accept.as == AS_TABLE)
		o->table = table_new(&req->arena, req->res, NULL);
	return STEP_NEXT;
}

/* The list that the request asks for, of this range. */
static enum step_result list_answer_range(struct api_request *req, const struct api_selection *sel, struct api_list_scan *s,
		struct store_view *v)
{
	struct codec_list_meta meta = CODEC_LIST_META_INIT;
	struct list_out o;
	enum step_result r = list_out_begin(&o, req);

	if (r == STEP_NEXT)
		r = api_list_stream(req, s, v, sel);
	if (r == STEP_NEXT)
		r = list_scan(&o, s, v, sel);
	if (r == STEP_NEXT)
		flow_list_size(req, o.bytes, false);
	if (r == STEP_NEXT)
		api_list_meta(req, s, v, sel->all, &meta);
	if (r == STEP_NEXT)
		r = list_answer(&o, &meta);
	buf_fini(&o.items);
	return r;
}

enum step_result api__list(struct api_request *req)
{
	struct api_list_scan s = {0};
	struct api_selection sel;
	struct store_view *v;
	struct err e = ERR_INIT;
	enum step_result r = api_selection_parse(req, &sel);

	if (r != STEP_NEXT)
		return r;
	if (store_view_open_at(req->srv->store, req->barrier.index, &v, &e) < 0)
		return api_fail_err(req, &e);
	r = list_range(req, &s, v);
	if (r == STEP_NEXT)
		r = list_answer_range(req, &sel, &s, v);
	store_view_close(v);
	return r;
}

/* --- Collections ---------------------------------------------------------------------------------------------------------- */

enum step_result api_range_begin(struct api_request *req, struct api_list_scan *s)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	enum step_result r;

	if (store_view_open_at(req->srv->store, req->barrier.index, &v, &e) < 0)
		return api_fail_err(req, &e);
	*s = (struct api_list_scan){0};
	r = list_range(req, s, v);
	store_view_close(v);
	return r;
}

enum step_result api_select_page(struct api_request *req, const struct api_selection *sel, struct api_list_scan *s, size_t max,
		struct arena *a, struct api_selected *ret)
{
	/* Who wants the names of all only can take them as they are. */
	struct custom_conversions *conv = sel->all ? NULL : convert_conversions(req);
	struct str raw, start = s->key, at = STR_NULL;
	size_t cap = 0, looked = 0, bytes = 0;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct storage_meta m;
	struct arena one; /* of one object */
	struct err e = ERR_INIT;
	int r = 1;

	if (store_view_open_at(req->srv->store, req->barrier.index, &v, &e) < 0)
		return api_fail_err(req, &e);
	*ret = (struct api_selected){0};
	s->more = false;
	arena_init(&one);
	view_iter_init(&it, v, start, s->end, s->rev, 0);
	/* What waits for a webhook is selected as a whole. */
	while (ret->n < max && (conv || (looked < LIST_LOOK_OBJECTS && bytes < LIST_LOOK_BYTES)) && (r = view_iter_next(&it, &kv, &e)) > 0) {
		arena_fini(&one);
		at = kv.key;
		looked++;
		bytes += kv.value.n;
		if (storage_unwrap_as(&one, req->res, kv.key, kv.value, conv, &raw, &e) < 0 || !api_selection_matches(sel, raw) ||
				!storage_meta(raw, &m))
			continue;
		if (ret->n == cap) {
			size_t more = cap ? cap * 2 : 16;

			ret->items = arena_grow(a, ret->items, cap * sizeof(*ret->items), more * sizeof(*ret->items));
			cap = more;
		}
		ret->items[ret->n++] = (struct api_selected_item){.name = arena_str(a, m.name), .ns = arena_str(a, m.ns)};
	}
	s->more = r > 0 && at.n > 0 && s->end.n > 0;
	if (s->more) {
		s->key = arena_str(a, at);
		s->key.n++; /* with its NUL: the first key behind */
	}
	view_iter_fini(&it);
	arena_fini(&one);
	store_view_close(v);
	if (r >= 0 && conv && convert_wants(req->conv))
		return api_convert(req);
	if (r >= 0)
		return STEP_NEXT;
	if (e.code != ERR_EXPIRED)
		return api_fail_err(req, &e);
	return STEP_FAIL;
}

enum step_result api_answer_range(struct api_request *req, const struct api_selection *sel, const struct api_list_scan *range)
{
	struct api_list_scan s = *range;
	struct store_view *v;
	struct err e = ERR_INIT;
	enum step_result r;

	if (store_view_open_at(req->srv->store, req->barrier.index, &v, &e) < 0)
		return api_fail_err(req, &e);
	r = list_answer_range(req, sel, &s, v);
	store_view_close(v);
	return r;
}
