/* cli/etcd_config: etcd's flags, environment and file, their precedence and its rules. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/etcd_config.h"

static char *no_env[] = {NULL};

/* NULL: fine; else the error. */
static const char *load_with(struct etcd_config *c, char *const *env, const char *const *words)
{
	static struct err e;
	int argc = 0, rc;

	while (words[argc])
		argc++;
	etcd_config_init(c);
	err_clear(&e);
	rc = etcd_config_read(c, argc, (char **)(uintptr_t)words, env, &e);
	if (rc == 0 && !c->file && !c->help && !c->version) {
		rc = etcd_config_check(c, &e);
		if (rc == 0)
			rc = etcd_config_check_initial(c, &e);
	}
	return rc ? e.text : NULL;
}

#define LOAD(c, ...) load_with(c, no_env, (const char *const[]){__VA_ARGS__, NULL})
#define FAILS(text, ...)                                                                           \
	do {                                                                                       \
		struct etcd_config bad;                                                            \
		const char *why = LOAD(&bad, __VA_ARGS__);                                         \
		if (why == NULL || strstr(why, text) == NULL)                                      \
			fail_msg("\"%s\" is not in: %s", text, why ? why : "(no error)");          \
		etcd_config_fini(&bad);                                                            \
	} while (0)
#define FINE(...)                                                                                  \
	do {                                                                                       \
		struct etcd_config good;                                                           \
		const char *why = LOAD(&good, __VA_ARGS__);                                        \
		if (why != NULL)                                                                   \
			fail_msg("%s", why);                                                       \
		etcd_config_fini(&good);                                                           \
	} while (0)

static const char *load_yaml(struct etcd_config *c, const char *text)
{
	static struct err e;
	int rc;

	etcd_config_init(c);
	err_clear(&e);
	rc = etcd_config_read_yaml(c, str_from(text), &e);
	if (rc == 0)
		rc = etcd_config_check(c, &e);
	if (rc == 0)
		rc = etcd_config_check_initial(c, &e);
	return rc ? e.text : NULL;
}

static void test_defaults(void **state)
{
	struct etcd_config c;

	assert_null(load_with(&c, no_env, (const char *const[]){NULL}));
	assert_string_equal(c.name, "default");
	assert_string_equal(c.data_dir, "default.etcd");
	assert_int_equal(c.heartbeat_ms, 50);
	assert_int_equal(c.election_ms, 250);
	assert_int_equal(c.listen_client.n, 1);
	assert_string_equal(c.listen_client.v[0].address, "localhost:2379");
	assert_int_equal(c.n_initial, 1);
	assert_string_equal(c.initial[0].name, "default");
	assert_string_equal(c.initial[0].peer.v[0].text, "http://localhost:2380");
	assert_false(c.existing);
	assert_int_equal(c.max_request, 1572864);
	assert_int_equal(c.n_warnings, 0);
	etcd_config_fini(&c);
}

/* The flags of etcd's documentation for the first of three members. */
static void test_three_members(void **state)
{
	struct etcd_config c;

	assert_null(LOAD(&c, "--name", "infra0", "--initial-advertise-peer-urls", "http://10.0.1.10:2380", "--listen-peer-urls",
			"http://10.0.1.10:2380", "--listen-client-urls", "http://10.0.1.10:2379,http://127.0.0.1:2379",
			"--advertise-client-urls", "http://10.0.1.10:2379", "--initial-cluster-token", "etcd-cluster-1",
			"--initial-cluster",
			"infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra2=http://node2.example.com:2380",
			"--initial-cluster-state", "new"));
	assert_int_equal(c.n_initial, 3);
	assert_string_equal(c.initial[2].name, "infra2");
	assert_string_equal(c.initial[2].peer.v[0].address, "node2.example.com:2380");
	assert_int_equal(c.listen_client.n, 2);
	assert_string_equal(c.token, "etcd-cluster-1");
	assert_string_equal(c.data_dir, "infra0.etcd");
	etcd_config_fini(&c);
}

static void test_command_line(void **state)
{
	struct etcd_config c;

	assert_null(LOAD(&c, "-name=a", "--client-cert-auth=false", "--unsafe-no-fsync", "--strict-reconfig-check=0", "-log-level", "warn",
			"--quota-backend-bytes=-1"));
	assert_string_equal(c.name, "a");
	assert_true(c.no_sync);
	assert_string_equal(c.log_level, "warn");
	assert_true(c.quota == UINT64_MAX);
	etcd_config_fini(&c);
	assert_null(LOAD(&c, "--version"));
	assert_true(c.version);
	etcd_config_fini(&c);
	FAILS("flag provided but not defined: --nmae", "--nmae", "x");
	FAILS("flag needs an argument: --name", "--name");
	FAILS("\"run\" is not a valid flag", "--unsafe-no-fsync", "run");
	FAILS("must be a whole number", "--election-timeout", "1s");
	FAILS("must be true or false", "--pre-vote=maybe");
	FAILS("must be a duration", "--grpc-keepalive-interval", "soon");
	FAILS("cannot be had", "--discovery", "https://discovery.etcd.io/x");
	FAILS("cannot be had", "--proxy", "on");
	FAILS("cannot be had", "--force-new-cluster");
	FAILS("cannot be had", "--discovery-srv", "example.com");
	FINE("--proxy", "off", "--discovery-fallback", "proxy", "--force-new-cluster=false");
}

static void test_warnings(void **state)
{
	struct etcd_config c;

	assert_null(LOAD(&c, "--snapshot-count", "10000", "--enable-v2", "--logger", "zap", "--max-wals", "5", "--metrics", "extensive"));
	assert_int_equal(c.n_warnings, 2);
	assert_non_null(strstr(c.warnings[0], "--snapshot-count=10000 changes nothing"));
	assert_non_null(strstr(c.warnings[1], "--enable-v2=true changes nothing"));
	etcd_config_fini(&c);
}

static void test_environment(void **state)
{
	char *env[] = {(char *)"ETCD_NAME=fromenv", (char *)"ETCD_ELECTION_TIMEOUT=2000", (char *)"ETCD_DATA_DIR=",
			(char *)"ETCD_PORT_2379_TCP=tcp://x", (char *)"ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:1",
			(char *)"ETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:1", (char *)"HOME=/", NULL};
	char *wrong[] = {(char *)"ETCD_ELECTION_TIMEOUT=x", NULL};
	struct etcd_config c;

	assert_null(load_with(&c, env, (const char *const[]){"--election-timeout", "3000", NULL}));
	assert_string_equal(c.name, "fromenv");
	assert_string_equal(c.data_dir, "fromenv.etcd"); /* an empty variable is none */
	assert_int_equal(c.election_ms, 3000);           /* the flag wins */
	assert_string_equal(c.listen_client.v[0].address, "127.0.0.1:1");
	assert_int_equal(c.n_warnings, 2);
	assert_string_equal(c.warnings[0], "ETCD_ELECTION_TIMEOUT in the environment is not looked at: --election-timeout is on the command line");
	assert_string_equal(c.warnings[1], "unrecognized environment variable ETCD_PORT_2379_TCP");
	etcd_config_fini(&c);
	assert_non_null(strstr(load_with(&c, wrong, (const char *const[]){NULL}), "for ETCD_ELECTION_TIMEOUT"));
	etcd_config_fini(&c);
}

static void test_file(void **state)
{
	char *env[] = {(char *)"ETCD_CONFIG_FILE=/etc/etcd.yml", (char *)"ETCD_NAME=env", NULL};
	struct etcd_config c;
	const char *why;

	/* The file is all there is. */
	assert_null(load_with(&c, env, (const char *const[]){"--name", "flag", NULL}));
	assert_string_equal(c.file, "/etc/etcd.yml");
	assert_int_equal(c.n_warnings, 1);
	assert_null(c.value[ETCD_FLAG_NAME]);
	etcd_config_fini(&c);

	assert_null(load_yaml(&c, "# etcd.conf.yml\nname: 'n1'\ndata-dir: /d\nwal-dir:\nsnapshot-count: 10000\nheartbeat-interval: 50\n"
				  "election-timeout: 500\nlisten-client-urls: https://localhost:2379\nadvertise-client-urls: https://h:2379\n"
				  "initial-cluster: n1=http://localhost:2380\ninitial-cluster-state: 'new'\nstrict-reconfig-check: false\n"
				  "proxy: 'off'\nlog-outputs: [stderr]\nauto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\n"
				  "client-transport-security:\n  cert-file: c.pem\n  key-file: k.pem\n  client-cert-auth: true\n"
				  "  trusted-ca-file: ca.pem\n  auto-tls: false\npeer-transport-security:\n  cert-file:\n"));
	assert_string_equal(c.name, "n1");
	assert_int_equal(c.election_ms, 500);
	assert_string_equal(c.client.cert, "c.pem");
	assert_true(c.client.verify);
	assert_string_equal(c.log_output, "stderr");
	assert_int_equal(c.keep_ms, 3600000);
	etcd_config_fini(&c);

	why = load_yaml(&c, "nam: x\n");
	assert_string_equal(why, "unknown key nam in the configuration file");
	etcd_config_fini(&c);
	why = load_yaml(&c, "client-transport-security:\n  cert: x\n");
	assert_string_equal(why, "unknown key client-transport-security.cert in the configuration file");
	etcd_config_fini(&c);
	why = load_yaml(&c, "name: {a: b}\n");
	assert_string_equal(why, "name in the configuration file: must be a plain value or a list of them");
	etcd_config_fini(&c);
	why = load_yaml(&c, "- a\n");
	assert_non_null(why);
	etcd_config_fini(&c);
	assert_null(load_yaml(&c, ""));
	etcd_config_fini(&c);
}

/* One of the two that make the time of a failover is given: the other one matches. */
static void test_timing(void **state)
{
	static const struct {
		const char *flag, *value;
		unsigned heartbeat, election;
	} rows[] = {
		{"--heartbeat-interval", "10", 10, 250},
		{"--heartbeat-interval", "100", 100, 1000},
		{"--heartbeat-interval", "9000", 9000, 50000},
		{"--election-timeout", "3000", 100, 3000},
		{"--election-timeout", "100", 20, 100},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct etcd_config c;

		assert_null(load_with(&c, no_env, (const char *const[]){rows[i].flag, rows[i].value, NULL}));
		assert_int_equal(c.heartbeat_ms, rows[i].heartbeat);
		assert_int_equal(c.election_ms, rows[i].election);
		etcd_config_fini(&c);
	}
	FAILS("at least as 5 times", "--heartbeat-interval", "20000");
}

static void test_security(void **state)
{
	struct etcd_config c;

	assert_null(load_with(&c, no_env, (const char *const[]){"--auth-token", "jwt,pub-key=/p,priv-key=/k,sign-method=ES384,ttl=90s", "--cipher-suites",
			"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
			"--tls-min-version", "TLS1.2", "--tls-max-version", "TLS1.3", NULL}));
	assert_string_equal(c.jwt.method, "ES384");
	assert_string_equal(c.jwt.private_path, "/k");
	assert_string_equal(c.jwt.public_path, "/p");
	assert_int_equal(c.jwt.ttl_ms, 90000);
	assert_string_equal(c.ciphers[1], "TLS_AES_256_GCM_SHA384");
	assert_null(c.ciphers[3]);
	assert_int_equal(c.tls_min, 12);
	assert_int_equal(c.tls_max, 13);
	assert_int_equal(c.n_warnings, 0);
	etcd_config_fini(&c);
	assert_null(load_with(&c, no_env, (const char *const[]){NULL}));
	assert_null(c.jwt.method);
	assert_null(c.ciphers);
	etcd_config_fini(&c);
}

static void test_rules(void **state)
{
	FAILS("at least as 5 times", "--heartbeat-interval", "100", "--election-timeout", "400");
	FAILS("must be from 1 to 50000", "--election-timeout", "60000");
	FAILS("--advertise-client-urls is required", "--listen-client-urls", "http://127.0.0.1:2379");
	FAILS("expected an IP address", "--listen-client-urls", "http://example.com:2379", "--advertise-client-urls", "http://e:1");
	FAILS("scheme must be", "--listen-client-urls", "ftp://1.2.3.4:1", "--advertise-client-urls", "http://e:1");
	FAILS("must not contain a path", "--advertise-client-urls", "http://e:1/x");
	FAILS("host:port", "--advertise-client-urls", "http://example.com");
	FAILS("brackets", "--advertise-client-urls", "http://fe80::1:2379");
	FAILS("couldn't find local name \"a\"", "--name", "a", "--initial-cluster", "b=http://localhost:2380");
	FAILS("missing from --initial-advertise-peer-urls", "--initial-cluster", "default=http://10.0.0.1:2380");
	FAILS("has http://localhost:2381 but it is missing from --initial-cluster", "--initial-cluster", "default=http://localhost:2380",
	      "--initial-advertise-peer-urls", "http://localhost:2380,http://localhost:2381");
	FINE("--initial-cluster", "default=http://localhost:2381,default=http://localhost:2380", "--initial-advertise-peer-urls",
	     "http://localhost:2380,http://localhost:2381");
	FAILS("must be new or existing", "--initial-cluster-state", "old");
	FAILS("not of the form", "--initial-cluster", "default");
	FAILS("cannot listen with TLS", "--listen-client-urls", "https://127.0.0.1:1", "--advertise-client-urls", "https://127.0.0.1:1");
	FAILS("must both be present", "--cert-file", "x");
	FAILS("not both", "--listen-peer-urls", "http://127.0.0.1:1,https://127.0.0.1:2");
	FAILS("give a URL", "--listen-peer-urls=");
	FINE("--listen-peer-urls", "http://127.0.0.1:1,http://127.0.0.1:2");
	FAILS("hours, or a duration", "--auto-compaction-retention", "soon");
	FAILS("a number of revisions", "--auto-compaction-mode", "revision", "--auto-compaction-retention", "5m");
	FAILS("must be simple, or jwt", "--auth-token", "bearer");
	FAILS("needs sign-method", "--auth-token", "jwt,priv-key=/k");
	FAILS("needs priv-key", "--auth-token", "jwt,sign-method=RS256");
	FAILS("no option \"key\"", "--auth-token", "jwt,key=x");
	FAILS("NAME=VALUE", "--auth-token", "jwt,sign-method");
	FAILS("ttl=0 must be", "--auth-token", "jwt,sign-method=RS256,priv-key=/k,ttl=0");
	FAILS("must be TLS1.2 or TLS1.3", "--tls-min-version", "TLS1.1");
	FAILS("above --tls-max-version", "--tls-min-version", "TLS1.3", "--tls-max-version", "TLS1.2");
	FAILS("need --client-cert-auth", "--client-crl-file", "/x");
	FAILS("need --peer-client-cert-auth", "--peer-cert-allowed-hostname", "h");
	FAILS("from 4 to 31", "--bcrypt-cost", "3");
	FAILS("must be debug", "--log-level", "chatty");
	FAILS("needs --peer-client-cert-auth", "--peer-cert-allowed-cn", "a");
	FINE("--listen-client-urls", "unix:///run/etcd.sock,http://[::1]:2379", "--advertise-client-urls", "http://localhost:2379/");
	FINE("--auto-tls", "--listen-client-urls", "https://127.0.0.1:1", "--advertise-client-urls", "https://127.0.0.1:1");
}

/* --- Every flag, from every source ---------------------------------------------------------------------------------------- */

enum source { BY_FLAG, BY_ENVIRONMENT, BY_FILE, N_SOURCES };

/* Set a flag and nothing else; the error, or NULL. */
static const char *load_by(struct etcd_config *c, enum source source, const char *name, const char *value)
{
	static char text[512];
	char *env[] = {text, NULL};
	size_t at;

	if (source == BY_FLAG) {
		snprintf(text, sizeof(text), "--%s=%s", name, value);
		return LOAD(c, text);
	}
	if (source == BY_FILE) {
		snprintf(text, sizeof(text), "%s: '%s'\n", name, value);
		return load_yaml(c, text);
	}
	at = (size_t)snprintf(text, sizeof(text), "ETCD_%s", name);
	for (size_t i = 5; i < at; i++)
		text[i] = text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
	snprintf(text + at, sizeof(text) - at, "=%s", value);
	return load_with(c, env, (const char *const[]){NULL});
}

/* Something else than the default that every flag of the kind takes. */
static const char *other_value(const struct etcd_flag_row *r)
{
	switch (r->kind) {
	case ETCD_BOOL:
		return strcmp(r->otherwise, "true") == 0 ? "false" : "true";
	case ETCD_NUMBER:
		return strcmp(r->otherwise, "7") == 0 ? "8" : "7";
	case ETCD_DURATION:
		return "17s";
	case ETCD_URLS:
		return "http://127.0.0.1:7";
	default:
		return "other";
	}
}

static void check_use(const struct etcd_flag_row *r, enum source source)
{
	const char *value = other_value(r), *why;
	char want[512];
	struct etcd_config c;

	why = load_by(&c, source, r->name, value);
	switch (r->use) {
	case ETCD_USED: /* what it takes besides is the other tests' */
		if (why != NULL && (strstr(why, "not defined") || strstr(why, "unknown key") || strstr(why, "cannot be had")))
			fail_msg("%s: %s", r->name, why);
		if (c.value[r - etcd_flags] == NULL || strcmp(c.value[r - etcd_flags], value) != 0)
			fail_msg("%s is not taken", r->name);
		break;
	case ETCD_QUIET:
		if (why != NULL || c.n_warnings != 0)
			fail_msg("%s: %s", r->name, why ? why : c.warnings[0]);
		break;
	case ETCD_WARNED:
		snprintf(want, sizeof(want), "--%s=%s changes nothing: %s", r->name, value, r->text);
		if (why != NULL || c.n_warnings != 1 || strcmp(c.warnings[0], want) != 0)
			fail_msg("%s: %s", r->name, why ? why : c.n_warnings ? c.warnings[0] : "no warning");
		break;
	case ETCD_REFUSED:
		snprintf(want, sizeof(want), "--%s cannot be had: %s", r->name, r->text);
		if (why == NULL || strcmp(why, want) != 0)
			fail_msg("%s: %s", r->name, why ? why : "accepted");
		break;
	}
	etcd_config_fini(&c);
	/* Its default changes nothing, and nobody hears of it. */
	if (r->use != ETCD_USED && r->otherwise[0] != '\0') {
		why = load_by(&c, source, r->name, r->otherwise);
		if (why != NULL || c.n_warnings != 0)
			fail_msg("%s=%s: %s", r->name, r->otherwise, why ? why : c.warnings[0]);
		etcd_config_fini(&c);
	}
}

static void test_every_flag(void **state)
{
	for (int i = 0; i < ETCD_N_FLAGS; i++)
		for (int source = 0; source < N_SOURCES; source++)
			check_use(&etcd_flags[i], (enum source)source);
}

/* Durations in a file are numbers of nanoseconds, as etcd has them, or words. */
static void test_file_durations(void **state)
{
	struct etcd_config c;

	assert_null(load_yaml(&c, "watch-progress-notify-interval: 5000000000\ngrpc-keepalive-timeout: 20000000000\n"
				  "peer-transport-security:\n  skip-client-san-verification: true\n"));
	assert_int_equal(c.progress_ms, 5000);
	assert_int_equal(c.n_warnings, 0);
	etcd_config_fini(&c);
	assert_null(load_yaml(&c, "watch-progress-notify-interval: 7s\n"));
	assert_int_equal(c.progress_ms, 7000);
	etcd_config_fini(&c);
	assert_non_null(load_yaml(&c, "watch-progress-notify-interval: -1\n"));
	etcd_config_fini(&c);
}

static void test_durations(void **state)
{
	uint64_t ms = 0;

	assert_true(etcd_duration_parse(STR("1h30m"), &ms) && ms == 5400000);
	assert_true(etcd_duration_parse(STR("1.5s"), &ms) && ms == 1500);
	assert_true(etcd_duration_parse(STR("300ms"), &ms) && ms == 300);
	assert_true(etcd_duration_parse(STR("0"), &ms) && ms == 0);
	assert_false(etcd_duration_parse(STR("10"), &ms));
	assert_false(etcd_duration_parse(STR(""), &ms));
	assert_false(etcd_duration_parse(STR("s"), &ms));
	assert_false(etcd_duration_parse(STR("1.2.3s"), &ms));
	assert_false(etcd_duration_parse(STR("-1s"), &ms));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_three_members),
		cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_timing), cmocka_unit_test(test_security), cmocka_unit_test(test_rules),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_every_flag),
		cmocka_unit_test(test_file_durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
