/* Values that only functions look into: each begins with a struct cel_opaque. */
#ifndef PROTO_CEL_OPAQUE_PRIV_H
#define PROTO_CEL_OPAQUE_PRIV_H

#include "proto/cel/cel-priv.h"
#include "proto/quantity.h"

struct cel__quantity {
	struct cel_opaque o;
	struct quantity q;
};

#endif
