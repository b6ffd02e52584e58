/* Shared between json.c (the tree), json_parse.c (which reads text) and json_print.c (which writes it). */
#ifndef PROTO_JSON_PRIV_H
#define PROTO_JSON_PRIV_H

#include "proto/json.h"

/* Append a member: the key must be new and already in the arena. */
void json__add(struct arena *, struct json *o, struct str key, struct json *value);
/* By their keys, for qsort. */
int json__member_cmp(const void *, const void *);

#endif
