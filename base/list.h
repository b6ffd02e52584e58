/*
 * Intrusive doubly linked list. The list head and the links are struct list; the owner embeds a link.
 *
 *	struct list waiters; list_init(&waiters); list_add_tail(&waiters, &w->link);
 *	LIST_FOR_EACH (w, &waiters, struct waiter, link) ...        (do not remove w inside)
 *	LIST_FOR_EACH_SAFE (w, next, &waiters, struct waiter, link) ...
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_add_tail(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}
static inline void list_add_head(struct list *head, struct list *l)
{
	list_add_tail(head->next, l);
}
/* Unlink; the link is left empty, so removing twice does no harm. */
static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}
/* Move all of `from` to the tail of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}
static inline struct list *list_pop(struct list *head)
{
	struct list *l = head->next;

	if (l == head)
		return NULL;
	list_del(l);
	return l;
}
static inline size_t list_len(const struct list *head)
{
	size_t n = 0;

	for (const struct list *l = head->next; l != head; l = l->next)
		n++;
	return n;
}

#define LIST_FIRST(head, type, member) container_of((head)->next, type, member)
#define LIST_FOR_EACH(it, head, type, member)                                                      \
	for (type *it = container_of((head)->next, type, member); &it->member != (head);           \
			it = container_of(it->member.next, type, member))
#define LIST_FOR_EACH_SAFE(it, nx, head, type, member)                                             \
	for (type *it = container_of((head)->next, type, member),                                  \
		  *nx = container_of(it->member.next, type, member);                               \
			&it->member != (head);                                                     \
			it = nx, nx = container_of(nx->member.next, type, member))

#endif
