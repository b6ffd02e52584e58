/*
 * Regular expressions for structural schemas: RE2's syntax on PCRE2, with bounded matching.
 */
#ifndef PROTO_STRUCTURAL_PRIV_H
#define PROTO_STRUCTURAL_PRIV_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

struct structural_pattern;

/* The order of properties, for qsort and bsearch (structural_shape.c). */
int structural__by_name(const void *, const void *);

enum structural_match { STRUCTURAL_NO_MATCH, STRUCTURAL_MATCH, STRUCTURAL_TOO_COSTLY };

/* NULL: it is no RE2 expression; *ret_why (static or in the arena) says why. Freed with the arena. */
const struct structural_pattern *structural__pattern(struct arena *, struct str text, const char **ret_why);
/* Found anywhere in the value. */
enum structural_match structural__match(const struct structural_pattern *, struct str value);

#endif
