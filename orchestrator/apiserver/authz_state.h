/*
 * struct authz_state: what authorization knows on one serve loop, an rbac_index and a node_graph, filled from the store and
 * kept up to date by watches on the loop's hub. It lags behind the store by what the loop has not read yet; api_refresh
 * before a second look makes it current (a barrier's answer comes behind the events of the writes before it).
 *
 * When a watch loses its place (the member was given a snapshot), all is read again.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_STATE_H
#define ORCHESTRATOR_APISERVER_AUTHZ_STATE_H

#include <stdbool.h>

struct authz_state;
struct node_graph;
struct rbac_index;
struct store;
struct watch_hub;

/* On the hub's loop, or before it runs. Without `nodes` the graph stays empty, and nodes are told by their roles alone. */
struct authz_state *authz_state_new(struct store *, struct watch_hub *, bool nodes);
void authz_state_free(struct authz_state *);
const struct rbac_index *authz_state_rbac(const struct authz_state *);
const struct node_graph *authz_state_graph(const struct authz_state *);

#endif
