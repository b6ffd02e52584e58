#include "orchestrator/agent/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "net/link.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

struct routes {
	struct informer_handler handler;
	struct link_sock *sock;
	const char *self;
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

static void on_node(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct routes *r = container_of(h, struct routes, handler);
	struct route was, now;
	bool had = route_of(old, &was), has = route_of(new, &now);
	char text[IP4_STR_SIZE];
	struct err e;

	if (strcmp((new ? new : old)->meta->name, r->self) == 0)
		return;
	if (had && (!has || was.dst.addr != now.dst.addr || was.dst.bits != now.dst.bits) && route_del(r->sock, was.dst, &e) < 0)
		log_warn("routes", "cannot remove the route of node %s: %s", old->meta->name, e.text);
	if (!has || (had && memcmp(&was, &now, sizeof(was)) == 0))
		return;
	if (route_set(r->sock, now.dst, now.via, NULL, &e) < 0)
		log_warn("routes", "no route to the pods of node %s: %s", new->meta->name, e.text);
	else
		log_info("routes", "route node=%s pods=%s", new->meta->name, ip4_net_print(now.dst, text));
}

struct routes *routes_start(struct informer *nodes, const char *self, struct err *e)
{
	struct routes *r = xcalloc(1, sizeof(*r));

	r->self = self;
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
