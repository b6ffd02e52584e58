/*
 * The world of test_nobody_sees.c: objects of some kinds in some namespaces, random roles and bindings, and an oracle that says who may
 * do what. The oracle shares nothing with the server: it is a few loops over arrays of its own.
 */
#ifndef TESTS_UNIT_APISERVER_NOBODY_WORLD_H
#define TESTS_UNIT_APISERVER_NOBODY_WORLD_H

#include <stdbool.h>

#include "tests/lib/rng.h"

#define N_NAMESPACES 4
#define N_NAMES 4
#define N_USERS 5
#define N_GROUPS 4
#define N_ROLES 14
#define N_BINDINGS 36
#define N_KINDS 7

/* All that is random, from one seed. */
extern struct rng dice;
unsigned rnd(unsigned below);
#define PICK(array) ((array)[rnd(ARRAY_LEN(array))])

struct kind {
	const char *group, *api, *plural;
	bool namespaced;
	const char *body; /* %s: metadata */
	const char *subs[3];
};
extern const struct kind kinds[N_KINDS];

/* Names of objects are the same in all kinds and namespaces; the last of each is not there. */
const char *name_of(unsigned i);
const char *ns_of(unsigned i);
bool is_namespaces(const struct kind *);
const char *metadata(const struct kind *, const char *ns, const char *name, unsigned odd);
/* On the rig's server. */
void make_world(void);
void random_role(unsigned i);
void random_binding(unsigned i);
void forget_roles(void);

struct who {
	char name[64];
	char groups[6][48];
	unsigned n_groups;
	bool stranger;
};

struct what {
	const char *verb;
	const struct kind *kind; /* NULL: a path */
	const char *path, *group, *resource, *sub;
	const char *ns, *name; /* as authorization sees them; "" */
};

/* The oracle. */
bool is_granted(const struct who *, const struct what *);

#endif
