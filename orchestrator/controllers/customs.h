/*
 * struct customs: what the controllers see of custom resources, by metadata alone: one informer for each definition that is
 * served, begun and ended as definitions come and go (view.customs), and for each kind of an aggregated server (remotes.h). All on the
 * controllers' loop.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_CUSTOMS_H
#define ORCHESTRATOR_CONTROLLERS_CUSTOMS_H

#include "base/arena.h"
#include "base/list.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/informer/informer.h"

struct customs;
struct resource;

struct custom_kind {
	struct list link; /* in view.customs */
	struct arena arena;
	const char *name; /* of the definition, or as customs_follow was told */
	const struct resource *res;
	struct informer *inf; /* of Meta__PartialObjectMetadata */
	struct informer_index *by_owner;
	struct informer_handler handler;
	struct customs *all;
};

struct customs_cfg {
	struct client *client;
	struct view *view;
	informer_index_fn *by_owner; /* by the uid of each owner */
	/* Of each object that changed, as old and as new; `o` NULL: all of the kind is known now. */
	void (*changed)(void *arg, const struct custom_kind *, const struct informer_obj *o);
	void *arg;
};

/* Before the definitions' informer is started. */
struct customs *customs_start(const struct customs_cfg *);
/* cb is the last call. */
void customs_stop(struct customs *, void (*cb)(void *arg), void *arg);
/* A kind that has no definition, until it is forgotten; again: nothing. Its name is none that a definition could have. */
void customs_follow(struct customs *, const char *name, const struct resource *);
void customs_forget(struct customs *, const char *name);
/* The kind of an owner, in any version; NULL when there is none, or when not all of it is known yet. */
const struct custom_kind *custom_kind_of(const struct view *, const char *api_version, const char *kind);
const struct custom_kind *custom_kind_named(const struct view *, struct str name);

#endif
