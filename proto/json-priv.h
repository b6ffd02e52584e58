/* Shared between json.c and json_parse.c only. */
#ifndef PROTO_JSON_PRIV_H
#define PROTO_JSON_PRIV_H

#include "proto/json.h"

/* Append a member: the key must be new and already in the arena. */
void json__add(struct arena *, struct json *o, struct str key, struct json *value);

#endif
