/* Quantities, times and durations: what reads prints, and reads again as the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/duration.h"
#include "proto/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str text = str_of(p, size);
	struct quantity q, r;
	char out[QUANTITY_SIZE], out2[QUANTITY_SIZE], d[DURATION_SIZE];
	int64_t s, v;
	int32_t ns;

	if (quantity_parse(text, &q, NULL) == 0) {
		quantity_print(q, out);
		ASSERT(quantity_parse(str_from(out), &r, NULL) == 0);
		ASSERT(quantity_cmp(q, r) == 0);
		quantity_print(r, out2);
		ASSERT(str_eqc(str_from(out), out2));
		ASSERT(quantity_cmp(quantity_sub(quantity_add(q, q), q), q) == 0);
		quantity_value(q);
		quantity_milli(q);
	}
	if (duration_parse(text, &v)) {
		duration_print(v, d);
		ASSERT(duration_parse(str_from(d), &s) && s == v);
	}
	if (time_parse(text, &s, &ns)) {
		ASSERT(ns >= 0 && ns < 1000000000);
		duration_human(s, d);
	}
	return 0;
}
