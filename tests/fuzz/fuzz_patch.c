/*
 * Patches: the input is [document, patch, third]. Nothing changes its inputs; a patch made between
 * two objects leads from one to the other.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/patch.h"
#include "proto/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static bool has_null(const struct json *j)
{
	JSON_ITEMS (it, j)
		if (json_is_null(it) || has_null(it))
			return true;
	JSON_MEMBERS (m, j)
		if (json_is_null(m->value) || has_null(m->value))
			return true;
	return json_is_null(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	const struct schema_type *t = schema_type_find("core.v1.Pod");
	struct json_opts opts = {.max_nodes = 2000};
	struct json *in, *doc, *patch, *third, *before, *out;
	struct arena a;
	struct err e = ERR_INIT;

	arena_init(&a);
	if (json_parse(&a, str_of(p, size), &opts, &in, &e) < 0 || json_len(in) < 2 ||
		!json_is(in, JSON_ARRAY))
		goto out;
	before = json_copy(&a, in);
	doc = json_at(in, 0);
	patch = json_at(in, 1);
	third = json_at(in, 2);
	patch_json(&a, doc, patch, &out, &e);
	patch_merge(&a, doc, patch);
	if (patch_strategic(&a, t, doc, patch, &out, &e) == 0)
		ASSERT(json_depth(out) <= JSON_MAX_DEPTH);
	if (json_is(doc, JSON_OBJECT) && json_is(patch, JSON_OBJECT) && !has_null(doc) &&
		!has_null(patch))
		ASSERT(json_equal(patch_merge(&a, doc, patch_make_merge(&a, doc, patch)), patch));
	if (patch_make_strategic(&a, t, doc, patch, &out, &e) == 0)
		patch_strategic(&a, t, doc, out, &out, &e);
	if (third && patch_make_three_way(&a, t, doc, patch, third, &out, &e) == 0)
		patch_strategic(&a, t, third, out, &out, &e);
	if (third)
		patch_make_three_way(&a, NULL, doc, patch, third, &out, &e);
	ASSERT(json_equal(in, before));
out:
	arena_fini(&a);
	return 0;
}
