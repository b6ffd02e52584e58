/*
 * YAML in and out of JSON trees, with the meaning that kubectl gives it (YAML 1.1 as Go's yaml.v2
 * reads it).
 *
 * Plain scalars resolve as in Go: yes/no/on/off are booleans, 0o17 and 017 and 0x1f are numbers, ~
 * is null; quoted ones stay strings. Keys that are not strings become strings. Merge keys (<<) work.
 * An alias copies what it names, and the copies count: a document that would grow past the limits of
 * JSON trees is refused (billion laughs). Timestamps stay strings.
 *
 *	struct yaml_stream *ys = yaml_open(&arena, text);
 *	while ((rc = yaml_next(ys, &doc, &e)) > 0) ...       one tree a document; empty documents
 * are skipped
 */
#ifndef PROTO_YAML_H
#define PROTO_YAML_H

#include "base/err.h"
#include "base/str.h"
#include "proto/json.h"

struct yaml_stream;

/* The stream and its trees live in the arena (freed with it); the text must live as long as the
 * stream is read. */
struct yaml_stream *yaml_open(struct arena *, struct str text);
/* 1 and a tree, 0 at the end, or a negative error with the line; after an error the stream is at
 * its end. */
int yaml_next(struct yaml_stream *, struct json **ret, struct err *);
/* Duplicate keys of the last document, in Go's words: `line 3: key "a" already set in map`, the line being the value's. */
size_t yaml_dups(const struct yaml_stream *, struct str **ret_texts);

/* Exactly one document (an empty text gives null). */
int yaml_parse(struct arena *, struct str text, struct json **ret, struct err *);

/*
 * Print as kubectl -o yaml does: block style, keys sorted, two spaces, lists not indented, strings
 * quoted when they would read as something else, literals for text of several lines. Ends in a
 * newline.
 */
void yaml_print(struct buf *, const struct json *);

#endif
