/*
 * The cluster's zone: which records a name has, by what Services and EndpointSlices say. Pure; follows the Kubernetes
 * DNS specification 1.1.0.
 *
 *	SVC.NS.svc.ZONE                 A      the cluster address, or, headless, those of the ready endpoints; CNAME for ExternalName
 *	HOST.SVC.NS.svc.ZONE            A      one endpoint of a headless service, by its hostname or its address with dashes
 *	_PORT._PROTO.SVC.NS.svc.ZONE    SRV    a named port; one record for each endpoint when headless
 *	1-2-3-4.NS.pod.ZONE             A      a pod's address
 *	D.C.B.A.in-addr.arpa            PTR    the way back, for cluster addresses and endpoints of headless services
 *
 * A name that exists without records of the type gets an empty answer; one that does not, NXDOMAIN; both with the SOA.
 */
#ifndef ORCHESTRATOR_DNS_DNS_ZONE_H
#define ORCHESTRATOR_DNS_DNS_ZONE_H

#include "net/link.h"
#include "orchestrator/dns/dns_msg.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"

/* Seconds that answers may be kept. Short: endpoints come and go. */
#define DNS_TTL 5u

/* Where the zone looks. Strings end in NUL; what is returned is read at once. */
struct dns_view {
	const struct dns_view_ops *ops;
	const char *zone; /* "cluster.local" */
	struct ip4_net pods, services;
	uint32_t turn; /* the zone counts up: answers with several addresses begin at another one each time */
};
struct dns_view_ops {
	const Core__Service *(*service)(struct dns_view *, const char *ns, const char *name);
	/* The i-th slice of the service, NULL at the end. */
	const Discovery__EndpointSlice *(*slice)(struct dns_view *, const char *ns, const char *service, size_t i);
	bool (*has_namespace)(struct dns_view *, const char *ns);
	/* The service with that cluster address; the i-th slice that has an endpoint with that address. */
	const Core__Service *(*service_by_ip)(struct dns_view *, uint32_t ip);
	const Discovery__EndpointSlice *(*slice_by_ip)(struct dns_view *, uint32_t ip, size_t i);
};

/* Whether the question is for this zone; if so the reply is complete. If not, it is left as it was: ask someone else. */
bool dns_zone_answer(struct dns_view *, const struct dns_query *, struct dns_reply *);

#endif
