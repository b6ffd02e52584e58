/*
 * Label selectors and field selectors: parsing, checking, matching.
 *
 * A selector is compiled once and lives in its arena (strings are copied), then matches anything
 * that can look up a label: a JSON object, a protobuf map, or a callback.
 *
 *	struct selector sel;
 *	if (selector_parse(&arena, STR("app in (a, b),!old"), &sel, &e) < 0) ...
 *	if (selector_matches_pb(&sel, pod->metadata->labels, pod->metadata->n_labels)) ...
 */
#ifndef PROTO_SELECTOR_H
#define PROTO_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct json;

enum selector_op {
	SELECTOR_IN,     /* also key=value and key==value */
	SELECTOR_NOT_IN, /* also key!=value; true when the label is missing */
	SELECTOR_EXISTS,
	SELECTOR_NOT_EXISTS,
	SELECTOR_GT,
	SELECTOR_LT,
};

struct selector_req {
	struct str key;
	enum selector_op op;
	bool equality;      /* was written with = or != */
	struct str *values; /* sorted */
	size_t n_values;
};

/* All requirements must hold. No requirement: matches everything, unless `nothing`. */
struct selector {
	struct selector_req *reqs; /* by key */
	size_t n_reqs;
	bool nothing;
};

#define SELECTOR_EVERYTHING ((struct selector){NULL, 0, false})
#define SELECTOR_NOTHING ((struct selector){NULL, 0, true})
/* A selector's text and its number of requirements are bounded. */
#define SELECTOR_MAX_SIZE 65536u

/* The text form of ?labelSelector= and -l. Empty text selects everything. Upstream's messages;
 * ERR_BAD_REQUEST. */
int selector_parse(struct arena *, struct str text, struct selector *ret, struct err *);
/* A LabelSelector object {matchLabels, matchExpressions}: missing (NULL) selects nothing, an empty
 * one everything. */
int selector_from_json(
	struct arena *, const struct json *label_selector, struct selector *ret, struct err *);
/* The same from the protobuf struct (Meta__LabelSelector). */
int selector_from_pb(
	struct arena *, const void *meta_label_selector, struct selector *ret, struct err *);
/* A plain map of labels, as Service and ReplicationController have it: an empty or missing one
 * selects nothing. */
void selector_from_pb_map(struct arena *, const void *entries, size_t n, struct selector *ret);

/* The value of a label: true when it is there. */
typedef bool selector_lookup(const void *ctx, struct str key, struct str *ret);
bool selector_matches(const struct selector *, selector_lookup *, const void *ctx);
/* Against metadata.labels of a tree (NULL: no labels). */
bool selector_matches_json(const struct selector *, const struct json *labels);
/* Against a protobuf-c map<string,string>: the array of entry pointers and its length. */
bool selector_matches_pb(const struct selector *, const void *entries, size_t n);
/* The canonical text: "a=b,c in (x,y),!d". */
void selector_print(struct buf *, const struct selector *);
/* True when only one value of `key` can match: for look-ups by index. */
bool selector_requires(const struct selector *, struct str key, struct str *ret);

/* ---- field selectors: "metadata.name=x,status.phase!=Running" ---- */

struct field_term {
	struct str field;
	struct str value;
	bool equal;
};

struct field_selector {
	struct field_term *terms;
	size_t n_terms;
};

int field_selector_parse(struct arena *, struct str text, struct field_selector *ret, struct err *);
/* A field that is missing reads as "". */
typedef struct str field_lookup(const void *ctx, struct str field);
bool field_selector_matches(const struct field_selector *, field_lookup *, const void *ctx);
bool field_selector_requires(const struct field_selector *, struct str field, struct str *ret);
void field_selector_print(struct buf *, const struct field_selector *);
/*
 * Which fields a kind offers: metadata.name and (namespaced kinds) metadata.namespace, and the
 * kind's own. Others give upstream's "field label not supported: x". ERR_BAD_REQUEST.
 */
int field_selector_check(const struct field_selector *, const char *api_version, const char *kind,
	bool namespaced, struct err *);
/* Matching a tree by those fields (defaults of the fields that read so: nodes' spec.unschedulable
 * is "false"). */
bool field_selector_matches_json(const struct field_selector *, const struct json *obj);

/* ---- the syntax of names, shared with validation: NULL when fine, else upstream's message ---- */

const char *label_key_error(
	struct arena *, struct str key); /* "prefix/name"; the first of its messages */
const char *label_value_error(struct arena *, struct str value);

#endif
