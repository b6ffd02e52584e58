/* Shared between the custom files. */
#ifndef PROTO_CUSTOM_PRIV_H
#define PROTO_CUSTOM_PRIV_H

#include "base/arena.h"

struct custom;

/* type and list_type of c, from its schema (custom_types.c). */
void custom__types(struct arena *, struct custom *);

#endif
