/*
 * The leader's part of a server: controllers and scheduler, on a thread of their own, running exactly while this member leads.
 *
 * Leadership is raft leadership: no lease of its own has to run out before a new leader schedules.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include <stdint.h>

#include "base/err.h"

struct apiserver;
struct control;
struct kv;

struct control_cfg {
	struct kv *kv;
	struct apiserver *api;
	const char *cluster_cidr, *pki_dir; /* borrowed until stopped */
	int64_t sign_s; /* see controllers_cfg */
};

int control_start(const struct control_cfg *, struct control **ret, struct err *e);
/* The CA's files are others. Any thread. */
int control_reload(struct control *, struct err *e);
/* Any thread but its own; waits. Before apiserver_stop. */
void control_stop(struct control *);

#endif
