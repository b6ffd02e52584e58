/*
 * Reading: selectors, lists, and what watches and collections share with them.
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
};
/* The token that goes on behind the last object taken, and how many are left (when that is known cheaply). */
struct codec_list_meta;
struct store_view;
void api_list_meta(struct api_request *, const struct api_list_scan *, struct store_view *, bool all, struct codec_list_meta *ret);
/*
 * Large lists leave in pieces: what is said is counted first, then read again at the same revision, a slice a turn of the
 * loop, as fast as the client takes it. STEP_NEXT: this one is small, or wanted in a form that needs it whole; STEP_DONE: the
 * request is taken over.
 */
enum step_result api_list_stream(struct api_request *, const struct api_list_scan *, struct store_view *,
		const struct api_selection *);

/* The keys that the request's path covers (one object when a name is fixed). */
void api_key_range(struct api_request *, struct str *ret_key, struct str *ret_end);

/* Everything selected now, for deletecollection; raw is null in a local request. */
struct api_selected {
	struct api_selected_item {
		struct str name, ns, raw;
		uint64_t rv;
	} *items;
	size_t n;
	int64_t rev;
};
enum step_result api_select(struct api_request *, struct api_selected *);
/* The list of them as they were then. */
enum step_result api_answer_selected(struct api_request *, const struct api_selected *);

#endif
