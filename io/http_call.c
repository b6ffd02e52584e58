/* One call of the HTTP client, whatever the protocol: its start, its answer, its end, and when it may be tried again. */
#include "io/http_client-priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "io/http_client.h"

static void on_finish(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, timer);
	struct http_client *k = c->client;
	struct err e = c->err;

	c->flags = 0;
	c->client = NULL;
	k->n_running--;
	http__client_maybe_last(k);
	c->done(c, e.code != ERR_OK ? &e : NULL);
}

void http__call_tell_writers(struct http_call *c, bool all)
{
	struct http_write *w;

	while ((w = c->w_head) != NULL && (all || w->mark <= c->framed)) {
		c->w_head = w->next;
		if (c->w_head == NULL)
			c->w_tail = &c->w_head;
		http__write_later(c->client->loop, w, w->mark <= c->framed ? 0 : -ERR_CANCELED);
	}
}

void http__call_finish(struct http_call *c, const struct err *e)
{
	struct http_client_conn *k = c->conn;

	if (c->flags & CALL_FINISHED)
		return;
	if (c->upgrade && k == NULL)
		http__client_drop_dial(c);
	c->flags |= CALL_FINISHED;
	if (e != NULL)
		c->err = *e;
	else
		err_clear(&c->err);
	list_del(&c->link);
	c->conn = NULL;
	loop_timer_stop(&c->header_timer);
	loop_timer_stop(&c->kick);
	http__call_tell_writers(c, true);
	loop_timer_start(&c->timer, c->client->loop, 0, on_finish);
	if (k != NULL) {
		k->n_calls--;
		k->ops->leave(
			k, c, (c->flags & CALL_RESPONSE_ENDED) && (c->flags & CALL_BODY_SENT));
		http__client_conn_free_slot(k);
	}
	buf_fini(&c->out);
	buf_fini(&c->held);
}

void http__call_fail(struct http_call *c, enum err_code code, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	e.code = code;
	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	http__call_finish(c, &e);
}

static bool is_idempotent(const char *method)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strcmp(method, methods[i]) == 0)
			return true;
	return false;
}

bool http__call_retry(struct http_call *c, bool untouched)
{
	struct http_client_conn *k = c->conn;

	if (c->n_tries > 0 || c->stream_body || c->response_begun || c->client->closing ||
		(c->flags & CALL_FINISHED))
		return false;
	/* A connection that served before may have been closed by the server while we were sending.
	 */
	if (!untouched && !(k != NULL && k->n_served > 0 && is_idempotent(c->method)))
		return false;
	list_del(&c->link);
	c->conn = NULL;
	c->n_tries++;
	c->out_off = 0;
	c->flags &= CALL_RUNNING | CALL_BODY_ENDED | CALL_PAUSED;
	if (k != NULL)
		k->n_calls--;
	list_add_head(&c->client->waiting, &c->link);
	http__client_kick_assign(c->client);
	return true;
}

void http__call_headers(struct http_call *c, int status, int version)
{
	c->status = status;
	c->version = version;
	c->response_begun = true;
	loop_timer_stop(&c->header_timer);
	if (c->on_headers)
		c->on_headers(c);
}

void http__call_data(struct http_call *c, struct str bytes)
{
	size_t limit = c->max_body ? c->max_body : HTTP_CALL_MAX_BODY;

	if (bytes.n == 0)
		return;
	if (c->on_data != NULL) {
		c->on_data(c, bytes);
		return;
	}
	if (c->body_in.n + bytes.n > limit) {
		http__call_fail(c, ERR_TOO_LARGE,
			"the response's body is over the limit of %zu bytes", limit);
		return;
	}
	buf_adds(&c->body_in, bytes);
}

static void on_timeout(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, timer);

	http__call_fail(c, ERR_TIMEOUT, "no complete answer within %llu ms",
		(unsigned long long)c->timeout_ms);
}

static void on_header_timeout(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, header_timer);

	http__call_fail(c, ERR_TIMEOUT, "no answer within %llu ms",
		(unsigned long long)c->header_timeout_ms);
}

static bool is_clean(const char *p)
{
	for (; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f)
			return false;
	return true;
}

void http_call_start(struct http_client *k, struct http_call *c)
{
	ASSERT(!(c->flags & CALL_RUNNING));
	http_call_fini(c);
	c->client = k;
	c->flags = CALL_RUNNING | (c->stream_body ? 0 : CALL_BODY_ENDED);
	c->n_tries = 0;
	c->status = 0;
	c->stream_id = 0;
	c->response_begun = c->sent = false;
	c->out_off = 0;
	c->accepted = c->framed = 0;
	c->w_head = NULL;
	c->w_tail = &c->w_head;
	arena_init(&c->arena);
	buf_init(&c->body_in, BUF_NO_LIMIT);
	buf_init(&c->out, BUF_NO_LIMIT);
	buf_init(&c->held, BUF_NO_LIMIT);
	list_init(&c->link);
	k->n_running++;
	if (k->closing) {
		http__call_fail(c, ERR_CANCELED, "the client is closing");
		return;
	}
	if (!is_clean(c->method) || !is_clean(c->path) ||
		(c->path[0] != '/' && c->path[0] != '*')) {
		http__call_fail(c, ERR_INVALID, "malformed request: %s %s", c->method, c->path);
		return;
	}
	list_add_tail(&k->waiting, &c->link);
	if (c->timeout_ms)
		loop_timer_start(&c->timer, k->loop, c->timeout_ms, on_timeout);
	if (c->header_timeout_ms)
		loop_timer_start(
			&c->header_timer, k->loop, c->header_timeout_ms, on_header_timeout);
	http__client_kick_assign(k);
}

void http_call_cancel(struct http_call *c)
{
	if (c->flags & CALL_RUNNING)
		http__call_fail(c, ERR_CANCELED, "canceled");
}

bool http_call_running(const struct http_call *c)
{
	return (c->flags & CALL_RUNNING) != 0;
}

void http_call_write(struct http_call *c, struct str chunk, struct http_write *w)
{
	ASSERT((c->flags & CALL_RUNNING) && c->stream_body);
	if (c->flags & (CALL_FINISHED | CALL_BODY_ENDED)) {
		http__write_later(c->client->loop, w, -ERR_CANCELED);
		return;
	}
	if (c->conn != NULL) {
		c->conn->ops->write(c, chunk, w);
		return;
	}
	buf_adds(&c->out, chunk);
	c->accepted += chunk.n;
	if (w != NULL) {
		w->mark = c->accepted;
		w->next = NULL;
		*c->w_tail = w;
		c->w_tail = &w->next;
	}
}

void http_call_end(struct http_call *c)
{
	ASSERT((c->flags & CALL_RUNNING) && c->stream_body);
	if (c->flags & (CALL_FINISHED | CALL_BODY_ENDED))
		return;
	c->flags |= CALL_BODY_ENDED;
	if (c->conn != NULL)
		c->conn->ops->end(c);
}

size_t http_call_queued_bytes(const struct http_call *c)
{
	if (c->conn != NULL && !c->conn->h2)
		return stream_queued(c->conn->stream);
	return c->out.n - (c->stream_body ? c->out_off : 0);
}

void http_call_pause(struct http_call *c)
{
	c->flags |= CALL_PAUSED;
	if (c->conn != NULL)
		c->conn->ops->pause(c);
}

void http_call_resume(struct http_call *c)
{
	if (!(c->flags & CALL_PAUSED))
		return;
	c->flags &= ~(unsigned)CALL_PAUSED;
	if (c->conn != NULL)
		c->conn->ops->resume(c);
}

struct stream *http_call_take_stream(struct http_call *c)
{
	return TAKE(c->stream);
}

void http_call_fini(struct http_call *c)
{
	ASSERT(!(c->flags & CALL_RUNNING));
	if (c->stream != NULL)
		stream_close(TAKE(c->stream), NULL, NULL);
	arena_fini(&c->arena);
	buf_fini(&c->body_in);
	c->response = c->trailers = (struct http_headers){NULL, 0};
	c->header_bytes = c->n_header_cap = c->n_trailer_cap = 0;
}

bool http__call_has_header(const struct http_call *c, const char *name)
{
	for (size_t i = 0; i < c->n_headers; i++)
		if (str_ieq(c->headers[i].name, str_from(name)))
			return true;
	return false;
}
