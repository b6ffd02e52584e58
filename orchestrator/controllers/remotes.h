/*
 * struct remotes: what the controllers see of aggregated API servers: for each APIService with a Service the resources that its server
 * says it has (view.remotes), and of those that can be listed, watched and deleted the metadata, as of custom resources (customs.h). What
 * a server had stays known while it does not answer; whether it does is `available`. All on the controllers' loop.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_REMOTES_H
#define ORCHESTRATOR_CONTROLLERS_REMOTES_H

#include "base/arena.h"
#include "base/list.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"

struct customs;
struct remotes;
struct resource;
struct view;

struct remote_group {
	struct list link; /* in view.remotes */
	struct remotes *all;
	char *name, *group, *version; /* name: of the APIService */
	bool available;
	bool known; /* it has told its resources at least once */
	bool gone;  /* to be freed when nothing is under way */
	bool asking;
	struct arena arena; /* of the resources */
	struct resource *resources;
	size_t n_resources;
	struct client_req req;
	char *path;
	struct loop_timer timer;
};

/* Before the APIServices' informer is started. */
struct remotes *remotes_start(struct client *, struct loop *, struct view *, struct customs *);
/* Before customs_stop; cb is the last call. */
void remotes_stop(struct remotes *, void (*cb)(void *arg), void *arg);

/* As customs_follow is told. */
const char *remote_kind_name(struct arena *, const struct resource *);
/* Resources of an APIResourceList as a client needs them; subresources are left out. False: it is none. */
bool remote_resources(struct arena *, const char *group, const char *version, struct str text, struct resource **ret, size_t *ret_n);

#endif
