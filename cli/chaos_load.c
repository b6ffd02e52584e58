/*
 * The load of kontiki chaos, from its beginning to its end: a thread with a loop, and channels to each member from within that
 * member's network namespace, so that it is reached whatever the member's peers can.
 */
#include "cli/chaos_load-priv.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/chaos.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "net/netns.h"

#define SETTLE_MS 2000   /* after the last call: what is still on its way arrives, or never does */

static int open_channels(struct chaos_load *l, struct err *e)
{
	struct chaos *c = l->c;
	int rv = 0;

	for (unsigned i = 0; rv == 0 && i < c->l.n_nodes; i++) {
		char ns[128], ip[IP4_STR_SIZE], addr[32];
		int fd;

		local_netns(&c->l, c->l.nodes[i].name, ns);
		fd = netns_open(ns, e);
		if (fd < 0)
			return fd;
		snprintf(addr, sizeof(addr), "%s:2379", ip4_print(c->l.nodes[i].addr, ip));
		for (int k = 0; rv == 0 && k < 2; k++)
			rv = grpc_channel_new(l->loop,
					      &(struct grpc_channel_config){
						      .address = addr, .netns_fd = fd, .connect_timeout_ms = CHAOS_CALL_MS},
					      &l->channels[i][k], e);
		/* The channels have their own copies. */
		close(fd);
	}
	return rv;
}

int chaos_load_start(struct chaos *c, struct err *e)
{
	struct chaos_load *l = xcalloc(1, sizeof(*l));
	int rv;

	c->load = l;
	l->c = c;
	l->h = history_new();
	l->loop = loop_new("chaos");
	buf_init(&l->side.request, BUF_NO_LIMIT);
	buf_init(&l->side.answer, BUF_NO_LIMIT);
	rv = open_channels(l, e);
	if (rv != 0)
		return rv;
	l->n_clients = (size_t)c->o.clients;
	l->clients = xcalloc(l->n_clients, sizeof(*l->clients));
	for (size_t i = 0; i < l->n_clients; i++)
		chaos__client_start(&l->clients[i], l, (unsigned)i);
	for (unsigned i = 0; i < N_WATCHES + c->l.n_nodes; i++)
		chaos__watch_start(&l->watchings[i], l, i);
	for (unsigned i = 0; i < c->l.n_nodes; i++)
		chaos__probe_start(&l->probers[i], l, (int)i);
	loop_thread_start(l->loop);
	return 0;
}

static void side_done(struct grpc_call *call)
{
	struct chaos_load *l = container_of(call, struct chaos_load, side.call);

	grpc_call_err(call, &l->side.err);
	buf_clear(&l->side.answer);
	buf_adds(&l->side.answer, buf_str(&call->message));
	grpc_call_fini(call);
	atomic_store(&l->side.done, true);
}

static void on_side(struct loop_msg *m)
{
	struct chaos_load *l = container_of(m, struct chaos_load, side_msg);

	l->side.call.timeout_ms = 5000;
	l->side.call.done = side_done;
	grpc_unary(l->channels[l->side.node][1], &l->side.call, buf_str(&l->side.request));
}

int chaos_load_call(struct chaos *c, int node, const char *method, const ProtobufCMessage *m, struct buf *answer, struct err *e)
{
	struct chaos_load *l = c->load;
	size_t size = protobuf_c_message_get_packed_size(m);

	buf_clear(&l->side.request);
	protobuf_c_message_pack(m, (uint8_t *)buf_reserve(&l->side.request, size));
	buf_advance(&l->side.request, size);
	l->side.node = node;
	l->side.call = (struct grpc_call){.method = method};
	err_clear(&l->side.err);
	atomic_store(&l->side.done, false);
	l->side_msg.run = on_side;
	loop_post(l->loop, &l->side_msg);
	while (!atomic_load(&l->side.done))
		usleep(2000);
	buf_clear(answer);
	buf_adds(answer, buf_str(&l->side.answer));
	if (l->side.err.code != ERR_OK && e)
		*e = l->side.err;
	return -(int)l->side.err.code;
}

uint64_t chaos_load_ok(struct chaos *c)
{
	return atomic_load(&c->load->n_ok);
}

void chaos__check_caught_up(struct chaos_load *l)
{
	if (l->last_revision <= 0 || atomic_load(&l->caught_up))
		return;
	for (unsigned i = 0; i < N_WATCHES + l->c->l.n_nodes; i++)
		if (l->watchings[i].next <= l->last_revision)
			return;
	for (unsigned i = 0; i < N_WATCHES + l->c->l.n_nodes; i++)
		if (l->watchings[i].stream)
			history_message(l->h, l->watchings[i].stream,
					(struct hist_message){.kind = HIST_CAUGHT_UP, .revision = l->last_revision});
	/* Each of the last ones was told all changes from the first on. */
	history_known(l->h, 2, l->last_revision);
	atomic_store(&l->caught_up, true);
}

/* All is quiet: one more write, and every member must tell a new watch of all until then. */
static void on_settled(struct loop_timer *t)
{
	struct chaos_load *l = container_of(t, struct chaos_load, settle);

	l->last_revision = -1;
	for (unsigned i = N_WATCHES; i < N_WATCHES + l->c->l.n_nodes; i++)
		chaos__watch_open(&l->watchings[i]);
	chaos__client_put(&l->clients[0]);
}

void chaos__finish_if_idle(struct chaos_load *l)
{
	for (size_t i = 0; i < l->n_clients; i++)
		if (l->clients[i].busy)
			return;
	if (l->last_revision == 0)
		loop_timer_start(&l->settle, l->loop, SETTLE_MS, on_settled);
	else if (l->last_revision == -1)
		chaos__client_put(&l->clients[0]); /* it did not succeed: once more */
	chaos__check_caught_up(l);
}

static void on_stop(struct loop_msg *m)
{
	struct chaos_load *l = container_of(m, struct chaos_load, stop_msg);

	l->stopping = true;
	for (size_t i = 0; i < l->n_clients; i++)
		loop_timer_stop(&l->clients[i].timer);
	chaos__finish_if_idle(l);
}

static void on_close(struct loop_msg *m)
{
	struct chaos_load *l = container_of(m, struct chaos_load, close_msg);

	l->closing = l->stopping = true;
	loop_timer_stop(&l->settle);
	for (size_t i = 0; i < ARRAY_LEN(l->watchings); i++)
		loop_timer_stop(&l->watchings[i].timer);
	for (size_t i = 0; i < ARRAY_LEN(l->probers); i++)
		loop_timer_stop(&l->probers[i].timer);
	for (size_t i = 0; i < l->n_clients; i++)
		loop_timer_stop(&l->clients[i].timer);
	for (unsigned i = 0; i < l->c->l.n_nodes; i++)
		for (int k = 0; k < 2; k++)
			if (l->channels[i][k])
				grpc_channel_close(l->channels[i][k], NULL, NULL);
	loop_stop(l->loop);
}

bool chaos_load_finish(struct chaos *c, unsigned timeout_ms)
{
	struct chaos_load *l = c->load;
	bool ok;

	l->stop_msg.run = on_stop;
	loop_post(l->loop, &l->stop_msg);
	for (unsigned ms = 0; ms < timeout_ms && !atomic_load(&l->caught_up); ms += 20)
		usleep(20000);
	ok = atomic_load(&l->caught_up);
	l->close_msg.run = on_close;
	loop_post(l->loop, &l->close_msg);
	loop_thread_join(l->loop);
	return ok;
}

struct history *chaos_load_history(struct chaos *c)
{
	return c->load->h;
}

const struct chaos_sample *chaos_load_samples(struct chaos *c, size_t *n)
{
	*n = c->load->n_samples;
	return c->load->samples;
}

const struct chaos_lead *chaos_load_leads(struct chaos *c, size_t *n)
{
	*n = c->load->n_leads;
	return c->load->leads;
}

void chaos_load_free(struct chaos *c)
{
	struct chaos_load *l = c->load;

	if (l == NULL)
		return;
	if (!l->closing) {
		l->close_msg.run = on_close;
		if (l->clients) {
			loop_post(l->loop, &l->close_msg);
			loop_thread_join(l->loop);
		}
	}
	loop_free(l->loop);
	for (size_t i = 0; i < l->n_clients; i++)
		buf_fini(&l->clients[i].request);
	history_free(l->h);
	buf_fini(&l->side.request);
	buf_fini(&l->side.answer);
	free(l->clients);
	free(l->samples);
	free(l->leads);
	free(l);
	c->load = NULL;
}
