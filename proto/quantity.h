/*
 * struct quantity: Kubernetes' resource amounts ("500m", "1.5Gi", "1e3"), exact to a billionth.
 *
 * The value is a whole number of nanos in 128 bits, which holds everything up to 2^63-1 units and
 * more, so sums never round. As upstream, finer fractions round up (away from zero) when read, and
 * amounts over 2^63-1 become that. A quantity remembers the notation it came in, and prints in
 * canonical form: no fraction, the largest suffix that fits.
 *
 *	struct quantity q;
 *	if (quantity_parse(STR("0.5"), &q, &e) < 0) ...
 *	char text[QUANTITY_SIZE]; quantity_print(q, text);     "500m"
 */
#ifndef PROTO_QUANTITY_H
#define PROTO_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum quantity_format {
	QUANTITY_DECIMAL_SI,  /* m, k, M, G ... */
	QUANTITY_BINARY_SI,   /* Ki, Mi, Gi ... */
	QUANTITY_DECIMAL_EXP, /* 1e3 */
};

struct quantity {
	__int128 nano;
	enum quantity_format format;
};

#define QUANTITY_ZERO ((struct quantity){0, QUANTITY_DECIMAL_SI})
/* Room for any canonical text and a NUL. */
#define QUANTITY_SIZE 48

/* Upstream's messages ("quantities must match the regular expression ..."). ERR_BAD_REQUEST. */
int quantity_parse(struct str text, struct quantity *ret, struct err *);
/* Zero when the text (NULL allowed) is empty or no quantity: for objects that passed validation. */
struct quantity quantity_of(const char *text);
/* The same for a member of a document, a string or a number (NULL allowed). */
struct json;
struct quantity quantity_of_json(const struct json *);
struct quantity quantity_from_i64(int64_t value, enum quantity_format);
struct quantity quantity_from_milli(int64_t milli);
/* The canonical form; returns its length. */
size_t quantity_print(struct quantity, char out[QUANTITY_SIZE]);

int quantity_cmp(struct quantity a, struct quantity b);
/* Of two that are equal the first, with its format. */
struct quantity quantity_max(struct quantity a, struct quantity b);
static inline int quantity_sign(struct quantity q)
{
	return q.nano < 0 ? -1 : q.nano > 0;
}
/* The notation of a, or of b when a is zero. Sums saturate far outside of what can be read. */
struct quantity quantity_add(struct quantity a, struct quantity b);
struct quantity quantity_sub(struct quantity a, struct quantity b);
/* Whole units and thousandths, rounded up (away from zero), capped to what fits. */
int64_t quantity_value(struct quantity);
int64_t quantity_milli(struct quantity);

#endif
