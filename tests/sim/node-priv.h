/* Shared by the files of a node (world.h). */
#ifndef TESTS_SIM_NODE_PRIV_H
#define TESTS_SIM_NODE_PRIV_H

#include "tests/sim/world.h"

/* Work is listed apart, so that a crash can end it. */
struct node_job {
	struct list link;
	struct member_work *work;
};

/* node.c */
struct node *node__of(struct member *);
void node__hub_open(struct node *);
void node__hub_close(struct node *);

/* node_ops.c */
extern const struct member_ops node__ops;

/* node_start.c: after a failure of its disk, for an event. */
void node__retry(struct event *);

/* node_check.c: of a frame that one of its kind would be sent with. */
void node__note_vote(struct node *, uint64_t to_id, struct str frame);

#endif
