/*
 * Reading a configuration file of apiserver.config.k8s.io/v1 strictly: what is not known is an error, not ignored. Pure.
 */
#ifndef ORCHESTRATOR_APISERVER_CONFIG_FILE_H
#define ORCHESTRATOR_APISERVER_CONFIG_FILE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct cel_env;
struct cel_program;
struct cel_type;
struct json;

/* The document, which must be of that kind. Everything of it is in the arena. */
int config_file_parse(struct arena *, struct str text, const char *kind, struct json **ret, struct err *);
/* An object (or nothing) with no other members than these, by blanks. */
int config_file_known(const struct json *, const char *path, const char *members, struct err *);
/* A string member that is there and not empty; or may be missing (*ret NULL). */
int config_file_string(struct arena *, const struct json *, const char *path, const char *member, bool needed, const char **ret, struct err *);
/* An expression. want NULL: of any type. */
int config_file_expression(struct arena *, const struct cel_env *, const char *path, const char *text, const struct cel_type *want,
		const struct cel_program **ret, struct err *);

#endif
