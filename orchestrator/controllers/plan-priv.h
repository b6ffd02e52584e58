/* A plan's actions, shared by plan.c (which makes them) and runner_act.c (which carries them out). */
#ifndef ORCHESTRATOR_CONTROLLERS_PLAN_PRIV_H
#define ORCHESTRATOR_CONTROLLERS_PLAN_PRIV_H

#include "base/list.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"

enum plan_op { PLAN_CREATE, PLAN_UPDATE, PLAN_DELETE, PLAN_PATCH, PLAN_DELETE_COLLECTION, PLAN_EXPECT_EMPTY, PLAN_EXPECT_ABSENT, PLAN_EVENT,
	PLAN_CALL };

struct plan_action {
	struct list link;   /* in reconcile.actions */
	struct list flight; /* in the runner's list while its request is under way */
	enum plan_op op;
	enum view_id view;
	const struct resource *resource; /* NULL: the view's */
	unsigned stage;
	const char *ns, *name, *sub, *account; /* account NULL: the controller's */
	const void *msg;
	const char *key, *uid, *propagation; /* delete */
	struct str patch;
	const char *patch_type; /* NULL: a merge patch */
	const char *method, *path; /* call */
	int64_t grace_s;
	struct client_req req;
	struct work *work;
};

#endif
