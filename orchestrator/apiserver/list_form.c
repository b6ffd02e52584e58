#include "orchestrator/apiserver/list_form.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/attrs.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/tables.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"
#include "proto/yaml.h"

/* By copying, and by way of a tree. */
#define SLICE_FAST (256u << 10)
#define SLICE_SLOW (48u << 10)

bool list_form_init(struct list_form *f, struct api_request *req)
{
	const struct api_accept *accept = &req->accept;
	bool yaml = accept->media == MEDIA_YAML, json = accept->media == MEDIA_JSON;

	*f = (struct list_form){.req = req, .now = clock_wall_s(), .first = true, .type = resource_type(req->res)};
	if (accept->as == AS_TABLE) {
		f->kind = FORM_TABLE;
		f->slice = SLICE_SLOW;
		return json && !accept->pretty && table_include_parse(api_query_get(&req->query, "includeObject"), &f->include);
	}
	f->partial = accept->as != AS_OBJECT;
	if (f->partial)
		f->type = schema_type_find("meta.v1.PartialObjectMetadata");
	f->kind = yaml ? FORM_YAML : accept->media == MEDIA_PROTOBUF ? FORM_PROTOBUF : accept->pretty ? FORM_PRETTY : FORM_JSON;
	f->slice = f->kind == FORM_YAML || f->kind == FORM_PRETTY ? SLICE_SLOW : SLICE_FAST;
	return yaml || json || accept->media == MEDIA_PROTOBUF;
}

/* --- What stands around the objects ------------------------------------------------------------------------------------- */

static void list_kind(const struct list_form *f, const char **ret_kind, const char **ret_version)
{
	const struct api_request *req = f->req;

	*ret_kind = f->partial ? "PartialObjectMetadataList" : req->res->list_kind;
	*ret_version = !f->partial ? req->res->api_version : req->accept.v1beta1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

static struct json *list_doc(const struct list_form *f, const struct codec_list_meta *meta)
{
	struct arena *a = &f->req->arena;
	struct json *doc = json_new_object(a);
	const char *kind, *version;

	list_kind(f, &kind, &version);
	json_setc(a, doc, "kind", json_newc(a, kind));
	json_setc(a, doc, "apiVersion", json_newc(a, version));
	api_table_list_meta(a, doc, meta);
	return doc;
}

/* Keys are sorted: the items stand between the first two and the rest. */
static void yaml_frame(const struct list_form *f, const struct codec_list_meta *meta, struct buf *head, struct buf *tail)
{
	struct json *doc = list_doc(f, meta), *first = json_new_object(&f->req->arena);

	json_setc(&f->req->arena, first, "apiVersion", json_getc(doc, "apiVersion"));
	json_delc(doc, "apiVersion");
	yaml_print(head, first);
	buf_addc(head, "items:\n");
	yaml_print(tail, doc);
}

/* The text of a document whose last member is an empty list, cut open where its elements stand. */
static void cut_open(const struct json *doc, unsigned flags, const char *end, struct buf *head)
{
	struct str close = str_from(end);

	json_print(head, doc, flags);
	ASSERT(str_has_suffix(buf_str(head), close));
	head->n -= close.n;
}

static void table_frame(const struct list_form *f, const struct codec_list_meta *meta, struct buf *head, struct buf *tail)
{
	struct arena *a = &f->req->arena;
	struct json *table = table_new(a, f->req->res, NULL);

	if (f->req->accept.v1beta1)
		json_setc(a, table, "apiVersion", json_newc(a, "meta.k8s.io/v1beta1"));
	api_table_list_meta(a, table, meta);
	cut_open(table, JSON_COMPACT, "]}", head);
	buf_addc(tail, "]}\n");
}

static void pretty_frame(const struct list_form *f, const struct codec_list_meta *meta, struct buf *head, struct buf *tail)
{
	struct json *doc = list_doc(f, meta);

	json_setc(&f->req->arena, doc, "items", json_new_array(&f->req->arena));
	cut_open(doc, JSON_PRETTY2, "]\n}", head);
	buf_addc(tail, "\n  ]\n}\n");
}

/* The envelope around nothing, cut where its content stands: field 2 with length 0. */
static void protobuf_frame(const struct list_form *f, const struct codec_list_meta *meta, size_t items, struct buf *head,
		struct buf *tail)
{
	_cleanup_(buf_fini) struct buf begin = BUF_INIT, whole = BUF_INIT;
	const char *kind, *version;
	size_t at;

	list_kind(f, &kind, &version);
	codec_wire_list_begin(&begin, meta);
	codec_wrap(&whole, version, kind, STR(""));
	at = whole.n - 6; /* behind it come two empty fields of two bytes */
	buf_add(head, whole.p, at + 1);
	wire_add_varint(head, begin.n + items);
	buf_adds(head, buf_str(&begin));
	buf_add(tail, whole.p + at + 2, whole.n - at - 2);
}

void list_form_frame(const struct list_form *f, const struct codec_list_meta *meta, size_t items, struct buf *head,
		struct buf *tail)
{
	const char *kind, *version;

	switch (f->kind) {
	case FORM_TABLE:
		table_frame(f, meta, head, tail);
		return;
	case FORM_YAML:
		yaml_frame(f, meta, head, tail);
		return;
	case FORM_PRETTY:
		pretty_frame(f, meta, head, tail);
		return;
	case FORM_PROTOBUF:
		protobuf_frame(f, meta, items, head, tail);
		return;
	case FORM_JSON:
		list_kind(f, &kind, &version);
		codec_json_list_begin(head, kind, version, meta);
		codec_json_list_end(tail);
		buf_add1(tail, '\n');
		return;
	}
}

/* --- The objects ---------------------------------------------------------------------------------------------------------- */

static struct str seen(const struct list_form *f, struct arena *a, struct str raw)
{
	return f->partial ? api_partial_of(a, raw) : raw;
}

size_t list_form_size(const struct list_form *f, struct arena *a, struct str raw, uint64_t rv)
{
	size_t n;

	if (f->kind != FORM_PROTOBUF)
		return 0;
	n = storage_with_rv_size(seen(f, a, raw), rv);
	return 1 + wire_varint_size(n) + n;
}

static void add_protobuf(struct buf *out, struct str raw, uint64_t rv)
{
	size_t n = storage_with_rv_size(raw, rv), at;

	wire_add_tag(out, 2, WIRE_BYTES);
	wire_add_varint(out, n);
	at = out->n;
	storage_with_rv(out, raw, rv);
	ASSERT(out->n == at + n);
}

/* The lines of a text behind an indent, the first behind another one; empty lines stay empty. */
static void add_indented(struct buf *out, struct str text, const char *first, const char *indent)
{
	const char *before = first;
	struct str line;

	while (text.n > 0) {
		str_cut(text, '\n', &line, &text);
		if (line.n > 0)
			buf_printf(out, "%s%.*s", before, STR_FMT(line));
		buf_add1(out, '\n');
		before = indent;
	}
}

/* By way of the compact text, so that members stand in the same order in every form. */
static int add_text(struct list_form *f, struct arena *a, struct str raw, struct str version, struct buf *out, struct err *e)
{
	_cleanup_(buf_fini) struct buf compact = BUF_INIT, text = BUF_INIT;
	struct codec_opts opts = {.resource_version = version, .bare = true};
	struct json *doc;

	if (codec_wire_to_json(&compact, f->type, raw, &opts, e) < 0 || json_parse(a, buf_str(&compact), NULL, &doc, e) < 0)
		return -e->code;
	if (f->kind == FORM_YAML) {
		yaml_print(&text, doc);
		add_indented(out, buf_str(&text), "- ", "  ");
		return 0;
	}
	json_print(&text, doc, JSON_PRETTY2);
	buf_addc(out, f->first ? "\n" : ",\n");
	f->first = false;
	add_indented(out, buf_str(&text), "    ", "    ");
	out->n--; /* a comma or the end comes behind it */
	return 0;
}

static int add_row(struct list_form *f, struct arena *a, struct str raw, struct str version, struct buf *out, struct err *e)
{
	struct codec_opts opts = {.resource_version = version};
	struct json *doc, *rows = json_new_object(a);

	if (codec_wire_to_dom(a, f->type, raw, &opts, &doc, e) < 0)
		return -e->code;
	buf_addc(out, f->first ? "" : ",");
	f->first = false;
	json_setc(a, rows, "rows", json_new_array(a));
	table_add(a, rows, f->req->res, doc, f->include, f->now);
	json_print(out, json_at(json_getc(rows, "rows"), 0), JSON_COMPACT);
	return 0;
}

int list_form_add(struct list_form *f, struct arena *a, struct str raw, uint64_t rv, struct buf *out, struct err *e)
{
	char text[24];
	struct str version = str_of(text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, rv));

	raw = seen(f, a, raw);
	if (f->kind == FORM_PROTOBUF) {
		add_protobuf(out, raw, rv);
		return 0;
	}
	if (f->kind == FORM_JSON)
		return codec_json_list_item(out, f->type, raw, version, &f->first, e);
	return f->kind == FORM_TABLE ? add_row(f, a, raw, version, out, e) : add_text(f, a, raw, version, out, e);
}
