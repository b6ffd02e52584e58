#include "cli/rotation.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/join.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "io/aead.h"
#include "io/x509.h"
#include "proto/codec.h"
#include "proto/json.h"

#define CA_DAYS 3650
#define FILE_LIMIT 65536

static const struct {
	const char *name, *key, *next, *trusted, *label;
} kinds[ROTATION_N] = {
	[ROTATION_CA] = {"ca", "ca.key", "ca-next.key", "ca.crt", "CERTIFICATE"},
	[ROTATION_SA] = {"sa", "sa.key", "sa-next.key", "sa-trusted.pem", "PUBLIC KEY"},
};
#define CROSS "ca-cross.crt"

static const char *const phases[] = {"none", "trust", "switch", "done"};
static const char *const steps[ROTATION_STEPS] = {"begin", "switch", "finish", "cancel"};

const char *rotation_kind_name(enum rotation_kind k)
{
	return kinds[k].name;
}

const char *rotation_phase_name(enum rotation_phase p)
{
	return phases[p];
}

bool rotation_kind_find(struct str name, enum rotation_kind *ret)
{
	for (int k = 0; k < ROTATION_N; k++)
		if (str_eqc(name, kinds[k].name)) {
			*ret = (enum rotation_kind)k;
			return true;
		}
	return false;
}

bool rotation_step_find(struct str name, enum rotation_step *ret)
{
	for (int i = 0; i < ROTATION_STEPS; i++)
		if (str_eqc(name, steps[i])) {
			*ret = (enum rotation_step)i;
			return true;
		}
	return false;
}

/* --- The record ---------------------------------------------------------------------------------------------------- */

static void set(struct arena *a, struct json *j, const char *name, struct str value)
{
	if (value.n > 0)
		json_setc(a, j, name, json_new_str(a, value));
}

struct str rotation_print(struct arena *a, const struct rotation *r)
{
	struct json *j = json_new_object(a);

	json_setc(a, j, "phase", json_newc(a, phases[r->phase]));
	json_setc(a, j, "generation", json_new_int(a, r->generation));
	json_setc(a, j, "since", json_new_int(a, r->since_s));
	set(a, j, "old", r->old_pem);
	set(a, j, "new", r->new_pem);
	set(a, j, "cross", r->cross_pem);
	if (r->sealed.n > 0) {
		_cleanup_(buf_fini) struct buf b = BUF_INIT;

		codec_base64(&b, r->sealed);
		json_setc(a, j, "key", json_new_str(a, arena_str(a, buf_str(&b))));
	}
	return json_text(a, j);
}

int rotation_parse(struct arena *a, enum rotation_kind kind, struct str text, struct rotation *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf sealed = BUF_INIT;
	char id[ROTATION_ID];
	struct json *j;
	size_t p = 0;

	*ret = (struct rotation){.kind = kind};
	if (text.n == 0)
		return 0;
	if (json_parse(a, text, NULL, &j, e) < 0)
		return err_prefix(e, "the record of the %s rotation", kinds[kind].name);
	while (p < ARRAY_LEN(phases) && !json_eqc(json_getc(j, "phase"), phases[p]))
		p++;
	ret->phase = (enum rotation_phase)p;
	ret->generation = json_i64_or(json_getc(j, "generation"), 0);
	ret->since_s = json_i64_or(json_getc(j, "since"), 0);
	ret->old_pem = json_str(json_getc(j, "old"));
	ret->new_pem = json_str(json_getc(j, "new"));
	ret->cross_pem = json_str(json_getc(j, "cross"));
	if (p == ARRAY_LEN(phases) || ret->generation <= 0 || codec_base64_parse(json_str(json_getc(j, "key")), &sealed) >= 0 ||
			(p != ROTATION_NONE && !rotation_id(ret->new_pem, id)) ||
			(p == ROTATION_TRUST || p == ROTATION_SWITCH ? !rotation_id(ret->old_pem, id) : false))
		return err_set(e, ERR_CORRUPT, "the record of the %s rotation cannot be understood", kinds[kind].name);
	ret->sealed = arena_str(a, buf_str(&sealed));
	return 0;
}

bool rotation_id(struct str pem, char out[ROTATION_ID])
{
	_cleanup_(buf_fini) struct buf der = BUF_INIT;
	struct x509_key *key = NULL;
	uint8_t sum[32];
	bool ok = x509_key_from_pem(pem, &key, NULL) == 0 && x509_key_public_der(key, &der, NULL) == 0;

	x509_key_free(key);
	if (!ok)
		return false;
	x509_sha256(buf_str(&der), sum);
	for (unsigned i = 0; i < (ROTATION_ID - 1) / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
	return true;
}

static bool same_key(struct str a, struct str b)
{
	char x[ROTATION_ID], y[ROTATION_ID];

	return rotation_id(a, x) && rotation_id(b, y) && strcmp(x, y) == 0;
}

/* --- Files ------------------------------------------------------------------------------------------------------------- */

static void path_of(const char *dir, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/%s", dir, name);
}

/* Empty when it is not there. */
static struct str slurp(const char *dir, const char *name, struct arena *a)
{
	char path[PATH_MAX], *text;
	struct str out;

	path_of(dir, name, path);
	text = file_read(path, FILE_LIMIT, NULL);
	out = text ? arena_str(a, str_from(text)) : STR_NULL;
	free(text);
	return out;
}

static int put(const char *dir, const char *name, struct str text, mode_t mode, bool *ret_changed, struct err *e)
{
	char path[PATH_MAX];
	struct arena a;
	bool same;

	arena_init(&a);
	same = str_eq(slurp(dir, name, &a), text);
	arena_fini(&a);
	if (same)
		return 0;
	*ret_changed = true;
	path_of(dir, name, path);
	return file_put(path, text, mode, true, e);
}

static void drop(const char *dir, const char *name, bool *ret_changed)
{
	char path[PATH_MAX];

	path_of(dir, name, path);
	if (unlink(path) == 0)
		*ret_changed = true;
}

/* What the new key is sealed with: who has the CA's private key has it. */
static int sealing_key(const char *dir, uint8_t out[32], struct err *e)
{
	_cleanup_(buf_fini) struct buf pem = BUF_INIT;
	struct x509_key *key = NULL;
	char path[PATH_MAX];
	int rv;

	path_of(dir, kinds[ROTATION_CA].key, path);
	rv = x509_key_load(path, &key, e);
	if (rv == 0)
		rv = x509_key_to_pem(key, &pem, e);
	x509_key_free(key);
	if (rv == 0)
		x509_hmac_sha256(buf_str(&pem), STR("kontiki rotation"), out);
	return rv;
}

static struct str sealing_aad(struct arena *a, const struct rotation *r)
{
	char id[ROTATION_ID] = "";

	rotation_id(r->new_pem, id);
	return arena_sprintf(a, "%s %s", kinds[r->kind].name, id);
}

/* --- Steps ---------------------------------------------------------------------------------------------------------------- */

static int new_ca(const char *dir, struct arena *a, const struct x509_key *key, struct rotation *r, struct err *e)
{
	struct x509_cert *ca = NULL, *cross = NULL;
	struct pki_ca old;
	struct buf pem = BUF_INIT, cross_pem = BUF_INIT, pub = BUF_INIT;
	char id[ROTATION_ID] = "";
	int rv = pki_ca_load(dir, &old, e);

	if (rv == 0)
		rv = x509_key_public_pem(key, &pub, e);
	if (rv == 0) {
		/* Another name than the old one's: whoever builds a chain by names finds one way only. */
		rotation_id(buf_str(&pub), id);
		rv = x509_ca_new(arena_printf(a, "kontiki-ca-%.8s", id), CA_DAYS, key, &ca, e);
	}
	if (rv == 0)
		rv = x509_cert_to_pem(ca, &pem, e);
	if (rv == 0)
		rv = x509_cross_sign(ca, old.cert, old.key, &cross, e);
	if (rv == 0)
		rv = x509_cert_to_pem(cross, &cross_pem, e);
	r->old_pem = arena_sprintf(a, "%s\n", old.pem ? old.pem : "");
	r->new_pem = arena_str(a, buf_str(&pem));
	r->cross_pem = arena_str(a, buf_str(&cross_pem));
	pki_ca_fini(&old);
	x509_cert_free(ca);
	x509_cert_free(cross);
	buf_fini(&pem);
	buf_fini(&cross_pem);
	buf_fini(&pub);
	return rv;
}

static int new_sa(struct arena *a, const struct x509_key *old_key, const struct x509_key *key, struct rotation *r, struct err *e)
{
	struct buf old = BUF_INIT, pem = BUF_INIT;
	int rv = x509_key_public_pem(old_key, &old, e);

	if (rv == 0)
		rv = x509_key_public_pem(key, &pem, e);
	r->old_pem = arena_str(a, buf_str(&old));
	r->new_pem = arena_str(a, buf_str(&pem));
	r->cross_pem = STR_NULL;
	buf_fini(&old);
	buf_fini(&pem);
	return rv;
}

static int seal(const char *dir, struct arena *a, const struct x509_key *key, struct rotation *r, struct err *e)
{
	_cleanup_(buf_fini) struct buf pem = BUF_INIT, out = BUF_INIT;
	uint8_t secret[32];

	if (sealing_key(dir, secret, e) < 0 || x509_key_to_pem(key, &pem, e) < 0)
		return -(int)e->code;
	aead_seal(str_of(secret, sizeof(secret)), sealing_aad(a, r), buf_str(&pem), &out);
	r->sealed = arena_str(a, buf_str(&out));
	return 0;
}

static int wrong_phase(const struct rotation *r, struct err *e)
{
	static const char *const now[] = {
		"none has been begun", "the next step is to switch over (or to cancel)",
		"the next step is to finish: the old one is no longer trusted then", "the last one is finished"};

	return err_set(e, ERR_FAILED_PRECONDITION, "the rotation of the %s is elsewhere: %s",
			r->kind == ROTATION_CA ? "CA" : "service-account key", now[r->phase]);
}

static void stamp(struct rotation *r, enum rotation_phase p, int64_t now_s)
{
	r->phase = p;
	r->generation++;
	r->since_s = now_s;
}

int rotation_begin(const char *dir, struct arena *a, int64_t now_s, struct rotation *r, struct err *e)
{
	struct x509_key *old = NULL, *key = NULL;
	char path[PATH_MAX];
	int rv;

	if (r->phase == ROTATION_TRUST || r->phase == ROTATION_SWITCH)
		return wrong_phase(r, e);
	path_of(dir, kinds[r->kind].key, path);
	rv = x509_key_load(path, &old, e);
	if (rv == 0)
		rv = x509_key_new(&key, e);
	if (rv == 0)
		rv = r->kind == ROTATION_CA ? new_ca(dir, a, key, r, e) : new_sa(a, old, key, r, e);
	if (rv == 0)
		rv = seal(dir, a, key, r, e);
	x509_key_free(old);
	x509_key_free(key);
	if (rv == 0)
		stamp(r, ROTATION_TRUST, now_s);
	return rv;
}

int rotation_advance(enum rotation_step step, int64_t now_s, struct rotation *r, struct err *e)
{
	enum rotation_phase want = step == ROTATION_FINISH ? ROTATION_SWITCH : ROTATION_TRUST;

	if (r->phase != want)
		return wrong_phase(r, e);
	if (step == ROTATION_SWITCH_OVER) {
		stamp(r, ROTATION_SWITCH, now_s);
		return 0;
	}
	if (step == ROTATION_CANCEL)
		r->new_pem = r->old_pem;
	r->old_pem = r->cross_pem = r->sealed = STR_NULL;
	stamp(r, ROTATION_DONE, now_s);
	return 0;
}

/* --- Following -------------------------------------------------------------------------------------------------------------- */

/* The new private key on disk, out of the record. */
static int fetch_next(const char *dir, const struct rotation *r, struct arena *a, bool *changed, struct err *e)
{
	_cleanup_(buf_fini) struct buf pem = BUF_INIT;
	uint8_t secret[32];

	if (same_key(slurp(dir, kinds[r->kind].next, a), r->new_pem))
		return 0;
	if (r->sealed.n == 0)
		return err_set(e, ERR_FAILED_PRECONDITION,
				"this server has missed the rotation of %s: remove the member, move its data directory away and let it join anew",
				kinds[r->kind].key);
	if (sealing_key(dir, secret, e) < 0)
		return -(int)e->code;
	if (!aead_open(str_of(secret, sizeof(secret)), sealing_aad(a, r), r->sealed, &pem) || !same_key(buf_str(&pem), r->new_pem))
		return err_set(e, ERR_CORRUPT, "the new %s cannot be read with this server's ca.key", kinds[r->kind].key);
	return put(dir, kinds[r->kind].next, buf_str(&pem), 0600, changed, e);
}

static int follow_trusted(const char *dir, const struct rotation *r, struct arena *a, bool *changed, struct err *e)
{
	struct str first = r->phase == ROTATION_TRUST ? r->old_pem : r->new_pem, second = r->phase == ROTATION_TRUST ? r->new_pem : r->old_pem;

	if (r->kind == ROTATION_SA && r->phase == ROTATION_DONE) {
		drop(dir, kinds[r->kind].trusted, changed);
		return 0;
	}
	return put(dir, kinds[r->kind].trusted, arena_sprintf(a, "%.*s%.*s", STR_FMT(first), STR_FMT(r->phase == ROTATION_DONE ? STR_NULL : second)),
			0644, changed, e);
}

static int take_next(const char *dir, const struct rotation *r, bool *changed, struct err *e)
{
	char from[PATH_MAX], to[PATH_MAX];

	path_of(dir, kinds[r->kind].next, from);
	path_of(dir, kinds[r->kind].key, to);
	*changed = true;
	return rename(from, to) == 0 ? 0 : err_set_errno(e, errno, "rename %s", from);
}

int rotation_follow(const char *dir, const struct rotation *r, bool *changed, struct err *e)
{
	struct arena a;
	struct str key;
	bool is_new, is_old;
	int rv = 0;

	*changed = false;
	if (r->phase == ROTATION_NONE)
		return 0;
	arena_init(&a);
	key = slurp(dir, kinds[r->kind].key, &a);
	is_new = same_key(key, r->new_pem);
	is_old = !is_new && (r->phase == ROTATION_DONE || same_key(key, r->old_pem));
	if (!is_new && !is_old)
		rv = err_set(e, ERR_FAILED_PRECONDITION, "%s/%s is neither the cluster's old key nor its new one", dir, kinds[r->kind].key);
	if (rv == 0 && is_old)
		rv = fetch_next(dir, r, &a, changed, e);
	/* Trusted first: the certificate of the key that signs is always in ca.crt, whenever we are cut off. */
	if (rv == 0 && !(r->phase == ROTATION_DONE && is_old))
		rv = follow_trusted(dir, r, &a, changed, e);
	if (rv == 0 && r->kind == ROTATION_CA && r->phase == ROTATION_SWITCH)
		rv = put(dir, CROSS, r->cross_pem, 0644, changed, e);
	if (rv == 0 && is_old && r->phase != ROTATION_TRUST)
		rv = take_next(dir, r, changed, e);
	if (rv == 0 && is_old && r->phase == ROTATION_DONE)
		rv = follow_trusted(dir, r, &a, changed, e);
	if (rv == 0 && r->phase == ROTATION_DONE) {
		drop(dir, kinds[r->kind].next, changed);
		if (r->kind == ROTATION_CA)
			drop(dir, CROSS, changed);
	}
	if (rv == 0 && r->kind == ROTATION_CA && r->phase != ROTATION_TRUST)
		rv = join_token_follow(dir, &a, changed, e);
	arena_fini(&a);
	return rv;
}
