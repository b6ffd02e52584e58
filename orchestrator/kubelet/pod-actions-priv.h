/* An action of a pod's worker (pod-actions.c) while it is carried out; shared with pod-actions-resize.c. */
#ifndef ORCHESTRATOR_KUBELET_POD_ACTIONS_PRIV_H
#define ORCHESTRATOR_KUBELET_POD_ACTIONS_PRIV_H

#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/resize.h"

enum waits_for { WAITS_CALL, WAITS_IMAGE, WAITS_CHECK };

struct act_op {
	struct pod_worker *w;
	struct list link; /* of the worker's */
	enum waits_for waits;
	bool given_up; /* nobody wants it any more: no further step */
	enum act_kind kind;
	struct kept *pod; /* the spec that it began with */
	char *container;  /* name; NULL: the sandbox is busy */
	const Core__Container *spec;
	char *id, *why;
	uint32_t attempt;
	int64_t grace_s;
	uint64_t began_ms;
	struct arena arena;
	struct cri_call call;
	struct image_get image;
	struct check check;
	void (*next)(struct act_op *); /* after the call */
	/* RESIZE */
	struct resize_container *resized;
	size_t n_resized;
	struct resize_step *steps;
	size_t n_steps, step;
};

/* It is over, in whatever way: the worker looks again. */
void acts__end(struct act_op *op);
/* One call of the runtime; `next` runs after it, unless the action was given up meanwhile. timeout_ms 0: the runtime's own. */
void acts__call(struct act_op *op, enum cri_method m, const ProtobufCMessage *req, uint64_t timeout_ms,
		void (*next)(struct act_op *));

/* Bring what runs to what the spec says, step by step, as resize.h plans it. */
void acts__resize(struct act_op *);

#endif
