/*
 * struct client: the Kubernetes API as this program's own parts use it (informers, controllers, scheduler,
 * kubelet, proxy, dns, commands). One interface, two back ends behind struct client_ops:
 *
 *   local   apiserver_client(): straight into the apiserver of this process, for what runs beside it
 *   https   client_http.h: over TLS to one of several servers, for agents and commands
 *
 * Everything is asynchronous and belongs to the loop the client was made for. A call never completes inside
 * the call that submitted it; every client_do ends with exactly one `done`, every client_watch with exactly one
 * `end`, also after a cancel. Strings and bodies given in a request are borrowed until then. What a request returns
 * lives in the request's arena until client_req_fini.
 *
 * Objects travel as protobuf: `body` is the plain message (no `k8s\0` envelope, which the back ends add and strip).
 *
 *	struct get { struct client_req req; ... };
 *	client_req_init(&g->req, CLIENT_GET, resource_find("", "v1", "pods"));
 *	g->req.ns = "default", g->req.name = "x", g->req.done = got;
 *	client_do(client, &g->req);
 *	...
 *	static void got(struct client_req *req)
 *	{
 *		if (req->err.code)                        // ERR_NOT_FOUND, ERR_CONFLICT, ERR_UNAVAILABLE ...
 *			...
 *		Core__Pod *pod = client_req_unpack(req, &core__pod__descriptor);   // in req->arena
 *	}
 */
#ifndef ORCHESTRATOR_CLIENT_CLIENT_H
#define ORCHESTRATOR_CLIENT_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

struct client;
struct loop;
struct resource; /* proto/resource.h: one row of the table of API resources */

enum client_verb {
	CLIENT_GET,
	CLIENT_LIST,
	CLIENT_CREATE,
	CLIENT_UPDATE,
	CLIENT_PATCH,
	CLIENT_DELETE,
	CLIENT_DELETE_COLLECTION,
	CLIENT_RAW, /* raw_method on raw_path; the body goes and comes back as it is */
};

/* Content types of the bodies given to client_do. */
#define CLIENT_PROTOBUF "application/vnd.kubernetes.protobuf"
#define CLIENT_JSON "application/json"
#define CLIENT_YAML "application/yaml"
#define CLIENT_JSON_PATCH "application/json-patch+json"
#define CLIENT_MERGE_PATCH "application/merge-patch+json"
#define CLIENT_STRATEGIC_PATCH "application/strategic-merge-patch+json"
#define CLIENT_APPLY_PATCH "application/apply-patch+yaml"

/* Milliseconds after which a request without its own deadline ends with ERR_TIMEOUT. */
#define CLIENT_DEFAULT_TIMEOUT_MS 30000

struct client_req {
	/* What to do. Strings end in NUL; NULL and "" are "not given". */
	enum client_verb verb;
	const struct resource *resource;
	const char *ns;             /* NULL: cluster scope, or all namespaces for LIST */
	const char *name;           /* object; for CREATE only with a subresource */
	const char *sub;            /* "status", "scale", "binding", "eviction", "token", "finalize" ... */
	const char *label_selector, *field_selector;
	const char *resource_version, *resource_version_match;
	const char *continue_token; /* LIST */
	int64_t limit;              /* LIST; 0: all */
	const char *field_manager;
	/* In process only: the service account of kube-system as which it is done, "job-controller"; NULL: the client's user. */
	const char *account;
	/* In process only: metadata is all that is looked at or changed; custom objects need not be converted then. */
	bool metadata;
	const char *propagation_policy;  /* DELETE: "Orphan", "Background", "Foreground" */
	int64_t grace_period_seconds;    /* DELETE; -1 (as initialised): not given */
	const char *precondition_uid;    /* DELETE */
	const char *precondition_rv;     /* DELETE */
	bool dry_run;
	const char *query; /* further query text, already escaped ("fieldValidation=Strict&force=true") */
	/* The body: msg, if set, is packed as protobuf; else `body` of `content_type` (NULL: CLIENT_PROTOBUF). */
	const ProtobufCMessage *msg;
	struct str body;
	const char *content_type;
	/* CLIENT_RAW: method and path with query. `accept` asks for another answer than protobuf, for any verb. */
	const char *raw_method, *raw_path, *accept;
	uint32_t timeout_ms; /* 0: CLIENT_DEFAULT_TIMEOUT_MS */
	void (*done)(struct client_req *);

	/* What came of it. */
	struct arena arena;       /* the answer's memory; the caller may allocate in it too */
	int http_status;          /* 0 when no answer came */
	struct err err;           /* code ERR_OK on 2xx; else from the Status' reason, with its message */
	struct str answer;        /* 2xx: the object, list or Status, plain protobuf; with `accept`: as it came */
	const char *answer_type;  /* media type of `answer` */
	struct str warnings;      /* the Warning headers' texts, one a line */
	int retry_after_s;        /* from a 429 or 503; 0: none */

	/* The back end's. */
	struct client *client;
	struct list link;
	void *impl;
};

/* Clears the request, starts its arena. A request may be used again after client_req_fini + client_req_init. */
void client_req_init(struct client_req *, enum client_verb, const struct resource *);
/* Frees what the answer holds. Not while the request is under way. */
void client_req_fini(struct client_req *);
void client_do(struct client *, struct client_req *);
/* `done` follows with ERR_CANCELED, unless an answer was already on its way. Nothing when not under way. The effect of
 * a write that was cancelled is unknown. */
void client_cancel(struct client_req *);
/* The answer as a typed message in req->arena; NULL when there is none or it does not parse (req->err says so). */
void *client_req_unpack(struct client_req *, const ProtobufCMessageDescriptor *);

/* A list answer without unpacking it whole: its ListMeta, and each item's plain bytes. */
struct client_list_meta {
	struct str resource_version, continue_token; /* borrowed from the answer */
	int64_t remaining;                           /* -1: not given */
};
int client_list_meta(struct str list, struct client_list_meta *, struct err *);
/* The next item; *pos starts at 0. False at the end. The bytes are borrowed from the list. */
bool client_list_next(struct str list, size_t *pos, struct str *ret_item);

enum client_event {
	CLIENT_ADDED,
	CLIENT_MODIFIED,
	CLIENT_DELETED,
	CLIENT_BOOKMARK, /* only metadata.resourceVersion counts */
};

struct client_watch {
	/* What to watch. */
	const struct resource *resource;
	const char *ns; /* NULL: all */
	const char *label_selector, *field_selector;
	const char *resource_version; /* the state already known; NULL or "0": start with everything as ADDED */
	bool bookmarks;
	bool metadata; /* in process only: as of requests */
	/* An event; `object` (plain protobuf, resourceVersion in it) is borrowed for the call. client_watch_stop may be
	 * called from inside. `rv` is the object's resourceVersion. */
	void (*event)(struct client_watch *, enum client_event, struct str object, uint64_t rv);
	/* The stream is over; nothing follows. ERR_EXPIRED or ERR_GONE: list again. ERR_OK: the server ended it
	 * in the usual way (timeout); watch again from the last rv. ERR_CANCELED: client_watch_stop. */
	void (*end)(struct client_watch *, const struct err *);

	/* The back end's. */
	struct client *client;
	struct list link;
	void *impl;
};

void client_watch_init(struct client_watch *, const struct resource *);
void client_watch_start(struct client *, struct client_watch *);
/* `end` follows with ERR_CANCELED; no event after this call. Nothing when not under way. */
void client_watch_stop(struct client_watch *);

/* A back end. The functions above check their arguments and pass on; the contract is theirs. */
struct client_ops {
	const char *name;
	void (*start)(struct client *, struct client_req *);
	void (*cancel)(struct client *, struct client_req *);
	void (*watch_start)(struct client *, struct client_watch *);
	void (*watch_stop)(struct client *, struct client_watch *);
	/* Ends everything under way (with ERR_CANCELED, on the loop), then calls closed and frees the client. */
	void (*close)(struct client *);
};

struct client {
	const struct client_ops *ops;
	struct loop *loop; /* all callbacks run here */
	void (*closed)(void *data);
	void *closed_data;
};

/* Close; `closed(data)` (may be NULL) is the last thing that happens. */
void client_close(struct client *, void (*closed)(void *data), void *data);

#endif
