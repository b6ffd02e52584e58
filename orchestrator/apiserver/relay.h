/*
 * struct relay: a request that another server answers. The request's body is streamed to it and its answer back, each as fast as
 * the other side takes it; after a 101 on both sides the two connections are joined. Embedded by whoever found the server:
 *
 *	p->relay = (struct relay){.req = req, .client = client, .path = path, .headers = headers, .failed = failed, .closed = closed};
 *	return relay_start(&p->relay);          // a step's last act: the request is the relay's now
 */
#ifndef ORCHESTRATOR_APISERVER_RELAY_H
#define ORCHESTRATOR_APISERVER_RELAY_H

#include "io/http_client.h"
#include "orchestrator/apiserver/request.h"

struct relay_body;

struct relay {
	/* Given. What is pointed to stays until `closed`. */
	struct api_request *req;
	struct http_client *client;
	const char *path; /* with the query */
	struct http_headers headers;
	bool upgrade;
	uint64_t header_timeout_ms; /* until the answer begins; 0: none */
	uint64_t timeout_ms;        /* until all of it has come; 0: none */
	/* One of the answer's headers, which may be changed; false: leave it out. NULL: all as they are. */
	bool (*header)(struct relay *, struct http_header *);
	/* Bytes of the answer as the client gets them, made in `out` or those given; `end`: no more follow. NULL: as they are. */
	struct str (*data)(struct relay *, struct str bytes, bool end, struct buf *out);
	/* No answer came: answer the request. */
	void (*failed)(struct api_request *, const struct err *why);
	/* The server is done with; before the request ends. Frees. */
	void (*closed)(struct relay *);

	/* Ours. */
	struct http_call call;
	struct relay_body *body; /* what is on its way up; NULL: nothing that we wait for */
	bool streaming, paused;
};

enum step_result relay_start(struct relay *);
/* The path of the request as another server is asked for it: `path` escaped, and the query as it came. */
struct str relay_path(struct api_request *, struct str path);

#endif
