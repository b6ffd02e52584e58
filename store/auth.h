/*
 * Users, roles and permissions, as etcd's auth store defines them: who may read and write which keys.
 *
 * Users and roles are records of the store, changed by commands (raftpb.Command 30 and on) and so the same on every
 * member. Each change moves the auth revision. While authentication is enabled, a command that carries a requester is
 * checked when it is applied, against the users and roles of that moment: a request that was let in before a role was
 * taken away does not slip through. A command without a requester comes from the cluster itself (the API server's
 * writes, expired leases) and is not checked. Reads are checked by who serves them, on the view they read from.
 *
 *	struct store_requester who = {user, revision};
 *	rc = view_auth_range(view, &who, key, end, STORE_READ, &e);
 *
 * The user root with the role root may do everything. Errors carry etcd's texts: ERR_FORBIDDEN "permission denied",
 * ERR_BAD_REQUEST "user name is empty" and "revision of auth store is old", ERR_FAILED_PRECONDITION for the rest.
 *
 * Tokens that stand for a user (etcd's "simple" tokens) are told to all members by a command, live in memory, and end
 * when they are not used for their time to live, when the user's password changes, and with the process.
 *
 * Passwords are never here in the clear: who proposes hashes them (proto AuthUserAddRequest.hashedPassword, base64).
 */
#ifndef STORE_AUTH_H
#define STORE_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct store;
struct store_view;

/* Protobuf messages of proto/etcd_auth.proto and proto/etcd_rpc.proto. */
struct Authpb__User;
struct Authpb__Role;
struct Etcdserverpb__TxnRequest;

#define STORE_AUTH_NAME_MAX 400

/* Who asks. user empty: nobody said. */
struct store_requester {
	struct str user;
	uint64_t auth_revision; /* of the moment at which the user was found out */
};

enum store_access { STORE_READ, STORE_WRITE };

/* [any] Is authentication on, as of the last commit? And the auth store's revision. */
bool store_auth_enabled(struct store *, uint64_t *ret_revision);

/* --- Views ---------------------------------------------------------------------------------------------- */

bool view_auth_enabled(const struct store_view *);
int view_auth_revision(struct store_view *, uint64_t *ret, struct err *);
/* The checks say yes (0) to everything while authentication is off. Ranges are etcd's (store/view.h). */
int view_auth_range(struct store_view *, const struct store_requester *, struct str key, struct str end, enum store_access,
		struct err *);
/* All compares and both branches, nested ones too. */
int view_auth_txn(struct store_view *, const struct store_requester *, const struct Etcdserverpb__TxnRequest *, struct err *);
/* The keys that hang on a lease. */
int view_auth_lease(struct store_view *, const struct store_requester *, int64_t id, enum store_access, struct err *);
/* Somebody, whoever it is. */
int view_auth_named(struct store_view *, const struct store_requester *, struct err *);
/* Has the role root. */
int view_auth_admin(struct store_view *, const struct store_requester *, struct err *);

/* Messages in the arena; "user name not found", "role name not found". The role root is what etcd says it is. */
int view_auth_user(struct store_view *, struct arena *, struct str name, struct Authpb__User **ret, struct err *);
int view_auth_role(struct store_view *, struct arena *, struct str name, struct Authpb__Role **ret, struct err *);
/* Names, in order. */
int view_auth_users(struct store_view *, bool (*fn)(void *arg, struct str name), void *arg, struct err *);
int view_auth_roles(struct store_view *, bool (*fn)(void *arg, struct str name), void *arg, struct err *);

/* --- Tokens [any] --------------------------------------------------------------------------------------- */

/* 0: the default of 300 s. */
void store_tokens_ttl(struct store *, uint64_t ms);
/* The user of a token, copied into the arena; its time begins anew. False: unknown, or its time is over. */
bool store_token_user(struct store *, struct str token, uint64_t now_ms, struct arena *, struct str *ret);

#endif
