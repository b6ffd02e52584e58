/* Label and field selectors: the canonical text selects the same, and is its own canonical text. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void labels(struct arena *a, struct str text)
{
	struct selector sel, again;
	struct buf b = BUF_INIT, b2 = BUF_INIT;
	struct json *set = json_new_object(a);
	struct err e = ERR_INIT;

	if (selector_parse(a, text, &sel, &e) < 0) {
		ASSERT(e.text[0] != '\0');
		return;
	}
	selector_print(&b, &sel);
	ASSERT(selector_parse(a, buf_str(&b), &again, &e) == 0);
	selector_print(&b2, &again);
	ASSERT(str_eq(buf_str(&b), buf_str(&b2)));
	ASSERT(selector_matches_json(&sel, set) == selector_matches_json(&again, set));
	for (size_t i = 0; i < sel.n_reqs; i++)
		json_set(a, set, sel.reqs[i].key,
			json_new_str(a, sel.reqs[i].n_values ? sel.reqs[i].values[0] : STR("")));
	ASSERT(selector_matches_json(&sel, set) == selector_matches_json(&again, set));
	buf_fini(&b);
	buf_fini(&b2);
}

static void fields(struct arena *a, struct str text)
{
	struct field_selector fs, again;
	struct buf b = BUF_INIT, b2 = BUF_INIT;
	struct err e = ERR_INIT;

	if (field_selector_parse(a, text, &fs, &e) < 0)
		return;
	field_selector_print(&b, &fs);
	ASSERT(field_selector_parse(a, buf_str(&b), &again, &e) == 0);
	field_selector_print(&b2, &again);
	ASSERT(str_eq(buf_str(&b), buf_str(&b2)));
	field_selector_check(&fs, "v1", "Pod", true, &e);
	field_selector_matches_json(&fs, json_new_object(a));
	buf_fini(&b);
	buf_fini(&b2);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct arena a;

	arena_init(&a);
	labels(&a, str_of(p, size));
	fields(&a, str_of(p, size));
	arena_fini(&a);
	return 0;
}
