#include "orchestrator/apiserver/client_remote.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/json.h"
#include "proto/schema.h"

#define TEXT_MAX 512

struct str client_remote_accept(bool list)
{
	return list ? STR("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json") :
		      STR("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json");
}

/* Of all that an object has, what every object has. */
static struct json *metadata_of(struct arena *a, const struct json *obj)
{
	struct json *out = json_new_object(a), *meta = json_getc(obj, "metadata");

	if (json_is(meta, JSON_OBJECT))
		json_setc(a, out, "metadata", meta);
	return out;
}

static int encode(struct arena *a, const char *type, struct json *doc, struct str *ret_raw, struct err *e)
{
	return api_dom_encode(a, schema_type_find(type), doc, ret_raw, e);
}

int client_remote_answer(struct arena *a, struct str json, struct str *ret_raw, struct err *e)
{
	struct json *doc, *items, *out, *list;

	if (json_parse(a, json, NULL, &doc, e) < 0)
		return err_prefix(e, "the aggregated server's answer");
	items = json_getc(doc, "items");
	out = metadata_of(a, doc);
	if (!json_is(items, JSON_ARRAY))
		return encode(a, "meta.v1.PartialObjectMetadata", out, ret_raw, e);
	list = json_new_array(a);
	JSON_ITEMS (it, items)
		json_push(a, list, metadata_of(a, it));
	json_setc(a, out, "items", list);
	return encode(a, "meta.v1.PartialObjectMetadataList", out, ret_raw, e);
}

void client_remote_refusal(struct arena *a, int status, struct str body, struct err *e)
{
	struct json *doc;
	struct str text = str_trim(str_sub(body, 0, MIN(body.n, (size_t)TEXT_MAX)));

	if (json_parse(a, body, NULL, &doc, NULL) == 0 && json_str(json_getc(doc, "message")).n > 0)
		text = json_str(json_getc(doc, "message"));
	err_set(e, err_from_http(status), "%.*s", STR_FMT(text));
}

int client_remote_event(struct arena *a, struct str line, enum client_event *ret_type, struct str *ret_raw, uint64_t *ret_rv, struct err *e)
{
	static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
	struct json *doc, *obj;

	if (json_parse(a, line, NULL, &doc, e) < 0)
		return err_prefix(e, "the aggregated server's event");
	obj = json_getc(doc, "object");
	for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
		if (!json_eqc(json_getc(doc, "type"), names[i]))
			continue;
		*ret_type = (enum client_event)i;
		/* Where versions are no numbers, none is newer than another. */
		if (!str_to_u64(json_strp(obj, "metadata.resourceVersion"), ret_rv))
			*ret_rv = 0;
		return encode(a, "meta.v1.PartialObjectMetadata", metadata_of(a, obj), ret_raw, e);
	}
	client_remote_refusal(a, (int)json_i64_or(json_getc(obj, "code"), 410), json_text(a, obj), e);
	return -(int)e->code;
}
