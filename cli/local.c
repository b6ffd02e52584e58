#include "cli/local.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"

#define FIRST_HOST 11u /* the switch has .1; what lies between is free for the user's own namespaces */

void local_dir(const char *name, const char *dir, char out[LOCAL_PATH_MAX])
{
	if (dir && *dir)
		snprintf(out, LOCAL_PATH_MAX, "%s", dir);
	else
		snprintf(out, LOCAL_PATH_MAX, LOCAL_DEFAULT_ROOT "/%s", name);
}

void local_netns(const struct local *l, const char *node, char out[128])
{
	snprintf(out, 128, "kontiki-%s-%s", l->name, node ? node : "switch");
}

void local_path(const struct local *l, const char *node, const char *file, char out[LOCAL_PATH_MAX])
{
	if (node)
		snprintf(out, LOCAL_PATH_MAX, "%.300s/%s/%s", l->dir, node, file);
	else
		snprintf(out, LOCAL_PATH_MAX, "%.300s/%s", l->dir, file);
}

static int check_name(const char *name, struct err *e)
{
	size_t n = strlen(name);
	bool good = n > 0 && n <= 20 && isalnum((unsigned char)name[0]) && name[n - 1] != '-';

	for (size_t i = 0; good && i < n; i++)
		good = islower((unsigned char)name[i]) || isdigit((unsigned char)name[i]) || name[i] == '-';
	return good ? 0
		    : err_set(e, ERR_BAD_REQUEST,
				      "cluster name \"%s\": use 1 to 20 lower-case letters, digits and dashes", name);
}

unsigned local_subnet(const struct local *l, uint32_t addr)
{
	for (unsigned i = 0; i < l->n_subnets; i++)
		if (ip4_net_has(l->subnets[i], addr))
			return i;
	return 0;
}

struct ip4_net local_gateway(const struct local *l, unsigned subnet)
{
	struct ip4_net n = l->subnets[subnet];

	return (struct ip4_net){(n.addr & ip4_mask(n.bits)) + 1, n.bits};
}

static int check_subnets(const struct ip4_net *v, unsigned n, unsigned n_nodes, struct err *e)
{
	char a[IP4_STR_SIZE], b[IP4_STR_SIZE];

	if (n < 1 || n > LOCAL_SUBNETS_MAX)
		return err_set(e, ERR_BAD_REQUEST, "%u subnets: 1 to %u are possible", n, LOCAL_SUBNETS_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (v[i].bits < 8 || v[i].bits > 25 || (1u << (32 - v[i].bits)) < FIRST_HOST + n_nodes + 1)
			return err_set(e, ERR_BAD_REQUEST, "subnet /%u: a network from /8 to /25 is needed for %u nodes", v[i].bits, n_nodes);
		for (unsigned j = 0; j < i; j++)
			if (ip4_net_has(v[i], v[j].addr) || ip4_net_has(v[j], v[i].addr))
				return err_set(e, ERR_BAD_REQUEST, "subnets %s and %s overlap", ip4_net_print(v[j], a), ip4_net_print(v[i], b));
	}
	return 0;
}

static void add_node(struct local *l, const char *kind, unsigned i)
{
	struct local_node *n = &l->nodes[l->n_nodes];

	snprintf(n->name, sizeof(n->name), "%s-%u", kind, i);
	n->is_server = strcmp(kind, "server") == 0;
	n->addr = local_gateway(l, l->n_nodes % l->n_subnets).addr - 1 + FIRST_HOST + l->n_nodes;
	l->n_nodes++;
	l->n_servers += n->is_server;
}

int local_plan(struct local *l, const char *name, const char *dir, unsigned servers, unsigned agents,
		const struct ip4_net *subnets, unsigned n_subnets, struct err *e)
{
	int rv = check_name(name, e);

	if (rv < 0)
		return rv;
	if (servers < 1 || servers > 9 || servers + agents > LOCAL_NODES_MAX)
		return err_set(e, ERR_BAD_REQUEST,
				"%u servers and %u agents: 1 to 9 servers and at most %u nodes are possible", servers,
				agents, LOCAL_NODES_MAX);
	rv = check_subnets(subnets, n_subnets, servers + agents, e);
	if (rv < 0)
		return rv;
	memset(l, 0, sizeof(*l));
	snprintf(l->name, sizeof(l->name), "%s", name);
	local_dir(name, dir, l->dir);
	memcpy(l->subnets, subnets, n_subnets * sizeof(*subnets));
	l->n_subnets = n_subnets;
	for (unsigned i = 1; i <= servers; i++)
		add_node(l, "server", i);
	for (unsigned i = 1; i <= agents; i++)
		add_node(l, "agent", i);
	return 0;
}

int local_save(const struct local *l, struct err *e)
{
	struct buf b = BUF_INIT;
	char text[IP4_STR_SIZE], path[LOCAL_PATH_MAX];
	int rv;

	buf_printf(&b, "format 1\nname %s\nport %u\ninternet %d\n", l->name, l->port, l->internet);
	for (unsigned i = 0; i < l->n_subnets; i++)
		buf_printf(&b, "subnet %s\n", ip4_net_print(l->subnets[i], text));
	for (unsigned i = 0; i < l->n_nodes; i++)
		buf_printf(&b, "%s %s %s\n", l->nodes[i].is_server ? "server" : "agent", l->nodes[i].name,
				ip4_print(l->nodes[i].addr, text));
	local_path(l, NULL, "cluster.conf", path);
	rv = file_put(path, buf_str(&b), 0644, true, e);
	buf_fini(&b);
	return rv;
}

static bool read_line(struct local *l, const char *line)
{
	char a[64], b[64], c[64];
	int n = sscanf(line, "%63s %63s %63s", a, b, c);
	uint64_t v;

	if (n < 2)
		return n <= 0;
	if (strcmp(a, "name") == 0)
		return snprintf(l->name, sizeof(l->name), "%s", b) < (int)sizeof(l->name);
	if (strcmp(a, "subnet") == 0)
		return l->n_subnets < LOCAL_SUBNETS_MAX && ip4_net_parse(str_from(b), &l->subnets[l->n_subnets++]);
	if (strcmp(a, "port") == 0 || strcmp(a, "internet") == 0 || strcmp(a, "format") == 0) {
		if (!str_to_u64(str_from(b), &v) || v > 65535)
			return false;
		if (a[0] == 'p')
			l->port = (uint16_t)v;
		else if (a[0] == 'i')
			l->internet = v != 0;
		else
			return v == 1;
		return true;
	}
	if (n == 3 && (strcmp(a, "server") == 0 || strcmp(a, "agent") == 0) && l->n_nodes < LOCAL_NODES_MAX) {
		struct local_node *node = &l->nodes[l->n_nodes++];

		node->is_server = a[0] == 's';
		l->n_servers += node->is_server;
		return snprintf(node->name, sizeof(node->name), "%s", b) < (int)sizeof(node->name) &&
		       ip4_parse(str_from(c), &node->addr);
	}
	return false;
}

int local_load(struct local *l, const char *name, const char *dir, struct err *e)
{
	char path[LOCAL_PATH_MAX], *text, *save = NULL;

	memset(l, 0, sizeof(*l));
	local_dir(name, dir, l->dir);
	local_path(l, NULL, "cluster.conf", path);
	text = file_read(path, 65536, e);
	if (text == NULL)
		return access(path, F_OK) == 0 ? -(int)ERR_IO
					       : err_set(e, ERR_NOT_FOUND,
							 "there is no cluster \"%s\" (no %s); 'kontiki up' makes one",
							 name, path);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!read_line(l, line)) {
			int rv = err_set(e, ERR_CORRUPT, "%s: cannot read the line \"%s\"", path, line);

			free(text);
			return rv;
		}
	free(text);
	return 0;
}

const struct local_node *local_node(const struct local *l, const char *name, struct err *e)
{
	char known[256] = "";
	size_t n = 0;

	for (unsigned i = 0; i < l->n_nodes; i++) {
		if (strcmp(l->nodes[i].name, name) == 0)
			return &l->nodes[i];
		n += (size_t)snprintf(known + n, sizeof(known) - MIN(n, sizeof(known)), "%s%s", i ? ", " : "",
				l->nodes[i].name);
		n = MIN(n, sizeof(known) - 1);
	}
	err_set(e, ERR_NOT_FOUND, "cluster \"%s\" has no node \"%s\"; it has %s", l->name, name, known);
	return NULL;
}
