/*
 * Users and roles as records of DB_META: "auth" {enabled, revision}, "u/NAME" authpb.User, "o/NAME" authpb.Role. Changes
 * decide first and write then, as all commands.
 */
#include "store/auth-priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/pb.h"
#include "store/wire.h"

#define NAME_KEY_MAX (STORE_AUTH_NAME_MAX + 2)

static struct str record_key(char kind, struct str name, char *out)
{
	ASSERT(name.n <= STORE_AUTH_NAME_MAX);
	out[0] = kind;
	out[1] = '/';
	memcpy(out + 2, name.p ? name.p : "", name.n);
	return str_of(out, name.n + 2);
}

/* --- Reading -------------------------------------------------------------------------------------------- */

int store__auth_state(struct store_view *v, struct auth_state *ret, struct err *e)
{
	struct str b;
	int rc = store__meta_get(v, STR("auth"), &b, e);

	*ret = (struct auth_state){.revision = 1};
	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc == 0 && b.n < 9)
		return err_set(e, ERR_CORRUPT, "store: the auth record has %zu bytes", b.n);
	if (rc != 0)
		return rc;
	ret->enabled = b.p[0] != 0;
	ret->revision = get_le64((const uint8_t *)b.p + 1);
	return 0;
}

/* ERR_NOT_FOUND silently. */
static int get_message(struct store_view *v, struct arena *a, char kind, struct str name,
		const ProtobufCMessageDescriptor *d, void **ret, struct err *e)
{
	char key[NAME_KEY_MAX];
	struct str b;
	int rc;

	if (name.n == 0 || name.n > STORE_AUTH_NAME_MAX)
		return -ERR_NOT_FOUND;
	rc = store__meta_get(v, record_key(kind, name, key), &b, e);
	if (rc != 0)
		return rc;
	*ret = pb_unpack(a, d, b);
	return *ret ? 0 : err_set(e, ERR_CORRUPT, "store: the record of \"%.*s\" is damaged", STR_FMT(name));
}

int store__auth_user(struct store_view *v, struct arena *a, struct str name, Authpb__User **ret, struct err *e)
{
	void *m;
	int rc = get_message(v, a, 'u', name, &authpb__user__descriptor, &m, e);

	if (rc == 0)
		*ret = m;
	return rc == -ERR_NOT_FOUND ? ANSWER_USER_NOT_FOUND : rc;
}

int store__auth_role(struct store_view *v, struct arena *a, struct str name, Authpb__Role **ret, struct err *e)
{
	void *m;
	int rc = get_message(v, a, 'o', name, &authpb__role__descriptor, &m, e);

	if (rc == 0)
		*ret = m;
	return rc == -ERR_NOT_FOUND ? ANSWER_ROLE_NOT_FOUND : rc;
}

bool store__auth_has_role(const Authpb__User *u, const char *role)
{
	return pb_has_str((const char *const *)u->roles, u->n_roles, role);
}

bool store_auth_enabled(struct store *s, uint64_t *ret_revision)
{
	*ret_revision = atomic_load(&s->pub_auth_revision);
	return atomic_load(&s->pub_auth);
}

bool view_auth_enabled(const struct store_view *v)
{
	return v->state.auth;
}

int view_auth_revision(struct store_view *v, uint64_t *ret, struct err *e)
{
	struct auth_state st;
	int rc = store__auth_state(v, &st, e);

	if (rc == 0)
		*ret = st.revision;
	return rc;
}

int view_auth_user(struct store_view *v, struct arena *a, struct str name, Authpb__User **ret, struct err *e)
{
	return store__answer_err(store__auth_user(v, a, name, ret, e), e);
}

int view_auth_role(struct store_view *v, struct arena *a, struct str name, Authpb__Role **ret, struct err *e)
{
	int rc = store__auth_role(v, a, name, ret, e);

	if (rc == 0 && str_eq(name, STR(AUTH_ROOT))) {
		/* What the role holds does not matter: it may do everything, and says so. */
		Authpb__Permission *p;

		(*ret)->n_keypermission = 0;
		p = pb_add(a, *ret, "keyPermission");
		p->permtype = AUTHPB__PERMISSION__TYPE__READWRITE;
		p->range_end = (ProtobufCBinaryData){1, (uint8_t *)arena_zalloc(a, 1)};
	}
	return store__answer_err(rc, e);
}

struct name_fn {
	bool (*fn)(void *, struct str);
	void *arg;
};

static bool one_name(void *arg, struct str name, struct str body _unused_)
{
	struct name_fn *f = arg;

	return f->fn(f->arg, name);
}

int view_auth_users(struct store_view *v, bool (*fn)(void *, struct str), void *arg, struct err *e)
{
	struct name_fn f = {fn, arg};

	return store__meta_scan(v, STR("u/"), one_name, &f, e);
}

int view_auth_roles(struct store_view *v, bool (*fn)(void *, struct str), void *arg, struct err *e)
{
	struct name_fn f = {fn, arg};

	return store__meta_scan(v, STR("o/"), one_name, &f, e);
}

/* --- Writing -------------------------------------------------------------------------------------------- */

int store__auth_state_put(struct store *s, const struct auth_state *st, struct err *e)
{
	uint8_t b[9] = {st->enabled};

	put_le64(b + 1, st->revision);
	s->writer.state.auth = st->enabled;
	s->writer.state.auth_revision = st->revision;
	return store__meta_put(&s->writer, STR("auth"), str_of(b, sizeof(b)), e);
}

/* Every change of users or roles makes requests that were let in before it ask again. */
static int changed(struct store *s, struct err *e)
{
	struct auth_state st;
	int rc = store__auth_state(&s->writer, &st, e);

	st.revision++;
	return rc ? rc : store__auth_state_put(s, &st, e);
}

static int put_message(struct store *s, char kind, struct str name, const void *msg, struct err *e)
{
	char key[NAME_KEY_MAX];

	return store__meta_put(&s->writer, record_key(kind, name, key), pb_pack_arena(msg, &s->arena), e);
}

static int put_user(struct store *s, const Authpb__User *u, struct err *e)
{
	return put_message(s, 'u', str_of(u->name.data, u->name.len), u, e);
}

static int put_role(struct store *s, const Authpb__Role *r, struct err *e)
{
	return put_message(s, 'o', str_of(r->name.data, r->name.len), r, e);
}

static int del_message(struct store *s, char kind, struct str name, struct err *e)
{
	char key[NAME_KEY_MAX];

	return store__meta_del(&s->writer, record_key(kind, name, key), e);
}

static ProtobufCBinaryData pb_bytes(struct arena *a, struct str s)
{
	return (ProtobufCBinaryData){s.n, arena_memdup(a, s.p ? s.p : "", s.n)};
}

/* --- Enabling ------------------------------------------------------------------------------------------- */

static int enable(struct store *s, const Raftpb__Command *c _unused_, struct err *e)
{
	struct auth_state st;
	Authpb__User *root;
	int rc = store__auth_state(&s->writer, &st, e);

	if (rc != 0 || st.enabled)
		return rc;
	rc = store__auth_user(&s->writer, &s->arena, STR(AUTH_ROOT), &root, e);
	if (rc == ANSWER_USER_NOT_FOUND)
		return ANSWER_ROOT_USER_MISSING;
	if (rc == 0 && !store__auth_has_role(root, AUTH_ROOT))
		return ANSWER_ROOT_ROLE_MISSING;
	st.enabled = true;
	return rc ? rc : store__auth_state_put(s, &st, e);
}

static int disable(struct store *s, const Raftpb__Command *c _unused_, struct err *e)
{
	struct auth_state st;
	int rc = store__auth_state(&s->writer, &st, e);

	if (rc != 0 || !st.enabled)
		return rc;
	st.enabled = false;
	st.revision++;
	store__tokens_drop(s->tokens, NULL);
	return store__auth_state_put(s, &st, e);
}

static int token_grant(struct store *s, const Raftpb__Command *c, struct err *e)
{
	const Raftpb__TokenGrant *g = c->token_grant;
	struct auth_state st;
	Authpb__User *u;
	int rc = store__auth_state(&s->writer, &st, e);

	if (rc == 0 && !st.enabled)
		return ANSWER_AUTH_NOT_ENABLED;
	/* The password that was right may have been changed since: ask for it again. */
	if (rc == 0 && g->auth_revision != st.revision)
		return ANSWER_AUTH_OLD_REVISION;
	if (rc == 0)
		rc = store__auth_user(&s->writer, &s->arena, str_from(g->user), &u, e);
	if (rc == 0)
		store__tokens_add(s->tokens, str_from(g->token), str_from(g->user));
	return rc;
}

/* --- Users ---------------------------------------------------------------------------------------------- */

/* Passwords come as base64 of the hash; the record holds the hash, as etcd's does. */
static int decode_hash(struct arena *a, const char *base64, ProtobufCBinaryData *ret)
{
	struct buf b = BUF_INIT;
	int rc = codec_base64_parse(str_from(base64), &b) < 0 ? 0 : ANSWER_MALFORMED;

	if (rc == 0)
		*ret = pb_bytes(a, buf_str(&b));
	buf_fini(&b);
	return rc;
}

static int user_add(struct store *s, const Raftpb__Command *c, struct err *e)
{
	const Etcdserverpb__AuthUserAddRequest *r = c->user_add;
	struct str name = str_from(r->name);
	Authpb__UserAddOptions no_options = AUTHPB__USER_ADD_OPTIONS__INIT;
	Authpb__User *old, u = AUTHPB__USER__INIT;
	int rc;

	if (name.n == 0)
		return ANSWER_USER_EMPTY;
	if (name.n > STORE_AUTH_NAME_MAX)
		return ANSWER_AUTH_NAME_TOO_LONG;
	rc = store__auth_user(&s->writer, &s->arena, name, &old, e);
	if (rc != ANSWER_USER_NOT_FOUND)
		return rc == 0 ? ANSWER_USER_EXISTS : rc;
	u.name = pb_bytes(&s->arena, name);
	u.options = r->options ? r->options : &no_options;
	rc = u.options->no_password ? 0 : decode_hash(&s->arena, r->hashedpassword, &u.password);
	if (rc == 0)
		rc = put_user(s, &u, e);
	return rc ? rc : changed(s, e);
}

static int user_delete(struct store *s, const Raftpb__Command *c, struct err *e)
{
	struct str name = str_from(c->user_delete->name);
	Authpb__User *u;
	int rc;

	if (s->writer.state.auth && str_eq(name, STR(AUTH_ROOT)))
		return ANSWER_AUTH_MANAGEMENT;
	rc = store__auth_user(&s->writer, &s->arena, name, &u, e);
	if (rc == 0)
		rc = del_message(s, 'u', name, e);
	if (rc != 0)
		return rc;
	store__tokens_drop(s->tokens, c->user_delete->name);
	return changed(s, e);
}

static int user_change_password(struct store *s, const Raftpb__Command *c, struct err *e)
{
	const Etcdserverpb__AuthUserChangePasswordRequest *r = c->user_change_password;
	Authpb__User *u;
	int rc = store__auth_user(&s->writer, &s->arena, str_from(r->name), &u, e);

	if (rc == 0 && !(u->options && u->options->no_password))
		rc = decode_hash(&s->arena, r->hashedpassword, &u->password);
	if (rc == 0)
		rc = put_user(s, u, e);
	if (rc != 0)
		return rc;
	store__tokens_drop(s->tokens, r->name);
	return changed(s, e);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int user_grant_role(struct store *s, const Raftpb__Command *c, struct err *e)
{
	const Etcdserverpb__AuthUserGrantRoleRequest *r = c->user_grant_role;
	Authpb__User *u;
	Authpb__Role *role;
	int rc = store__auth_user(&s->writer, &s->arena, str_from(r->user), &u, e);

	/* The role root need not have been made. */
	if (rc == 0 && strcmp(r->role, AUTH_ROOT) != 0)
		rc = store__auth_role(&s->writer, &s->arena, str_from(r->role), &role, e);
	if (rc != 0 || store__auth_has_role(u, r->role))
		return rc;
	pb_add_str(&s->arena, u, "roles", r->role);
	qsort(u->roles, u->n_roles, sizeof(*u->roles), by_text);
	rc = put_user(s, u, e);
	return rc ? rc : changed(s, e);
}

static bool drop_role(Authpb__User *u, const char *role)
{
	for (size_t i = 0; i < u->n_roles; i++)
		if (strcmp(u->roles[i], role) == 0) {
			pb_remove(u, "roles", i);
			return true;
		}
	return false;
}

static int user_revoke_role(struct store *s, const Raftpb__Command *c, struct err *e)
{
	const Etcdserverpb__AuthUserRevokeRoleRequest *r = c->user_revoke_role;
	Authpb__User *u;
	int rc;

	if (s->writer.state.auth && strcmp(r->name, AUTH_ROOT) == 0 && strcmp(r->role, AUTH_ROOT) == 0)
		return ANSWER_AUTH_MANAGEMENT;
	rc = store__auth_user(&s->writer, &s->arena, str_from(r->name), &u, e);
	if (rc == 0 && !drop_role(u, r->role))
		return ANSWER_ROLE_NOT_GRANTED;
	if (rc == 0)
		rc = put_user(s, u, e);
	return rc ? rc : changed(s, e);
}

/* --- Roles ---------------------------------------------------------------------------------------------- */

static int role_add(struct store *s, const Raftpb__Command *c, struct err *e)
{
	struct str name = str_from(c->role_add->name);
	Authpb__Role *old, r = AUTHPB__ROLE__INIT;
	int rc;

	if (name.n == 0)
		return ANSWER_ROLE_EMPTY;
	if (name.n > STORE_AUTH_NAME_MAX)
		return ANSWER_AUTH_NAME_TOO_LONG;
	rc = store__auth_role(&s->writer, &s->arena, name, &old, e);
	if (rc != ANSWER_ROLE_NOT_FOUND)
		return rc == 0 ? ANSWER_ROLE_EXISTS : rc;
	r.name = pb_bytes(&s->arena, name);
	rc = put_role(s, &r, e);
	return rc ? rc : changed(s, e);
}

struct user_list {
	struct arena *arena;
	const char *role;
	Authpb__User **v;
	size_t n, cap;
};

static bool push_user_with_role(void *arg, struct str name _unused_, struct str body)
{
	struct user_list *l = arg;
	Authpb__User *u = pb_unpack(l->arena, &authpb__user__descriptor, body);

	if (u == NULL || !drop_role(u, l->role))
		return true;
	if (l->n == l->cap) {
		l->v = arena_grow(l->arena, l->v, l->cap * sizeof(*l->v), (l->cap * 2 + 8) * sizeof(*l->v));
		l->cap = l->cap * 2 + 8;
	}
	l->v[l->n++] = u;
	return true;
}

static int role_delete(struct store *s, const Raftpb__Command *c, struct err *e)
{
	struct str name = str_from(c->role_delete->role);
	struct user_list had = {.arena = &s->arena, .role = c->role_delete->role};
	Authpb__Role *r;
	int rc;

	if (s->writer.state.auth && str_eq(name, STR(AUTH_ROOT)))
		return ANSWER_AUTH_MANAGEMENT;
	rc = store__auth_role(&s->writer, &s->arena, name, &r, e);
	if (rc == 0)
		rc = store__meta_scan(&s->writer, STR("u/"), push_user_with_role, &had, e);
	if (rc == 0)
		rc = del_message(s, 'o', name, e);
	for (size_t i = 0; rc == 0 && i < had.n; i++)
		rc = put_user(s, had.v[i], e);
	return rc ? rc : changed(s, e);
}

static int by_key(const void *a, const void *b)
{
	const Authpb__Permission *x = *(Authpb__Permission *const *)a, *y = *(Authpb__Permission *const *)b;
	int c = str_cmp(str_of(x->key.data, x->key.len), str_of(y->key.data, y->key.len));

	return c ? c : str_cmp(str_of(x->range_end.data, x->range_end.len), str_of(y->range_end.data, y->range_end.len));
}

static Authpb__Permission *find_permission(Authpb__Role *r, ProtobufCBinaryData key, ProtobufCBinaryData end, size_t *ret_i)
{
	for (size_t i = 0; i < r->n_keypermission; i++) {
		Authpb__Permission *p = r->keypermission[i];

		*ret_i = i;
		if (str_eq(str_of(p->key.data, p->key.len), str_of(key.data, key.len)) &&
				str_eq(str_of(p->range_end.data, p->range_end.len), str_of(end.data, end.len)))
			return p;
	}
	return NULL;
}

/* An end that is no end of anything could never match, and no key is empty: all keys are from "\0" on. */
static bool range_ok(const Authpb__Permission *p)
{
	struct str key = str_of(p->key.data, p->key.len), end = str_of(p->range_end.data, p->range_end.len);

	if (key.n == 0 || end.n == 0)
		return key.n > 0;
	return str_eq(end, STR("\0")) || str_cmp(key, end) < 0;
}

static int role_grant_permission(struct store *s, const Raftpb__Command *c, struct err *e)
{
	Authpb__Permission *p, *wanted = c->role_grant_permission->perm;
	Authpb__Role *r;
	size_t i;
	int rc;

	if (wanted == NULL)
		return ANSWER_PERMISSION_NOT_GIVEN;
	if (!range_ok(wanted) || wanted->permtype < 0 || wanted->permtype > AUTHPB__PERMISSION__TYPE__READWRITE)
		return ANSWER_AUTH_MANAGEMENT;
	rc = store__auth_role(&s->writer, &s->arena, str_from(c->role_grant_permission->name), &r, e);
	if (rc != 0)
		return rc;
	p = find_permission(r, wanted->key, wanted->range_end, &i);
	if (p != NULL) {
		p->permtype = wanted->permtype;
	} else {
		pb_add_msg(&s->arena, r, "keyPermission", wanted);
		qsort(r->keypermission, r->n_keypermission, sizeof(*r->keypermission), by_key);
	}
	rc = put_role(s, r, e);
	return rc ? rc : changed(s, e);
}

static int role_revoke_permission(struct store *s, const Raftpb__Command *c, struct err *e)
{
	const Etcdserverpb__AuthRoleRevokePermissionRequest *q = c->role_revoke_permission;
	Authpb__Role *r;
	size_t i;
	int rc = store__auth_role(&s->writer, &s->arena, str_from(q->role), &r, e);

	if (rc != 0)
		return rc;
	if (find_permission(r, q->key, q->range_end, &i) == NULL)
		return ANSWER_PERMISSION_NOT_GRANTED;
	pb_remove(r, "keyPermission", i);
	rc = put_role(s, r, e);
	return rc ? rc : changed(s, e);
}

/* --- The table ------------------------------------------------------------------------------------------ */

int store__auth_apply(struct store *s, const Raftpb__Command *c, bool want _unused_, struct buf *out, struct err *e)
{
	static int (*const ops[])(struct store *, const Raftpb__Command *, struct err *) = {
			[RAFTPB__COMMAND__OP_AUTH_ENABLE] = enable,
			[RAFTPB__COMMAND__OP_AUTH_DISABLE] = disable,
			[RAFTPB__COMMAND__OP_USER_ADD] = user_add,
			[RAFTPB__COMMAND__OP_USER_DELETE] = user_delete,
			[RAFTPB__COMMAND__OP_USER_CHANGE_PASSWORD] = user_change_password,
			[RAFTPB__COMMAND__OP_USER_GRANT_ROLE] = user_grant_role,
			[RAFTPB__COMMAND__OP_USER_REVOKE_ROLE] = user_revoke_role,
			[RAFTPB__COMMAND__OP_ROLE_ADD] = role_add,
			[RAFTPB__COMMAND__OP_ROLE_DELETE] = role_delete,
			[RAFTPB__COMMAND__OP_ROLE_GRANT_PERMISSION] = role_grant_permission,
			[RAFTPB__COMMAND__OP_ROLE_REVOKE_PERMISSION] = role_revoke_permission,
			[RAFTPB__COMMAND__OP_TOKEN_GRANT] = token_grant,
	};
	int rc = ops[c->op_case](s, c, e);

	if (rc == 0)
		wire_header(out, &s->writer, true);
	return rc;
}
