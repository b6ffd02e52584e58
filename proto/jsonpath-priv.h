/* Shared between jsonpath.c, which evaluates, and jsonpath_parse.c. */
#ifndef PROTO_JSONPATH_PRIV_H
#define PROTO_JSONPATH_PRIV_H

#include "proto/json.h"
#include "proto/jsonpath.h"

/* Filters within filters, ranges within ranges. */
#define JSONPATH__MAX_DEPTH 32u
#define JSONPATH__MAX_TEXT 65536u

enum jsonpath__step_type {
	STEP_FIELDS, /* .a and ['a','b'] */
	STEP_INDEXES,
	STEP_SLICE,
	STEP_WILDCARD,
	STEP_RECURSIVE,
	STEP_FILTER,
};

enum jsonpath__op {
	OP_EXISTS,
	OP_EQ,
	OP_NE,
	OP_LT,
	OP_LE,
	OP_GT,
	OP_GE,
};

struct jsonpath__operand {
	const struct json *value; /* a literal, or NULL: a path */
	bool from_root;
	struct jsonpath__step *steps;
};

struct jsonpath__step {
	struct jsonpath__step *next;
	enum jsonpath__step_type type;
	struct str *names;
	int64_t *indexes;
	size_t n; /* names or indexes */
	bool has_from, has_to;
	int64_t from, to, by;
	enum jsonpath__op op;
	struct jsonpath__operand left, right;
};

enum jsonpath__node_type {
	NODE_TEXT,
	NODE_PATH,
	NODE_RANGE, /* body up to its end */
};

struct jsonpath__node {
	struct jsonpath__node *next;
	enum jsonpath__node_type type;
	struct str text;
	bool from_root;
	struct jsonpath__step *steps;
	struct jsonpath__node *body;
};

struct jsonpath {
	struct jsonpath__node *nodes;
};

#endif
