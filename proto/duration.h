/*
 * Times and durations as Kubernetes writes them: RFC 3339 timestamps, Go's "1h30m", and the short
 * ages of tables.
 */
#ifndef PROTO_DURATION_H
#define PROTO_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Room for any of the texts and a NUL. */
#define DURATION_SIZE 40

/* RFC 3339 with any zone and fraction -> Unix seconds and (may be NULL) nanoseconds. */
bool time_parse(struct str, int64_t *ret_s, int32_t *ret_ns);
/* Go's notation: "300ms", "1h15m30.5s", "-1.5h"; nanoseconds. False on bad input or overflow. */
bool duration_parse(struct str, int64_t *ret_ns);
/* As Go's Duration.String: "1h0m0s", "1.5s", "0s". */
void duration_print(int64_t ns, char out[DURATION_SIZE]);
/* kubectl's age: "5s", "2m30s", "3h15m", "2d3h", "10d", "2y30d"; negative is "<invalid>", up to a
 * second ahead "0s". */
void duration_human(int64_t seconds, char out[DURATION_SIZE]);

#endif
