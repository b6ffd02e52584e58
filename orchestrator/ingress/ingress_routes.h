/*
 * What the Ingresses of our classes say, as tables to look up: which host and path leads to which Service's pods, and which certificate is for
 * which names. Pure: objects in, tables out, in an order that depends on nothing else, so that equal objects give equal text.
 *
 * A request has one bucket of rules: that of its host, else that of "*." and the rest of it, else "*", the rules without a host. In there the
 * longest path wins: an exact one, then a prefix that is all of the path, then the longest prefix, element by element. Where no rule fits, the
 * default backend of the Ingress that named the host counts, then that of an Ingress without rules. Of two that say the same, the older.
 *
 *	struct ingress_routes *r = ingress_routes_new(&input);
 *	r->exact      "shop.example.com/cart"  ->  "default:shop:80"
 *	ingress_routes_free(r);
 */
#ifndef ORCHESTRATOR_INGRESS_INGRESS_ROUTES_H
#define ORCHESTRATOR_INGRESS_INGRESS_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"
#include "proto/networking.pb-c.h"
#include "proto/pb.h"

#define INGRESS_CONTROLLER "kontiki.dev/ingress"

/* Certificate and key of a Secret that is good, PEM. */
struct ingress_secret {
	const char *ns, *name;
	struct str cert_pem, key_pem;
};

struct ingress_input {
	const Networking__Ingress *const *ingresses;
	size_t n_ingresses;
	const Networking__IngressClass *const *classes;
	size_t n_classes;
	const Core__Service *const *services;
	size_t n_services;
	const Discovery__EndpointSlice *const *slices;
	size_t n_slices;
	const struct ingress_secret *secrets;
	size_t n_secrets;
};

struct ingress_route {
	const char *key;     /* bucket and path; of a prefix without the slash at its end, or for `prefix` with it */
	const char *backend; /* "ns:service:port" */
};

struct ingress_table {
	struct ingress_route *v; /* by key */
	size_t n, cap;
};

struct ingress_backend {
	const char *name;
	bool by_client;          /* the Service wants a client to stay at one pod */
	const char **endpoints;  /* "ip:port", sorted */
	size_t n_endpoints;
};

struct ingress_cert {
	const char *ns, *name;
	struct str cert_pem, key_pem; /* the input's */
	const char **hosts;           /* none: what the certificate says */
	size_t n_hosts;
};

struct ingress_routes {
	struct arena arena;
	size_t n_ingresses; /* ours; none: nothing is to be served */
	struct ingress_table hosts, exact, whole, prefix; /* hosts: each bucket but "*", to itself */
	struct ingress_backend *backends; /* by name */
	size_t n_backends;
	struct ingress_cert *certs;
	size_t n_certs;
	const char **refused; /* what cannot be served, for the log */
	size_t n_refused;
};

/* The input is borrowed until it is freed. */
struct ingress_routes *ingress_routes_new(const struct ingress_input *);
void ingress_routes_free(struct ingress_routes *);
/* The name of its class, in the spec or as it was written of old; NULL: none. */
static inline const char *ingress_class(const Networking__Ingress *i)
{
	if (i->spec && i->spec->ingress_class_name)
		return i->spec->ingress_class_name;
	return pb_map_get(i->metadata->annotations, i->metadata->n_annotations, "kubernetes.io/ingress.class");
}
/* Of a class whose controller we are. */
bool ingress_is_ours(const Networking__Ingress *, const Networking__IngressClass *const *classes, size_t n_classes);

#endif
