#include "orchestrator/apiserver/objects.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "proto/codec.h"
#include "proto/resource.h"
#include "proto/schema.h"

int api_dom_of_type(struct arena *a, const struct schema_type *t, struct str raw, struct json **ret, struct err *e)
{
	return codec_wire_to_dom(a, t, raw, NULL, ret, e);
}

int api_dom_of(struct arena *a, const struct resource *res, struct str raw, struct json **ret, struct err *e)
{
	return codec_wire_to_dom(a, resource_type(res), raw, NULL, ret, e);
}

/* Most are smaller: room is made once. */
#define OBJECT_SIZE 2000

int api_dom_encode(struct arena *a, const struct schema_type *t, const struct json *dom, struct str *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	const struct codec_err *hard;
	struct codec_errs errs;

	codec_errs_init(&errs, a);
	buf_reserve(&out, OBJECT_SIZE);
	codec_to_wire(&out, t, dom, &errs);
	hard = codec_errs_hard(&errs);
	if (hard)
		return err_set(e, ERR_INTERNAL, "%s: %s", hard->path, hard->message);
	*ret = arena_str(a, buf_str(&out));
	return 0;
}

bool api_base64_decode(struct arena *a, struct str text, struct str *ret)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;

	if (codec_base64_parse(text, &out) >= 0)
		return false;
	*ret = arena_str(a, buf_str(&out));
	return true;
}

struct str api_base64(struct arena *a, struct str bytes)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;

	codec_base64(&out, bytes);
	return arena_str(a, buf_str(&out));
}

struct json *api_now(struct arena *a)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339(clock_wall_s(), text);
	return json_newc(a, text);
}

struct json *api_meta(struct arena *a, struct json *obj)
{
	struct json *meta = json_getc(obj, "metadata");

	if (json_is(meta, JSON_OBJECT))
		return meta;
	meta = json_new_object(a);
	json_setc(a, obj, "metadata", meta);
	return meta;
}

struct str api_name(const struct json *obj)
{
	return json_strp(obj, "metadata.name");
}

bool api_has_string(const struct json *array, const char *s)
{
	JSON_ITEMS (it, array)
		if (json_eqc(it, s))
			return true;
	return false;
}

void api_remove_string(struct json *array, const char *s)
{
	for (size_t i = json_len(array); i-- > 0;)
		if (json_eqc(json_at(array, i), s))
			json_del_at(array, i);
}
