/*
 * The Auth service. Changes are commands, checked when they are applied; what is asked is read behind a barrier. Passwords
 * are hashed and compared here, off the loop (bcrypt, as etcd does, so that users can move over); the state knows hashes only.
 *
 * Logging in: read the user's hash and the auth revision > compare > propose the token, which is refused if users or roles
 * have changed since > if so, once more from the beginning.
 */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/jws.h"
#include "io/x509.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/token.h"
#include "proto/codec.h"
#include "proto/etcd_auth.pb-c.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "store/view.h"

#define MAX_ATTEMPTS 8
/* bcrypt looks at no more. */
#define PASSWORD_MAX 72
#define TOKEN_BYTES 24

/* --- Changes ------------------------------------------------------------------------------------------------------ */

/* Answered when this member has the change too: what the client asks it next is judged by it. */
struct auth_change {
	struct etcd_op *op; /* NULL: it was done */
	struct etcd_read read;
	struct etcd_call *call;
	struct buf frame;
};

static void change_canceled(struct etcd_call *c)
{
	struct auth_change *a = c->state;

	if (a->op != NULL)
		a->op->owner = NULL;
	etcd__read_cancel(&a->read);
	buf_fini(&a->frame);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void change_seen(struct etcd_read *r, struct store_view *v _unused_, const struct err *failed _unused_)
{
	struct auth_change *a = container_of(r, struct auth_change, read);
	struct buf frame = a->frame;

	/* It is made, whether or not it could be waited for. */
	buf_init(&a->frame, BUF_NO_LIMIT);
	etcd__reply(a->call, &frame);
}

static void change_done(struct etcd_op *op)
{
	struct auth_change *a = op->owner;
	struct etcd_call *c = a->call;

	a->op = NULL;
	if (op->req.err.code != ERR_OK) {
		etcd__fail_err(c, &op->req.err);
		return;
	}
	etcd__frame_of(c->el, &a->frame, str_of(op->req.response, op->req.response_size));
	etcd__read(c->el, &a->read, false);
}

static void change(struct etcd_call *c, unsigned command, struct str message)
{
	struct auth_change *a = arena_new_of(c->arena, struct auth_change);

	a->call = c;
	a->read.done = change_seen;
	list_init(&a->read.link);
	buf_init(&a->frame, BUF_NO_LIMIT);
	c->state = a;
	c->on_cancel = change_canceled;
	a->op = etcd__propose(c, command, message, a, change_done);
}

#define PASS_ON(name, CMD)                                                                         \
	void etcd__##name(struct etcd_call *c, struct str request)                                 \
	{                                                                                          \
		change(c, ETCD_CMD_##CMD, request);                                                \
	}
PASS_ON(auth_enable, AUTH_ENABLE)
PASS_ON(auth_disable, AUTH_DISABLE)
PASS_ON(user_delete, USER_DELETE)
PASS_ON(user_grant_role, USER_GRANT_ROLE)
PASS_ON(user_revoke_role, USER_REVOKE_ROLE)
PASS_ON(role_add, ROLE_ADD)
PASS_ON(role_delete, ROLE_DELETE)
PASS_ON(role_grant_permission, ROLE_GRANT_PERMISSION)
PASS_ON(role_revoke_permission, ROLE_REVOKE_PERMISSION)

/* --- Reads ---------------------------------------------------------------------------------------------------------- */

struct auth_read {
	struct etcd_read read;
	struct etcd_call *call;
	const char *name; /* of the user or role that is asked for */
	/* The answer's fields behind its header. */
	int (*fill)(struct auth_read *, struct store_view *, struct buf *, struct err *);
};

static void read_canceled(struct etcd_call *c)
{
	etcd__read_cancel(&((struct auth_read *)c->state)->read);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void read_done(struct etcd_read *r, struct store_view *v, const struct err *failed)
{
	struct auth_read *a = container_of(r, struct auth_read, read);
	struct err e = ERR_INIT;
	struct buf frame;

	if (v == NULL) {
		etcd__fail_err(a->call, failed);
		return;
	}
	if (!etcd__identify(a->call, v))
		return;
	etcd__frame_init(&frame);
	etcd__header(a->call->el, &frame, view_revision(v));
	if (a->fill(a, v, &frame, &e) == 0) {
		etcd__reply(a->call, &frame);
		return;
	}
	buf_fini(&frame);
	etcd__fail_err(a->call, &e);
}

static void read_start(struct etcd_call *c, const char *name,
		int (*fill)(struct auth_read *, struct store_view *, struct buf *, struct err *))
{
	struct auth_read *a = arena_new_of(c->arena, struct auth_read);

	a->call = c;
	a->name = name;
	a->fill = fill;
	a->read.done = read_done;
	c->state = a;
	c->on_cancel = read_canceled;
	etcd__read(c->el, &a->read, false);
}

static int fill_status(struct auth_read *a, struct store_view *v, struct buf *b, struct err *e)
{
	uint64_t revision;
	int rc = view_auth_admin(v, &a->call->who, e);

	if (rc == 0)
		rc = view_auth_revision(v, &revision, e);
	if (rc != 0)
		return rc;
	if (view_auth_enabled(v))
		wire_add_uint(b, 2, 1);
	wire_add_uint(b, 3, revision);
	return 0;
}

void etcd__auth_status(struct etcd_call *c, struct str request _unused_)
{
	read_start(c, NULL, fill_status);
}

static void add_roles(struct buf *b, const Authpb__User *u)
{
	for (size_t i = 0; i < u->n_roles; i++)
		wire_add_bytes(b, 2, str_from(u->roles[i]));
}

static int fill_user(struct auth_read *a, struct store_view *v, struct buf *b, struct err *e)
{
	Authpb__User *u;
	int rc = view_auth_admin(v, &a->call->who, e);

	/* Everybody may ask about themselves. */
	if (rc != 0 && !str_eqc(a->call->who.user, a->name))
		return rc;
	rc = view_auth_user(v, a->call->arena, str_from(a->name), &u, e);
	if (rc == 0)
		add_roles(b, u);
	return rc;
}

static int fill_role(struct auth_read *a, struct store_view *v, struct buf *b, struct err *e)
{
	Authpb__Role *r;
	Authpb__User *u;
	struct err ignored;
	int rc = view_auth_admin(v, &a->call->who, e);

	/* And about a role that they have. */
	if (rc != 0 && (view_auth_user(v, a->call->arena, a->call->who.user, &u, &ignored) != 0 ||
				   !pb_has_str((const char *const *)u->roles, u->n_roles, a->name)))
		return rc;
	rc = view_auth_role(v, a->call->arena, str_from(a->name), &r, e);
	for (size_t i = 0; rc == 0 && i < r->n_keypermission; i++)
		wire_add_bytes(b, 2, pb_pack_arena(r->keypermission[i], a->call->arena));
	return rc;
}

static bool add_name(void *arg, struct str name)
{
	wire_add_bytes(arg, 2, name);
	return true;
}

static int fill_users(struct auth_read *a, struct store_view *v, struct buf *b, struct err *e)
{
	int rc = view_auth_admin(v, &a->call->who, e);

	return rc ? rc : view_auth_users(v, add_name, b, e);
}

static int fill_roles(struct auth_read *a, struct store_view *v, struct buf *b, struct err *e)
{
	int rc = view_auth_admin(v, &a->call->who, e);

	return rc ? rc : view_auth_roles(v, add_name, b, e);
}

void etcd__user_get(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__AuthUserGetRequest *r = pb_unpack(c->arena, &etcdserverpb__auth_user_get_request__descriptor, request);

	if (r == NULL)
		etcd__fail_malformed(c);
	else
		read_start(c, r->name, fill_user);
}

void etcd__role_get(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__AuthRoleGetRequest *r = pb_unpack(c->arena, &etcdserverpb__auth_role_get_request__descriptor, request);

	if (r == NULL)
		etcd__fail_malformed(c);
	else
		read_start(c, r->role, fill_role);
}

void etcd__user_list(struct etcd_call *c, struct str request _unused_)
{
	read_start(c, NULL, fill_users);
}

void etcd__role_list(struct etcd_call *c, struct str request _unused_)
{
	read_start(c, NULL, fill_roles);
}

/* --- Passwords ------------------------------------------------------------------------------------------------------- */

/* A password to be hashed, or to be compared with a hash; it outlives its call. */
struct password {
	struct etcd_job job;
	struct etcd_call *call; /* NULL: nobody waits */
	void (*then)(struct password *);
	char *text, *name;
	unsigned cost;          /* to hash with; 0: compare */
	char hash[CRYPT_OUTPUT_SIZE];
	bool good;
	/* Who logs in. */
	struct etcd_read read;
	uint64_t auth_revision;
	unsigned attempts;
	char token[TOKEN_BYTES + 1];
};

static void run_password(struct etcd_job *job)
{
	struct password *p = container_of(job, struct password, job);
	struct crypt_data *data = xcalloc(1, sizeof(*data));
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *out = NULL;

	if (p->cost == 0)
		out = crypt_r(p->text, p->hash, data);
	else if (crypt_gensalt_rn("$2b$", p->cost, NULL, 0, setting, sizeof(setting)) != NULL)
		out = crypt_r(p->text, setting, data);
	p->good = out != NULL && out[0] == '$';
	if (p->good && p->cost == 0)
		p->good = strlen(out) == strlen(p->hash) && x509_equal(str_from(out), str_from(p->hash));
	else if (p->good)
		memcpy(p->hash, out, strlen(out) + 1);
	explicit_bzero(data, sizeof(*data));
	free(data);
}

static void password_free(struct password *p)
{
	explicit_bzero(p->text, strlen(p->text));
	free(p->text);
	free(p->name);
	free(p);
}

static void password_done(struct etcd_job *job)
{
	struct password *p = container_of(job, struct password, job);

	if (p->call == NULL)
		password_free(p);
	else
		p->then(p);
}

static void password_canceled(struct etcd_call *c)
{
	((struct password *)c->state)->call = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static struct password *password_new(struct etcd_call *c, const char *name, const char *text, void (*then)(struct password *))
{
	struct password *p = xcalloc(1, sizeof(*p));

	p->call = c;
	p->then = then;
	p->name = xstrdup(name);
	p->text = xstrdup(text);
	p->job.run = run_password;
	p->job.done = password_done;
	list_init(&p->read.link);
	return p;
}

static void password_work(struct password *p)
{
	struct etcd_call *c = p->call;

	c->state = p;
	c->on_cancel = password_canceled;
	if (etcd__work(c->el->srv->passwords, c->el, &p->job))
		return;
	password_free(p);
	etcd__fail(c, ETCD_ERR_TOO_MANY_REQUESTS);
}

/* --- Users with passwords ------------------------------------------------------------------------------------------------ */

/* The command's message: name 1, options 3, hashedPassword `field`. */
static void propose_hashed(struct password *p, unsigned command, unsigned field)
{
	struct etcd_call *c = p->call;
	struct buf b = BUF_INIT, base64 = BUF_INIT;

	if (!p->good) {
		password_free(p);
		etcd__finish(c, GRPC_INTERNAL, "kontiki: the password cannot be hashed with bcrypt");
		return;
	}
	codec_base64(&base64, str_from(p->hash));
	wire_add_bytes(&b, 1, str_from(p->name));
	wire_add_bytes(&b, field, buf_str(&base64));
	password_free(p);
	change(c, command, buf_str(&b));
	buf_fini(&b);
	buf_fini(&base64);
}

static void user_hashed(struct password *p)
{
	propose_hashed(p, ETCD_CMD_USER_ADD, 4);
}

static void change_hashed(struct password *p)
{
	propose_hashed(p, ETCD_CMD_USER_CHANGE_PASSWORD, 3);
}

static bool password_ok(struct etcd_call *c, const char *text)
{
	if (strlen(text) <= PASSWORD_MAX)
		return true;
	etcd__finish(c, GRPC_INVALID_ARGUMENT, "kontiki: passwords end at 72 bytes");
	return false;
}

void etcd__user_add(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__AuthUserAddRequest *r = pb_unpack(c->arena, &etcdserverpb__auth_user_add_request__descriptor, request);
	struct password *p;

	if (r == NULL) {
		etcd__fail_malformed(c);
	} else if (r->name[0] == '\0') {
		etcd__fail(c, ETCD_ERR_USER_EMPTY);
	} else if (r->options != NULL && r->options->no_password) {
		Etcdserverpb__AuthUserAddRequest plain = *r;

		plain.password = plain.hashedpassword = (char *)(uintptr_t)"";
		change(c, ETCD_CMD_USER_ADD, pb_pack_arena(&plain, c->arena));
	} else if (password_ok(c, r->password)) {
		p = password_new(c, r->name, r->password, user_hashed);
		p->cost = c->el->srv->cfg.bcrypt_cost;
		password_work(p);
	}
}

void etcd__user_change_password(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__AuthUserChangePasswordRequest *r =
			pb_unpack(c->arena, &etcdserverpb__auth_user_change_password_request__descriptor, request);
	struct password *p;

	if (r == NULL) {
		etcd__fail_malformed(c);
	} else if (password_ok(c, r->password)) {
		p = password_new(c, r->name, r->password, change_hashed);
		p->cost = c->el->srv->cfg.bcrypt_cost;
		password_work(p);
	}
}

/* --- Logging in ------------------------------------------------------------------------------------------------------------ */

static void login_read(struct password *p);

static void login_fail(struct password *p, enum etcd_error error)
{
	struct etcd_call *c = p->call;

	password_free(p);
	etcd__fail(c, error);
}

static void on_token(struct etcd_op *op)
{
	struct password *p = op->owner;
	struct etcd_call *c = p->call;
	struct buf frame;

	if (op->req.err.code != ERR_OK) {
		/* Users or roles have changed meanwhile, perhaps this one's password. */
		if (etcd_error_of(&op->req.err) == ETCD_ERR_AUTH_OLD_REVISION && ++p->attempts < MAX_ATTEMPTS) {
			login_read(p);
			return;
		}
		password_free(p);
		etcd__fail_err(c, &op->req.err);
		return;
	}
	etcd__frame_init(&frame);
	etcd__header(c->el, &frame, 0);
	wire_add_bytes(&frame, 2, str_from(p->token));
	password_free(p);
	etcd__reply(c, &frame);
}

struct token_wait {
	struct etcd_op *op;
	struct password *password;
};

static void token_canceled(struct etcd_call *c)
{
	struct token_wait *w = c->state;

	w->op->owner = NULL;
	password_free(w->password);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

/* A token that needs to be told to nobody. */
static void answer_signed(struct password *p)
{
	struct etcd_call *c = p->call;
	const struct etcd_server_cfg *cfg = &c->el->srv->cfg;
	int64_t expires = clock_wall_s() + (int64_t)((cfg->token_ms ? cfg->token_ms : 300000) / 1000);
	struct err e = ERR_INIT;
	struct str token;
	struct buf frame;

	if (!jws_key_signs(cfg->token_key)) {
		password_free(p);
		etcd__finish(c, GRPC_UNKNOWN, "auth: token signing attempted with verify-only key");
		return;
	}
	if (etcd_token_make(c->arena, cfg->token_key, str_from(p->name), p->auth_revision, expires, &token, &e) != 0) {
		password_free(p);
		etcd__fail_err(c, &e);
		return;
	}
	etcd__frame_init(&frame);
	etcd__header(c->el, &frame, 0);
	wire_add_bytes(&frame, 2, token);
	password_free(p);
	etcd__reply(c, &frame);
}

static void login_compared(struct password *p)
{
	struct etcd_call *c = p->call;
	struct token_wait *w = arena_new_of(c->arena, struct token_wait);
	struct buf b = BUF_INIT;
	uint8_t random[TOKEN_BYTES];

	if (!p->good) {
		login_fail(p, ETCD_ERR_AUTH_FAILED);
		return;
	}
	if (c->el->srv->cfg.token_key != NULL) {
		answer_signed(p);
		return;
	}
	random_bytes(random, sizeof(random));
	for (size_t i = 0; i < TOKEN_BYTES; i++)
		p->token[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[random[i] & 63];
	wire_add_bytes(&b, 1, str_from(p->name));
	wire_add_bytes(&b, 2, str_from(p->token));
	wire_add_uint(&b, 3, p->auth_revision);
	w->password = p;
	c->state = w;
	c->on_cancel = token_canceled;
	w->op = etcd__propose(c, ETCD_CMD_TOKEN_GRANT, buf_str(&b), p, on_token);
	buf_fini(&b);
}

static void login_read_canceled(struct etcd_call *c)
{
	struct password *p = c->state;

	etcd__read_cancel(&p->read);
	login_fail(p, ETCD_ERR_CANCELED);
}

static void login_found(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct password *p = container_of(read, struct password, read);
	struct etcd_call *c = p->call;
	struct err e = ERR_INIT;
	Authpb__User *u;

	if (v == NULL) {
		password_free(p);
		etcd__fail_err(c, failed);
	} else if (!view_auth_enabled(v)) {
		login_fail(p, ETCD_ERR_AUTH_NOT_ENABLED);
	} else if (view_auth_revision(v, &p->auth_revision, &e) != 0 ||
			view_auth_user(v, c->arena, str_from(p->name), &u, &e) != 0 || (u->options && u->options->no_password) ||
			u->password.len == 0 || u->password.len >= sizeof(p->hash)) {
		login_fail(p, ETCD_ERR_AUTH_FAILED);
	} else {
		memcpy(p->hash, u->password.data, u->password.len);
		p->hash[u->password.len] = '\0';
		password_work(p);
	}
}

static void login_read(struct password *p)
{
	struct etcd_call *c = p->call;

	p->read.done = login_found;
	c->state = p;
	c->on_cancel = login_read_canceled;
	etcd__read(c->el, &p->read, false);
}

void etcd__authenticate(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__AuthenticateRequest *r = pb_unpack(c->arena, &etcdserverpb__authenticate_request__descriptor, request);

	if (r == NULL)
		etcd__fail_malformed(c);
	else if (strlen(r->password) > PASSWORD_MAX)
		etcd__fail(c, ETCD_ERR_AUTH_FAILED);
	else
		login_read(password_new(c, r->name, r->password, login_compared));
}
