/* A store out of etcd's database file: its revisions are written again, in their order, as they were. */
#include <string.h>

#include "base/util.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "store/auth-priv.h"
#include "store/bolt-priv.h"

#define REV_BYTES 17
/* A transaction of ours. */
#define BATCH_BYTES (4u << 20)

struct import {
	struct store *store;
	struct bolt_import count;
	struct rev last;
	int64_t compact;
};

/* Commit what has gathered, and begin anew. */
static int turn_over(struct store *s, struct err *e)
{
	int rc = store_commit(s, e);

	return rc ? rc : store_begin(s, e);
}

static bool parse_rev(struct str key, struct rev *ret, bool *ret_tombstone)
{
	const uint8_t *p = (const uint8_t *)key.p;
	uint64_t main_rev, sub;

	if ((key.n != REV_BYTES && key.n != REV_BYTES + 1) || p[8] != '_' || (key.n > REV_BYTES && p[REV_BYTES] != 't'))
		return false;
	main_rev = get_be64(p);
	sub = get_be64(p + 9);
	if (main_rev < 1 || main_rev > INT64_MAX / 2 || sub > UINT32_MAX)
		return false;
	*ret = (struct rev){(int64_t)main_rev, (uint32_t)sub};
	*ret_tombstone = key.n > REV_BYTES;
	return true;
}

static int add_revision(void *arg, struct str key, struct str value, struct err *e)
{
	struct import *im = arg;
	struct store *s = im->store;
	Mvccpb__KeyValue *kv;
	bool tombstone;
	struct rev at;
	int rc;

	if (!parse_rev(key, &at, &tombstone) || rev_cmp(at, im->last) <= 0)
		return err_set(e, ERR_CORRUPT, "the backup has a revision that is none, behind revision %lld", (long long)im->last.main);
	im->last = at;
	/* What etcdutl's --bump-revision leaves: a revision of no key. */
	if (value.n == 0 && !tombstone) {
		s->writer.state.revision = at.main;
		return 0;
	}
	kv = pb_unpack(&s->arena, &mvccpb__key_value__descriptor, value);
	if (kv == NULL || kv->key.len == 0 || (!tombstone && (kv->mod_revision != at.main || kv->version < 1 || kv->create_revision < 1 ||
								     kv->create_revision > at.main)))
		return err_set(e, ERR_CORRUPT, "the backup's key at revision %lld is damaged", (long long)at.main);
	rc = store__import_version(s, at, tombstone,
			&(struct store_kv){.key = str_of(kv->key.data, kv->key.len),
					.value = str_of(kv->value.data, kv->value.len),
					.create_revision = kv->create_revision,
					.version = kv->version,
					.lease = kv->lease},
			e);
	arena_fini(&s->arena);
	im->count.n_revisions++;
	return rc == 0 && s->batch_bytes > BATCH_BYTES ? turn_over(s, e) : rc;
}

/* leasepb.Lease{ID 1, TTL 2, RemainingTTL 3}: a lease begins its whole time anew. */
static int add_lease(void *arg, struct str key, struct str value, struct err *e)
{
	struct import *im = arg;
	struct wire_reader r = wire_reader(value);
	struct wire_item it = {0};
	int64_t id, ttl = 0;
	int rc;

	while (wire_next(&r, &it))
		if (it.number == 2 && it.type == WIRE_VARINT)
			ttl = (int64_t)it.v;
	if (key.n != 8 || r.failed || ttl > STORE_LEASE_MAX_TTL)
		return err_set(e, ERR_CORRUPT, "the backup has a damaged lease");
	id = (int64_t)get_be64((const uint8_t *)key.p);
	ttl = MAX(ttl, STORE_LEASE_MIN_TTL);
	rc = store__lease_record_put(&im->store->writer, id, ttl, 0, e);
	if (rc == 0)
		store__lessor_grant(im->store->lessor, id, ttl, 0);
	im->count.n_leases++;
	return rc;
}

static int add_named(struct import *im, char kind, const ProtobufCMessageDescriptor *d, struct str key, struct str value, struct err *e)
{
	char name[STORE_AUTH_NAME_MAX + 2] = {kind, '/'};
	struct arena a;
	bool good;

	if (key.n == 0 || key.n > STORE_AUTH_NAME_MAX)
		return err_set(e, ERR_CORRUPT, "the backup has a user or role with a name of %zu bytes", key.n);
	arena_init(&a);
	good = pb_unpack(&a, d, value) != NULL;
	arena_fini(&a);
	if (!good)
		return err_set(e, ERR_CORRUPT, "the backup's user or role \"%.*s\" is damaged", STR_FMT(key));
	memcpy(name + 2, key.p, key.n);
	return store__meta_put(&im->store->writer, str_of(name, key.n + 2), value, e);
}

static int add_user(void *arg, struct str key, struct str value, struct err *e)
{
	struct import *im = arg;

	im->count.n_users++;
	return add_named(im, 'u', &authpb__user__descriptor, key, value, e);
}

static int add_role(void *arg, struct str key, struct str value, struct err *e)
{
	struct import *im = arg;

	im->count.n_roles++;
	return add_named(im, 'o', &authpb__role__descriptor, key, value, e);
}

static int add_auth(void *arg, struct str key, struct str value, struct err *e)
{
	struct import *im = arg;
	struct auth_state st;
	int rc = store__auth_state(&im->store->writer, &st, e);

	if (rc != 0)
		return rc;
	if (str_eqc(key, "authEnabled") && value.n == 1)
		st.enabled = value.p[0] == 1;
	else if (str_eqc(key, "authRevision") && value.n == 8)
		st.revision = MAX(1, get_be64((const uint8_t *)value.p));
	return store__auth_state_put(im->store, &st, e);
}

static int add_meta(void *arg, struct str key, struct str value, struct err *e _unused_)
{
	struct import *im = arg;
	bool tombstone;
	struct rev at;

	if ((str_eqc(key, "finishedCompactRev") || str_eqc(key, "scheduledCompactRev")) && parse_rev(value, &at, &tombstone))
		im->compact = MAX(im->compact, at.main);
	return 0;
}

static int import_all(struct import *im, struct bolt_in *in, struct err *e)
{
	struct store_state *st = &im->store->writer.state;
	int rc = bolt_in_each(in, "meta", add_meta, im, e);

	if (rc == 0)
		rc = bolt_in_each(in, "lease", add_lease, im, e);
	if (rc == 0)
		rc = bolt_in_each(in, "key", add_revision, im, e);
	if (rc == 0)
		rc = bolt_in_each(in, "authUsers", add_user, im, e);
	if (rc == 0)
		rc = bolt_in_each(in, "authRoles", add_role, im, e);
	if (rc == 0)
		rc = bolt_in_each(in, "auth", add_auth, im, e);
	if (rc != 0)
		return rc;
	/* What was compacted may have been all there was: revisions never go back. */
	st->revision = MAX(st->revision, MAX(im->compact, 1));
	if (im->compact > 0) {
		st->compact = im->compact;
		im->store->local.cursor = REV_NONE;
	}
	return 0;
}

int bolt_import(struct bolt_in *in, struct store *s, struct bolt_import *ret, struct err *e)
{
	struct import im = {.store = s, .compact = -1};
	int rc;

	if (s->state.revision != 1 || s->state.index != 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "a backup of etcd can only fill an empty store");
	rc = store_begin(s, e);
	if (rc != 0)
		return rc;
	rc = store_skip(s, 1, 1, e);
	if (rc == 0)
		rc = import_all(&im, in, e);
	if (rc != 0) {
		store_rollback(s);
		return rc;
	}
	rc = store_commit(s, e);
	im.count.revision = s->state.revision;
	im.count.compact_revision = s->state.compact;
	if (rc == 0)
		*ret = im.count;
	return rc;
}
