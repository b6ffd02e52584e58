/*
 * The objects that a cluster has from the start, and the endpoints of its own API.
 *
 * Runs on the first serve loop of every server, but only the raft leader writes: the system namespaces, the default roles and
 * bindings, the service default/kubernetes, and, kept up to date, its Endpoints and EndpointSlice with the addresses of the members
 * that the leader hears from. A server is ready when it sees the first of these in its own store.
 */
#ifndef ORCHESTRATOR_APISERVER_BOOTSTRAP_H
#define ORCHESTRATOR_APISERVER_BOOTSTRAP_H

struct apiserver;

/* Before the serve loops run. */
void bootstrap_start(struct apiserver *);
/* On the first serve loop; stopped(arg) follows. */
void bootstrap_stop(struct apiserver *, void (*stopped)(void *arg), void *arg);

#endif
