/* What a port answers besides gRPC: /health and its kin, /version. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "store/store.h"
#include "store/view.h"

static const struct http_header json_head[] = {{STR_INIT("content-type"), STR_INIT("application/json")}};

static const struct http_header text_head[] = {{STR_INIT("content-type"), STR_INIT("text/plain; charset=utf-8")}};

void etcd__page_text(struct http_request *r, int status, struct str body)
{
	http_respond(r, status, text_head, ARRAY_LEN(text_head), body);
}

/* --- /health, /readyz, /livez ------------------------------------------------------------------------------------- */

/* Healthy: no alarm, a leader, and a linearizable read (unless ?serializable=true) goes through. */
struct health {
	struct etcd_read read;
	struct http_request *http;
	bool plain; /* /livez and /readyz: a line of text */
};

static void health_answer(struct health *h, const char *reason)
{
	struct http_request *r = h->http;
	struct buf b = BUF_INIT;

	if (h->plain)
		buf_addc(&b, reason ? reason : "ok\n");
	else
		buf_printf(&b, "{\"health\":\"%s\",\"reason\":\"%s\"}\n", reason ? "false" : "true", reason ? reason : "");
	/* Also the JSON: etcd does not say what it is, and Go takes it for text. */
	etcd__page_text(r, reason ? 503 : 200, buf_str(&b));
	buf_fini(&b);
}

static bool note_alarm(void *arg, uint64_t member, int type)
{
	int *found = arg;

	(void)member;
	*found = type;
	return false;
}

static void health_done(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct health *h = container_of(read, struct health, read);
	struct err e = ERR_INIT;
	int alarm = 0;

	(void)failed;
	if (v == NULL || view_alarms(v, note_alarm, &alarm, &e) != 0)
		health_answer(h, "QGET ERROR:etcdserver: request timed out");
	else
		health_answer(h, alarm == 1 ? "ALARM NOSPACE" : alarm == 2 ? "ALARM CORRUPT" : NULL);
}

static void health_canceled(struct http_request *r)
{
	struct health *h = r->user;

	etcd__read_cancel(&h->read);
	http_respond_abort(r);
}

static void health(struct etcd_port *port, struct http_request *r, bool plain, bool local)
{
	struct etcd_loop *el = port->el;
	struct health *h = arena_new_of(&r->arena, struct health);

	h->http = r;
	h->plain = plain;
	if (!local && !etcd__has_leader(el)) {
		health_answer(h, "RAFT NO LEADER");
		return;
	}
	h->read.done = health_done;
	r->user = h;
	r->on_cancel = health_canceled;
	etcd__read(el, &h->read, local);
}

static void page_health(struct etcd_port *port, struct http_request *r)
{
	health(port, r, false, str_search(r->query, STR("serializable=true")) >= 0);
}

static void page_readyz(struct etcd_port *port, struct http_request *r)
{
	health(port, r, true, false);
}

static void page_livez(struct etcd_port *port, struct http_request *r)
{
	health(port, r, true, true);
}

static void page_version(struct etcd_port *port, struct http_request *r)
{
	(void)port;
	http_respond(r, 200, json_head, ARRAY_LEN(json_head), STR("{\"etcdserver\":\"" ETCD_VERSION "\",\"etcdcluster\":\"" ETCD_CLUSTER_VERSION "\"}"));
}

/* --- The table --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *path;
	void (*serve)(struct etcd_port *, struct http_request *);
} pages[] = {
		{"/health", page_health},
		{"/livez", page_livez},
		{"/metrics", etcd__metrics},
		{"/readyz", page_readyz},
		{"/version", page_version},
};

bool etcd__page(struct etcd_port *port, struct http_request *r)
{
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (!str_eqc(r->path, pages[i].path))
			continue;
		if (!str_eqc(r->method, "GET") && !str_eqc(r->method, "HEAD"))
			etcd__page_text(r, 405, STR("Method Not Allowed\n"));
		else
			pages[i].serve(port, r);
		return true;
	}
	return false;
}
