/* The way out of a stream: what is written waits in chunks, leaves in gathered pieces, and its writers are told. */
#include "io/stream-priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/stream.h"

/* Pieces handed to the kernel in one call. */
#define MAX_IOV 32

void stream__chunk_consumed(struct stream *s, size_t size)
{
	while (size > 0) {
		struct chunk *c = s->out_head;
		size_t n = MIN(size, c->n - c->off);

		c->off += n;
		size -= n;
		if (c->off < c->n)
			return;
		s->out_head = c->next;
		if (s->out_head == NULL)
			s->out_tail = &s->out_head;
		if (c->taken)
			free(c->p);
		free(c);
	}
}

static unsigned gather(struct stream *s, uv_buf_t iov[MAX_IOV], size_t *ret_size)
{
	unsigned n = 0;

	*ret_size = 0;
	if (s->tls != NULL) {
		if (s->wire.n > 0)
			iov[n++] = uv_buf_init(s->wire.p, (unsigned)s->wire.n);
		*ret_size = s->wire.n;
		return n;
	}
	for (struct chunk *c = s->out_head; c != NULL && n < MAX_IOV; c = c->next) {
		iov[n++] =
			uv_buf_init(c->p + c->off, (unsigned)MIN(c->n - c->off, (size_t)1 << 30));
		*ret_size += iov[n - 1].len;
	}
	return n;
}

/* The kernel took `size` bytes of what gather gave. */
static void sent(struct stream *s, size_t size)
{
	if (s->tls == NULL) {
		stream__chunk_consumed(s, size);
		s->flushed += size;
		return;
	}
	if (size < s->wire.n) {
		buf_consume(&s->wire, size);
		return;
	}
	buf_fini(&s->wire);
	if (s->tls->wire_next.n == 0)
		s->flushed = s->tls->encrypted;
}

static void on_written(uv_write_t *, int);
static void try_shutdown(struct stream *);

/* Give the kernel what it takes now and leave the rest to libuv. */
void stream__flush(struct stream *s)
{
	while (!s->writing && !s->broken && !s->closing) {
		uv_buf_t iov[MAX_IOV];
		unsigned n_iov;
		size_t size;
		int n;

		if (s->tls != NULL && s->wire.n == 0) {
			if (!stream__tls_encrypt(s))
				return;
			s->wire = s->tls->wire_next;
			buf_init(&s->tls->wire_next, BUF_NO_LIMIT);
		}
		n_iov = gather(s, iov, &size);
		if (n_iov == 0) {
			try_shutdown(s);
			return;
		}
		n = uv_try_write(&s->u.stream, iov, n_iov);
		if (n > 0) {
			sent(s, (size_t)n);
			continue;
		}
		if (n != UV_EAGAIN && n != 0) {
			stream__break_uv(s, n, "write");
			return;
		}
		s->write_size = size;
		s->write_req.data = s;
		s->writing = true;
		n = uv_write(&s->write_req, &s->u.stream, iov, n_iov, on_written);
		if (n != 0) {
			s->writing = false;
			stream__break_uv(s, n, "write");
		}
	}
}

static void on_written(uv_write_t *req, int status)
{
	struct stream *s = req->data;

	s->writing = false;
	if (s->closing)
		return;
	if (status != 0) {
		stream__break_uv(s, status, "write");
		return;
	}
	sent(s, s->write_size);
	stream__flush(s);
	stream__run_writers(s);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct stream *s = req->data;

	s->shut_done = true;
	if (s->lingering)
		stream__kick(s);
}

static void try_shutdown(struct stream *s)
{
	if (!s->shut || s->shut_sent)
		return;
	if (s->tls != NULL && !s->tls->close_notify_sent) {
		stream__tls_close_notify(s);
		stream__flush(s);
		return;
	}
	s->shut_sent = true;
	s->shutdown_req.data = s;
	if (uv_shutdown(&s->shutdown_req, &s->u.stream, on_shutdown) != 0)
		s->shut_done = true;
}

static void refuse(struct stream *s, struct stream_write *w)
{
	if (w == NULL)
		return;
	ASSERT(!s->closing);
	w->next = NULL;
	*s->failed_tail = w;
	s->failed_tail = &w->next;
	stream__kick(s);
}

static void add_chunk(struct stream *s, struct chunk *c)
{
	c->next = NULL;
	*s->out_tail = c;
	s->out_tail = &c->next;
	s->accepted += c->n - c->off;
}

static void finish_write(struct stream *s, struct stream_write *w)
{
	if (w != NULL) {
		w->mark = s->accepted;
		w->next = NULL;
		*s->w_tail = w;
		s->w_tail = &w->next;
	}
	stream__flush(s);
	if (stream_queued(s) > 0)
		s->drain_due = true;
	if (s->w_head != NULL && s->w_head->mark <= s->flushed)
		stream__kick(s);
}

/* Straight from the caller's memory to the kernel, when nothing waits; returns how much went. */
static size_t write_through(struct stream *s, const struct str *pieces, size_t n)
{
	uv_buf_t iov[MAX_IOV];
	unsigned n_iov = 0;
	int rv;

	if (s->tls != NULL || s->out_head != NULL || s->writing)
		return 0;
	for (size_t i = 0; i < n && n_iov < MAX_IOV; i++)
		if (pieces[i].n > 0)
			iov[n_iov++] = uv_buf_init(
				(char *)pieces[i].p, (unsigned)MIN(pieces[i].n, (size_t)1 << 30));
	if (n_iov == 0)
		return 0;
	rv = uv_try_write(&s->u.stream, iov, n_iov);
	if (rv > 0)
		return (size_t)rv;
	if (rv != 0 && rv != UV_EAGAIN)
		stream__break_uv(s, rv, "write");
	return 0;
}

void stream_writev(struct stream *s, const struct str *pieces, size_t n, struct stream_write *w)
{
	size_t total = 0, done;
	struct chunk *c;

	if (s->closing)
		ASSERT(w == NULL);
	if (s->closing || s->broken || s->shut) {
		refuse(s, w);
		return;
	}
	for (size_t i = 0; i < n; i++)
		total += pieces[i].n;
	done = write_through(s, pieces, n);
	s->accepted += done;
	s->flushed += done;
	if (s->broken) {
		refuse(s, w);
		return;
	}
	if (done < total) {
		c = xmalloc(sizeof(*c) + total - done);
		c->p = (char *)(c + 1);
		c->n = 0;
		c->off = 0;
		c->taken = false;
		for (size_t i = 0; i < n; i++) {
			struct str rest = str_skip(pieces[i], done);

			done -= pieces[i].n - rest.n;
			if (rest.n > 0)
				memcpy(c->p + c->n, rest.p, rest.n);
			c->n += rest.n;
		}
		add_chunk(s, c);
	}
	finish_write(s, w);
}

void stream_write(struct stream *s, struct str bytes, struct stream_write *w)
{
	stream_writev(s, &bytes, 1, w);
}

void stream_write_take(struct stream *s, struct buf *b, struct stream_write *w)
{
	struct chunk *c;
	size_t size;
	char *p;

	if (b->n < 4096 || s->closing || s->broken || s->shut) {
		stream_write(s, buf_str(b), w);
		buf_fini(b);
		return;
	}
	p = buf_take(b, &size);
	c = xmalloc(sizeof(*c));
	*c = (struct chunk){.p = p, .n = size, .taken = true};
	add_chunk(s, c);
	finish_write(s, w);
}

size_t stream_queued(const struct stream *s)
{
	return s->broken ? 0 : (size_t)(s->accepted - s->flushed);
}

void stream_shutdown(struct stream *s)
{
	if (s->shut || s->closing)
		return;
	s->shut = true;
	stream__flush(s);
}
