/* May this requester do that? */
#include <stdlib.h>

#include "base/util.h"
#include "proto/pb.h"
#include "store/auth-priv.h"

#define PERM(x) AUTHPB__PERMISSION__TYPE__##x
#define OP(x) ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_##x

static struct str pb_str(ProtobufCBinaryData b)
{
	return str_of(b.data, b.len);
}

/* --- Ranges --------------------------------------------------------------------------------------------- */

static bool gives(const Authpb__Permission *p, enum store_access access)
{
	return p->permtype == PERM(READWRITE) || p->permtype == (access == STORE_READ ? PERM(READ) : PERM(WRITE));
}

/* Does the permission hold `at`, and how far does it reach from there? `*ret_end` empty: to the end of all keys. A
 * permission for one key reaches to the next possible one, which is the key with a zero byte behind it. */
static bool reaches(struct arena *a, const Authpb__Permission *p, struct str at, struct str *ret_end)
{
	struct str key = pb_str(p->key), end = pb_str(p->range_end);

	/* From etcd's backups: it takes a permission that begins with no key for one that holds nothing. */
	if (key.n == 0 || str_cmp(key, at) > 0)
		return false;
	if (str_eq(end, STR("\0"))) {
		*ret_end = STR_NULL;
		return true;
	}
	if (end.n == 0) {
		char *next = arena_alloc(a, key.n + 1);

		memcpy(next, key.p, key.n);
		next[key.n] = '\0';
		end = str_of(next, key.n + 1);
	}
	*ret_end = end;
	return str_cmp(at, end) < 0;
}

/* The permissions of all roles together cover the range: walk from its beginning as far as any of them reaches. */
static bool covered(struct arena *a, Authpb__Role *const *roles, size_t n, struct str key, struct str end, enum store_access access)
{
	bool single = end.n == 0, open = str_eq(end, STR("\0"));
	struct str at = key;

	for (;;) {
		struct str best = at, to;

		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < roles[i]->n_keypermission; j++) {
				if (!gives(roles[i]->keypermission[j], access) || !reaches(a, roles[i]->keypermission[j], at, &to))
					continue;
				if (single || to.n == 0)
					return true;
				best = str_cmp(to, best) > 0 ? to : best;
			}
		if (str_eq(best, at))
			return false;
		if (!open && str_cmp(best, end) >= 0)
			return true;
		at = best;
	}
}

/* --- Who ------------------------------------------------------------------------------------------------ */

/* The user and the roles it has, for the checks of one request. */
struct rights {
	struct store_view *view;
	const struct store_requester *who;
	struct arena arena;
	bool loaded, root;
	Authpb__Role **roles;
	size_t n_roles;
};

static int load(struct rights *r, struct err *e)
{
	struct auth_state st;
	Authpb__User *u;
	int rc;

	if (r->loaded)
		return 0;
	if (r->who->user.n == 0)
		return ANSWER_USER_EMPTY;
	rc = store__auth_state(r->view, &st, e);
	if (rc == 0 && r->who->auth_revision < st.revision)
		return ANSWER_AUTH_OLD_REVISION;
	if (rc == 0)
		rc = store__auth_user(r->view, &r->arena, r->who->user, &u, e);
	if (rc != 0)
		return rc == ANSWER_USER_NOT_FOUND ? ANSWER_PERMISSION_DENIED : rc;
	r->root = store__auth_has_role(u, AUTH_ROOT);
	r->roles = arena_new_array(&r->arena, Authpb__Role *, u->n_roles + 1);
	for (size_t i = 0; i < u->n_roles; i++) {
		rc = store__auth_role(r->view, &r->arena, str_from(u->roles[i]), &r->roles[r->n_roles], e);
		if (rc < 0)
			return rc;
		r->n_roles += rc == 0;
	}
	r->loaded = true;
	return 0;
}

static int range(struct rights *r, struct str key, struct str end, enum store_access access, struct err *e)
{
	int rc = load(r, e);

	if (rc != 0 || r->root)
		return rc;
	return covered(&r->arena, r->roles, r->n_roles, key, end, access) ? 0 : ANSWER_PERMISSION_DENIED;
}

struct lease_check {
	struct rights *rights;
	enum store_access access;
	struct err *e;
	int rc;
};

static bool lease_key(void *arg, struct str key)
{
	struct lease_check *l = arg;

	l->rc = range(l->rights, key, STR_NULL, l->access, l->e);
	return l->rc == 0;
}

static int lease(struct rights *r, int64_t id, enum store_access access, struct err *e)
{
	struct lease_check l = {.rights = r, .access = access, .e = e};
	int rc = load(r, e);

	if (rc == 0)
		rc = view_lease_keys(r->view, id, lease_key, &l, e);
	return rc ? rc : l.rc;
}

/* --- Requests ------------------------------------------------------------------------------------------- */

/* A put that hangs its key on a lease lets the lease's end delete it: only who may write all that hangs there may. */
static int put(struct rights *r, const Etcdserverpb__PutRequest *p, struct err *e)
{
	int rc = range(r, pb_str(p->key), STR_NULL, STORE_WRITE, e);

	if (rc == 0 && p->prev_kv)
		rc = range(r, pb_str(p->key), STR_NULL, STORE_READ, e);
	if (rc == 0 && p->lease != 0)
		rc = lease(r, p->lease, STORE_WRITE, e);
	return rc;
}

static int delete_range(struct rights *r, const Etcdserverpb__DeleteRangeRequest *d, struct err *e)
{
	int rc = range(r, pb_str(d->key), pb_str(d->range_end), STORE_WRITE, e);

	if (rc == 0 && d->prev_kv)
		rc = range(r, pb_str(d->key), pb_str(d->range_end), STORE_READ, e);
	return rc;
}

static int txn(struct rights *r, const Etcdserverpb__TxnRequest *t, struct err *e);

static int op(struct rights *r, const Etcdserverpb__RequestOp *o, struct err *e)
{
	switch (o->request_case) {
	case OP(RANGE):
		return range(r, pb_str(o->request_range->key), pb_str(o->request_range->range_end), STORE_READ, e);
	case OP(PUT):
		return put(r, o->request_put, e);
	case OP(DELETE_RANGE):
		return delete_range(r, o->request_delete_range, e);
	case OP(TXN):
		return txn(r, o->request_txn, e);
	default:
		return 0;
	}
}

static int txn(struct rights *r, const Etcdserverpb__TxnRequest *t, struct err *e)
{
	int rc = load(r, e);

	for (size_t i = 0; rc == 0 && i < t->n_compare; i++)
		rc = range(r, pb_str(t->compare[i]->key), pb_str(t->compare[i]->range_end), STORE_READ, e);
	for (size_t i = 0; rc == 0 && i < t->n_success; i++)
		rc = op(r, t->success[i], e);
	for (size_t i = 0; rc == 0 && i < t->n_failure; i++)
		rc = op(r, t->failure[i], e);
	return rc;
}

static int admin(struct rights *r, struct err *e)
{
	Authpb__User *u;
	int rc;

	if (r->who->user.n == 0)
		return ANSWER_USER_EMPTY;
	rc = store__auth_user(r->view, &r->arena, r->who->user, &u, e);
	return rc == 0 && !store__auth_has_role(u, AUTH_ROOT) ? ANSWER_PERMISSION_DENIED : rc;
}

static int command(struct rights *r, const Raftpb__Command *c, struct err *e)
{
	switch (c->op_case) {
	case RAFTPB__COMMAND__OP_TXN:
		return txn(r, c->txn, e);
	case RAFTPB__COMMAND__OP_PUT:
		return put(r, c->put, e);
	case RAFTPB__COMMAND__OP_DELETE_RANGE:
		return delete_range(r, c->delete_range, e);
	case RAFTPB__COMMAND__OP_LEASE_REVOKE:
		return lease(r, c->lease_revoke->id, STORE_WRITE, e);
	case RAFTPB__COMMAND__OP_LEASE_GRANT:
	case RAFTPB__COMMAND__OP_COMPACTION:
		return load(r, e);
	case RAFTPB__COMMAND__OP_TOKEN_GRANT: /* the password was the right one: that was the check */
		return 0;
	default: /* what only the cluster itself and its administrators do */
		return admin(r, e);
	}
}

int store__auth_check(struct store_view *v, const Raftpb__Command *c, struct err *e)
{
	struct store_requester who;
	struct rights r = {.view = v, .who = &who};
	int rc;

	if (!v->state.auth || c->requester == NULL)
		return 0;
	who = (struct store_requester){str_from(c->requester->user), c->requester->auth_revision};
	arena_init(&r.arena);
	rc = command(&r, c, e);
	arena_fini(&r.arena);
	return rc;
}

/* --- The public side ------------------------------------------------------------------------------------ */

/* Run one check on a view, with its own memory. */
#define CHECKED(v, requester, e, call)                                                             \
	({                                                                                         \
		struct rights r = {.view = (v), .who = (requester)};                               \
		int _rc = 0;                                                                       \
		if ((v)->state.auth) {                                                             \
			arena_init(&r.arena);                                                      \
			_rc = store__answer_err(call, e);                                          \
			arena_fini(&r.arena);                                                      \
		}                                                                                  \
		_rc;                                                                               \
	})

int view_auth_range(struct store_view *v, const struct store_requester *who, struct str key, struct str end,
		enum store_access access, struct err *e)
{
	return CHECKED(v, who, e, range(&r, key, end, access, e));
}

int view_auth_txn(struct store_view *v, const struct store_requester *who, const Etcdserverpb__TxnRequest *t, struct err *e)
{
	return CHECKED(v, who, e, txn(&r, t, e));
}

int view_auth_lease(struct store_view *v, const struct store_requester *who, int64_t id, enum store_access access, struct err *e)
{
	return CHECKED(v, who, e, lease(&r, id, access, e));
}

int view_auth_named(struct store_view *v, const struct store_requester *who, struct err *e)
{
	return CHECKED(v, who, e, load(&r, e));
}

int view_auth_admin(struct store_view *v, const struct store_requester *who, struct err *e)
{
	return CHECKED(v, who, e, admin(&r, e));
}
