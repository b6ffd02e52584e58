#include "raft/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/util.h"
#include "io/stream.h"
#include "raft/transport-priv.h"

void transport__release(struct transport *t)
{
	void (*closed)(void *arg) = t->closed;
	void *arg = t->cfg.arg;

	ASSERT(t->n_open > 0);
	if (--t->n_open > 0 || !t->closing)
		return;
	LIST_FOR_EACH_SAFE (p, next, &t->peers, struct peer, link) {
		list_del(&p->link);
		free(p);
	}
	free(t->name);
	free(t->addr);
	free(t);
	closed(arg);
}

static void stream_gone(void *arg)
{
	transport__release(arg);
}

void transport__drop_stream(struct transport *t, struct stream **s)
{
	if (*s)
		stream_close(TAKE(*s), stream_gone, t);
}

struct kv_peer_figures *transport__figures_of(struct transport *t, uint64_t id)
{
	struct kv_figures *f = &t->figures;
	struct kv_peer_figures *free_one = f->n_peers < KV_MAX_MEMBERS ? &f->peers[f->n_peers] : NULL;

	for (size_t i = 0; i < f->n_peers; i++)
		if (f->peers[i].id == id)
			return &f->peers[i];
	if (free_one) {
		f->n_peers++;
		free_one->id = id;
		histogram_init(&free_one->round_trips, 0.0001, 16);
	}
	return free_one;
}

void transport_figures(struct transport *t, struct kv_figures *ret)
{
	for (size_t i = 0; i < t->figures.n_peers; i++)
		t->figures.peers[i].active = false;
	LIST_FOR_EACH (p, &t->peers, struct peer, link) {
		struct out *o = &p->out[MSG_CHANNEL_MAIN];
		struct tcp_info info;
		socklen_t size = sizeof(info);

		if (!p->figures || o->state != OUT_UP)
			continue;
		p->figures->active = true;
		if (getsockopt(stream_fd(o->stream), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_rtt > 0)
			histogram_add(&p->figures->round_trips, info.tcpi_rtt / 1e6);
	}
	*ret = t->figures;
}

static int open_listeners(struct transport *t, const struct transport_cfg *cfg, struct err *e)
{
	struct listener_config lc = {.netns_fd = -1, .tls = cfg->tls_server, .max_handshakes = 64};
	struct str rest = str_from(cfg->listen), one;
	bool more;

	do {
		char address[KV_ADDR_MAX];

		more = str_cut(rest, ',', &one, &rest);
		if (t->n_listeners == TRANSPORT_LISTEN_MAX || one.n >= sizeof(address))
			return err_set(e, ERR_INVALID, "at most %d peer addresses to listen on", TRANSPORT_LISTEN_MAX);
		snprintf(address, sizeof(address), "%.*s", STR_FMT(one));
		lc.address = address;
		if (listener_open(cfg->loop, &lc, &t->listener_user, &t->listeners[t->n_listeners], e) != 0)
			return err_prefix(e, "peer address %s", address);
		t->n_listeners++;
	} while (more);
	return 0;
}

int transport_new(const struct transport_cfg *cfg, struct transport **ret, struct err *e)
{
	struct transport *t = xcalloc(1, sizeof(*t));
	int rc;

	t->cfg = *cfg;
	t->name = xstrdup(cfg->name);
	t->addr = xstrdup(cfg->addr);
	list_init(&t->peers);
	list_init(&t->incoming);
	t->listener_user.on_stream = transport__on_stream;
	rc = open_listeners(t, cfg, e);
	if (rc != 0) {
		for (size_t i = 0; i < t->n_listeners; i++)
			listener_close(t->listeners[i], NULL, NULL);
		free(t->name);
		free(t->addr);
		free(t);
		return rc;
	}
	t->n_open = (unsigned)t->n_listeners;
	*ret = t;
	return 0;
}

uint16_t transport_port(const struct transport *t)
{
	return listener_port(t->listeners[0]);
}

void transport_close(struct transport *t, void (*done)(void *arg))
{
	transport_flush(t);
	t->closing = true;
	t->closed = done;
	LIST_FOR_EACH_SAFE (in, inext, &t->incoming, struct in, link)
		transport__in_close(in);
	LIST_FOR_EACH_SAFE (p, next, &t->peers, struct peer, link)
		if (!p->dead)
			transport__remove_peer(p);
	/* The last of them may end it all. */
	for (size_t n = t->n_listeners; n-- > 0;)
		listener_close(TAKE(t->listeners[n]), stream_gone, t);
}
