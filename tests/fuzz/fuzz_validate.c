/* Objects of any shape through defaults, validation, conversion between versions and tables, as create and as update. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/convert.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/table.h"
#include "proto/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct json_opts opts = {.max_nodes = 2000};
	const struct resource *res;
	struct json *obj, *old, *table;
	struct field_errs errs;
	struct buf text = BUF_INIT;
	struct arena a;

	arena_init(&a);
	if (json_parse(&a, str_of(p, size), &opts, &obj, NULL) < 0)
		goto out;
	res = resource_find_kind(
		json_cstr(json_getc(obj, "apiVersion")), json_cstr(json_getc(obj, "kind")));
	if (res == NULL)
		res = resource_find_kind("v1", "Pod");
	old = json_is(obj, JSON_OBJECT) ? json_getc(obj, "old") : NULL;
	defaults_apply(&a, resource_type(res), obj);
	field_errs_init(&errs, &a);
	validate_object(res, "", obj, NULL, &errs);
	validate_object(res, "", obj, old ? old : obj, &errs);
	validate_object(res, "status", obj, obj, &errs);
	field_errs_status(&errs, res->group, res->kind, json_strp(obj, "metadata.name"));
	if (resource_storage(res) != res && json_is(obj, JSON_OBJECT))
		convert_from_storage(&a, res, convert_to_storage(&a, res, obj));
	table = table_new(&a, res, NULL);
	table_add(&a, table, res, obj, TABLE_METADATA, 1700000000);
	table_print(&text, table,
		&(struct table_print){.wide = true, .with_namespace = true, .show_labels = true});
out:
	buf_fini(&text);
	arena_fini(&a);
	return 0;
}
