/* Values that only functions look into: each begins with a struct cel_opaque. */
#ifndef PROTO_CEL_OPAQUE_PRIV_H
#define PROTO_CEL_OPAQUE_PRIV_H

#include "proto/cel/cel-priv.h"
#include "proto/quantity.h"

struct cel__quantity {
	struct cel_opaque o;
	struct quantity q;
};

/* An address, or a network with `bits`. */
struct cel__ip {
	struct cel_opaque o;
	bool v6;
	unsigned bits;
	unsigned char bytes[16]; /* 4 of IPv4 */
};

struct cel__url {
	struct cel_opaque o;
	struct str text, scheme, host, path, query; /* as written, but the host is decoded */
};

struct cel__format {
	struct cel_opaque o;
	const char *name, *shown;
	unsigned regex_size;
	/* NULL: valid; else what is wrong. */
	const char *(*validate)(struct arena *, struct str);
};

struct cel__semver {
	struct cel_opaque o;
	uint64_t part[3];
	struct str pre, build; /* without their signs */
};

/* All five of the authorizer's: what was asked for so far. */
struct cel__authz {
	struct cel_opaque o;
	struct cel_authorizer *authorizer;
	struct cel_query query;
	struct cel_decision decision;
};

struct str cel__ip_text(struct arena *, const struct cel__ip *, bool cidr);
int cel__semver_cmp(const struct cel__semver *, const struct cel__semver *);
struct str cel__semver_text(struct arena *, const struct cel__semver *);
/* Whether a text is a URI that a request line may hold: NULL, or what is wrong. *ret may be NULL. */
const char *cel__url_parse(struct arena *, struct str, struct cel__url *ret);

#endif
