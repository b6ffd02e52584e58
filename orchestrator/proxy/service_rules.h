/*
 * From Services and EndpointSlices to a ruleset: the pure half of the service proxy.
 *
 * Endpoints of a service port are the ready ones; if none is ready, those that are still serving while they terminate, so that a
 * rollout or a drain does not refuse connections that could be answered. Headless services (clusterIP None), ExternalName, and
 * services that another proxy looks after (label service.kubernetes.io/service-proxy-name) have no rules.
 */
#ifndef ORCHESTRATOR_PROXY_SERVICE_RULES_H
#define ORCHESTRATOR_PROXY_SERVICE_RULES_H

#include "net/ruleset.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"

#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
#define SERVICE_PROXY_LABEL "service.kubernetes.io/service-proxy-name"

struct service_rules_input {
	const char *node_name;
	struct ip4_net pods, service_net;
	const Core__Service *const *services;
	size_t n_services;
	const Discovery__EndpointSlice *const *slices;
	size_t n_slices;
};

/* Never NULL; ruleset_free. The messages are not needed afterwards. */
struct ruleset *service_rules(const struct service_rules_input *);

#endif
