#include "orchestrator/apiserver/tables.h"

#include <inttypes.h>

#include "base/clock.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/resource.h"

struct json *api_table_of(struct arena *a, struct api_request *req, struct str raw, uint64_t rv, bool columns, struct err *e)
{
	struct codec_opts opts = {.resource_version = arena_sprintf(a, "%" PRIu64, rv)};
	enum table_include include = TABLE_METADATA;
	struct json *doc, *meta = json_new_object(a), *table;

	if (codec_wire_to_dom(a, resource_type(req->res), raw, &opts, &doc, e) < 0)
		return NULL;
	table_include_parse(api_query_get(&req->query, "includeObject"), &include);
	json_setc(a, meta, "resourceVersion", json_newf(a, "%" PRIu64, rv));
	table = table_new(a, req->res, meta);
	table_add(a, table, req->res, doc, include, clock_wall_s());
	if (!columns)
		json_setc(a, table, "columnDefinitions", json_new_null(a));
	if (req->accept.v1beta1)
		json_setc(a, table, "apiVersion", json_newc(a, "meta.k8s.io/v1beta1"));
	return table;
}

enum step_result api_answer_table(struct api_request *req, int status, struct str raw, uint64_t rv)
{
	struct err e = ERR_INIT;
	struct json *table = api_table_of(&req->arena, req, raw, rv, true, &e);

	return table ? api_answer_dom(req, status, NULL, table) : api_fail_err(req, &e);
}

enum step_result api_answer_table_doc(struct api_request *req, int status, struct json *table)
{
	if (req->accept.v1beta1)
		json_setc(&req->arena, table, "apiVersion", json_newc(&req->arena, "meta.k8s.io/v1beta1"));
	return api_answer_dom(req, status, NULL, table);
}

void api_table_list_meta(struct arena *a, struct json *table, const struct codec_list_meta *m)
{
	struct json *meta = api_meta(a, table);

	json_setc(a, meta, "resourceVersion", json_new_str(a, m->resource_version));
	if (m->continue_token.n > 0)
		json_setc(a, meta, "continue", json_new_str(a, m->continue_token));
	if (m->remaining >= 0)
		json_setc(a, meta, "remainingItemCount", json_new_int(a, m->remaining));
}

enum step_result api_answer_made(struct api_request *req, struct json *items)
{
	struct arena *a = &req->arena;
	enum table_include include = TABLE_METADATA;
	struct json *doc;

	if (req->at.name.n > 0 && json_len(items) == 0)
		return api_fail_not_found(req, req->res, req->at.name);
	if (req->accept.as == AS_TABLE) {
		table_include_parse(api_query_get(&req->query, "includeObject"), &include);
		doc = table_new(a, req->res, NULL);
		JSON_ITEMS (obj, items)
			table_add(a, doc, req->res, obj, include, clock_wall_s());
		return api_answer_table_doc(req, 200, doc);
	}
	if (req->at.name.n > 0)
		return api_answer_dom(req, 200, resource_type(req->res), json_at(items, 0));
	doc = json_new_object(a);
	json_setc(a, doc, "kind", json_newc(a, req->res->list_kind));
	json_setc(a, doc, "apiVersion", json_newc(a, req->res->api_version));
	json_setc(a, doc, "metadata", json_new_object(a));
	JSON_ITEMS (obj, items) {
		json_delc(obj, "kind");
		json_delc(obj, "apiVersion");
	}
	json_setc(a, doc, "items", items);
	return api_answer_dom(req, 200, resource_list_type(req->res), doc);
}
