/* JSON text: what parses prints to something that parses to the same tree, in every form. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	static const unsigned forms[] = {
		JSON_COMPACT, JSON_PRETTY, JSON_SORTED, JSON_PRETTY | JSON_SORTED | JSON_RAW_HTML};
	struct json_opts opts = {.max_nodes = 100000};
	struct json *j, *again;
	struct arena a;
	struct err e = ERR_INIT;

	arena_init(&a);
	if (json_parse(&a, str_of(p, size), &opts, &j, &e) < 0) {
		ASSERT(e.text[0] != '\0' && opts.error_offset <= size);
		goto out;
	}
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct buf b = BUF_INIT;

		json_print(&b, j, forms[i]);
		ASSERT(json_parse(&a, buf_str(&b), NULL, &again, &e) == 0);
		ASSERT(json_equal(j, again));
		buf_fini(&b);
	}
	again = json_copy(&a, j);
	json_sort(&a, again);
	ASSERT(json_equal(j, again) && json_depth(j) == json_depth(again));
out:
	arena_fini(&a);
	return 0;
}
