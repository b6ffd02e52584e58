/*
 * The aggregator: what a server does about APIServices besides passing requests on. It runs on the first serve loop.
 *
 *	every server     asks each remote one for its discovery, every few seconds, and now and then for its OpenAPI documents
 *	                 (aggregate_docs.h); adds its own front-proxy CA to the ConfigMap extension-apiserver-authentication
 *	the raft leader  also writes the condition Available, and the registrations of what is served here: one for each group version
 *	                 of the tables and of custom resources
 *
 * Every remote server is asked by itself, with deadlines: one that is dead holds up nobody.
 */
#ifndef ORCHESTRATOR_APISERVER_AGGREGATOR_H
#define ORCHESTRATOR_APISERVER_AGGREGATOR_H

struct apiserver;

/* Before the serve loops run. */
void aggregator_start(struct apiserver *);
/* On the first serve loop; stopped(arg) follows. */
void aggregator_stop(struct apiserver *, void (*stopped)(void *arg), void *arg);

#endif
