/* Shared between yaml.c, which reads, and yaml_print.c. */
#ifndef PROTO_YAML_PRIV_H
#define PROTO_YAML_PRIV_H

#include <stdint.h>

#include "base/str.h"

enum yaml__kind {
	YAML__STRING,
	YAML__NULL,
	YAML__TRUE,
	YAML__FALSE,
	YAML__INT,   /* in i, or in u when is_big */
	YAML__FLOAT, /* in f */
	YAML__MERGE, /* << */
};

struct yaml__scalar {
	enum yaml__kind kind;
	bool is_big;
	int64_t i;
	uint64_t u;
	double f;
};

/* What a plain scalar means, as Go's yaml.v2 resolves it. */
struct yaml__scalar yaml__resolve(struct str);
/* Whether it would read as a timestamp; those are strings for JSON, but are quoted when printed. */
bool yaml__is_timestamp(struct str);

#endif
