/*
 * JSON objects from outside: what encodes without an error must decode to something that encodes to the same bytes.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct arena a;
	struct json *dom = NULL;
	struct err e = ERR_INIT;
	struct buf wire = BUF_INIT, text = BUF_INIT, again = BUF_INIT, message = BUF_INIT;
	struct codec_errs *errs;
	const struct schema_type *t;

	arena_init(&a);
	if (json_parse(&a, str_of(p, size), NULL, &dom, &e) < 0)
		goto out;
	t = codec_type(json_strp(dom, "apiVersion"), json_strp(dom, "kind"));
	if (!t)
		t = schema_type_find("core.v1.Pod");
	errs = arena_new_of(&a, struct codec_errs);
	codec_errs_init(errs, &a);
	codec_to_wire(&wire, t, dom, errs);
	codec_errs_strict_message(errs, NULL, 0, &message);
	ASSERT((codec_errs_hard(errs) != NULL) == (errs->n_hard > 0));
	if (errs->n_hard > 0)
		goto out;
	ASSERT(codec_wire_to_json(&text, t, buf_str(&wire), NULL, &e) == 0);
	ASSERT(json_parse(&a, buf_str(&text), NULL, &dom, &e) == 0);
	codec_errs_init(errs, &a);
	codec_to_wire(&again, t, dom, errs);
	ASSERT(errs->n == 0);
	ASSERT(str_eq(buf_str(&wire), buf_str(&again)));
out:
	buf_fini(&wire);
	buf_fini(&text);
	buf_fini(&again);
	buf_fini(&message);
	arena_fini(&a);
	return 0;
}
