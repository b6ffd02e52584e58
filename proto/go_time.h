/*
 * Why a text is no time, in the words of Go's time.Parse with the layouts that the API's times have: clients' logs and tests
 * know them.
 */
#ifndef PROTO_GO_TIME_H
#define PROTO_GO_TIME_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* `micro`: a MicroTime. In the arena. For texts that time_parse refuses, or whose time no object may have. */
const char *go_time_problem(struct arena *, struct str text, bool micro);

#endif
