#include "net/cni.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/util.h"
#include "net/attach.h"
#include "net/ipam.h"
#include "proto/json.h"

#define INPUT_LIMIT (1u << 20)
#define DEFAULT_VERSION "1.0.0"

/* Error codes of the CNI specification, section "Error". */
enum { CNI_INCOMPATIBLE = 1, CNI_BAD_ENVIRONMENT = 4, CNI_IO = 5, CNI_BAD_JSON = 6, CNI_BAD_CONFIG = 7, CNI_TRY_LATER = 11 };

struct cni {
	struct arena arena;
	const struct json *conf;
	const char *version, *command, *container, *netns, *ifname;
	struct ip4_net pods;
	const char *ipam_dir, *bridge;
	uint32_t mtu;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool cni_wanted(const char *argv0)
{
	const char *name = base_name(argv0);

	return getenv("CNI_COMMAND") != NULL && (strcmp(name, "kontiki-cni") == 0 || strcmp(name, "loopback") == 0);
}

static int fail(struct cni *c, int code, const char *text)
{
	struct json *j = json_new_object(&c->arena);

	json_setc(&c->arena, j, "cniVersion", json_newc(&c->arena, c->version ? c->version : DEFAULT_VERSION));
	json_setc(&c->arena, j, "code", json_new_int(&c->arena, code));
	json_setc(&c->arena, j, "msg", json_newc(&c->arena, text));
	printf("%.*s\n", STR_FMT(json_text(&c->arena, j)));
	return 1;
}

static struct str read_stdin(struct arena *a)
{
	struct buf b;
	struct str s;

	buf_init(&b, INPUT_LIMIT);
	for (;;) {
		char *to = buf_reserve(&b, 4096);
		ssize_t n = to ? read(STDIN_FILENO, to, 4096) : -1;

		if (n <= 0)
			break;
		buf_advance(&b, (size_t)n);
	}
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

static bool is_version(const char *v)
{
	static const char *const known[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0"};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i], v) == 0)
			return true;
	return false;
}

/* The result of ADD: one interface inside, its address and the default route. */
static void print_result(struct cni *c, uint32_t addr, const char *hw)
{
	struct arena *a = &c->arena;
	struct json *j = json_new_object(a), *ifs = json_new_array(a), *i = json_new_object(a), *ips = json_new_array(a),
		    *ip = json_new_object(a), *routes = json_new_array(a), *route = json_new_object(a);
	char text[IP4_STR_SIZE], gw[IP4_STR_SIZE];

	ip4_print((c->pods.addr & ip4_mask(c->pods.bits)) + 1, gw);
	json_setc(a, j, "cniVersion", json_newc(a, c->version));
	json_setc(a, i, "name", json_newc(a, c->ifname));
	json_setc(a, i, "mac", json_newc(a, hw));
	json_setc(a, i, "sandbox", json_newc(a, c->netns));
	json_push(a, ifs, i);
	json_setc(a, j, "interfaces", ifs);
	/* "version" was dropped in 1.0.0. */
	if (strcmp(c->version, "1.0.0") != 0)
		json_setc(a, ip, "version", json_newc(a, "4"));
	json_setc(a, ip, "address", json_newc(a, ip4_net_print((struct ip4_net){addr, c->pods.bits}, text)));
	json_setc(a, ip, "gateway", json_newc(a, gw));
	json_setc(a, ip, "interface", json_new_int(a, 0));
	json_push(a, ips, ip);
	json_setc(a, j, "ips", ips);
	json_setc(a, route, "dst", json_newc(a, "0.0.0.0/0"));
	json_setc(a, route, "gw", json_newc(a, gw));
	json_push(a, routes, route);
	json_setc(a, j, "routes", routes);
	printf("%.*s\n", STR_FMT(json_text(a, j)));
}

static int cni_add(struct cni *c, struct err *e)
{
	struct attach at = {.netns = c->netns, .ifname = c->ifname, .owner = c->container, .bridge = c->bridge, .mtu = c->mtu};
	char hw[18] = "";
	uint32_t addr = 0;
	int rv = attach_bridge(c->bridge, c->pods, c->mtu, e);

	if (rv == 0)
		rv = ipam_take(c->ipam_dir, c->pods, c->container, &addr, e);
	at.addr = (struct ip4_net){addr, c->pods.bits};
	if (rv == 0)
		rv = attach_pod(&at, hw, e);
	if (rv < 0) {
		ipam_release(c->ipam_dir, c->container, NULL);
		return rv;
	}
	print_result(c, addr, hw);
	return 0;
}

static int cni_del(struct cni *c, struct err *e)
{
	int rv = attach_remove(c->container, e);

	return rv == 0 ? ipam_release(c->ipam_dir, c->container, e) : rv;
}

static int cni_check(struct cni *c, struct err *e)
{
	struct attach at = {.netns = c->netns, .ifname = c->ifname, .owner = c->container};

	return attach_check(&at, e);
}

static int run_kontiki(struct cni *c, struct err *e)
{
	struct str cidr = json_strp(c->conf, "podCIDR");

	c->ipam_dir = json_cstr(json_getc(c->conf, "ipamDir"));
	c->bridge = json_getc(c->conf, "bridge") ? json_cstr(json_getc(c->conf, "bridge")) : ATTACH_BRIDGE;
	c->mtu = (uint32_t)json_i64_or(json_getc(c->conf, "mtu"), 0);
	if (!ip4_net_parse(cidr, &c->pods) || c->ipam_dir[0] != '/')
		return err_set(e, ERR_INVALID, "the network configuration needs podCIDR (\"%.*s\") and ipamDir (\"%s\")", STR_FMT(cidr),
				c->ipam_dir);
	if (strcmp(c->command, "ADD") == 0)
		return cni_add(c, e);
	if (strcmp(c->command, "DEL") == 0)
		return cni_del(c, e);
	return cni_check(c, e);
}

static int run_loopback(struct cni *c, struct err *e)
{
	if (strcmp(c->command, "ADD") != 0)
		return 0;
	if (attach_loopback(c->netns, e) < 0)
		return -(int)e->code;
	printf("{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"lo\",\"sandbox\":\"%s\"}],\"ips\":[]}\n", c->version, c->netns);
	return 0;
}

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v ? v : "";
}

static int run(struct cni *c, const char *argv0)
{
	struct json *conf = NULL;
	struct err e = ERR_INIT;
	int rv;

	c->command = env("CNI_COMMAND");
	c->container = env("CNI_CONTAINERID");
	c->netns = env("CNI_NETNS");
	c->ifname = env("CNI_IFNAME");
	if (strcmp(c->command, "VERSION") == 0) {
		printf("{\"cniVersion\":\"" DEFAULT_VERSION "\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\"]}\n");
		return 0;
	}
	if (json_parse(&c->arena, read_stdin(&c->arena), NULL, &conf, &e) < 0)
		return fail(c, CNI_BAD_JSON, e.text);
	c->conf = conf;
	if (!is_version(json_cstr(json_getc(conf, "cniVersion"))))
		return fail(c, CNI_INCOMPATIBLE, "cniVersion must be 0.3.0, 0.3.1, 0.4.0 or 1.0.0");
	c->version = json_cstr(json_getc(conf, "cniVersion"));
	if (strcmp(c->command, "ADD") != 0 && strcmp(c->command, "DEL") != 0 && strcmp(c->command, "CHECK") != 0)
		return fail(c, CNI_BAD_ENVIRONMENT, "CNI_COMMAND must be ADD, DEL, CHECK or VERSION");
	if (c->container[0] == '\0' || c->ifname[0] == '\0' || (c->netns[0] != '/' && strcmp(c->command, "DEL") != 0))
		return fail(c, CNI_BAD_ENVIRONMENT, "CNI_CONTAINERID, CNI_IFNAME and CNI_NETNS are needed");
	rv = strcmp(base_name(argv0), "loopback") == 0 ? run_loopback(c, &e) : run_kontiki(c, &e);
	if (rv == 0)
		return 0;
	return fail(c, e.code == ERR_INVALID ? CNI_BAD_CONFIG : e.code == ERR_NO_SPACE ? CNI_TRY_LATER : CNI_IO, e.text);
}

int cni_main(const char *argv0)
{
	struct cni c = {.conf = NULL};
	int status;

	arena_init(&c.arena);
	status = run(&c, argv0);
	arena_fini(&c.arena);
	return fflush(stdout) == 0 ? status : 1;
}
