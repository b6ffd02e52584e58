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
enum step_result api_selection_parse(struct api_request *, struct api_selection *);
bool api_selection_matches(const struct api_selection *, struct str raw);

/* The keys that the request's path covers (one object when a name is fixed). */
void api_key_range(struct api_request *, struct str *ret_key, struct str *ret_end);

/* Names and namespaces of everything selected now; for deletecollection. */
struct api_names {
	struct str *names, *spaces;
	size_t n;
};
enum step_result api_select_names(struct api_request *, struct api_names *);

#endif
