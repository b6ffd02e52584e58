/* What the tests of the codecs share: there and back again, or a failed test; and protoc, which nobody here has written. */
#ifndef TESTS_UNIT_PROTO_CODEC_RIG_H
#define TESTS_UNIT_PROTO_CODEC_RIG_H

#include "base/arena.h"
#include "base/str.h"
#include "proto/codec.h"
#include "proto/json.h"

struct str encode(struct arena *, const struct schema_type *, const struct json *dom);
struct str to_json(struct arena *, const struct schema_type *, struct str wire, const struct codec_opts *);
/* Of an object's apiVersion and kind. */
const struct schema_type *type_of(const struct json *);
const char *source_dir(void);
/* Run protoc as a filter from bytes to bytes, over the files of proto/ and `more`. WHAT: "decode" or "encode". */
struct str protoc(struct arena *, const char *what, const char *type, const char *more, struct str in);

#endif
