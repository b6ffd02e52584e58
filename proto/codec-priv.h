/*
 * What the codecs share: the scan of one message into slots, one a field, and the rule what JSON shows of a field.
 */
#ifndef PROTO_CODEC_PRIV_H
#define PROTO_CODEC_PRIV_H

#include "base/arena.h"
#include "proto/codec.h"
#include "proto/schema.h"
#include "proto/wire.h"

/* What the wire holds for one field. */
struct codec__slot {
	uint64_t v;        /* the last number */
	const uint8_t *p;  /* single: its payload; list or map: where the first element's tag begins */
	const uint8_t *end;
	uint32_t count;    /* occurrences */
};

struct codec__msg {
	const struct schema_type *type;
	struct str bytes;
	uint64_t seen; /* bit i: slots[i] is set */
	struct codec__slot slots[SCHEMA_MAX_FIELDS];
};

/* False when the bytes are no such message. Unknown fields are passed over. */
bool codec__scan(struct codec__msg *, const struct schema_type *, struct str bytes);
/* The payload of a single field; empty when absent. Several occurrences of a message are joined in the arena. */
struct str codec__payload(const struct codec__msg *, size_t i, struct arena *);

enum codec__show {
	CODEC_SKIP,
	CODEC_VALUE,
	CODEC_ZERO, /* the zero value of its type */
	CODEC_NULL,
};
enum codec__show codec__show(const struct codec__msg *, size_t i);

/* Walks the elements of a list or the entries of a map. */
struct codec__elements {
	struct wire_reader r;
	uint32_t number;
	struct str packed; /* rest of a packed run of numbers */
};
struct codec__elements codec__elements(const struct codec__msg *, size_t i);
/* The next element: its bytes or its number. */
bool codec__next(struct codec__elements *, const struct schema_field *, struct wire_item *ret);

struct codec__entry {
	struct str key;
	struct wire_item value;
	size_t order;
};
/* The entries of a map, sorted by key, the last of equal keys kept; in the arena. False on broken bytes. */
bool codec__entries(const struct codec__msg *, size_t i, struct arena *, struct codec__entry **ret, size_t *ret_n);

/* Fields 1 to 3 of the messages that JSON writes as one value. */
struct codec__triple {
	uint64_t v[4];
	struct str bytes[4];
	bool seen[4];
};
bool codec__triple(struct str bytes, struct codec__triple *);

/* RFC 3339 has years from 0 to 9999. */
static inline bool codec__time_in_range(int64_t s)
{
	return s >= -62167219200 && s <= 253402300799;
}
static inline int32_t codec__clip_ns(int32_t ns)
{
	return ns < 0 || ns > 999999999 ? 0 : ns;
}

/* codec_stored_to_dom of an object that stands `depth` deep in another. */
int codec__stored_to_dom_at(struct arena *, struct str stored, const struct codec_opts *, unsigned depth, size_t *nodes,
			    struct json **ret, struct err *);

/* Of types with SCHEMA_CUSTOM (codec_custom.c). */
int codec__custom_to_dom(struct arena *, const struct schema_type *, struct str wire, const struct codec_opts *, struct json **ret,
			 struct err *);
int codec__custom_to_json(struct buf *out, const struct schema_type *, struct str wire, const struct codec_opts *, struct err *);
void codec__custom_to_wire(struct buf *out, const struct schema_type *, const struct json *dom, struct codec_errs *);

int codec__corrupt(struct err *, const struct schema_type *, const char *what);

#endif
