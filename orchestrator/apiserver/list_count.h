/*
 * What a list is going to hold: how many objects and bytes, whether others follow, and how many. Found out in turns, so that the
 * loop does other work in between, however much there is to look at.
 */
#ifndef ORCHESTRATOR_APISERVER_LIST_COUNT_H
#define ORCHESTRATOR_APISERVER_LIST_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct api_list_scan;
struct api_selection;
struct list_form;
struct store_view;

/* What one turn looks at, at most: a millisecond or two. */
#define LIST_LOOK_OBJECTS 2000
#define LIST_LOOK_BYTES (4u << 20)
#define LIST_LOOK_KEYS 20000

struct list_count {
	struct buf next, last; /* the key to go on at; that of the last object of the list */
	struct str end;
	int64_t rev;
	size_t n, stored, items; /* objects; their stored bytes; a protobuf list's bytes for them */
	int64_t rest;            /* how many follow the page; -1: not known, because a selector would have to look at them */
	bool more, done;
};

/* `end` of the scan is borrowed. */
void list_count_init(struct list_count *, const struct api_list_scan *);
void list_count_fini(struct list_count *);
/*
 * Goes on for one turn, or until so many stored bytes have been found (`enough`). `done` says whether it is over. 0, an error,
 * or 1: the next object is being unsealed (crypt.h), so it goes on a little later.
 */
int list_count_turn(struct list_count *, const struct list_form *, const struct api_selection *, struct store_view *, size_t enough,
		struct err *);

#endif
