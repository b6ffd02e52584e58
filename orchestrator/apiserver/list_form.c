#include "orchestrator/apiserver/list_form.h"

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
	f->table = accept->as == AS_TABLE;
	f->partial = accept->as != AS_OBJECT && !f->table;
	if (f->partial)
		f->type = schema_type_find("meta.v1.PartialObjectMetadata");
	f->kind = yaml ? FORM_YAML : accept->media == MEDIA_PROTOBUF ? FORM_PROTOBUF : accept->pretty ? FORM_PRETTY : FORM_JSON;
	f->slice = f->kind == FORM_YAML || f->kind == FORM_PRETTY || f->table ? SLICE_SLOW : SLICE_FAST;
	if (f->table)
		return (yaml || json) && table_include_parse(api_query_get(&req->query, "includeObject"), &f->include);
	return yaml || json || accept->media == MEDIA_PROTOBUF;
}

/* --- What stands around the objects ------------------------------------------------------------------------------------- */

static void list_kind(const struct list_form *f, const char **ret_kind, const char **ret_version)
{
	const struct api_request *req = f->req;

	*ret_kind = f->partial ? "PartialObjectMetadataList" : req->res->list_kind;
	*ret_version = !f->partial ? req->res->api_version : req->accept.v1beta1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

/* The list, or table, without what it is of. */
static struct json *list_doc(const struct list_form *f, const struct codec_list_meta *meta)
{
	struct arena *a = &f->req->arena;
	struct json *doc = f->table ? table_new(a, f->req->res, NULL) : json_new_object(a);
	const char *kind, *version;

	if (f->table) {
		if (f->req->accept.v1beta1)
			json_setc(a, doc, "apiVersion", json_newc(a, "meta.k8s.io/v1beta1"));
		json_delc(doc, "rows");
	} else {
		list_kind(f, &kind, &version);
		json_setc(a, doc, "kind", json_newc(a, kind));
		json_setc(a, doc, "apiVersion", json_newc(a, version));
	}
	api_table_list_meta(a, doc, meta);
	return doc;
}

static const char *elements(const struct list_form *f)
{
	return f->table ? "rows" : "items";
}

/* Keys are sorted: those before the elements' key stand in the head, the rest in the tail. */
static void yaml_frame(const struct list_form *f, const struct codec_list_meta *meta, struct buf *head, struct buf *tail)
{
	struct arena *a = &f->req->arena;
	struct json *doc = list_doc(f, meta), *before = json_new_object(a), *behind = json_new_object(a);
	struct str key = str_from(elements(f));

	JSON_MEMBERS (m, doc)
		json_set(a, str_cmp(m->key, key) < 0 ? before : behind, m->key, m->value);
	yaml_print(head, before);
	buf_adds(head, key);
	buf_addc(head, ":\n");
	if (json_len(behind) > 0)
		yaml_print(tail, behind);
}

/* The text of a document whose last member is an empty list, cut open where its elements stand. */
static void cut_open(const struct list_form *f, struct json *doc, unsigned flags, const char *end, struct buf *head)
{
	struct str close = str_from(end);

	json_setc(&f->req->arena, doc, elements(f), json_new_array(&f->req->arena));
	json_print(head, doc, flags);
	ASSERT(str_has_suffix(buf_str(head), close));
	head->n -= close.n;
}

static void json_frame(const struct list_form *f, const struct codec_list_meta *meta, struct buf *head, struct buf *tail)
{
	const char *kind, *version;

	if (f->table) {
		cut_open(f, list_doc(f, meta), JSON_COMPACT, "]}", head);
		buf_addc(tail, "]}\n");
		return;
	}
	list_kind(f, &kind, &version);
	codec_json_list_begin(head, kind, version, meta);
	codec_json_list_end(tail);
	buf_add1(tail, '\n');
}

static void pretty_frame(const struct list_form *f, const struct codec_list_meta *meta, struct buf *head, struct buf *tail)
{
	cut_open(f, list_doc(f, meta), JSON_PRETTY2, "]\n}", head);
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
	switch (f->kind) {
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
		json_frame(f, meta, head, tail);
		return;
	}
}

void list_form_end(const struct list_form *f, struct buf *tail)
{
	if (!f->first)
		return;
	/* An indented list that is empty ends on the line on which it begins; in YAML it is a flow sequence on a line of its own. */
	if (f->kind == FORM_PRETTY)
		buf_consume(tail, sizeof("\n  ") - 1);
	if (f->kind == FORM_YAML) {
		struct buf more = *tail;

		buf_init(tail, BUF_NO_LIMIT);
		buf_addc(tail, "  []\n");
		buf_adds(tail, buf_str(&more));
		buf_fini(&more);
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
static struct json *object_doc(struct list_form *f, struct arena *a, struct str raw, struct str version, struct err *e)
{
	_cleanup_(buf_fini) struct buf compact = BUF_INIT;
	struct codec_opts opts = {.resource_version = version, .bare = true};
	struct json *doc;

	if (codec_wire_to_json(&compact, f->type, raw, &opts, e) < 0 || json_parse(a, buf_str(&compact), NULL, &doc, e) < 0)
		return NULL;
	return doc;
}

static struct json *row_doc(struct list_form *f, struct arena *a, struct str raw, struct str version, struct err *e)
{
	struct codec_opts opts = {.resource_version = version};
	struct json *doc, *rows = json_new_object(a);

	if (codec_wire_to_dom(a, f->type, raw, &opts, &doc, e) < 0)
		return NULL;
	json_setc(a, rows, "rows", json_new_array(a));
	table_add(a, rows, f->req->res, doc, f->include, f->now);
	return json_at(json_getc(rows, "rows"), 0);
}

static void add_doc(struct list_form *f, const struct json *doc, struct buf *out)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	if (f->kind == FORM_YAML) {
		yaml_print(&text, doc);
		add_indented(out, buf_str(&text), "- ", "  ");
	} else if (f->kind == FORM_PRETTY) {
		json_print(&text, doc, JSON_PRETTY2);
		buf_addc(out, f->first ? "\n" : ",\n");
		add_indented(out, buf_str(&text), "    ", "    ");
		out->n--; /* a comma or the end comes behind it */
	} else {
		buf_addc(out, f->first ? "" : ",");
		json_print(out, doc, JSON_COMPACT);
	}
	f->first = false;
}

int list_form_add(struct list_form *f, struct arena *a, struct str raw, uint64_t rv, struct buf *out, struct err *e)
{
	char room[STR_U64_SIZE];
	struct str version = str_u64(rv, room);
	struct json *doc;

	raw = seen(f, a, raw);
	if (f->kind == FORM_PROTOBUF) {
		add_protobuf(out, raw, rv);
		return 0;
	}
	if (f->kind == FORM_JSON && !f->table)
		return codec_json_list_item(out, f->type, raw, version, &f->first, e);
	doc = f->table ? row_doc(f, a, raw, version, e) : object_doc(f, a, raw, version, e);
	if (!doc)
		return -e->code;
	add_doc(f, doc, out);
	return 0;
}
