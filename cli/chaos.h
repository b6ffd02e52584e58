/*
 * kontiki chaos: a cluster of its own, load, faults, and the question whether clients ever saw what no etcd may show.
 *
 *	chaos.c         the command: plan, run, report, clean up
 *	chaos_faults.c  the cluster's processes and the table of faults
 *	chaos_load.c    the load, on a thread of its own; chaos_client.c its clients, chaos_watch.c its watches, all over gRPC; what
 *	                they saw goes into a history (verify/)
 *	chaos_report.c  the summary and the timeline picture
 */
#ifndef CLI_CHAOS_H
#define CLI_CHAOS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/local.h"
#include "verify/history.h"

struct ProtobufCMessage;

#define CHAOS_NODES_MAX 9
#define CHAOS_SPANS_MAX 512

struct chaos_opts {
	const char *name, *dir, *subnet, *picture, *only;
	int64_t servers, duration_s, seed, clients;
	bool keep;
};

/* A fault, from when to when (microseconds since the start). */
struct chaos_span {
	const char *what;
	char where[64];
	uint64_t from, to;
};

/* One finished call. */
struct chaos_sample {
	uint64_t at, took; /* microseconds */
	bool write, ok;
};

/* Who led, as a member said. */
struct chaos_lead {
	uint64_t at;
	int leader; /* index of the node; -1: nobody known */
};

struct chaos {
	struct chaos_opts o;
	struct local l;
	uint64_t began_us; /* clock_mono */
	uint64_t rng;
	struct chaos_span spans[CHAOS_SPANS_MAX];
	size_t n_spans;
	volatile int64_t *faults[CHAOS_NODES_MAX];
	bool replaced[CHAOS_NODES_MAX]; /* it joined later, under its old name and address */
	bool tmpfs; /* the last node's disk is a small one of memory */
	struct chaos_load *load;
};

uint64_t chaos_now(const struct chaos *);
uint64_t chaos_random(struct chaos *, uint64_t n);

/* chaos_faults.c */
int chaos_cluster_up(struct chaos *, struct err *e);
void chaos_cluster_down(struct chaos *);
/* Draw, do and undo faults until the time is over; at the end everything is well again. */
int chaos_faults_run(struct chaos *, struct err *e);
bool chaos_fault_known(const char *name);
void chaos_faults_list(FILE *);

/* chaos_load.c */
int chaos_load_start(struct chaos *, struct err *e);
/* One call from the thread that makes faults: the answer's bytes, or an error. At most one at a time. */
struct buf;
int chaos_load_call(struct chaos *, int node, const char *method, const struct ProtobufCMessage *, struct buf *answer, struct err *e);
/* Calls that succeeded so far. */
uint64_t chaos_load_ok(struct chaos *);
/* No new calls; watches on every member must catch up with the last write. False when one does not within the time. */
bool chaos_load_finish(struct chaos *, unsigned timeout_ms);
struct history *chaos_load_history(struct chaos *);
const struct chaos_sample *chaos_load_samples(struct chaos *, size_t *n);
const struct chaos_lead *chaos_load_leads(struct chaos *, size_t *n);
void chaos_load_free(struct chaos *);

/* chaos_report.c */
void chaos_report(struct chaos *, const struct verdict *, bool caught_up, FILE *);
int chaos_picture(struct chaos *, const char *path, struct err *e);

#endif
