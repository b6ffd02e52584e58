/* What the files of the aggregator share: the remote servers that it asks. All on the first serve loop. */
#ifndef ORCHESTRATOR_APISERVER_AGGREGATOR_PRIV_H
#define ORCHESTRATOR_APISERVER_AGGREGATOR_PRIV_H

#include "io/http_client.h"
#include "orchestrator/apiserver/aggregate.h"
#include "orchestrator/apiserver/apiserver-priv.h"

struct service_client;

enum remote_step { REMOTE_DISCOVERY, REMOTE_V3, REMOTE_V2, REMOTE_N_STEPS };

/* A group version of another server, as we know it. */
struct remote {
	struct api_loop *al;
	/* The server's answers changed; may be NULL. */
	void (*changed)(struct remote *);
	/* Nothing is under way any more. */
	void (*idle)(struct remote *);
	char *name, *group, *version, *source; /* source: what of the registration says whom to ask, as text */
	bool gone;                             /* to be freed when idle */

	bool asked, fresh;
	bool nowhere; /* there was no address to ask at */
	char *failure; /* why it is not */
	unsigned n_failed;
	uint64_t next_ms, openapi_ms; /* when to ask again */
	struct buf text[REMOTE_N_STEPS], etag[REMOTE_N_STEPS];
	char *v3_url;

	/* A round of questions under way. */
	bool running;
	enum remote_step step;
	unsigned n_tries;
	bool with_openapi;
	struct arena arena;
	struct api_service service; /* as it was when the round began */
	const char *url;            /* as errors name it */
	struct loop_timer timer;
	struct http_call call;
	struct service_client *client;
};

struct remote *remote_new(struct api_loop *, const struct api_service *);
/* Not while it runs. */
void remote_free(struct remote *);
/* Ask; `idle` follows. */
void remote_ask(struct remote *, const struct api_service *);
/* It ends soon. */
void remote_cancel(struct remote *);
/* What of a registration says whom to ask; the caller frees. */
char *remote_source(const struct api_service *);

#endif
