/*
 * API priority and fairness: how many requests a serve loop has in hand, and whose turn it is.
 *
 *	authenticate > audit > impersonate > FLOW > authorize > body > ...
 *
 * Between impersonation and authorization a request is classified (flow_config.h): its flow schema names a priority level and,
 * with the user or namespace, a flow. A level has a limit of seats. While there are some, the request goes on at once;
 * else it waits in fair queues (fair.h) or is told to come back: 429 with Retry-After. It gives its seats back when its memory is
 * given back; a watch, when its first events are on their way.
 *
 * What a seat bounds here: a loop does one thing at a time, so a seat is not a thread that computes, but work in hand: a body being
 * read or decoded, a proposal or a read point that is waited for, a list that leaves in slices (a wide one has several seats,
 * because each turn of the loop makes a slice of each list). So seats bound the memory held for requests and the work that one turn of the
 * loop can meet before it looks at its sockets again, which is what a heartbeat has to wait behind a loud client.
 *
 * Loops share nothing mutable. Each has a part of every level's limit (equal parts at first) and decides by itself, without asking
 * anybody: in the quiet state the price is one look through the schemas. A loop where something has to wait says so to
 * the first one, which then asks all loops for their demand ten times a second, divides the seats anew among levels (borrowing) and loops,
 * and stops when nobody is short of any (flow_balance.c). A counter for all loops would be exact, but every request would pay for it
 * with a cache line that all cores write, and whoever waits on another loop would have to be woken anyway.
 *
 * In-process clients are not classified: their number of requests in hand is bounded by what they are (the workers of
 * controllers). Long-running requests (exec, attach, logs, port-forward, proxies) have no seat, as upstream.
 */
#ifndef ORCHESTRATOR_APISERVER_FLOW_H
#define ORCHESTRATOR_APISERVER_FLOW_H

#include "base/str.h"
#include "io/loop.h"
#include "orchestrator/apiserver/fair.h"

struct api_loop;
struct api_request;
struct apiserver;
struct buf;
struct flow_level;
struct flow_stat;
struct flow_state;

enum flow_phase { FLOW_NONE, FLOW_WAITING, FLOW_RUNNING, FLOW_OVER };

/* A request's place; embedded in struct api_request, all zero at first. */
struct flow_ticket {
	struct fair_item item;
	struct flow_level *level; /* both counted, both NULL when it was not classified */
	struct flow_stat *stat;
	enum flow_phase phase;
	unsigned seats;
	uint64_t since_ns; /* of the phase */
};

/* Seats that outlive their request: an answer that has not left yet. */
struct flow_hold {
	struct flow_level *level;
	unsigned seats;
};

/* Of a serve loop; `index` is its place among them. On the hub's loop, or before it runs. */
struct flow_state *flow_state_new(struct api_loop *, unsigned index);
void flow_state_free(struct flow_state *);
/* How often flow schemas or priority levels have changed. */
uint64_t flow_state_changes(const struct flow_state *);

/* The request needs its seats no more (again: nothing). */
void flow_release(struct api_request *);
/* The request ends: the same, and its ticket is gone. */
void flow_end(struct api_request *);
/* Its seats stay taken until flow_hold_end. False: it has none. */
bool flow_hold(struct api_request *, struct flow_hold *);
void flow_hold_end(struct flow_hold *);

/* A list was found to be so large: it has that many seats from here on, and the next one will be expected to be so. */
void flow_list_size(struct api_request *, size_t bytes, bool streamed);
/* A watch of the request's resource begins, ends. */
void flow_watching(struct api_request *, int n);

/* The ids of what it was classified as, for the answer's headers; false: it was not. */
bool flow_uids(const struct api_request *, struct str *ret_schema, struct str *ret_level);

/*
 * What all loops have: metrics (dump NULL), or one of the dumps "dump_priority_levels", "dump_queues", "dump_requests". done follows
 * on the request's loop, not inside this call; the request must live until then. False: there is no such dump.
 */
struct flow_report;
bool flow_report_start(struct api_request *, const char *dump, void (*done)(struct api_request *, struct flow_report *));
/* Appends the text to out (NULL: nobody wants it any more) and frees the report. */
void flow_report_end(struct flow_report *, struct buf *out);

#endif
