/*
 * What the files of apiserver/ share: the server, its per-loop contexts, and each file's entry points.
 */
#ifndef ORCHESTRATOR_APISERVER_APISERVER_PRIV_H
#define ORCHESTRATOR_APISERVER_APISERVER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/parent_cache.h"
#include "orchestrator/apiserver/request.h"

struct aggregate_docs;
struct aggregate_index;
struct aggregator;
struct api_authn;
struct api_service;
struct audit;
struct authz_chain;
struct authz_state;
struct convert_pool;
struct custom_def;
struct custom_index;
struct flow_state;
struct front_proxy;
struct http_client;
struct kv;
struct params_cache;
struct quota_state;
struct service_clients;
struct service_server;
struct store;
struct tls_ctx;
struct watch_hub;
struct webhook_state;

/* Counters a row: name, help. Atomic, shown by /metrics. */
#define API_COUNTERS(X)                                                                                                \
	X(requests, "apiserver_request_total", "Requests answered or begun")                                           \
	X(errors_4xx, "apiserver_request_client_errors_total", "Answers with a 4xx status")                            \
	X(errors_5xx, "apiserver_request_server_errors_total", "Answers with a 5xx status")                            \
	X(writes, "apiserver_writes_total", "Transactions committed for requests")                                     \
	X(conflicts, "apiserver_write_retries_total", "Transactions that lost a race and ran again")                   \
	X(barriers, "apiserver_read_barriers_total", "Linearizable read points asked for")                             \
	X(watches, "apiserver_watches_started_total", "Watches begun")                                                 \
	X(events, "apiserver_watch_events_total", "Watch events sent")                                                 \
	X(event_hits, "apiserver_watch_event_cache_hits_total", "Watch events whose encoding was shared")              \
	X(authn_failures, "apiserver_authentication_failures_total", "Requests with bad credentials")                  \
	X(authz_denials, "apiserver_authorization_denials_total", "Requests forbidden")

enum api_counter {
#define X(id, name, help) COUNT_##id,
	API_COUNTERS(X)
#undef X
	N_COUNTERS,
};

/* What one loop has of the apiserver: a serve loop (with an HTTP server) or a loop with in-process clients. */
struct api_loop {
	struct apiserver *srv;
	struct loop *loop;
	struct watch_hub *hub;
	struct http_handler http_handler;
	struct http_server *http;   /* NULL without a front */
	struct list requests;       /* api_request.link: all that are alive on this loop */
	struct list watches;        /* api_watch.link */
	struct api_event_cache *events;
	struct parent_cache parents;
	struct quota_state *quotas; /* of a serve loop; else NULL */
	struct authz_state *authz;  /* made when first asked; serve loops have it from the start */
	struct custom_index *custom; /* api__custom */
	struct webhook_state *hooks; /* made when first asked */
	struct convert_pool *conversions; /* likewise */
	struct params_cache *params; /* likewise */
	struct service_clients *services; /* api__services */
	struct flow_state *flow;     /* of a serve loop; else NULL */
	struct aggregate_index *aggregates; /* api__aggregates */
	struct map openapi;          /* documents with custom resources, as of openapi_epoch */
	uint64_t openapi_epoch;
	struct map kubelets;        /* "ip:port" -> struct http_client */
	struct list link;           /* in srv->loops */
	unsigned n_clients;         /* in-process clients */
	unsigned closing;           /* close callbacks outstanding */
	bool serves, stopping;
	struct loop_msg msg;
	struct loop_timer timer;
};

struct apiserver {
	struct kv *kv;
	struct store *store;
	struct apiserver_cfg cfg; /* strings owned */
	struct tls_ctx *tls, *kubelet_tls;
	struct api_authn *authn;
	_Atomic(struct authz_chain *) authz;
	struct loop_timer refresh; /* of the first serve loop: files that say who may come and what he may */
	struct loop_msg refresh_now;
	atomic_bool refresh_posted;
	char authz_error[256];     /* of theirs, so that it is logged once */
	struct audit *audit; /* NULL: none */
	struct front_proxy *front_proxy; /* NULL: aggregated servers do not know us */
	struct str ca_pem;
	pthread_mutex_t lock; /* `loops` and stopping */
	struct list loops;    /* api_loop.link */
	struct api_loop *serve[16];
	unsigned n_serve;
	uint16_t port;
	uint32_t service_net, service_mask; /* host byte order */
	atomic_bool ready, stopping;
	/* The lease to which new events are attached, and until when (monotonic ms); see lease.c. */
	atomic_int_fast64_t event_lease;
	atomic_uint_fast64_t event_lease_until;
	atomic_uint_fast64_t counters[N_COUNTERS];
	atomic_int n_requests, n_watches;
	atomic_int n_trips; /* messages between serve loops that are under way */
	atomic_int n_open;  /* serve loops that are not closed yet */
	struct api_bootstrap *bootstrap;
	struct aggregator *aggregator;
	struct aggregate_docs *docs; /* under `lock`; aggregate_docs.h */
	int64_t started_s;
};

static inline void api_count(struct apiserver *srv, enum api_counter c)
{
	atomic_fetch_add_explicit(&srv->counters[c], 1, memory_order_relaxed);
}

/* paths.c: see APISERVER_WELL_PATH. */
bool api__is_well(struct apiserver *);
/* http_front.c */
int api__front_open(struct api_loop *, const struct http_server_config *, struct err *);
/* apiserver.c: the context of the current loop, made when missing. */
struct api_loop *api__loop_get(struct apiserver *, struct loop *);
void api__loop_put(struct api_loop *);

/* The servers that this loop sends requests on to; made when first asked. */
struct service_clients *api__services(struct api_loop *);

/* aggregate_proxy.c: the APIServices; made when first asked, serve loops have it from the start. */
struct aggregate_index *api__aggregates(struct api_loop *);
/* Another server answers the request. */
bool api__is_remote(struct api_request *);
/* It does: a step's last act. */
enum step_result aggregate_pass_on(struct api_request *, const struct api_service *);
/* Where the server of a remote one is, and who we are to it; in the arena. */
int aggregate_server(struct apiserver *, struct arena *, const struct api_service *, struct service_server *ret, struct err *);

/* watch_frame.c */
struct api_event_cache *api__event_cache_new(void);
void api__event_cache_free(struct api_event_cache *);
/* ws_watch.c: the request asks for a WebSocket; from then on its responder writes messages. */
bool api__ws_wanted(const struct api_request *);
int api__ws_watch(struct api_request *, struct err *);
/* watch.c. The server stops: end every watch of the loop in good order. */
void api__watches_end(struct api_loop *);

/* Of a definition of custom resources that is not what it was. */
void api__watches_end_of(struct api_loop *, const struct custom_def *);

/* custom_route.c: what the loop knows of custom resources; made when first asked, serve loops have it from the start. */
struct custom_index *api__custom(struct api_loop *);
/* openapi.c */
void api__openapi_forget(struct api_loop *);
/* Parts of the steps route and load-parent. */
api_step_fn api__route_custom, api__custom_parent;
/* req->res becomes the version in which the object of req->key lies, at this revision (0: there is none). */
enum step_result api__as_it_lies(struct api_request *, uint64_t *ret_rv);

/* write_stamp.c: name and namespace are the path's; anything else fails. */
enum step_result api__check_identity(struct api_request *, struct json *obj);
/* A name out of generateName, into an object's metadata. */
void api__generate_name(struct api_request *, struct json *meta);
/* What the server says of a new object, and what a changed one keeps of req->old. */
void api__stamp_new(struct api_request *, struct json *meta);
void api__keep_old(struct api_request *, struct json *meta);
/* Only the subresource changes it. */
void api__keep_status(struct api_request *, struct json *obj);
/* write_complete.c: defaults, admission, validation of req->obj. */
enum step_result api__complete(struct api_request *);

/* read.c: one object is no list and a list not one object, and neither is made of the other; fails. */
enum step_result api__wrong_form(struct api_request *, const char *asked, const char *is, const char *suffix);

/* Steps (request.c lists them). */
api_step_fn api__authenticate; /* authn.c */
api_step_fn api__flow;         /* flow.c */
api_step_fn api__authorize;    /* authz.c */
api_step_fn api__aggregate;    /* aggregate_proxy.c */
api_step_fn api__non_resource; /* paths.c */
api_step_fn api__decode_object, api__decode_patch, api__decode_delete_options; /* decode.c */
api_step_fn api__read_point, api__get; /* read.c */
api_step_fn api__list;                 /* list.c */
api_step_fn api__lease; /* lease.c */
api_step_fn api__load, api__load_parent;                                       /* write_load.c */
api_step_fn api__update_merge, api__patch_apply, api__create_on_update;        /* write.c */
api_step_fn api__prepare_create, api__prepare_update;
api_step_fn api__commit, api__encode_written;                                  /* write_commit.c */
api_step_fn api__delete_decide, api__delete_encode, api__delete_collection; /* delete.c */
api_step_fn api__watch;                                                    /* watch.c */

#endif
