/*
 * struct aggregate_index: the APIServices as one loop knows them, filled from the store and kept up to date by a watch on the loop's
 * hub, as custom_index.h does for definitions: it lags by what the loop has not read yet, and api_refresh makes it current.
 */
#ifndef ORCHESTRATOR_APISERVER_AGGREGATE_INDEX_H
#define ORCHESTRATOR_APISERVER_AGGREGATE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/apiserver/aggregate.h"

struct aggregate_index;
struct store;
struct watch_hub;

struct aggregate_index *aggregate_index_new(struct store *, struct watch_hub *);
void aggregate_index_free(struct aggregate_index *);
/* Good until the loop turns; NULL: not registered. */
const struct api_service *aggregate_index_find(const struct aggregate_index *, struct str group, struct str version);
/* The same, if requests for it are another server's. */
const struct api_service *aggregate_index_remote(const struct aggregate_index *, struct str group, struct str version);
void aggregate_index_each(const struct aggregate_index *, void (*fn)(void *arg, const struct api_service *), void *arg);
size_t aggregate_index_n_remote(const struct aggregate_index *);
/* Changes with every change. */
uint64_t aggregate_index_epoch(const struct aggregate_index *);

#endif
