/* What the files of orchestrator/dns/ share: the server, its view of the informers, and questions handed on. */
#ifndef ORCHESTRATOR_DNS_DNS_PRIV_H
#define ORCHESTRATOR_DNS_DNS_PRIV_H

#include <netinet/in.h>
#include <uv.h>

#include "base/list.h"
#include "io/loop.h"
#include "orchestrator/dns/dns.h"
#include "orchestrator/dns/dns_zone.h"

#define DNS_UPSTREAMS_MAX 3u
#define DNS_FORWARDS_MAX 512u
#define DNS_CONNS_MAX 64u
#define DNS_FORWARD_TIMEOUT_MS 2000u
#define DNS_IDLE_MS 10000u

struct informer_index;

/* Who waits for an answer; `answer` is called once, with "" when there is none. */
struct dns_asker {
	void (*answer)(struct dns_asker *, struct str packet);
};

struct dns {
	struct dns_cfg cfg;
	struct dns_view view;
	struct informer_index *services_by_ip, *slices_by_service, *slices_by_ip;
	struct sockaddr_in upstreams[DNS_UPSTREAMS_MAX];
	unsigned n_upstreams;
	uv_udp_t udp;
	uv_tcp_t tcp;
	struct list forwards, conns;
	unsigned n_forwards, n_conns;
	unsigned n_handles; /* open ones; when stopping, the last that closes ends it */
	bool stopping;
	char *zone;
	struct dns_stats stats;
	void (*stopped)(void *);
	void *stopped_arg;
};

/* --- dns_view.c */
void dns__view_init(struct dns *);
bool dns__view_synced(const struct dns *);

/* --- dns_forward.c */
/* nameserver lines, without ourselves. */
void dns__read_resolv_conf(struct dns *, const char *path);
/* Ask the resolvers in turn. The asker may not go before its answer, unless dns__forward_forget. */
void dns__forward(struct dns *, struct str packet, bool tcp, struct dns_asker *);
void dns__forward_forget(struct dns *, struct dns_asker *);
void dns__forward_stop(struct dns *);

/* --- dns.c */
void dns__handle_closed(struct dns *);

#endif
