/*
 * Rules of a structural schema (x-kubernetes-validations), in CEL: compiled with it, run on every object that passed the rest of
 * the schema. A schema without rules has none of this.
 *
 * `self` is the value at the rule's place, `oldSelf` what stood there before; a rule that mentions oldSelf runs where there was something,
 * or always with optionalOldSelf. Values are found again in lists by their keys, and in maps by theirs; in other lists nothing has a
 * past. What breaks a rule but has not changed is let through with a warning.
 */
#ifndef PROTO_STRUCTURAL_RULES_H
#define PROTO_STRUCTURAL_RULES_H

#include "proto/structural.h"

/* All that is wrong with rules is in errs. Sets `rules_here` and `rules_below` of the schemas. */
void structural_rules_compile(struct arena *, struct structural *root, const struct field_path *path, struct field_errs *errs);
/* Whether they might cost too much, by upstream's estimates; for definitions that are new. */
void structural_rules_costs(const struct structural *root, const struct field_path *path, struct field_errs *errs);

/*
 * old NULL: the object is new. What is wrong comes behind what errs holds already; if that is such that values have wrong types or are
 * missing, nothing is run. Warnings go to errs->warnings.
 */
void structural_rules_run(const struct structural *root, const struct json *obj, const struct json *old, struct field_errs *errs);

/* The value that was `item`'s in a list before: one with the same keys. NULL: none, or the list has no keys. */
const struct json *structural_old_item(const struct structural *list, const struct json *old, const struct json *item);

#endif
