/* A JSONPath template on the first line, a document behind it. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/jsonpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	static const char fallback[] =
		"{\"items\":[{\"a\":{\"b\":1},\"l\":[1,2,3]},{\"a\":{\"b\":\"x\"}}],\"n\":null}";
	struct json_opts opts = {.max_nodes = 1000};
	struct buf out;
	struct str path, text;
	struct json *j, **found;
	struct jsonpath *jp;
	struct arena a;
	struct err e = ERR_INIT;
	size_t n;

	arena_init(&a);
	buf_init(&out, 1 << 20);
	str_cut(str_of(p, MIN(size, (size_t)4096)), '\n', &path, &text);
	if (json_parse(&a, text, &opts, &j, NULL) < 0)
		ASSERT(json_parse(&a, str_from(fallback), NULL, &j, NULL) == 0);
	if (jsonpath_parse(&a, path, &jp, &e) == 0) {
		jsonpath_print(jp, j, true, &out, &e);
		jsonpath_print(jp, j, false, &out, &e);
	} else {
		ASSERT(e.text[0] != '\0');
	}
	jsonpath_find(&a, path, j, &found, &n, &e);
	buf_fini(&out);
	arena_fini(&a);
	return 0;
}
