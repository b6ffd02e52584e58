/*
 * The inside of struct etcd_server.
 *
 *	front_grpc.c   gRPC requests become struct etcd_call         methods.c   the table of methods (methods.def)
 *	gateway.c      so do JSON requests under /v3/                call.c      answers, errors, headers
 *	kv.c watch.c lease.c lock.c election.c health.c ...          the services: handlers of calls
 *	read.c         linearizable reads, batched by loop turn      propose.c   commands to raft
 *	server.c       loops, listeners, start and stop              pages.c metrics.c   /health, /version, /metrics
 *
 * A handler is called once with the request (methods.def). It ends the call exactly once with etcd__reply, etcd__finish or
 * etcd__fail, at once or later. When the client goes away or its deadline passes, call->on_cancel tells the handler, which
 * lets go of what it waits for and ends the call; without an on_cancel the call is ended for it. What a handler waits for
 * (struct etcd_op) has a life of its own for that reason.
 *
 * Everything of a loop belongs to its thread.
 */
#ifndef ORCHESTRATOR_ETCD_ETCD_PRIV_H
#define ORCHESTRATOR_ETCD_ETCD_PRIV_H

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/map.h"
#include "io/grpc.h"
#include "io/http_server.h"
#include "orchestrator/etcd/errors.h"
#include "orchestrator/etcd/etcd.h"
#include "raft/kv.h"
#include "store/auth.h"

struct etcd_call;
struct event_cache;
struct store_view;
struct watch_hub;

#define ETCD_MAX_REQUEST (3u << 19) /* 1.5 MiB */
#define ETCD_MAX_TXN_OPS 128u       /* the store's own limit */
/* A gRPC message may be this much larger than a request may be, so that the refusal is the precise one. */
#define ETCD_MESSAGE_SLACK (512u << 10)
/* A call whose answers wait for the client with this much is asked to stop, and to go on below the lower mark. */
#define ETCD_SEND_HIGH (1u << 20)
#define ETCD_SEND_LOW (256u << 10)
/* Requests get this long to end when the server stops. */
#define ETCD_DRAIN_MS 2000

/* --- Methods -------------------------------------------------------------------------------------------------- */

enum etcd_kind { ETCD_UNARY, ETCD_SERVER, ETCD_BIDI };
/* Where it is judged who asks (identity.c): nowhere, or by the handler; when the command is applied; by the view that the handler reads
 * from; before the handler is called: root's role, by a view behind a barrier if authentication plays a part; the same, with
 * the barrier in any case, for what the handler looks up besides: members. */
enum etcd_judged { ETCD_ANYBODY, ETCD_APPLIED, ETCD_VIEWED, ETCD_ADMIN, ETCD_MEMBERS };

struct etcd_method {
	const char *service, *name;
	const char *path;      /* "/etcdserverpb.KV/Range" */
	const char *json_path; /* "kv/range" */
	const ProtobufCMessageDescriptor *in, *out;
	enum etcd_kind kind;
	enum etcd_judged judged;
	void (*handle)(struct etcd_call *, struct str request);
};

extern const struct etcd_method etcd__methods[];
extern const size_t etcd__n_methods;
/* NULL: no such method. */
const struct etcd_method *etcd__method_find(struct str path);

/* --- Server and loops ------------------------------------------------------------------------------------------ */

struct etcd_port {
	struct http_handler handler;
	struct etcd_loop *el;
	struct http_server *http; /* NULL once closed */
	bool metrics_only, tls;
};

#define ETCD_N_CODES 17 /* gRPC's codes */

struct etcd_counters {
	_Atomic uint64_t started, handled[ETCD_N_CODES], messages_in, messages_out;
	struct histogram took; /* unary ones */
};

struct etcd_loop {
	struct etcd_server *srv;
	struct loop *loop;
	struct loop_msg start_msg, stop_msg;
	struct etcd_port ports[ETCD_MAX_LISTEN];
	struct watch_hub *hub;
	struct event_cache *events; /* watch.h */
	struct kv_role_watch role_watch;
	struct kv_role role;
	struct loop_timer leader_timer; /* runs while there is no leader */
	struct list calls;
	size_t n_ops;              /* waiting for the kv */
	unsigned n_open;           /* ports not closed yet */
	bool stopping;
	/* read.c */
	struct list reads, local_reads; /* wait for the end of this turn */
	struct loop_timer read_timer;
	/* Read by /metrics of any loop. */
	struct etcd_counters *counters; /* by method */
	_Atomic uint64_t n_watchers, n_watch_streams, slow_watchers, n_events, failed_proposals, pending_proposals,
			leader_changes, bytes_in, bytes_out, read_failures, renewals;
};

struct etcd_server {
	struct etcd_server_cfg cfg; /* defaults filled in; listen: in `listen` */
	struct etcd_listen listen[ETCD_MAX_LISTEN];
	uint16_t port[ETCD_MAX_LISTEN];
	struct kv *kv;
	struct store *store;
	uint64_t cluster_id, member_id;
	struct etcd_loop *loops[16];
	unsigned n_loops;
	int64_t started_s;
	struct etcd_worker *passwords, *readers; /* logging in does not wait for whoever reads everything */
	uint32_t request_ms; /* as etcd: 5 s and two election timeouts */
};

/* --- Calls ------------------------------------------------------------------------------------------------------- */

struct etcd_transport {
	/* One message; the frame begins with GRPC_HEAD bytes of room. Takes the buf's memory. */
	void (*send)(struct etcd_call *, struct buf *frame);
	/* The call is over and gone after it. */
	void (*finish)(struct etcd_call *, int code, const char *text);
	/* Answers that have not left yet. */
	size_t (*queued)(const struct etcd_call *);
	/* Let no more messages come, or again. */
	void (*pause)(struct etcd_call *, bool on);
	/* Metadata of the request; {NULL, 0}: none. */
	struct str (*metadata)(const struct etcd_call *, const char *name);
};

struct etcd_call {
	struct etcd_loop *el;
	const struct etcd_method *method;
	const struct etcd_transport *via;
	struct arena *arena;     /* goes with the call */
	struct list link;        /* el->calls */
	const struct x509_info *peer; /* verified client certificate, or NULL */
	/* As it was judged last (identity.c). */
	struct store_requester who;
	struct str token;        /* a simple one that says so; empty: none */
	bool signed_token;       /* who.auth_revision is the token's own */
	bool canceled;           /* nothing that is sent will arrive */
	bool needs_leader;       /* metadata hasleader: the call ends when there is no leader */
	uint64_t began_ns;
	int abort_code;          /* etcd__call_abort */
	const char *abort_text;
	/* The handler's. */
	void *state;
	void (*on_message)(struct etcd_call *, struct str message); /* BIDI; borrowed */
	void (*on_half_close)(struct etcd_call *);                  /* BIDI; NULL: end with OK */
	void (*on_cancel)(struct etcd_call *);                      /* see above */
	void (*on_drain)(struct etcd_call *);                       /* what was queued has left */
	/* End it now, with this error: the server stops, or there is no leader. NULL: it ends by itself soon enough. */
	void (*on_end)(struct etcd_call *, enum etcd_error);
};

/* A message to be sent, with room for its frame's head. */
void etcd__frame_init(struct buf *);
/* Answers: the frame is taken. */
void etcd__send(struct etcd_call *, struct buf *frame);
void etcd__reply(struct etcd_call *, struct buf *frame);
void etcd__finish(struct etcd_call *, int code, const char *text);
void etcd__fail(struct etcd_call *, enum etcd_error);
void etcd__fail_err(struct etcd_call *, const struct err *);
/* The request's bytes are no message of its type. */
void etcd__fail_malformed(struct etcd_call *);
/* etcdserverpb.ResponseHeader as field 1 of what is appended; revision 0: the store's present one. */
void etcd__header(struct etcd_loop *, struct buf *, int64_t revision);
/* The same without a revision. */
void etcd__header_without(struct etcd_loop *, struct buf *);
/* An encoded response with our member id in its header, whoever made it, as a frame. */
void etcd__frame_of(struct etcd_loop *, struct buf *frame, struct str response);
/* For the fronts: what comes from the client. Each may end the call. */
void etcd__call_begin(struct etcd_call *, struct str request);
void etcd__call_message(struct etcd_call *, struct str message);
void etcd__call_half_close(struct etcd_call *);
void etcd__call_cancel(struct etcd_call *);
/* The front refuses to go on: the call ends with this, whatever its handler says. */
void etcd__call_abort(struct etcd_call *, int code, const char *text);
/* A member knows a leader; for calls with needs_leader. */
bool etcd__has_leader(const struct etcd_loop *);

/* --- Who asks (identity.c) --------------------------------------------------------------------------------------- */

/* Call the handler, at once or when this member has caught up, or end the call with the refusal. */
void etcd__admit(struct etcd_call *, struct str request);
/*
 * Fill call->who by token or certificate, as of the view; streams ask again for each request. ERR_UNAUTHORIZED: the token is not
 * valid. *ret_unsure: this member cannot tell, one that has applied more could. With authentication off who is nobody, and may
 * do everything.
 */
int etcd__who(struct etcd_call *, struct store_view *, bool *ret_unsure, struct err *);
/* The same with a view behind a barrier; false: the call has been ended with the refusal. */
bool etcd__identify(struct etcd_call *, struct store_view *);
/* Authentication is on as far as this member knows, or the client thinks so. */
bool etcd__auth_matters(const struct etcd_call *);
/* Is this still the token's user (no token: a certificate's), and what is the auth revision now? For commands that are proposed again. */
bool etcd__still_is(struct etcd_loop *, struct str user, struct str token, struct arena *, uint64_t *ret_revision);

/* --- Work that blocks (worker.c) -------------------------------------------------------------------------------------- */

/* Off the loop, one after the other: `run` on the worker's thread, then `done` on the loop. */
struct etcd_job {
	void (*run)(struct etcd_job *);
	void (*done)(struct etcd_job *);
	struct etcd_loop *el;
	/* private */
	struct loop_msg msg;
	struct list link;
};
struct etcd_worker;
struct etcd_worker *etcd__worker_new(void);
/* No job may be out. */
void etcd__worker_free(struct etcd_worker *);
/* False: too many wait already. */
bool etcd__work(struct etcd_worker *, struct etcd_loop *, struct etcd_job *);

/* --- Reading and proposing -------------------------------------------------------------------------------------------- */

struct etcd_read {
	/* `v` is open for the call only; NULL: the error says why. */
	void (*done)(struct etcd_read *, struct store_view *v, const struct err *);
	struct list link; /* private */
};
/* Linearizable unless `local`. All reads of one loop turn share a barrier and a view. */
void etcd__read(struct etcd_loop *, struct etcd_read *, bool local);
/* It will not be called any more. */
static inline void etcd__read_cancel(struct etcd_read *r)
{
	list_del(&r->link);
}
void etcd__reads_init(struct etcd_loop *);

struct etcd_op {
	struct kv_req req;
	struct etcd_loop *el;
	/* For another attempt: where the requester is in the command, behind the message; who it is. */
	char *requester;
	struct store_requester who;
	struct str token;
	unsigned attempts;
	struct etcd_read read;
	void *owner;                     /* NULL: nobody wants the answer any more */
	void (*done)(struct etcd_op *);  /* with owner set; the op is freed behind it */
};
/*
 * Propose raftpb.Command{field: message} with the call's rights. Users or roles may have changed between the moment in which the
 * requester was judged and that in which the command is applied: it is then refused, and proposed again once this member knows of
 * the change and the token is still good. The op belongs to itself: let go of it by op->owner = NULL.
 */
struct etcd_op *etcd__propose(struct etcd_call *for_call, unsigned field, struct str message, void *owner,
		void (*done)(struct etcd_op *));
/* The numbers of raftpb.Command's fields. */
enum {
	ETCD_CMD_TXN = 10,
	ETCD_CMD_PUT = 11,
	ETCD_CMD_DELETE_RANGE = 12,
	ETCD_CMD_COMPACTION = 13,
	ETCD_CMD_LEASE_GRANT = 14,
	ETCD_CMD_LEASE_REVOKE = 15,
	ETCD_CMD_ALARM = 17,
	ETCD_CMD_AUTH_ENABLE = 30,
	ETCD_CMD_AUTH_DISABLE = 31,
	ETCD_CMD_USER_ADD = 32,
	ETCD_CMD_USER_DELETE = 33,
	ETCD_CMD_USER_CHANGE_PASSWORD = 34,
	ETCD_CMD_USER_GRANT_ROLE = 35,
	ETCD_CMD_USER_REVOKE_ROLE = 36,
	ETCD_CMD_ROLE_ADD = 37,
	ETCD_CMD_ROLE_DELETE = 38,
	ETCD_CMD_ROLE_GRANT_PERMISSION = 39,
	ETCD_CMD_ROLE_REVOKE_PERMISSION = 40,
	ETCD_CMD_TOKEN_GRANT = 41,
};

/* --- Fronts and services ---------------------------------------------------------------------------------------------- */

/* on_request of every port. */
void etcd__request(struct http_handler *, struct http_request *);
void etcd__grpc(struct etcd_port *, struct http_request *);
/* POST /v3/...: true when the path is below it. */
bool etcd__gateway(struct etcd_port *, struct http_request *);
void etcd__metrics(struct etcd_port *, struct http_request *);
/* True when the path is one of them. */
bool etcd__page(struct etcd_port *, struct http_request *);
/* Plain text, as Go's own answers are. */
void etcd__page_text(struct http_request *, int status, struct str body);

/* Propose the request as it came; its answer is the call's. */
void etcd__write(struct etcd_call *, unsigned field, struct str request);

#define HANDLER(name) void etcd__##name(struct etcd_call *, struct str request);
HANDLER(member_add)
HANDLER(member_remove)
HANDLER(member_update)
HANDLER(member_list)
HANDLER(member_promote)
HANDLER(alarm)
HANDLER(status)
HANDLER(defragment)
HANDLER(hash)
HANDLER(hash_kv)
HANDLER(snapshot)
HANDLER(move_leader)
HANDLER(downgrade)
HANDLER(auth_enable)
HANDLER(auth_disable)
HANDLER(auth_status)
HANDLER(authenticate)
HANDLER(user_add)
HANDLER(user_get)
HANDLER(user_list)
HANDLER(user_delete)
HANDLER(user_change_password)
HANDLER(user_grant_role)
HANDLER(user_revoke_role)
HANDLER(role_add)
HANDLER(role_get)
HANDLER(role_list)
HANDLER(role_delete)
HANDLER(role_grant_permission)
HANDLER(role_revoke_permission)
#undef HANDLER
void etcd__range(struct etcd_call *, struct str request);
void etcd__put(struct etcd_call *, struct str request);
void etcd__delete_range(struct etcd_call *, struct str request);
void etcd__txn(struct etcd_call *, struct str request);
void etcd__compact(struct etcd_call *, struct str request);
void etcd__watch(struct etcd_call *, struct str request);
void etcd__lease_grant(struct etcd_call *, struct str request);
void etcd__lease_revoke(struct etcd_call *, struct str request);
void etcd__lease_keepalive(struct etcd_call *, struct str request);
void etcd__lease_time_to_live(struct etcd_call *, struct str request);
void etcd__lease_leases(struct etcd_call *, struct str request);
void etcd__lock(struct etcd_call *, struct str request);
void etcd__unlock(struct etcd_call *, struct str request);
void etcd__campaign(struct etcd_call *, struct str request);
void etcd__proclaim(struct etcd_call *, struct str request);
void etcd__leader(struct etcd_call *, struct str request);
void etcd__observe(struct etcd_call *, struct str request);
void etcd__resign(struct etcd_call *, struct str request);
void etcd__health_check(struct etcd_call *, struct str request);
void etcd__health_watch(struct etcd_call *, struct str request);

#endif
