/*
 * What of a Service follows from the rest of it, and from what it was before: the fields that are filled in for who did not say, and those
 * that go with a type. The cluster has addresses of one family, IPv4. Pure, on documents that are defaulted; `old` NULL: a new Service.
 *
 * In this order: keep, sync, families; then addresses and ports are given out, and validation sees what has come of it.
 */
#ifndef ORCHESTRATOR_APISERVER_SERVICE_FIELDS_H
#define ORCHESTRATOR_APISERVER_SERVICE_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct field_errs;
struct json;

/* By their type. */
bool service_has_address(const struct json *spec);
bool service_has_ports(const struct json *spec);
/* And are given what they do not name; a load balancer may do without. */
bool service_wants_ports(const struct json *spec);
/* Balancers from outside ask each node whether it has endpoints, on a port for that. */
bool service_wants_health_port(const struct json *spec);
/* Neither address nor pods are ours, so endpoints of both families may be written by hand. */
bool service_is_elsewhere(const struct json *spec);
/* Whether it is the node port, or the health port, of this Service. */
bool service_uses_port(const struct json *spec, int64_t port);
/* The node port that another port of the same number asks for; 0: none does. */
int64_t service_port_beside(const struct json *spec, const struct json *port);

/* Who sends a Service again without what it was given means to keep that: the address, the node port of each port by its name. */
void service_keep(struct arena *, struct json *spec, const struct json *old_spec);
/* clusterIP and clusterIPs say the same, for clients that know only one of them. */
void service_sync_addresses(struct arena *, struct json *spec, const struct json *old_spec);
/* ipFamilyPolicy and ipFamilies; what cannot be is added to the errors, and then nothing more is done. */
void service_families(struct arena *, struct json *spec, const struct json *old_spec, struct field_errs *);
/* A change of type takes along what only the old type could have, unless the client changed that too. */
void service_drop(struct arena *, struct json *obj, const struct json *old);

#endif
