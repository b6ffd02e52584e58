#include "proto/json.h"

void json_print_go(struct buf *out, const struct json *v)
{
	const char *sep = "";

	switch (json_type(v)) {
	case JSON_NULL:
		buf_addc(out, "<nil>");
		return;
	case JSON_STRING:
		buf_adds(out, v->s);
		return;
	case JSON_ARRAY:
		buf_addc(out, "[");
		JSON_ITEMS (it, v) {
			buf_addc(out, sep);
			json_print_go(out, it);
			sep = " ";
		}
		buf_addc(out, "]");
		return;
	case JSON_OBJECT:
		buf_addc(out, "map[");
		JSON_MEMBERS (m, v) {
			buf_printf(out, "%s%.*s:", sep, STR_FMT(m->key));
			json_print_go(out, m->value);
			sep = " ";
		}
		buf_addc(out, "]");
		return;
	default:
		json_print(out, v, JSON_COMPACT);
	}
}
