/* A server whose values a KMS plugin seals: nobody else waits while the plugin is asked about a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/util.h"
#include "io/http_client.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/crypt.h"
#include "tests/lib/kms_server.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define SECRETS "/api/v1/namespaces/default/secrets"

static char configuration[160], socket_path[160], key_file[160];
static struct kms_server *plugin;
static struct rig_watch *first; /* of the first test; it ends by itself while the second one runs */

static void write_file(const char *path, const char *line)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(line, f);
	fclose(f);
}

static void configure(const char *dir, struct apiserver_cfg *cfg)
{
	struct err e = ERR_INIT;
	char line[512];

	snprintf(configuration, sizeof(configuration), "%s/encryption.yaml", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/kms.sock", dir);
	snprintf(key_file, sizeof(key_file), "%s/kms.key", dir);
	snprintf(line, sizeof(line), "kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n"
				     "  - kms: {apiVersion: v2, name: vault, endpoint: 'unix://%s', timeout: 20s}\n", socket_path);
	write_file(configuration, line);
	write_file(key_file, "key-1");
	assert_int_equal(kms_server_start(socket_path, key_file, &plugin, &e), 0);
	cfg->encryption_file = configuration;
}

static int start(void **state)
{
	rig_configure = configure;
	return with_server(state);
}

static int stop(void **state)
{
	without_server(state);
	kms_server_stop(plugin);
	return 0;
}

/* As after a start: every seed that was there is unknown again. */
static void forget(void)
{
	struct err e = ERR_INIT;

	crypt_stop();
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	for (int i = 0; i < 60000 && crypt_health(NULL) < 0; i++)
		usleep(1000);
	assert_int_equal(crypt_health(NULL), 0);
}

struct asked {
	struct http_call call;
	struct http_header header;
	int over;
};

static void over(struct http_call *c, const struct err *e)
{
	assert_null(e);
	container_of(c, struct asked, call)->over = 1;
}

static void ask(struct asked *a, const char *method, const char *path, const char *body)
{
	*a = (struct asked){.header = {STR("content-type"), body ? STR("application/json") : STR("text/plain")}};
	a->call = (struct http_call){.method = method, .path = path, .headers = &a->header, .n_headers = 1,
			.body = body ? str_from(body) : STR_NULL, .max_body = 1 << 24, .timeout_ms = 60000, .done = over};
	http_call_start(rig_client(), &a->call);
}

static void test_nobody_waits(void **state)
{
	struct asked get, list, removal;
	struct rig_watch *w;

	(void)state;
	rig_call("POST", SECRETS, quoted("{'metadata':{'name':'a'},'stringData':{'k':'first'}}"), 201);
	forget();
	kms_server_hold(plugin, true);
	ask(&get, "GET", SECRETS "/a", NULL);
	ask(&list, "GET", SECRETS, NULL);
	ask(&removal, "DELETE", SECRETS "/a?dryRun=All", NULL);
	w = rig_watch(SECRETS "?watch=true&timeoutSeconds=300");
	rig_watch_begun(w);
	/* All of this is one loop: had it waited, none of these would be answered. */
	for (int i = 0; i < 3; i++)
		rig_call("GET", "/api/v1/namespaces/default/configmaps", NULL, 200);
	assert_false(get.over || list.over || removal.over);
	assert_int_equal(kms_server_decrypts(plugin), 0);
	kms_server_hold(plugin, false);
	rig_until(&get.over);
	rig_until(&list.over);
	rig_until(&removal.over);
	assert_int_equal(get.call.status, 200);
	assert_non_null(memmem(get.call.body_in.p, get.call.body_in.n, "Zmlyc3Q=", 8));
	assert_int_equal(list.call.status, 200);
	assert_non_null(memmem(list.call.body_in.p, list.call.body_in.n, "Zmlyc3Q=", 8));
	assert_int_equal(removal.call.status, 200);
	is(rig_event(w, 0), "object.data.k", "Zmlyc3Q=");
	/* Once for all of them. */
	assert_int_equal(kms_server_decrypts(plugin), 1);
	http_call_fini(&get.call);
	http_call_fini(&list.call);
	http_call_fini(&removal.call);
	rig_call("DELETE", SECRETS "/a", NULL, 200);
	is(rig_event(w, 1), "type", "DELETED");
	first = w;
}

/* An event that another server sealed: the watch leaves the log until it can be told, and misses nothing. */
static void test_event(void **state)
{
	struct rig_watch *w;
	struct json *o;

	(void)state;
	o = rig_call("POST", SECRETS, quoted("{'metadata':{'name':'b'},'stringData':{'k':'1'}}"), 201);
	forget();
	kms_server_hold(plugin, true);
	w = rig_watch(arena_printf(&rig_arena, SECRETS "?watch=true&timeoutSeconds=300&resourceVersion=%d",
			atoi(json_cstr(json_getp(o, "metadata.resourceVersion"))) - 1));
	rig_watch_begun(w);
	rig_call("GET", "/api/v1/namespaces/default/configmaps", NULL, 200);
	rig_call("POST", SECRETS, quoted("{'metadata':{'name':'c'},'stringData':{'k':'2'}}"), 201);
	kms_server_hold(plugin, false);
	is(rig_event(w, 0), "object.metadata.name", "b");
	is(rig_event(w, 1), "object.metadata.name", "c");
	is(rig_event(w, 1), "type", "ADDED");
	rig_watch_stop(first);
	rig_watch_stop(w);
}

/* What no plugin opens is an error as before, and soon. */
static void test_never(void **state)
{
	struct err e = ERR_INIT;
	struct json *o;

	(void)state;
	rig_call("POST", SECRETS, quoted("{'metadata':{'name':'d'},'stringData':{'k':'1'}}"), 201);
	kms_server_stop(plugin);
	unlink(socket_path);
	crypt_stop();
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	for (int i = 0; i < 60000 && !strstr(e.text, "Status:"); i++) {
		usleep(1000);
		crypt_health(&e);
	}
	o = rig_call("GET", SECRETS "/d", NULL, 500);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "sealed with a key that we do not have"));
	assert_int_equal(kms_server_start(socket_path, key_file, &plugin, &e), 0);
	/* What could not be decrypted is asked for again a second later. */
	for (int i = 0; i < 6000 && json_eqc(json_getc(rig_call("GET", SECRETS "/d", NULL, 0), "kind"), "Status"); i++)
		usleep(10000);
	rig_call("GET", SECRETS "/d", NULL, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_nobody_waits),
			cmocka_unit_test(test_event),
			cmocka_unit_test(test_never),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
