/* Shared between json.c (the tree), json_parse.c (which reads text) and json_print.c (which writes it). */
#ifndef PROTO_JSON_PRIV_H
#define PROTO_JSON_PRIV_H

#include "proto/json.h"

/* By their keys, for qsort. */
int json__member_cmp(const void *, const void *);

#endif
