#include "orchestrator/agent/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "net/link.h"
#include "net/overlay.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

struct routes {
	struct informer_handler handler;
	struct informer *nodes;
	struct link_sock *sock;
	const char *self;
	uint32_t addr;       /* our own node's */
	struct ip4_net pods; /* our own; bits 0: not known yet */
};

struct route {
	struct ip4_net dst;
	uint32_t via;
};

/* What a node's object asks for; false while it has no network or address yet. */
static bool route_of(const struct informer_obj *o, struct route *ret)
{
	const Core__Node *n = informer_msg(o);

	memset(ret, 0, sizeof(*ret));
	if (n == NULL || n->spec == NULL || !ip4_net_parse(str_from(pb_s(n->spec->pod_cidr)), &ret->dst))
		return false;
	for (size_t i = 0; n->status && i < n->status->n_addresses; i++)
		if (pb_streq(n->status->addresses[i]->type, "InternalIP") &&
				ip4_parse(str_from(pb_s(n->status->addresses[i]->address)), &ret->via))
			return true;
	return false;
}

static int set_way(struct routes *r, const struct route *to, bool *ret_overlay, struct err *e)
{
	int rv;

	*ret_overlay = !overlay_is_direct(r->sock, to->via);
	if (!*ret_overlay)
		return route_set(r->sock, to->dst, to->via, NULL, e);
	rv = overlay_up(r->sock, r->addr, r->pods, e);
	return rv == 0 ? overlay_peer_set(r->sock, to->via, to->dst, e) : rv;
}

static void add(struct routes *r, const char *node, const struct route *to)
{
	char text[IP4_STR_SIZE];
	struct err e;
	bool overlay;

	/* The overlay needs our own network; when it is known all nodes are looked at again. */
	if (r->pods.bits == 0)
		return;
	if (set_way(r, to, &overlay, &e) < 0)
		log_warn("routes", "no route to the pods of node %s: %s", node, e.text);
	else
		log_info("routes", "route node=%s pods=%s%s", node, ip4_net_print(to->dst, text), overlay ? " overlay" : "");
}

static void del(struct routes *r, const char *node, const struct route *to)
{
	struct err e;
	/* The overlay's removal knows what is not there, and takes a plain route, too. */
	int rv = overlay_peer_del(r->sock, to->via, to->dst, &e);

	if (rv < 0)
		log_warn("routes", "cannot remove the route of node %s: %s", node, e.text);
}

static void add_all(struct routes *r)
{
	struct route to;

	INFORMER_FOR_EACH (o, r->nodes)
		if (strcmp(o->meta->name, r->self) != 0 && route_of(o, &to))
			add(r, o->meta->name, &to);
}

static void on_self(struct routes *r, const struct informer_obj *o)
{
	const Core__Node *n = informer_msg(o);
	struct ip4_net pods;

	if (n == NULL || n->spec == NULL || !ip4_net_parse(str_from(pb_s(n->spec->pod_cidr)), &pods) || pods.bits == 0 ||
			(pods.addr == r->pods.addr && pods.bits == r->pods.bits))
		return;
	r->pods = pods;
	add_all(r);
}

static void on_node(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct routes *r = container_of(h, struct routes, handler);
	struct route was, now;
	bool had = route_of(old, &was), has = route_of(new, &now);

	if (strcmp((new ? new : old)->meta->name, r->self) == 0) {
		on_self(r, new);
		return;
	}
	if (had && has && memcmp(&was, &now, sizeof(was)) == 0)
		return;
	if (had)
		del(r, old->meta->name, &was);
	if (has)
		add(r, new->meta->name, &now);
}

struct routes *routes_start(struct informer *nodes, const char *self, const char *node_ip, struct err *e)
{
	struct routes *r = xcalloc(1, sizeof(*r));

	r->self = self;
	r->nodes = nodes;
	if (!ip4_parse(str_from(node_ip), &r->addr))
		err_set(e, ERR_BAD_REQUEST, "the node's address \"%s\" is no IPv4 address", node_ip);
	else
		r->sock = link_open(-1, e);
	if (r->sock == NULL) {
		free(r);
		return NULL;
	}
	r->handler.changed = on_node;
	informer_add_handler(nodes, &r->handler);
	return r;
}

void routes_stop(struct routes *r)
{
	if (r == NULL)
		return;
	link_close(r->sock);
	free(r);
}
