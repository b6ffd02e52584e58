/*
 * Time zones by name, for expressions: the files of the time zone database (TZif), as the distribution installs them.
 *
 * All of it is read at once when the first name is asked for, and kept: some hundred small files, a megabyte. What is asked for
 * afterwards costs a look into a table, whatever an expression does, and a name never becomes a path. A newer database is seen when the
 * program starts again.
 */
#ifndef ORCHESTRATOR_APISERVER_ZONES_H
#define ORCHESTRATOR_APISERVER_ZONES_H

#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"

struct zones {
	struct arena arena;
	struct map by_name; /* -> struct str */
};

/* The zones below this directory, but for the copies that posix/ and right/ hold. What cannot be read, is too large or no TZif is left out. */
void zones_load(struct zones *, const char *dir);
void zones_fini(struct zones *);
/* The bytes of its file, or {NULL, 0}. They live as long as the zones. */
struct str zones_find(const struct zones *, struct str name);

/* The machine's, on any thread; for cel_zones_by_default. */
struct str zones_of_machine(struct str name);

#endif
