/* What the files of auth share: where the records are, and how they are read. */
#ifndef STORE_AUTH_PRIV_H
#define STORE_AUTH_PRIV_H

#include "store/auth.h"
#include "store/store-priv.h"

#define AUTH_ROOT "root" /* both the user and the role */

/* The record "auth". */
struct auth_state {
	bool enabled;
	uint64_t revision; /* 1 before the first change, as etcd's */
};
int store__auth_state(struct store_view *, struct auth_state *ret, struct err *);

int store__auth_state_put(struct store *, const struct auth_state *, struct err *);

/* Answers: ANSWER_USER_NOT_FOUND, ANSWER_ROLE_NOT_FOUND. */
int store__auth_user(struct store_view *, struct arena *, struct str name, Authpb__User **ret, struct err *);
int store__auth_role(struct store_view *, struct arena *, struct str name, Authpb__Role **ret, struct err *);
bool store__auth_has_role(const Authpb__User *, const char *role);

#endif
