/*
 * OpenAPI documents with what remote servers say about themselves in them: pure functions on texts.
 */
#ifndef ORCHESTRATOR_APISERVER_AGGREGATE_OPENAPI_H
#define ORCHESTRATOR_APISERVER_AGGREGATE_OPENAPI_H

#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"

struct aggregate_doc;

/*
 * v2: `ours` (as openapi_v2_json makes it) with each server's paths below its /apis/GROUP/VERSION, and its definitions. A definition
 * whose name is taken by another content is renamed, NAME_v2 and so on. A path that is there already stays. A document that cannot be
 * read is left out, and so is what would make more than AGGREGATE_V2_MAX of all of them.
 */
void aggregate_openapi_v2(struct arena *, struct buf *out, struct str ours, const struct aggregate_doc *, size_t n);
#define AGGREGATE_V2_MAX (16u << 20)
/* The same in protobuf: `proto` is ours in that form. */
void aggregate_openapi_v2_proto(struct arena *, struct buf *out, struct str ours, struct str proto, const struct aggregate_doc *, size_t n);

/* v3's index, {"paths": {...}}, with theirs in it; an entry of the same name is replaced. */
void aggregate_openapi_v3_index(struct arena *, struct buf *out, struct str ours, const struct aggregate_doc *, size_t n);

#endif
