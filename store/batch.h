/* Building a struct watch_batch (store/watch.h): by one thread, before it is published. */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include "store/record.h"
#include "store/watch.h"

struct watch_batch *watch_batch__new(void);
void watch_batch__add(struct watch_batch *, bool is_delete, const struct store_kv *kv, const struct store_kv *prev,
		struct rev at);

#endif
