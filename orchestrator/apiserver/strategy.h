/*
 * struct api_strategy: what one resource does otherwise than the rest; a row of a table (strategy.c).
 *
 * All hooks work on documents and may be NULL. They run between load and commit and may run again when a write lost a
 * race, so they change nothing but the request. A hook that refuses returns STEP_FAIL; one that needs fresher state calls
 * api_refresh and returns STEP_WAIT; else STEP_NEXT.
 */
#ifndef ORCHESTRATOR_APISERVER_STRATEGY_H
#define ORCHESTRATOR_APISERVER_STRATEGY_H

#include "orchestrator/apiserver/request.h"

struct resource;
struct schema_type;

struct api_strategy {
	const char *group, *plural; /* plural NULL: the default row */
	/* Flags. */
	bool no_generation;    /* metadata.generation stays absent */
	bool late_generation;  /* it begins with the first change */
	bool counts_annotations; /* a change of annotations counts as one of the spec */
	bool no_status;        /* `status` is part of the object: no reset on create, no separation on update */
	bool status_keeps_labels; /* the status subresource does not take labels */
	bool status_keeps_meta;   /* nor anything else of the metadata */
	bool create_on_update; /* PUT of a missing object makes it */
	bool return_deleted;   /* DELETE answers with the object, not with a Status */
	/* What a second delete is told while the first still waits (409); NULL: it is let through. */
	const char *busy_text;
	/* Put on an object when it is marked as being deleted: somebody cleans up behind it first. NULL: none. */
	const char *finalizer;
	/* Not stored at all: every request runs this program. */
	const struct api_step *program;
	/* Clear and set fields the server owns, on create; before defaulting. */
	enum step_result (*prepare_create)(struct api_request *);
	enum step_result (*prepare_update)(struct api_request *);
	/* After defaulting: admission. May warn, add to req->txn. old is NULL on create. */
	enum step_result (*admit)(struct api_request *);
	/* Checks behind the schema's own validation. */
	enum step_result (*check)(struct api_request *);
	/* The object is about to be removed for good: add to req->txn. */
	enum step_result (*released)(struct api_request *);
	/* Seconds of grace for a delete; <= 0: remove at once. `asked` is -1 when the client did not say. */
	int64_t (*grace)(struct api_request *, int64_t asked);
	/* Called when the delete is only marked (finalizers or grace): set phases and the like. */
	void (*marked)(struct api_request *);
	/* Still held back from removal although metadata.finalizers is empty (namespaces' spec.finalizers). */
	bool (*held)(const struct json *obj);
	/* Seconds to live for a new object; 0: for ever. */
	uint32_t (*ttl)(struct api_request *);
};

/* Never NULL. */
const struct api_strategy *api_strategy_find(const struct resource *);
/* Subresources: a program of their own, or the object seen through to_view / from_view. */
struct api_subresource {
	const char *group, *plural, *name; /* plural NULL: any resource that lists it */
	const char *type;                  /* schema type of bodies and answers; NULL: the resource's */
	const char *api_version, *kind;    /* of the view; NULL: the resource's */
	const struct api_step *program;    /* NULL: by verb, as for objects */
	/* The document that clients see for this stored object. NULL: the object. */
	struct json *(*to_view)(struct api_request *, struct json *obj);
	/* req->obj := req->old changed as `view` says. NULL: req->obj := view. */
	enum step_result (*from_view)(struct api_request *, struct json *view);
};
const struct api_subresource *api_subresource_find(const struct resource *, struct str name);

#endif
