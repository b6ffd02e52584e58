/* Tokens to join with, as text and as a file; declared in cli/join.h. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/join.h"
#include "cli/local.h"
#include "io/x509.h"

#define PREFIX "kontiki1."
#define SECRET_BYTES 20
#define FILE_LIMIT 65536

/* The hash without its "sha256:". */
int join__ca_hash(struct str pem, char out[X509_SPKI_HASH_SIZE], struct err *e)
{
	struct x509_cert *ca = NULL;
	char text[X509_SPKI_HASH_SIZE];
	int rv = x509_cert_from_pem(pem, &ca, e);

	if (rv == 0)
		rv = x509_spki_hash(ca, text, e);
	x509_cert_free(ca);
	if (rv == 0)
		snprintf(out, X509_SPKI_HASH_SIZE, "%s", text + strlen("sha256:"));
	return rv;
}

char *join__pki_read(const char *dir, const char *name, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_read(path, FILE_LIMIT, e);
}

int join__pki_write(const char *dir, const char *name, struct str text, mode_t mode, struct err *e)
{
	char path[PATH_MAX];

	if (text.n == 0)
		return err_set(e, ERR_PROTOCOL, "the server's answer lacks %s", name);
	if (dir_make(dir, 0700, e) < 0)
		return -(int)e->code;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return file_put(path, text, mode, true, e);
}

/* "kontiki1.HASH.SECRET" for the CA in `pem`. */
static int make_token(const char *pem, struct arena *a, const char **ret_token, const char **ret_secret, struct err *e)
{
	unsigned char secret[SECRET_BYTES];
	char hash[X509_SPKI_HASH_SIZE], hex[2 * SECRET_BYTES + 1];

	if (join__ca_hash(str_from(pem), hash, e) < 0)
		return -(int)e->code;
	random_bytes(secret, sizeof(secret));
	for (size_t i = 0; i < sizeof(secret); i++)
		snprintf(hex + 2 * i, 3, "%02x", secret[i]);
	*ret_secret = arena_strdup(a, hex);
	*ret_token = arena_printf(a, PREFIX "%s.%s", hash, hex);
	return 0;
}

int join_new_token(const char *ca_path, struct arena *a, const char **ret_token, const char **ret_secret, struct err *e)
{
	char *pem = file_read(ca_path, FILE_LIMIT, e);
	int rv = pem ? make_token(pem, a, ret_token, ret_secret, e) : -(int)ERR_NOT_FOUND;

	free(pem);
	return rv;
}

int join_ensure_token(const char *pki_dir, struct arena *a, const char **ret_token, struct err *e)
{
	char path[PATH_MAX], *old = join__pki_read(pki_dir, "join.token", NULL);
	const char *token, *secret;

	if (old != NULL) {
		if (ret_token)
			*ret_token = arena_cstr(a, str_trim(str_from(old)));
		free(old);
		return 0;
	}
	snprintf(path, sizeof(path), "%s/ca.crt", pki_dir);
	if (join_new_token(path, a, &token, &secret, e) < 0)
		return -(int)e->code;
	if (ret_token)
		*ret_token = token;
	return join__pki_write(pki_dir, "join.token", arena_sprintf(a, "%s\n", token), 0600, e);
}

/* The parts of a token; @FILE is read. */
int join_token_parse(const char *token, struct arena *a, struct str *ret_hash, const char **ret_secret, struct err *e)
{
	struct str rest, secret;

	if (token == NULL || *token == '\0')
		return err_set(e, ERR_BAD_REQUEST, "a join token is needed: --token T, from pki/join.token on any server");
	if (token[0] == '@') {
		char *text = file_read(token + 1, FILE_LIMIT, e);

		if (text == NULL)
			return -(int)ERR_NOT_FOUND;
		token = arena_cstr(a, str_trim(str_from(text)));
		free(text);
	}
	rest = str_from(token);
	if (!str_has_prefix(rest, STR(PREFIX)) || !str_cut(str_skip(rest, strlen(PREFIX)), '.', ret_hash, &secret) || ret_hash->n != 64 ||
			secret.n != 2 * SECRET_BYTES)
		return err_set(e, ERR_BAD_REQUEST, "the join token is malformed: it looks like kontiki1.HASH.SECRET");
	*ret_secret = arena_cstr(a, secret);
	return 0;
}

int join_token_follow(const char *pki_dir, struct arena *a, bool *ret_changed, struct err *e)
{
	char *text = join__pki_read(pki_dir, "join.token", NULL), *ca = join__pki_read(pki_dir, "ca.crt", e);
	char have[X509_SPKI_HASH_SIZE];
	const char *secret;
	struct str hash;
	int rv = ca ? 0 : -(int)ERR_NOT_FOUND;

	if (rv == 0 && text && join_token_parse(arena_cstr(a, str_trim(str_from(text))), a, &hash, &secret, NULL) == 0) {
		rv = join__ca_hash(str_from(ca), have, e);
		if (rv == 0 && !str_eqc(hash, have)) {
			*ret_changed = true;
			rv = join__pki_write(pki_dir, "join.token", arena_sprintf(a, PREFIX "%s.%s\n", have, secret), 0600, e);
		}
	}
	free(text);
	free(ca);
	return rv;
}
