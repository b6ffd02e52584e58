/*
 * Server-side apply: the input is [live, config, fieldsV1]. Nothing changes its inputs, a second apply changes nothing, sets
 * stay canonical and obey the algebra.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/fieldmanager.h"
#include "proto/fieldset.h"
#include "proto/schema.h"
#include "proto/typed.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

/* What the store would give back; NULL when it takes no such object. */
static struct json *stored(struct arena *a, const struct schema_type *t, const struct json *obj)
{
	struct codec_errs *errs = arena_new_of(a, struct codec_errs);
	_cleanup_(buf_fini) struct buf wire = BUF_INIT;
	struct json *out = NULL;
	struct err e = ERR_INIT;

	codec_errs_init(errs, a);
	codec_to_wire(&wire, t, obj, errs);
	if (codec_errs_hard(errs) || codec_wire_to_dom(a, t, arena_str(a, buf_str(&wire)), NULL, &out, &e) < 0)
		return NULL;
	return out;
}

static void check_sets(struct arena *a, const struct json *in, struct json *other)
{
	struct json *x, *y, *both, *again;
	struct str *paths;
	struct err e = ERR_INIT;

	if (fieldset_parse(a, in, &x, &e) < 0)
		return;
	if (x) {
		ASSERT(fieldset_parse(a, x, &again, &e) == 0);
		ASSERT(fieldset_equal(x, again));
	}
	y = other;
	both = fieldset_intersection(a, x, y);
	ASSERT(fieldset_equal(fieldset_union(a, fieldset_difference(a, x, y), both), x));
	ASSERT(fieldset_intersection(a, fieldset_difference(a, x, y), y) == NULL);
	ASSERT(fieldset_equal(fieldset_union(a, x, y), fieldset_union(a, y, x)));
	ASSERT((fieldset_paths(a, x, &paths) == 0) == (x == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	const struct schema_type *t = schema_type_find("core.v1.Pod");
	struct json_opts opts = {.max_nodes = 2000};
	struct json *in, *live, *config, *before, *out, *again;
	struct fieldmanager_conflicts conflicts;
	struct fieldmanager fm;
	struct arena a;
	struct err e = ERR_INIT;
	struct str why;

	arena_init(&a);
	fm = (struct fieldmanager){&a, t, "v1", STR("fuzz"), STR(""), STR("2024-01-01T00:00:00Z"), false};
	if (json_parse(&a, str_of(p, size), &opts, &in, &e) < 0 || !json_is(in, JSON_ARRAY) || json_len(in) < 2)
		goto out;
	config = json_at(in, 1);
	live = json_is(json_at(in, 0), JSON_OBJECT) ? stored(&a, t, json_at(in, 0)) : NULL;
	if (!json_is(config, JSON_OBJECT))
		goto out;
	check_sets(&a, json_at(in, 2), typed_fieldset(&a, t, config));
	before = json_copy(&a, in);
	if (live) {
		out = json_copy(&a, live);
		/* As the server does: what a client sends as managedFields is read before it is stored. */
		fieldmanager_update(&fm, NULL, out);
		live = stored(&a, t, out);
	}
	if (fieldmanager_apply(&fm, live, config, false, &out, &conflicts, &why, &e) < 0) {
		if (conflicts.n > 0)
			ASSERT(fieldmanager_conflict_text(&a, &conflicts).n > 0);
		if (fieldmanager_apply(&fm, live, config, true, &out, &conflicts, &why, &e) < 0)
			goto out;
	}
	out = stored(&a, t, out);
	if (out && fieldmanager_apply(&fm, out, config, false, &again, &conflicts, &why, &e) == 0) {
		again = stored(&a, t, again);
		ASSERT(again && json_equal(out, again));
	}
	ASSERT(json_equal(in, before));
out:
	arena_fini(&a);
	return 0;
}
