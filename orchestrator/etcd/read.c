/*
 * Reads, batched: all linearizable ones that came in one turn of the loop share one barrier, and are then answered from
 * one view; the local (serializable) ones of a turn share a view too.
 */
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "store/view.h"

/* One barrier and who waits for it. */
struct batch {
	struct kv_barrier barrier;
	struct etcd_loop *el;
	struct list reads;
};

static void serve(struct etcd_loop *el, struct list *reads, uint64_t index, const struct err *failed)
{
	struct store_view *v = NULL;
	struct err e = ERR_INIT;
	struct list *l;

	if (list_empty(reads))
		return;
	if (failed != NULL)
		e = *failed;
	else
		(void)store_view_open_at(el->srv->store, index, &v, &e);
	while ((l = list_pop(reads)) != NULL) {
		struct etcd_read *r = container_of(l, struct etcd_read, link);

		r->done(r, v, &e);
	}
	if (v != NULL)
		store_view_close(v);
}

static void on_barrier(struct kv_barrier *kb)
{
	struct batch *b = container_of(kb, struct batch, barrier);
	struct etcd_loop *el = b->el;

	el->n_ops--;
	if (kb->err.code)
		atomic_fetch_add_explicit(&el->read_failures, 1, memory_order_relaxed);
	serve(el, &b->reads, kb->index, kb->err.code ? &kb->err : NULL);
	free(b);
}

static void on_turn(struct loop_timer *t)
{
	struct etcd_loop *el = container_of(t, struct etcd_loop, read_timer);
	struct batch *b;

	serve(el, &el->local_reads, 0, NULL);
	if (list_empty(&el->reads))
		return;
	b = xcalloc(1, sizeof(*b));
	b->el = el;
	list_init(&b->reads);
	list_splice(&b->reads, &el->reads);
	b->barrier.timeout_ms = el->srv->request_ms;
	b->barrier.done = on_barrier;
	el->n_ops++;
	kv_barrier(el->srv->kv, &b->barrier);
}

void etcd__reads_init(struct etcd_loop *el)
{
	list_init(&el->reads);
	list_init(&el->local_reads);
}

void etcd__read(struct etcd_loop *el, struct etcd_read *r, bool local)
{
	list_init(&r->link);
	list_add_tail(local ? &el->local_reads : &el->reads, &r->link);
	if (!loop_timer_active(&el->read_timer))
		loop_timer_start(&el->read_timer, el->loop, 0, on_turn);
}
