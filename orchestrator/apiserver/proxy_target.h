/*
 * Where a proxy request goes: pure functions on the path's name and on documents.
 *
 * The name is [scheme:]name[:port], as in /api/v1/namespaces/default/services/https:web:443/proxy/. The scheme is http or
 * https; the port a number, or for a service the name of one of its ports.
 */
#ifndef ORCHESTRATOR_APISERVER_PROXY_TARGET_H
#define ORCHESTRATOR_APISERVER_PROXY_TARGET_H

#include "base/arena.h"
#include "base/err.h"
#include "proto/json.h"

struct proxy_name {
	struct str scheme, name, port; /* "" when not given */
};
bool proxy_name_parse(struct str text, struct proxy_name *ret);

struct proxy_target {
	bool tls;
	const char *address; /* host:port */
};
/* The pod's address, and without a port the first that its containers name. */
int proxy_pod_target(struct arena *, const struct proxy_name *, const struct json *pod, struct proxy_target *ret, struct err *);
/* One of the addresses that the Endpoints have ready for the port; `choice` picks. */
int proxy_service_target(struct arena *, const struct proxy_name *, const struct json *service, const struct json *endpoints,
		uint64_t choice, struct proxy_target *ret, struct err *);
/* Not this machine's own, link-local, multicast or unspecified address: a proxy must not be a way into the server itself. */
bool proxy_address_allowed(struct str ip);

/*
 * A Location of the backend as the client must see it: paths of the backend are below `base` (the proxy's own path without the
 * slash at its end), other hosts stay. {NULL, 0}: as it is.
 */
struct str proxy_location(struct arena *, struct str location, const char *address, struct str base);

#endif
