/*
 * struct custom_index: the custom resources as one loop knows them, filled from the store and kept up to date by watches on the
 * loop's hub. Like authz_state it lags by what the loop has not read yet; api_refresh before a second look makes it current,
 * so a definition that any server has accepted is served by all.
 *
 * A request keeps the definition that it began with (custom_def_ref); when one changes or goes, the index lets go of it and makes a
 * new one. Definitions whose names are not accepted are known, but not served.
 */
#ifndef ORCHESTRATOR_APISERVER_CUSTOM_INDEX_H
#define ORCHESTRATOR_APISERVER_CUSTOM_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct custom;
struct custom_def;
struct custom_index;
struct json;
struct resource;
struct store;
struct watch_hub;

/*
 * Who accepts names writes this key in the same transaction, and compares its revision with what custom_index_names_rev said: so
 * no two servers accept one name at a time.
 */
#define CUSTOM_NAMES_KEY "/registry/kontiki/customresourcenames"

/* `gone` (may be NULL) is told of each definition that is replaced or removed, before it is let go of. */
struct custom_index *custom_index_new(struct store *, struct watch_hub *, void (*gone)(void *arg, const struct custom_def *), void *arg);
void custom_index_free(struct custom_index *);
/* A served resource, or NULL; any: also one of a version that is not served. */
const struct custom *custom_index_find(const struct custom_index *, struct str group, struct str version, struct str plural, bool any);
/* Served resources by group, then version, then name. Good until the loop turns. */
const struct resource *const *custom_index_all(struct custom_index *, size_t *ret_n);
/* Changes whenever custom_index_all does. */
uint64_t custom_index_epoch(const struct custom_index *);

uint64_t custom_index_names_rev(const struct custom_index *);
/* fn for the accepted names of every definition of the group but the one called `but`. */
void custom_index_names(const struct custom_index *, struct str group, struct str but, void (*fn)(void *arg, const struct json *names),
		void *arg);

#endif
