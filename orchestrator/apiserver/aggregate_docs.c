#include "orchestrator/apiserver/aggregate_docs.h"

#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"

struct aggregate_docs *aggregate_docs_new(void)
{
	struct aggregate_docs *d = xcalloc(1, sizeof(*d));

	atomic_init(&d->refs, 1);
	arena_init(&d->arena);
	return d;
}

void aggregate_docs_unref(struct aggregate_docs *d)
{
	if (!d || atomic_fetch_sub(&d->refs, 1) > 1)
		return;
	arena_fini(&d->arena);
	free(d);
}

struct aggregate_docs *aggregate_docs_get(struct apiserver *srv)
{
	struct aggregate_docs *d;

	pthread_mutex_lock(&srv->lock);
	if (!srv->docs)
		srv->docs = aggregate_docs_new();
	d = srv->docs;
	atomic_fetch_add(&d->refs, 1);
	pthread_mutex_unlock(&srv->lock);
	return d;
}

void aggregate_docs_publish(struct apiserver *srv, struct aggregate_docs *d)
{
	struct aggregate_docs *old;

	pthread_mutex_lock(&srv->lock);
	old = srv->docs;
	d->epoch = old ? old->epoch + 1 : 1;
	srv->docs = d;
	pthread_mutex_unlock(&srv->lock);
	aggregate_docs_unref(old);
}

const struct aggregate_doc *aggregate_docs_find(const struct aggregate_docs *d, struct str group, struct str version)
{
	for (size_t i = 0; i < d->n; i++)
		if (str_eq(d->v[i].group, group) && str_eq(d->v[i].version, version))
			return &d->v[i];
	return NULL;
}
