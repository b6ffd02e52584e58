/* Replacing the CA and the token key on disk: every step, from every state that a crash or an absence leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/util.h"
#include "cli/join.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "cli/rotation.h"
#include "io/x509.h"
#include "proto/json.h"

static char root[64];
static struct arena arena;
static const struct pki_node node = {.name = "n1", .addr = "10.0.0.1", .service_ip = "10.96.0.1", .domain = "cluster.local"};

static int setup(void **state)
{
	snprintf(root, sizeof(root), "/tmp/kt-rotation-XXXXXX");
	arena_init(&arena);
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return dir_remove(root, NULL) < 0 ? -1 : 0;
}

static const char *dir(const char *name)
{
	return arena_printf(&arena, "%s/%s", root, name);
}

static const char *file(const char *d, const char *name)
{
	return arena_printf(&arena, "%s/%s", d, name);
}

static struct str text(const char *d, const char *name)
{
	char *p = file_read(file(d, name), 65536, NULL);
	struct str out = p ? arena_str(&arena, str_from(p)) : STR_NULL;

	free(p);
	return out;
}

static size_t certs_in(struct str pem)
{
	struct str one;
	size_t n = 0;

	while (x509_pem_next(&pem, &one))
		n++;
	return n;
}

/* A server's folder, complete; of the cluster that `like` is of (NULL: a new one). */
static const char *server(const char *name, const char *like)
{
	const char *d = dir(name), *token;
	struct err e = ERR_INIT;

	if (like)
		assert_int_equal(pki_copy_ca(like, d, &e), 0);
	assert_int_equal(pki_ensure_ca(d, &e), 0);
	assert_int_equal(join_ensure_token(d, &arena, &token, &e), 0);
	assert_int_equal(pki_ensure_server(d, &node, &e), 0);
	return d;
}

/* As it comes out of the store. */
static struct rotation stored(const struct rotation *r)
{
	struct rotation out;
	struct err e = ERR_INIT;

	assert_int_equal(rotation_parse(&arena, r->kind, rotation_print(&arena, r), &out, &e), 0);
	assert_int_equal(out.phase, r->phase);
	assert_true(str_eq(out.sealed, r->sealed) && str_eq(out.new_pem, r->new_pem) && str_eq(out.cross_pem, r->cross_pem));
	return out;
}

static bool follow(const char *d, const struct rotation *r)
{
	struct rotation seen = stored(r);
	struct err e = ERR_INIT;
	bool changed;

	if (rotation_follow(d, &seen, &changed, &e) < 0)
		fail_msg("%s", e.text);
	return changed;
}

static bool holds(const char *d, const char *name, struct str pem)
{
	char a[ROTATION_ID], b[ROTATION_ID];

	return rotation_id(text(d, name), a) && rotation_id(pem, b) && strcmp(a, b) == 0;
}

/* The leaf is signed by that CA (or was sent with one that is). */
static bool verifies(const char *d, const char *name, struct str ca)
{
	struct x509_cert *cert = NULL;
	bool ok;

	assert_int_equal(x509_cert_load(file(d, name), &cert, NULL), 0);
	ok = x509_verify(cert, ca, NULL) == 0;
	x509_cert_free(cert);
	return ok;
}

static void test_ca(void **state)
{
	const char *a = server("a", NULL), *b = server("b", a), *late = server("late", a), *lost = server("lost", a);
	struct rotation r = {.kind = ROTATION_CA};
	struct str before = text(a, "apiserver.crt"), token = text(a, "join.token"), old, chain, cross;
	struct err e = ERR_INIT;
	bool changed;

	assert_int_equal(rotation_begin(a, &arena, 100, &r, &e), 0);
	assert_int_equal(r.phase, ROTATION_TRUST);
	assert_int_equal(r.generation, 1);
	assert_true(follow(a, &r) && follow(b, &r) && follow(late, &r));
	assert_false(follow(a, &r));
	/* Both are trusted, the old one signs, nothing else has changed. */
	old = r.old_pem;
	assert_int_equal(certs_in(text(a, "ca.crt")), 2);
	assert_true(holds(a, "ca.key", r.old_pem));
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	assert_true(str_eq(text(a, "apiserver.crt"), before));
	assert_true(str_eq(text(a, "join.token"), token));
	assert_int_equal(rotation_begin(a, &arena, 100, &r, &e), -ERR_FAILED_PRECONDITION);

	assert_int_equal(rotation_advance(ROTATION_FINISH, 200, &r, &e), -ERR_FAILED_PRECONDITION);
	assert_int_equal(rotation_advance(ROTATION_SWITCH_OVER, 200, &r, &e), 0);
	assert_true(follow(a, &r) && follow(b, &r));
	assert_false(follow(b, &r));
	assert_true(holds(a, "ca.key", r.new_pem) && holds(b, "ca.key", r.new_pem));
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	assert_int_equal(pki_ensure_server(b, &node, &e), 0);
	/* The API's leaf is the new CA's, and comes with what leads to the old one; the others come alone. */
	chain = text(a, "apiserver.crt");
	assert_int_equal(certs_in(chain), 2);
	assert_true(verifies(a, "apiserver.crt", r.new_pem));
	assert_false(verifies(a, "apiserver.crt", old));
	assert_true(x509_pem_next(&chain, &cross) && x509_pem_next(&chain, &cross));
	assert_true(verifies(a, "apiserver.crt", cross));
	assert_int_equal(file_put(file(a, "sent"), cross, 0600, true, &e), 0);
	assert_true(verifies(a, "sent", old));
	assert_int_equal(certs_in(text(a, "peer.crt")), 1);
	assert_true(verifies(b, "peer.crt", r.new_pem));
	/* A joiner's token names the CA that signs; the secret stays. */
	assert_false(str_eq(text(a, "join.token"), token));
	assert_true(str_eq(str_skip(token, token.n - 42), str_skip(text(a, "join.token"), token.n - 42)));
	assert_int_equal(rotation_advance(ROTATION_CANCEL, 200, &r, &e), -ERR_FAILED_PRECONDITION);

	assert_int_equal(rotation_advance(ROTATION_FINISH, 300, &r, &e), 0);
	assert_int_equal(r.generation, 3);
	assert_true(follow(a, &r) && follow(b, &r));
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	assert_int_equal(certs_in(text(a, "ca.crt")), 1);
	assert_int_equal(certs_in(text(a, "apiserver.crt")), 1);
	assert_int_equal(access(file(a, "ca-cross.crt"), F_OK), -1);
	assert_int_equal(access(file(a, "ca-next.key"), F_OK), -1);
	/* Who slept through the switch has the key; who slept through all of it is told what to do. */
	assert_true(follow(late, &r));
	assert_true(holds(late, "ca.key", r.new_pem));
	assert_int_equal(certs_in(text(late, "ca.crt")), 1);
	assert_int_equal(rotation_follow(lost, &r, &changed, &e), -ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(e.text, "let it join anew"));
	/* And once more, from the new one. */
	old = r.new_pem;
	assert_int_equal(rotation_begin(b, &arena, 400, &r, &e), 0);
	assert_int_equal(r.generation, 4);
	assert_true(follow(a, &r));
	assert_true(holds(a, "ca.key", old));
	assert_int_equal(rotation_advance(ROTATION_CANCEL, 500, &r, &e), 0);
	assert_true(follow(a, &r));
	assert_true(holds(a, "ca.key", old));
	assert_int_equal(certs_in(text(a, "ca.crt")), 1);
	assert_int_equal(access(file(a, "ca-next.key"), F_OK), -1);
}

/* Each file that a step replaces may be the last thing that was written. */
static void test_cut_off(void **state)
{
	const char *a = server("a", NULL), *b = server("b", a);
	struct rotation trust = {.kind = ROTATION_CA}, r, done;
	struct str key, bundle, cross;
	struct err e = ERR_INIT;

	assert_int_equal(rotation_begin(a, &arena, 1, &trust, &e), 0);
	r = trust;
	assert_int_equal(rotation_advance(ROTATION_SWITCH_OVER, 2, &r, &e), 0);
	/* Straight from nothing to the switch: a server that was down. */
	assert_true(follow(b, &r));
	assert_true(holds(b, "ca.key", r.new_pem));
	key = text(b, "ca.key");
	bundle = text(b, "ca.crt");
	cross = text(b, "ca-cross.crt");
	/* The next key is there, nothing else. */
	assert_int_equal(file_put(file(a, "ca-next.key"), key, 0600, true, &e), 0);
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	/* The new bundle too: the old key still finds its certificate, though it is the second. */
	assert_int_equal(file_put(file(a, "ca.crt"), bundle, 0644, true, &e), 0);
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	assert_true(verifies(a, "peer.crt", r.old_pem));
	/* And what is sent along, which is not while the old one signs. */
	assert_int_equal(file_put(file(a, "ca-cross.crt"), cross, 0644, true, &e), 0);
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	assert_int_equal(certs_in(text(a, "apiserver.crt")), 1);
	assert_true(follow(a, &r));
	assert_true(holds(a, "ca.key", r.new_pem));
	/* Finishing: the bundle is short already, the rest remains. */
	done = r;
	assert_int_equal(rotation_advance(ROTATION_FINISH, 3, &done, &e), 0);
	assert_int_equal(file_put(file(a, "ca.crt"), r.new_pem, 0644, true, &e), 0);
	assert_true(follow(a, &done));
	assert_int_equal(access(file(a, "ca-cross.crt"), F_OK), -1);
	assert_int_equal(pki_ensure_server(a, &node, &e), 0);
	assert_int_equal(certs_in(text(a, "apiserver.crt")), 1);
}

static void test_sa(void **state)
{
	const char *a = server("a", NULL), *b = server("b", a);
	struct rotation r = {.kind = ROTATION_SA};
	struct err e = ERR_INIT;

	assert_int_equal(rotation_begin(a, &arena, 1, &r, &e), 0);
	assert_true(follow(a, &r) && follow(b, &r));
	assert_true(holds(a, "sa.key", r.old_pem) && holds(b, "sa-next.key", r.new_pem));
	assert_true(str_search(text(b, "sa-trusted.pem"), str_trim(r.new_pem)) >= 0);
	assert_int_equal(rotation_advance(ROTATION_SWITCH_OVER, 2, &r, &e), 0);
	assert_true(follow(a, &r) && follow(b, &r));
	assert_true(holds(a, "sa.key", r.new_pem) && holds(b, "sa.key", r.new_pem));
	assert_true(str_search(text(b, "sa-trusted.pem"), str_trim(r.old_pem)) >= 0);
	assert_int_equal(rotation_advance(ROTATION_FINISH, 3, &r, &e), 0);
	assert_true(follow(a, &r));
	assert_int_equal(access(file(a, "sa-trusted.pem"), F_OK), -1);
	assert_int_equal(access(file(a, "sa-next.key"), F_OK), -1);
}

/* Another cluster's keys are left alone, and nothing that was changed on the way is believed. */
static void test_foreign(void **state)
{
	static const char *const bad[] = {"{", "[]", "{\"phase\":\"trust\",\"generation\":1}", "{\"phase\":\"odd\",\"generation\":1}",
		"{\"phase\":\"done\",\"generation\":1,\"new\":\"x\"}", "{\"phase\":\"none\",\"generation\":1,\"key\":\"=\"}"};
	const char *a = server("a", NULL), *other = server("other", NULL);
	struct rotation r = {.kind = ROTATION_CA}, parsed;
	struct str key = text(other, "ca.key");
	struct err e = ERR_INIT;
	bool changed;
	char *sealed;

	assert_int_equal(rotation_begin(a, &arena, 1, &r, &e), 0);
	assert_int_equal(rotation_follow(other, &r, &changed, &e), -ERR_FAILED_PRECONDITION);
	assert_false(changed);
	assert_true(str_eq(text(other, "ca.key"), key));
	sealed = (char *)(uintptr_t)r.sealed.p;
	sealed[r.sealed.n / 2] ^= 1;
	assert_int_equal(rotation_follow(a, &r, &changed, &e), -ERR_CORRUPT);
	assert_int_equal(certs_in(text(a, "ca.crt")), 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(rotation_parse(&arena, ROTATION_CA, str_from(bad[i]), &parsed, &e) < 0);
	assert_int_equal(rotation_parse(&arena, ROTATION_CA, STR(""), &parsed, &e), 0);
	assert_int_equal(parsed.phase, ROTATION_NONE);
}

static size_t against(const struct rotation *r, enum rotation_step step, int64_t now, const struct rotation_server *s, const struct rotation_node *n,
		const char *word)
{
	struct json *list = json_new_array(&arena);

	rotation_obstacles(&arena, r, step, now, s, 2, n, 2, list);
	if (word) {
		bool found = false;

		JSON_ITEMS (it, list)
			found = found || str_search(json_str(it), str_from(word)) >= 0;
		assert_true(found);
	}
	return json_len(list);
}

static void test_obstacles(void **state)
{
	const char *a = server("a", NULL);
	struct rotation r = {.kind = ROTATION_CA};
	struct rotation_server s[2] = {{.name = STR("s1")}, {.name = STR("s2")}};
	struct rotation_node n[2] = {{.name = STR("n1")}, {.name = STR("n2")}};
	char old[ROTATION_ID], new[ROTATION_ID];
	struct err e = ERR_INIT;

	assert_int_equal(rotation_begin(a, &arena, 1000, &r, &e), 0);
	assert_true(rotation_id(r.old_pem, old) && rotation_id(r.new_pem, new));
	assert_int_equal(against(&r, ROTATION_SWITCH_OVER, 1000, s, n, "s2 has not taken up the last step"), 4);
	s[0].generation = s[1].generation = 1;
	n[0].trusted = n[1].trusted = str_from(old);
	assert_int_equal(against(&r, ROTATION_SWITCH_OVER, 1000, s, n, "node n2 does not trust"), 2);
	n[0].trusted = n[1].trusted = str_from(arena_printf(&arena, "%s,%s", old, new));
	assert_int_equal(against(&r, ROTATION_SWITCH_OVER, 1000, s, n, NULL), 0);
	assert_int_equal(rotation_advance(ROTATION_SWITCH_OVER, 2000, &r, &e), 0);
	assert_int_equal(against(&r, ROTATION_FINISH, 2000, s, n, "node n1 still has certificates"), 4);
	s[0].generation = s[1].generation = 2;
	n[0].used = str_from(new);
	n[1].used = str_from(arena_printf(&arena, "%s,%s", new, old));
	assert_int_equal(against(&r, ROTATION_FINISH, 2000, s, n, "node n2"), 1);
	n[1].used = str_from(new);
	s[1].old_user = STR("jane");
	s[1].old_s = 2000;
	assert_int_equal(against(&r, ROTATION_FINISH, 2010, s, n, "jane came to server s2 with a certificate of the old CA 10 s ago"), 1);
	assert_int_equal(against(&r, ROTATION_FINISH, 2000 + ROTATION_QUIET_S, s, n, NULL), 0);
	/* A new rotation wants everybody to be through with the last one. */
	assert_int_equal(against(&r, ROTATION_BEGIN, 2000, s, n, NULL), 0);
	s[0].generation = 1;
	assert_int_equal(against(&r, ROTATION_BEGIN, 2000, s, n, "server s1 has not"), 1);
	assert_int_equal(against(&r, ROTATION_CANCEL, 2000, s, n, NULL), 0);
	s[0].generation = 2;
	/* Tokens: nodes say nothing of them, time does. */
	r.kind = ROTATION_SA;
	assert_int_equal(against(&r, ROTATION_FINISH, 2000 + ROTATION_QUIET_S, s, n, "tokens that the old key signed"), 1);
	assert_int_equal(against(&r, ROTATION_FINISH, 2000 + ROTATION_TOKENS_S, s, n, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ca, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sa, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
		cmocka_unit_test_setup_teardown(test_obstacles, setup, teardown),
	};
	return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
