/*
 * The shell around the rules, in a network namespace of its own, with the real nft: when it writes, which pods may start, what a failure
 * does, and that rules outlive it.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/netpol/netpol.h"
#include "proto/networking.pb-c.h"
#include "tests/lib/fake_client.h"

/* The state of the world. */
static bool has_policy, has_second;
static const char *second_label = "srv", *version = "5";

static Core__Pod *pod_in(struct arena *a, void *list, const char *name, const char *ip, const char *app)
{
	Core__Pod *p = list ? pb_add(a, list, "items") : pb_new_of(a, core__pod, Core__Pod);
	Meta__ObjectMeta *m = pb_sub(a, p, "metadata");

	m->name = m->uid = name;
	m->namespace_ = "default";
	m->resource_version = version;
	pb_map_set(a, m, "labels", "app", app);
	pb_sub(a, p, "spec");
	((Core__PodStatus *)pb_sub(a, p, "status"))->pod_ip = ip;
	return p;
}

static void *list_of(struct arena *a, const struct resource *r)
{
	void *l;

	if (strcmp(r->plural, "pods") == 0) {
		l = pb_new(a, &core__pod_list__descriptor);
		pod_in(a, l, "one", "10.244.0.1", "srv");
		if (has_second)
			pod_in(a, l, "two", "", second_label);
	} else if (strcmp(r->plural, "namespaces") == 0) {
		l = pb_new(a, &core__namespace_list__descriptor);
		((Meta__ObjectMeta *)pb_sub(a, pb_add(a, l, "items"), "metadata"))->name = "default";
	} else {
		l = pb_new(a, &networking__network_policy_list__descriptor);
		if (has_policy) {
			Networking__NetworkPolicy *p = pb_add(a, l, "items");
			Meta__ObjectMeta *m = pb_sub(a, p, "metadata");

			m->name = "deny";
			m->namespace_ = "default";
			m->resource_version = version;
			pb_map_set(a, pb_sub(a, pb_sub(a, p, "spec"), "pod_selector"), "match_labels", "app", "srv");
		}
	}
	((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = version;
	return l;
}

struct rig {
	struct loop *loop;
	struct fake_client fake;
	struct netpol_cfg cfg;
	struct netpol *np;
	unsigned n_changed, left;
	char trouble[600];
};

static void on_changed(void *data)
{
	((struct rig *)data)->n_changed++;
}

static void on_trouble(void *data, const char *why)
{
	struct rig *r = data;

	snprintf(r->trouble, sizeof(r->trouble), "%s", why ? why : "");
}

static struct informer *informer_of(struct rig *r, const char *group, const char *plural, const ProtobufCMessageDescriptor *desc)
{
	struct informer_cfg ic = {.client = &r->fake.client, .resource = resource_find(group, "v1", plural), .desc = desc};

	return informer_new(&ic);
}

static void start(struct rig *r)
{
	r->cfg = (struct netpol_cfg){.loop = r->loop, .client = &r->fake.client, .changed = on_changed, .trouble = on_trouble, .data = r};
	r->cfg.policies = informer_of(r, "networking.k8s.io", "networkpolicies", &networking__network_policy__descriptor);
	r->cfg.namespaces = informer_of(r, "", "namespaces", &core__namespace__descriptor);
	r->cfg.pods_here = informer_of(r, "", "pods", &core__pod__descriptor);
	r->np = netpol_start(&r->cfg);
	informer_start(r->cfg.policies);
	informer_start(r->cfg.namespaces);
	informer_start(r->cfg.pods_here);
}

static void one_stopped(void *arg)
{
	((struct rig *)arg)->left--;
}

static void stop(struct rig *r)
{
	r->left = 4;
	informer_stop(r->cfg.policies, one_stopped, r);
	informer_stop(r->cfg.namespaces, one_stopped, r);
	informer_stop(r->cfg.pods_here, one_stopped, r);
	netpol_stop(r->np, one_stopped, r);
	for (unsigned i = 0; r->left > 0 && i < 3000; i++)
		loop_turn(r->loop, 10);
	assert_int_equal(r->left, 0);
}

/* The kernel's table has this text; "": there is no table. */
static bool listed(const char *text)
{
	char all[16384] = "";
	FILE *f = popen("nft list ruleset", "r");
	size_t n = fread(all, 1, sizeof(all) - 1, f);

	all[n] = '\0';
	assert_int_equal(pclose(f), 0);
	return *text ? strstr(all, text) != NULL : !strstr(all, "kontiki-policy");
}

static void wait_listed(struct rig *r, const char *text, bool there)
{
	for (unsigned i = 0; i < 300 && listed(text) != there; i++)
		for (unsigned k = 0; k < 10; k++)
			loop_turn(r->loop, 10);
	assert_int_equal(listed(text), there);
}

static void change(struct rig *r, const char *v)
{
	version = v;
	fake_change(&r->fake);
}

static bool admitted(struct rig *r, const char *name, const char *ip, const char *app, const char **ret_why)
{
	struct arena a;
	bool yes;

	arena_init(&a);
	yes = netpol_admit(r->np, pod_in(&a, NULL, name, ip, app), ip, ret_why);
	arena_fini(&a);
	return yes;
}

static void wait_admitted(struct rig *r, const char *name, const char *ip, const char *app)
{
	for (unsigned i = 0; i < 3000 && !admitted(r, name, ip, app, NULL); i++)
		loop_turn(r->loop, 10);
	assert_true(admitted(r, name, ip, app, NULL));
}

static void can_be_tried(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0 || system("nft list ruleset >/dev/null 2>&1") != 0)
		skip();
	if (access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) != 0 && system("modprobe br_netfilter 2>/dev/null") != 0)
		skip();
}

/* The informer knows the second pod, or knows it no more. */
static void wait_seen(struct rig *r, bool there)
{
	for (unsigned i = 0; i < 3000 && (informer_get(r->cfg.pods_here, "default", "two") != NULL) != there; i++)
		loop_turn(r->loop, 10);
	assert_int_equal(informer_get(r->cfg.pods_here, "default", "two") != NULL, there);
}

static void test_life(void **state)
{
	struct rig r = {.loop = NULL};
	const char *why;

	can_be_tried();
	r.loop = loop_new("netpol-test");
	fake_client_init(&r.fake, r.loop, list_of);
	/* An earlier agent's table stays until everything has been read. */
	assert_int_equal(system("nft add table ip kontiki-policy && nft add chain ip kontiki-policy old"), 0);
	r.fake.hold = true;
	start(&r);
	for (unsigned i = 0; i < 30; i++)
		loop_turn(r.loop, 10);
	assert_true(listed("chain old"));
	assert_false(admitted(&r, "one", "10.244.0.1", "srv", &why));
	stop(&r);
	r.fake.hold = false;
	start(&r);
	wait_listed(&r, "", true);
	wait_admitted(&r, "one", "10.244.0.1", "srv");

	has_policy = true;
	change(&r, "6");
	wait_listed(&r, "10.244.0.1 : goto to-", true);

	/* A pod starts whose address the API does not know: its rules are first. */
	assert_false(admitted(&r, "two", "10.244.0.2", "srv", &why));
	assert_null(why);
	wait_admitted(&r, "two", "10.244.0.2", "srv");
	assert_true(listed("10.244.0.2 : goto to-"));
	assert_true(r.n_changed > 0);
	/* It comes and goes in the API, but runs until the kubelet says otherwise. */
	has_second = true;
	change(&r, "7");
	wait_seen(&r, true);
	has_second = false;
	change(&r, "8");
	wait_seen(&r, false);
	for (unsigned i = 0; i < 30; i++)
		loop_turn(r.loop, 10);
	assert_true(listed("10.244.0.2 : goto to-"));
	netpol_forget(r.np, "two");
	wait_listed(&r, "10.244.0.2 : goto to-", false);

	/* The address is another pod's: it is not admitted by what was known of the first. */
	assert_false(admitted(&r, "three", "10.244.0.2", "cli", &why));
	wait_admitted(&r, "three", "10.244.0.2", "cli");
	assert_false(listed("10.244.0.2 : goto to-"));
	/* Nor does its old address count for its new one. */
	assert_false(admitted(&r, "three", "10.244.0.5", "cli", &why));
	wait_admitted(&r, "three", "10.244.0.5", "cli");

	/* Somebody flushes all: the next change brings everything back, without trouble. */
	assert_int_equal(system("nft flush ruleset"), 0);
	wait_admitted(&r, "four", "10.244.0.4", "srv");
	assert_true(listed("10.244.0.1 : goto to-") && listed("10.244.0.4 : goto to-"));
	assert_string_equal(r.trouble, "");

	/* The rules outlive it. */
	stop(&r);
	assert_true(listed("10.244.0.4 : goto to-"));
	has_policy = false;
	loop_free(r.loop);
}

static void test_without_nft(void **state)
{
	struct rig r = {.loop = NULL};
	const char *why = NULL;
	char *path;

	can_be_tried();
	r.loop = loop_new("netpol-test");
	path = strdup(getenv("PATH"));
	fake_client_init(&r.fake, r.loop, list_of);
	assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
	start(&r);
	/* Who has no policy needs no nft. */
	wait_admitted(&r, "one", "10.244.0.1", "srv");
	assert_string_equal(r.trouble, "");
	has_policy = true;
	change(&r, "10");
	for (unsigned i = 0; i < 3000 && !r.trouble[0]; i++)
		loop_turn(r.loop, 10);
	assert_non_null(strstr(r.trouble, "nft"));
	/* Then pods that a policy selects do not start, with the reason; others do. */
	assert_false(admitted(&r, "two", "10.244.0.2", "srv", &why));
	wait_admitted(&r, "three", "10.244.0.3", "cli");
	assert_false(admitted(&r, "two", "10.244.0.2", "srv", &why));
	assert_non_null(why);
	assert_int_equal(setenv("PATH", path, 1), 0);
	wait_admitted(&r, "two", "10.244.0.2", "srv");
	assert_true(listed("10.244.0.2 : goto to-"));
	assert_string_equal(r.trouble, "");
	stop(&r);
	has_policy = false;
	free(path);
	loop_free(r.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_without_nft),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
