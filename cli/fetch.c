#include "cli/fetch.h"

#include <string.h>

#include "base/util.h"
#include "io/http_client.h"
#include "io/loop.h"

struct waiting {
	struct http_call call;
	struct loop *loop;
	struct fetch *f;
	struct arena *arena;
	struct err err;
};

static void on_done(struct http_call *c, const struct err *e)
{
	struct waiting *w = container_of(c, struct waiting, call);

	if (e)
		w->err = *e;
	w->f->status = c->status;
	w->f->answer = arena_str(w->arena, buf_str(&c->body_in));
	http_call_fini(c);
	loop_stop(w->loop);
}

int fetch(struct fetch *f, struct arena *arena, struct err *e)
{
	struct waiting w = {.f = f, .arena = arena, .loop = loop_new("fetch")};
	struct http_client_config cfg = {.address = f->address, .server_name = f->server_name, .tls = f->tls, .proto = HTTP_PROTO_1,
			.connect_timeout_ms = 5000};
	struct http_header headers[2];
	struct http_client *client = NULL;
	int rv = http_client_new(w.loop, &cfg, &client, e);

	if (rv == 0) {
		if (f->token)
			headers[w.call.n_headers++] = (struct http_header){STR("authorization"), arena_sprintf(arena, "Bearer %s", f->token)};
		if (f->body.n)
			headers[w.call.n_headers++] = (struct http_header){STR("content-type"), STR("application/json")};
		w.call.headers = headers;
		w.call.method = f->method;
		w.call.path = f->path;
		w.call.body = f->body;
		w.call.timeout_ms = f->timeout_ms ? f->timeout_ms : 10000;
		w.call.done = on_done;
		http_call_start(client, &w.call);
		loop_run(w.loop);
		http_client_close(client, NULL, NULL);
		if (w.err.code != ERR_OK) {
			if (e)
				*e = w.err;
			rv = -(int)w.err.code;
		}
	}
	loop_free(w.loop);
	return rv;
}
