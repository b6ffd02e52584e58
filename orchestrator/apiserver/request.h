/*
 * struct api_request: one request to the API, wherever it came from.
 *
 * Who has a request (the HTTP front, the in-process client) makes one with api_request_new, fills in what was asked, and
 * calls apiserver_handle; all that comes back goes through its struct api_responder. A request is a chain of steps,
 * one function each, listed in small tables (request.c):
 *
 *	authenticate > audit > impersonate > flow > authorize > body > route > decode > load > prepare > commit > encode
 *	                                                                                 ^                  |
 *	                                                                                 +--- lost a race --+
 *
 * A step goes on, waits (for a barrier, a proposal, the body of a kubelet), starts an earlier step again, or answers.
 * Nothing but a step that waits may return to the loop, and every wait has a deadline. A request belongs to the loop
 * that made it; it never blocks.
 */
#ifndef ORCHESTRATOR_APISERVER_REQUEST_H
#define ORCHESTRATOR_APISERVER_REQUEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "io/http.h"
#include "io/loop.h"
#include "orchestrator/apiserver/attrs.h"
#include "orchestrator/apiserver/flow.h"
#include "raft/kv.h"

struct api_loop;
struct convert;
struct custom_def;
struct api_request;
struct auth_said;
struct authz_authorizer;
struct api_strategy;
struct apiserver;
struct json;
struct resource;
struct schema_type;
struct stream;
struct webhook_run;
struct x509_info;

/* Bodies over this are refused with 413; a stored object may not be larger either. */
#define API_MAX_BODY (3u << 20)
/* A lost race (another write between load and commit) is run again this often before the client is told. */
#define API_MAX_TRIES 12
/* Where every writer of a namespace writes the same object (quotas), it is worth trying longer. */
#define API_MAX_TRIES_CONTENDED 400

/* One value of a user's extra attributes; a key may come more than once. */
struct api_extra {
	struct str key, value;
};

struct api_user {
	struct str name, uid;
	struct str *groups;
	size_t n_groups;
	struct api_extra *extra;
	size_t n_extra;
	struct str *audiences; /* with a token: those asked for that it is for */
	size_t n_audiences;
	const char *method; /* "cert", "token", "serviceaccount", "anonymous", "local": for logs and metrics */
};

/* How the answer leaves. All run on the request's loop. */
struct api_responder {
	/* The whole answer; takes the body's memory. The request is over after it: `owner` must not be touched again. */
	void (*respond)(struct api_request *, int status, const struct http_header *, size_t n, struct buf *body);
	/* A streamed answer: begin, write ..., end. `queued` is what has not left yet; `drained` of the request is called
	 * after it fell below the half of what made the writer stop. */
	void (*begin)(struct api_request *, int status, const struct http_header *, size_t n);
	void (*write)(struct api_request *, struct str chunk);
	size_t (*queued)(struct api_request *);
	void (*end)(struct api_request *);
	/* No (further) answer: the client is gone, or must see a broken stream. */
	void (*abort)(struct api_request *);
	/* Take the connection over with a 101; NULL: cannot. The request's answer is over on success. */
	struct stream *(*upgrade)(struct api_request *, const struct http_header *, size_t n, struct err *);
	/* Fetch the body into req->body, once the request is known to be allowed: nobody else makes us read megabytes. True:
	 * it is there, or req->fail says why not. False: api_request_resume comes, and asks again. NULL: it was there
	 * from the start. */
	bool (*read_body)(struct api_request *);
	/* Instead: the body's bytes come to req->on_body, set behind this call. False: there is no body. NULL: req->body has it. */
	bool (*stream_body)(struct api_request *);
	/* Nothing more is read from the client while it is held. */
	void (*hold_body)(struct api_request *, bool hold);
	/* Watch events as objects instead of framed bytes; NULL for HTTP. type: "ADDED" ... "ERROR". */
	void (*event)(struct api_request *, const char *type, struct str object, uint64_t rv);
};

enum api_media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF, MEDIA_PROTOBUF_RAW };
enum api_transform { AS_OBJECT, AS_TABLE, AS_PARTIAL, AS_PARTIAL_LIST };

/* What the Accept header chose. */
struct api_accept {
	enum api_media media;
	enum api_transform as;
	bool v1beta1; /* of meta.k8s.io */
	bool pretty, gzip;
	bool discovery_v2;
	const char *discovery_version; /* "v2" or "v2beta1" */
};

enum api_patch_type { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };

/* Details of a failure beyond struct err, for metav1.Status. */
struct api_cause {
	struct str reason, message, field;
};
struct api_failure {
	struct err err;
	const char *reason; /* NULL: from err.code */
	int http_status;    /* 0: from err.code */
	struct str message; /* longer than an err holds; {NULL, 0}: err.text */
	bool has_details;
	struct str name, group, kind, uid;
	struct api_cause *causes;
	size_t n_causes;
	int retry_after_s;
	struct str continue_token; /* of an expired list: goes on at the present */
};

enum step_result {
	STEP_NEXT,  /* go on with the next step */
	STEP_WAIT,  /* api_request_resume will run this step again */
	STEP_RETRY, /* go back to the program's load step */
	STEP_JUMP,  /* the step started another program (api_program) */
	STEP_FAIL,  /* req->fail says why: answer with a Status */
	STEP_DONE,  /* the answer has been given (or will be by who took the request over) */
};

typedef enum step_result api_step_fn(struct api_request *);
struct api_step {
	const char *name;
	api_step_fn *run;
};

struct api_request {
	/* In: set by who made it. Strings borrowed from `arena` or longer. */
	struct apiserver *srv;
	struct api_loop *al;
	const struct api_responder *responder;
	void *owner; /* the responder's */
	struct str method, target;
	struct http_headers headers;
	struct str body;
	struct str remote;
	const struct x509_info *peer; /* verified client certificate, or NULL */
	bool bad_peer;                /* it sent a certificate that does not verify */
	bool local;                   /* user is set already; body and answer may be plain protobuf */
	bool as_account;              /* local, but to be authorized: a controller's service account */

	struct arena arena;
	/* What it is. */
	struct str path;
	struct api_query query;
	struct api_attrs at;
	struct api_options opt;
	struct api_accept accept;
	struct api_user user;
	struct api_user real_user;        /* who asked to act as `user`; without a name when nobody did */
	const struct resource *res;       /* the resource of the path */
	struct custom_def *custom_def;    /* of a custom resource: counted, so that res stays */
	struct convert *conv;             /* its webhook converts between versions; else NULL */
	struct convert *asides;           /* conversions that admission wants; NULL: none yet */
	const struct authz_authorizer *authz_asked; /* whose answer is being waited for */
	struct auth_said *hooks_said;     /* what webhooks have said of who asks and what he may (auth_hook.c) */
	bool metadata;                    /* local, and only metadata is looked at or changed: nothing need be converted for that */
	bool as_it_lies;                  /* so nothing is, where a webhook would have to */
	const struct resource *asked;     /* of the path, where `res` is the version in which the object lies */
	bool json_only;                   /* it has no protobuf form for clients */
	struct str def_key;               /* a new custom object: its definition must still be what it was */
	uint64_t def_rev;
	const struct api_strategy *strat; /* its behaviour; never NULL when res is set */
	const struct api_subresource *subres; /* of at.sub; NULL without one */

	/* The step machine. */
	const struct api_step *program;
	unsigned pc, load_pc, encode_pc, n_tries;
	bool waiting, canceled, answered, fresh, refresh_failed, in_step;
	bool out_of_time; /* the next step is the answer that says so */
	uint64_t started_ns;
	struct list link; /* in al->requests */

	/* Waits. */
	struct kv_req kvr;
	struct kv_barrier barrier;
	struct buf command;
	unsigned pending; /* kv calls under way: memory stays */
	bool commit_done;
	struct loop_timer nap; /* of api_nap */
	struct loop_timer deadline; /* from the first wait on */
	unsigned n_naps;
	uint64_t unseal_ms; /* until when values are waited for that a KMS plugin has to help with; 0: none yet */

	/* A write's working set. */
	struct json *obj;   /* the new object as a document */
	struct json *old;   /* the stored one; NULL on create */
	struct json *sent;  /* decoded body: patch, options, review ... */
	struct str old_bytes; /* stored plain protobuf, in the arena */
	uint64_t old_rv;
	struct str new_bytes; /* as stored, plain protobuf */
	uint64_t new_rv;
	struct str key;
	bool encode_later;  /* new_bytes are made, and put into txn, by the commit */
	bool fully_deleted; /* the write removes the object */
	bool evicting;      /* the delete is an eviction, which a pod's status tells */
	char uid[37];       /* of a new object: the same in every try, so that a lost answer can be told */
	bool unknown;       /* the last proposal's outcome was lost: resolve it before trying again */
	int ok_status;      /* 0: by verb */
	struct api_txn *txn;
	enum api_patch_type patch_type;
	struct json *config;     /* of an apply that became a create: what was sent */
	bool applied;            /* obj comes from an apply, which has set its managers */
	struct str parent_key;   /* the namespace must be as it was looked at when this is committed: its labels decide, too */
	uint64_t parent_rv;
	bool leased;             /* a lease was asked for already */
	int64_t lease;           /* the new value is attached to it; 0: none */
	struct str *strict;      /* what a strict reader says of the body itself: duplicate keys */
	size_t n_strict;
	int http_status;         /* of the answer, for logs */

	/* Of quotas, see admit_quota.c: it books on objects that others write too; the try before which it last waited. */
	bool contended;
	unsigned staggered;

	struct webhook_run *hooks; /* webhooks.c */
	const struct schema_type *special; /* admission is asked about `sent`, of that type (admission.h); else NULL */
	struct flow_ticket flow;   /* its seats, flow.h */
	struct flow_report *report; /* what a path waited for */

	/* Of an answer that clients may keep, for its headers; {NULL, 0}: of none. */
	struct str etag, cache_control, vary;
	struct str location; /* of a redirection */

	/* For the audit log (audit.h); audit_level is an enum audit_level. */
	unsigned audit_level, audit_stages;
	bool audit_decided;
	char audit_id[64];
	int64_t audit_began; /* wall clock, ns */
	struct str audit_answer;

	struct api_failure fail;
	struct api_extra *notes; /* for the audit log */
	size_t n_notes;
	struct str *warnings;
	size_t n_warnings, cap_warnings;

	/* Streams: a watch, a kubelet's log. Called on cancel and drain; each may be NULL. */
	void *stream;
	void (*on_cancel)(struct api_request *);
	void (*on_drain)(struct api_request *);
	/* The streamed body: `end` comes once, perhaps with the last bytes. */
	void (*on_body)(struct api_request *, struct str bytes, bool end);
};

struct api_request *api_request_new(struct api_loop *, const struct api_responder *, void *owner);
/* Starts the chain. The answer may be given inside this call. */
void apiserver_handle(struct api_request *);
/* The client is gone. The request ends by itself; the responder's abort is called when it does. */
void api_request_cancel(struct api_request *);
/* For steps: go on with another program (return STEP_JUMP). */
enum step_result api_program(struct api_request *, const struct api_step *);
/* For steps that wait and streams that end. */
void api_request_resume(struct api_request *);
/* Outside of a step: answer with req->fail; the request is gone then. */
void api_request_failed(struct api_request *);
/* A kv call is over (pending was counted down): go on, or free what was waiting to be freed. */
void api_wait_over(struct api_request *);
/* After the last call to the responder; frees when nothing is pending. */
void api_request_finish(struct api_request *);

/* Failing steps: `return api_fail(req, ERR_BAD_REQUEST, "...")`. */
enum step_result api_fail(struct api_request *, enum err_code, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));
enum step_result api_fail_err(struct api_request *, const struct err *);
/* With details {name, group, kind = resource}: NotFound, AlreadyExists, Conflict in upstream's words. */
enum step_result api_fail_not_found(struct api_request *, const struct resource *, struct str name);
enum step_result api_fail_exists(struct api_request *, const struct resource *, struct str name);
enum step_result api_fail_conflict(struct api_request *, const struct resource *, struct str name, const char *why);
enum step_result api_fail_forbidden(struct api_request *, const struct resource *, struct str name, const char *fmt, ...)
		__attribute__((format(printf, 4, 5)));
/* An annotation of the request's audit event. The key is not copied. */
void api_audit_note(struct api_request *, const char *key, struct str value);
void api_warn(struct api_request *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* When something was not as expected in the local state: look again after a barrier, once. Gives STEP_WAIT while that
 * is possible; false when the state is fresh already. */
bool api_refresh(struct api_request *);

/*
 * Every request that is no stream has a time (--request-timeout, or less by ?timeout=); then whatever it waits for is given up and it is answered
 * with 504. Who takes a request over as a stream of its own (STEP_DONE) keeps the time himself.
 */
uint64_t api_time_left_ms(const struct api_request *);
void api_keep_time(struct api_request *);
/* For a question to the store that would take longer by itself; 0: it would not. */
uint32_t api_store_timeout_ms(const struct api_request *);
/* Nobody waits for an answer any more. */
bool api_is_over(const struct api_request *);
enum step_result api_fail_timeout(struct api_request *);

/* Run this step again a little later, in fresher state: for things that others are about to make. False after `max` times. */
bool api_nap(struct api_request *, unsigned ms, unsigned max);

/* "pods" or "deployments.apps" */
struct str api_resource_text(struct arena *, const struct resource *);

#endif
