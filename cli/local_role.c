#include "cli/local_role.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/fetch.h"
#include "cli/local.h"
#include "io/tls.h"
#include "net/netns.h"

#define ANSWER_MS 500u

static int enter_switch(const struct local *l, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	char name[128];

	local_netns(l, NULL, name);
	fd = netns_open(name, e);
	if (fd < 0)
		return fd;
	return setns(fd, CLONE_NEWNET) < 0 ? err_set_errno(e, errno, "enter network namespace %s", name) : 0;
}

static const char *role_of(const struct local_node *n, struct tls_ctx *tls)
{
	char addr[IP4_STR_SIZE], address[IP4_STR_SIZE + 8];
	struct fetch f = {.address = address, .tls = tls, .method = "GET", .path = "/metrics", .timeout_ms = ANSWER_MS};
	const char *role = "-";
	struct arena a;

	snprintf(address, sizeof(address), "%s:6443", ip4_print(n->addr, addr));
	arena_init(&a);
	if (fetch(&f, &a, NULL) == 0 && f.status == 200) {
		if (str_search(f.answer, STR("\nkontiki_raft_is_leader 1\n")) >= 0)
			role = "leader";
		else if (str_search(f.answer, STR("\nkontiki_raft_has_leader 1\n")) >= 0)
			role = "follower";
		else
			role = "alone"; /* it knows of no leader */
	}
	arena_fini(&a);
	return role;
}

int local_roles(const struct local *l, const bool *running, char (*out)[LOCAL_ROLE_SIZE], struct err *e)
{
	char crt[LOCAL_PATH_MAX], key[LOCAL_PATH_MAX], ca[LOCAL_PATH_MAX];
	struct tls_config cfg = {.alpn = "http/1.1"};
	struct tls_ctx *tls = NULL;
	int rv;

	for (unsigned i = 0; i < l->n_nodes; i++)
		snprintf(out[i], LOCAL_ROLE_SIZE, "-");
	local_path(l, NULL, "pki/admin.crt", crt);
	local_path(l, NULL, "pki/admin.key", key);
	local_path(l, NULL, "pki/ca.crt", ca);
	rv = tls_ctx_new_files(&cfg, crt, key, ca, &tls, e);
	if (rv == 0)
		rv = enter_switch(l, e);
	for (unsigned i = 0; rv == 0 && i < l->n_nodes; i++)
		if (l->nodes[i].is_server && running[i])
			snprintf(out[i], LOCAL_ROLE_SIZE, "%s", role_of(&l->nodes[i], tls));
	tls_ctx_unref(tls);
	return rv;
}
