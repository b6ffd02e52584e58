#include "orchestrator/agent/servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "io/balancer.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/kubelet/fsutil.h"
#include "proto/discovery.pb-c.h"
#include "proto/pb.h"

#define FILE_MAX 65536

struct servers {
	struct servers_cfg cfg;
	struct informer_handler handler;
	struct buf now; /* the list as it is in the file */
};

static bool is_ours(const struct informer_obj *o)
{
	return pb_streq(o->meta->namespace_, "default") &&
	       pb_streq(pb_map_get(o->meta->labels, o->meta->n_labels, "kubernetes.io/service-name"), "kubernetes");
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t unique(const char **v, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		if (k == 0 || strcmp(v[k - 1], v[i]) != 0)
			v[k++] = v[i];
	return k;
}

static bool is_served(const Discovery__EndpointSlice *s, const Discovery__Endpoint *ep)
{
	return ep->n_addresses > 0 && s->n_ports > 0 && s->ports[0]->has_port &&
	       !(ep->conditions && ep->conditions->has_ready && !ep->conditions->ready);
}

size_t servers_list(const struct informer *slices, const char *node_ip, const char *own, struct arena *a, const char ***ret)
{
	const char **v = NULL;
	size_t n = 0, max = 0;

	INFORMER_FOR_EACH (o, slices)
		if (is_ours(o))
			max += ((const Discovery__EndpointSlice *)informer_msg(o))->n_endpoints;
	v = arena_new_array(a, const char *, max + 1);
	INFORMER_FOR_EACH (o, slices) {
		const Discovery__EndpointSlice *s = informer_msg(o);

		for (size_t i = 0; is_ours(o) && i < s->n_endpoints; i++)
			if (is_served(s, s->endpoints[i]))
				v[n++] = arena_printf(a, "%s:%d", s->endpoints[i]->addresses[0], (int)s->ports[0]->port);
	}
	qsort(v, n, sizeof(*v), by_text);
	n = unique(v, n);
	for (size_t i = 0; i < n; i++) {
		const char *self = v[i];

		if (strncmp(self, node_ip, strlen(node_ip)) != 0 || self[strlen(node_ip)] != ':')
			continue;
		memmove(v + 1, v, i * sizeof(*v));
		v[0] = own ? own : self;
		break;
	}
	*ret = v;
	return n;
}

size_t servers_known(const char *file, const char *const *given, size_t n_given, struct arena *a, const char ***ret)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct str rest, line;
	const char **v;
	size_t n = 0, max = n_given + 1;

	if (file_get(file, FILE_MAX, &b, NULL) < 0)
		buf_clear(&b);
	for (size_t i = 0; i < b.n; i++)
		max += b.p[i] == '\n';
	v = arena_new_array(a, const char *, max);
	for (size_t i = 0; i < n_given; i++)
		v[n++] = given[i];
	/* A line without its end was cut off. */
	for (rest = buf_str(&b); str_cut(rest, '\n', &line, &rest);) {
		bool there = line.n == 0;

		for (size_t i = 0; i < n; i++)
			there = there || str_eqc(line, v[i]);
		if (!there)
			v[n++] = arena_cstr(a, line);
	}
	*ret = v;
	return n;
}

static void follow(struct servers *s)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct arena a;
	const char **v;
	struct err e;
	size_t n;

	arena_init(&a);
	n = servers_list(s->cfg.slices, s->cfg.node_ip, s->cfg.own, &a, &v);
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s\n", v[i]);
	if (n > 0 && !str_eq(buf_str(&text), buf_str(&s->now))) {
		buf_clear(&s->now);
		buf_adds(&s->now, buf_str(&text));
		balancer_set_backends(s->cfg.balancer, v, n);
		log_info("agent", "servers known n=%zu first=%s", n, v[0]);
		if (file_put(s->cfg.file, buf_str(&text), 0644, false, &e) < 0)
			log_warn("agent", "cannot keep the list of servers: %s", e.text);
	}
	arena_fini(&a);
}

static void on_slice(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct servers *s = container_of(h, struct servers, handler);

	/* During the first list not all is there yet. */
	if (is_ours(new ? new : old) && informer_synced(s->cfg.slices))
		follow(s);
}

static void on_synced(struct informer_handler *h)
{
	follow(container_of(h, struct servers, handler));
}

struct servers *servers_start(const struct servers_cfg *cfg)
{
	struct servers *s = xcalloc(1, sizeof(*s));

	s->cfg = *cfg;
	s->handler = (struct informer_handler){.changed = on_slice, .synced = on_synced};
	buf_init(&s->now, BUF_NO_LIMIT);
	informer_add_handler(cfg->slices, &s->handler);
	return s;
}

void servers_stop(struct servers *s)
{
	if (s == NULL)
		return;
	buf_fini(&s->now);
	free(s);
}
