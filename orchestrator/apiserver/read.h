/*
 * Reading: selectors, lists, and what watches and collections share with them.
 *
 *	read.c: when to read, and one object    selection.c: which objects    list.c: many, whole    list_stream.c: many, in pieces
 *
 * Without a resourceVersion a read waits for a read barrier, and sees everything that was acknowledged before it was asked; with "0" it takes what this
 * server has, and with a version it waits until that is here.
 */
#ifndef ORCHESTRATOR_APISERVER_READ_H
#define ORCHESTRATOR_APISERVER_READ_H

#include "orchestrator/apiserver/request.h"
#include "proto/selector.h"

/* Which objects of the resource are meant. */
struct api_selection {
	const struct resource *res;
	struct selector labels;
	struct field_selector fields;
	bool all; /* no selector at all */
};
/* 422 for options of a list or watch that do not go together. */
enum step_result api_list_options_check(struct api_request *);
/* 422 for dryRun and fieldValidation with values that are none; the second: what a delete takes of query and body. */
enum step_result api_write_options_check(struct api_request *);
enum step_result api_delete_options_check(struct api_request *, const struct json *options);
/* resourceVersion is no version. */
enum step_result api_fail_no_version(struct api_request *);
/* 504: the version that was asked for is not here yet. */
enum step_result api_fail_too_new(struct api_request *, uint64_t asked);
/* A stored object that could not be read: 500, or the wait for its conversion (convert.h). */
enum step_result api_fail_unread(struct api_request *, const struct err *);
enum step_result api_selection_parse(struct api_request *, struct api_selection *);
bool api_selection_matches(const struct api_selection *, struct str raw);

/* What a list goes over. */
struct api_list_scan {
	struct str prefix, key, end, start;
	int64_t rev;
	bool more;
	struct str last; /* key of the last object taken */
	bool counted;    /* what is left has been counted: */
	int64_t rest;    /* -1: it was not, and will not be */
};
/* The token that goes on behind the last object taken, and how many are left (when that is known cheaply). */
struct codec_list_meta;
struct store_view;
void api_list_meta(struct api_request *, const struct api_list_scan *, struct store_view *, bool all, struct codec_list_meta *ret);
/*
 * Large lists leave in pieces: what has to be known of them is counted first, in turns of the loop, then they are read again at the same
 * revision, a slice a turn, as fast as the client takes it. STEP_NEXT: this one is small, or wanted in a form that needs it whole;
 * STEP_DONE: the request is taken over.
 */
enum step_result api_list_stream(struct api_request *, struct api_list_scan *, struct store_view *, const struct api_selection *);
/* What was counted of it; s->more and s->last are set, too. */
struct list_count;
void api_list_counted(struct api_request *, struct api_list_scan *, const struct list_count *);
/* Fails: a list that began at `start` of a continue token could not be read; `now` is the store's revision. */
enum step_result api_fail_list(struct api_request *, const struct err *, int64_t now, struct str start);

/* The keys that the request's path covers (one object when a name is fixed). */
void api_key_range(struct api_request *, struct str *ret_key, struct str *ret_end);

/* A page of what is selected, for deletecollection. */
struct api_selected {
	struct api_selected_item {
		struct str name, ns;
	} *items;
	size_t n;
};
/* What the request's options say of the range; the revision is the store's now, or the one that is asked for. */
enum step_result api_range_begin(struct api_request *, struct api_list_scan *);
/*
 * At most `max` objects from s->key on, as many as one turn finds (perhaps none), into `a`; s->key goes on behind them (`a` holds it
 * then). `more`: there may be others.
 */
enum step_result api_select_page(struct api_request *, const struct api_selection *, struct api_list_scan *, size_t max, struct arena *a,
		struct api_selected *ret);
/* Answers the list of what stood in the range at its revision. */
enum step_result api_answer_range(struct api_request *, const struct api_selection *, const struct api_list_scan *);

#endif
