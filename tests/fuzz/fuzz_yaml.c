/* YAML streams: every tree prints to a document that reads as the same tree. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str text = str_of(p, size);
	struct yaml_stream *ys;
	struct json *j, *again;
	struct arena a;
	struct err e = ERR_INIT;

	arena_init(&a);
	ys = yaml_open(&a, text);
	while (yaml_next(ys, &j, &e) > 0) {
		struct buf b = BUF_INIT;

		yaml_print(&b, j);
		/* JSON's numbers may be larger than YAML's. */
		if (yaml_parse(&a, buf_str(&b), &again, &e) == 0)
			ASSERT(json_equal(j, again));
		else
			ASSERT(str_find(text, '{') >= 0);
		buf_fini(&b);
		if (a.used > (64u << 20))
			break;
	}
	arena_fini(&a);
	return 0;
}
