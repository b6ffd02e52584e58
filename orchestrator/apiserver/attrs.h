/*
 * What a request asks for, read from its method, path and query: pure functions, no state.
 *
 * A resource path names {group, version, namespace, resource, name, subresource}; any other path is a
 * "non-resource" path (/healthz, /version, /api, /openapi ...), about which only method and path are known.
 * See "Kubernetes API Concepts" (resource URIs) for the grammar. All strings live in the arena given.
 */
#ifndef ORCHESTRATOR_APISERVER_ATTRS_H
#define ORCHESTRATOR_APISERVER_ATTRS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum api_verb {
	API_GET,
	API_LIST,
	API_WATCH,
	API_CREATE,
	API_UPDATE,
	API_PATCH,
	API_DELETE,
	API_DELETE_COLLECTION,
	API_OTHER, /* a non-resource request by a method that has no verb */
};
/* "get", "list" ... as authorization and metrics name it. */
const char *api_verb_name(enum api_verb);

struct api_attrs {
	enum api_verb verb;
	bool is_resource;
	struct str method, path;                   /* path decoded */
	struct str group, version;                 /* group "" is core */
	struct str resource, sub, ns, name;        /* "" when absent */
	struct str sub_path;                       /* behind the subresource: pods/x/proxy/SUB_PATH */
};

/* The query's options that the registry knows; unknown keys are left to the handlers (api_query_get). */
struct api_options {
	struct str label_selector, field_selector;
	struct str resource_version;       /* "" unset */
	struct str resource_version_match; /* "", "Exact", "NotOlderThan" */
	struct str continue_token;
	int64_t limit;
	bool watch, bookmarks, dry_run, pretty, force, force_set;
	bool send_initial_events, send_initial_events_set;
	int64_t timeout_s;                 /* of a watch; 0 unset */
	uint64_t timeout_ms;               /* of any other request; 0: the server's */
	struct str field_manager;
	enum { FIELDS_WARN, FIELDS_STRICT, FIELDS_IGNORE } field_validation;
	struct str bad_dry_run, bad_field_validation; /* values that are none: writes are refused (422) */
	/* DeleteOptions as query parameters. */
	int64_t grace_period_s; /* -1 unset */
	struct str propagation_policy;
	bool orphan_dependents, orphan_dependents_set;
};

/* What may take as long as it likes, as upstream: watches, and what is streamed from or through a node. */
bool api_attrs_is_long(const struct api_attrs *);

struct api_query_pair {
	struct str key, value;
};
struct api_query {
	struct api_query_pair *pairs;
	size_t n;
};

/* `target` is path[?query]. Fails on broken percent escapes, NUL bytes and paths that are no path. */
int api_target_parse(struct arena *, struct str target, struct str *ret_path, struct api_query *ret_query, struct err *);
/* Undo percent escapes; false on a broken one or a NUL. */
bool api_unescape(struct arena *, struct str s, struct str *ret);
/* The first value of key, or {NULL, 0}. */
struct str api_query_get(const struct api_query *, const char *key);
bool api_query_has(const struct api_query *, const char *key);
/* What a value that is there says of a switch: "" (a bare ?watch) is true, as upstream's conversion has it, Python's "False" is not. */
bool api_query_truth(struct str value);
int api_options_parse(const struct api_query *, struct api_options *ret, struct err *);
/* `opts->watch` and a field selector metadata.name=X decide between list, watch and get. */
void api_attrs_parse(struct arena *, struct str method, struct str path, const struct api_query *,
		struct api_attrs *ret);

#endif
