/* KMS plugins: the sealed form, and a plugin that comes, goes, and changes its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/kms.h"
#include "orchestrator/apiserver/kms_value.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "tests/lib/kms_server.h"

#define PLACE STR("/registry/secrets/default/s")

static char dir[64], socket_path[128], key_file[128];
static struct kms_server *plugin;
static struct arena arena;
static const struct resource *secrets;

static void must(int rv, const struct err *e)
{
	if (rv < 0)
		fail_msg("%s", e->text);
}

static void set_key(const char *name)
{
	FILE *f = fopen(key_file, "we");

	assert_non_null(f);
	fputs(name, f);
	fclose(f);
}

static void start_plugin(void)
{
	struct err e = ERR_INIT;

	must(kms_server_start(socket_path, key_file, &plugin, &e), &e);
}

static void configure(const char *providers)
{
	const char *text = arena_printf(&arena, "kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n%s", providers);
	struct crypt *c;
	struct err e = ERR_INIT;

	must(crypt_parse(str_from(text), &c, &e), &e);
	must(crypt_use(c, &e), &e);
}

#define KMS(name, timeout) \
	arena_printf(&arena, "  - kms: {apiVersion: v2, name: %s, endpoint: 'unix://%s', timeout: %s}\n", name, socket_path, timeout)

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/kt-kms-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/sock", dir);
	snprintf(key_file, sizeof(key_file), "%s/key", dir);
	log_set_level("error");
	arena_init(&arena);
	set_key("key-1");
	secrets = resource_find("", "v1", "secrets");
	return 0;
}

static int teardown(void **state)
{
	struct err e = ERR_INIT;

	crypt_stop();
	crypt_use(NULL, &e);
	if (plugin)
		kms_server_stop(TAKE(plugin));
	arena_fini(&arena);
	unlink(key_file);
	unlink(socket_path);
	return rmdir(dir);
}

static struct str sealed(const char *text)
{
	struct buf v = BUF_INIT;
	struct err e = ERR_INIT;
	struct str out;

	buf_addc(&v, text);
	must(crypt_seal(secrets, PLACE, &v, &e), &e);
	out = arena_str(&arena, buf_str(&v));
	buf_fini(&v);
	return out;
}

static bool opens(struct str value, const char *want)
{
	struct str plain;

	return crypt_open(&arena, PLACE, value, &plain) && str_eqc(plain, want);
}

static void until(bool (*ok)(void))
{
	uint64_t end = clock_mono_ms() + 60000;

	while (!ok() && clock_mono_ms() < end)
		usleep(1000);
	assert_true(ok());
}

static bool is_well(void)
{
	return crypt_health(NULL) == 0;
}

static bool is_sick(void)
{
	return !is_well();
}

/* Made elsewhere, by the description of the format: HKDF-Expand with SHA-256, then AES-256-GCM. */
static void test_form(void **state)
{
	static const char hex[] =
		"6465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f80818283c8c9cacbcccdcecfd0d1d2d3065e1671043e876e0275fde5eb1fb985543c80f014043045a964";
	uint8_t data[sizeof(hex) / 2], seed[KMS_SEED_SIZE];
	Kms__EncryptedObject o = KMS__ENCRYPTED_OBJECT__INIT;
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)strtoul((char[]){hex[2 * i], hex[2 * i + 1], 0}, NULL, 16);
	o.encrypted_data = (ProtobufCBinaryData){sizeof(data), data};
	o.encrypted_dek_source_type = KMS__ENCRYPTED_OBJECT__SOURCE_TYPE__HKDF_SHA256_XNONCE_AES_GCM_SEED;
	assert_true(kms_data_open(&o, str_of(seed, sizeof(seed)), PLACE, &out));
	assert_true(str_eq(buf_str(&out), STR("k8s\0 value")));
	assert_false(kms_data_open(&o, str_of(seed, sizeof(seed)), STR("/elsewhere"), &out));
	assert_false(kms_data_open(&o, str_of(seed, 31), PLACE, &out));
	data[40] ^= 1;
	assert_false(kms_data_open(&o, str_of(seed, sizeof(seed)), PLACE, &out));
	/* As a key of its own it is another thing. */
	data[40] ^= 1;
	o.encrypted_dek_source_type = KMS__ENCRYPTED_OBJECT__SOURCE_TYPE__AES_GCM_KEY;
	assert_false(kms_data_open(&o, str_of(seed, sizeof(seed)), PLACE, &out));
	o.encrypted_dek_source_type = 7;
	assert_false(kms_data_open(&o, str_of(seed, sizeof(seed)), PLACE, &out));
	buf_fini(&out);
}

static void test_configuration(void **state)
{
	static const struct {
		const char *provider, *why;
	} rows[] = {
		{"{name: a, endpoint: 'unix:///x'}", "apiVersion must be v2"},
		{"{apiVersion: v1, name: a, endpoint: 'unix:///x'}", "apiVersion must be v2"},
		{"{apiVersion: v2, endpoint: 'unix:///x'}", "needs a name"},
		{"{apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'}", "without a colon"},
		{"{apiVersion: v2, name: a}", "must be unix:///PATH"},
		{"{apiVersion: v2, name: a, endpoint: 'tcp://1.2.3.4:5'}", "must be unix:///PATH"},
		{"{apiVersion: v2, name: a, endpoint: 'unix:///@x'}", "abstract"},
		{"{apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: soon}", "timeout must be a duration"},
		{"{apiVersion: v2, name: a, endpoint: 'unix:///x', timeout: 0s}", "timeout must be a duration"},
	};
	struct crypt *c;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *text = arena_printf(&arena,
				"kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - kms: %s\n", rows[i].provider);

		assert_true(crypt_parse(str_from(text), &c, &e) < 0);
		if (!strstr(e.text, rows[i].why))
			fail_msg("row %zu: %s", i, e.text);
	}
	assert_true(crypt_parse(STR("kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n"
				    "  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///x'}\n  - kms: {apiVersion: v2, name: a, endpoint: 'unix:///y'}\n"), &c, &e) < 0);
	assert_non_null(strstr(e.text, "two plugins"));
}

static void test_plugin(void **state)
{
	struct str first, second, old;

	start_plugin();
	configure(KMS("vault", "3s"));
	assert_true(crypt_has_kms());
	/* The first one waits until there is a seed; no value asks the plugin again. */
	first = sealed("k8s one");
	assert_true(str_has_prefix(first, STR("k8s:enc:kms:v2:vault:")));
	second = sealed("k8s one");
	assert_false(str_eq(first, second));
	assert_true(opens(first, "k8s one") && opens(second, "k8s one"));
	assert_false(crypt_is_stale(secrets, first));
	until(is_well);
	assert_int_equal(kms_server_encrypts(plugin), 1);
	assert_int_equal(kms_server_decrypts(plugin), 0);
	assert_string_equal(arena_cstr(&arena, crypt_describe(&arena)), "secrets: kms plugin vault, key key-1");
	/* Elsewhere it is worth nothing, nor when anything of it has changed. */
	assert_false(crypt_open(&arena, STR("/registry/secrets/default/t"), first, &old));
	for (size_t i = strlen("k8s:enc:kms:v2:vault:"); i < 90; i += 3) {
		char *p = arena_str(&arena, first).n ? (char *)(uintptr_t)arena_str(&arena, first).p : NULL;

		p[i] ^= 1;
		assert_false(opens(str_of(p, first.n), "k8s one"));
	}
	/* Another key: what is there still opens, and is written anew when it is written. */
	set_key("key-2");
	configure(KMS("vault", "3s"));
	for (int i = 0; i < 5000 && !crypt_is_stale(secrets, first); i++)
		usleep(1000);
	assert_true(crypt_is_stale(secrets, first));
	old = first;
	first = sealed("k8s two");
	assert_false(crypt_is_stale(secrets, first));
	assert_true(opens(old, "k8s one") && opens(first, "k8s two"));
	/* After a start nothing is known: each seed is asked for once. */
	crypt_stop();
	configure(KMS("vault", "3s"));
	unsigned before = kms_server_decrypts(plugin);
	assert_true(opens(old, "k8s one") && opens(second, "k8s one") && opens(first, "k8s two"));
	assert_int_equal(kms_server_decrypts(plugin) - before, 2);
	assert_true(opens(old, "k8s one"));
	assert_int_equal(kms_server_decrypts(plugin) - before, 2);
	/* A plugin of another name opens none of it. */
	configure(KMS("other", "3s"));
	assert_false(opens(old, "k8s one"));
	/* Moving away: a key in front, the plugin behind it still reads. */
	configure(arena_printf(&arena, "  - identity: {}\n%s", KMS("vault", "3s")));
	assert_true(opens(old, "k8s one"));
	assert_true(crypt_is_stale(secrets, old));
}

static void test_outage(void **state)
{
	struct str known, unknown;
	struct buf v = BUF_INIT;
	struct err e = ERR_INIT;
	uint64_t at;

	start_plugin();
	configure(KMS("vault", "500ms"));
	unknown = sealed("k8s one");
	/* It says itself that it is not well: what is known goes on. */
	crypt_stop();
	configure(KMS("vault", "500ms"));
	known = sealed("k8s two");
	until(is_well);
	set_key("sick");
	configure(KMS("vault", "500ms"));
	until(is_sick);
	assert_true(crypt_health(&e) < 0);
	assert_non_null(strstr(e.text, "no key today"));
	assert_true(opens(known, "k8s two"));
	assert_true(opens(sealed("k8s three"), "k8s three"));
	/* It is gone: an unknown seed is no reason to wait. */
	kms_server_stop(TAKE(plugin));
	configure(KMS("vault", "500ms"));
	until(is_sick);
	at = clock_mono_ms();
	for (int i = 0; i < 20; i++)
		assert_false(opens(unknown, "k8s one"));
	assert_true(clock_mono_ms() - at < 5000);
	assert_true(opens(known, "k8s two"));
	/* From the start: nothing can be written, and it is said why. */
	crypt_stop();
	configure(KMS("vault", "500ms"));
	buf_addc(&v, "k8s four");
	assert_int_equal(crypt_seal(secrets, PLACE, &v, &e), -ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "the KMS plugin vault has no key yet"));
	assert_true(str_eqc(buf_str(&v), "k8s four"));
	buf_fini(&v);
	/* It comes back by itself. */
	set_key("key-1");
	start_plugin();
	until(is_well);
	for (int i = 0; i < 5000 && !opens(unknown, "k8s one"); i++)
		usleep(1000);
	assert_true(opens(unknown, "k8s one"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_form, setup, teardown),
		cmocka_unit_test_setup_teardown(test_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plugin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outage, setup, teardown),
	};
	return cmocka_run_group_tests_name("kms", tests, NULL, NULL);
}
