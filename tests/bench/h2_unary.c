#include "tests/bench/h2_unary.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/grpc.h"
#include "io/stream.h"

#define FRAME_HEAD 9
#define FRAME_MAX 16384
#define GRPC_PREFIX 5
#define WINDOW_MAX 0x7fffffffu
/* What the server may send before it hears that it may send more. */
#define WINDOW_LOW (WINDOW_MAX / 2)
#define REDIAL_MS 100
/* Nothing came for so long, twice, though something is asked for: the connection is given up. */
#define STALE_MS 6000
#define TABLE_SIZE 4096
#define STATIC_ENTRIES 61
#define MAX_FIELDS 12
#define MAX_BLOCKS 8
#define BLOCK_MAX 64

/* A header of requests. */
struct field {
	unsigned name_index; /* in the static table; 0: not there */
	const char *name, *value;
	unsigned added; /* as which entry of the dynamic table; 0: not yet */
};

/* A block of answers that changes nothing in the table, and so means the same until another one does. */
struct block {
	size_t n;
	char bytes[BLOCK_MAX];
	int status; /* what it says of grpc-status; -1: nothing */
};

struct h2_unary {
	struct loop *loop;
	struct tls_ctx *tls;
	char *address;
	struct stream_connect connect;
	struct stream *stream;
	struct stream_user user;
	struct loop_timer timer;
	bool up, feeding, heard;
	unsigned stale;
	struct buf in, out;

	struct field fields[MAX_FIELDS];
	unsigned n_fields, n_added;
	nghttp2_hd_inflater *inflater;
	struct block blocks[MAX_BLOCKS];
	unsigned n_blocks;

	uint32_t next_stream, max_streams;
	int64_t window, stream_window;
	uint32_t unacked; /* bytes of answers since the last WINDOW_UPDATE */
	unsigned n_running;
	struct list running, waiting;
};

static void unsupported(const struct h2_unary *h, const char *what)
{
	fprintf(stderr, "%s: the server's HTTP/2 is not for this load: %s\n", h->address, what);
	exit(1);
}

static uint32_t get_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void add_u32(struct buf *b, uint32_t v)
{
	char p[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};

	buf_add(b, p, sizeof(p));
}

static void add_frame_head(struct buf *b, size_t n, uint8_t type, uint8_t flags, uint32_t stream)
{
	char p[5] = {(char)(n >> 16), (char)(n >> 8), (char)n, (char)type, (char)flags};

	buf_add(b, p, sizeof(p));
	add_u32(b, stream);
}

/* --- Requests ------------------------------------------------------------------------------------------------------- */

static void add_text(struct buf *b, const char *s)
{
	ASSERT(strlen(s) < 127);
	buf_add1(b, (char)strlen(s));
	buf_adds(b, str_from(s));
}

/* RFC 7541, 6.1 and 6.2.1. All of them fit into the table, so none is ever put out of it. */
static void add_field(struct h2_unary *h, struct field *f)
{
	if (f->added != 0) {
		buf_add1(&h->out, (char)(0x80 | (STATIC_ENTRIES + 1 + h->n_added - f->added)));
		return;
	}
	f->added = ++h->n_added;
	buf_add1(&h->out, (char)(0x40 | f->name_index));
	if (f->name_index == 0)
		add_text(&h->out, f->name);
	add_text(&h->out, f->value);
}

static struct field *new_field(struct h2_unary *h, unsigned name_index, const char *name, const char *value)
{
	struct field *f = &h->fields[h->n_fields++];

	ASSERT(h->n_fields <= MAX_FIELDS);
	*f = (struct field){name_index, name, value, 0};
	return f;
}

static struct field *path_field(struct h2_unary *h, const char *method)
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].value == method)
			return &h->fields[i];
	return new_field(h, 4, NULL, method);
}

static void add_request(struct h2_unary *h, const struct h2_unary_call *c, struct str message)
{
	struct field *path = path_field(h, c->method);
	size_t at = h->out.n, n;

	add_frame_head(&h->out, 0, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, c->stream);
	buf_add1(&h->out, (char)0x83); /* :method POST */
	buf_add1(&h->out, (char)(h->tls ? 0x87 : 0x86));
	add_field(h, path);
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].name_index != 4)
			add_field(h, &h->fields[i]);
	n = h->out.n - at - FRAME_HEAD;
	h->out.p[at + 1] = (char)(n >> 8);
	h->out.p[at + 2] = (char)n;
	add_frame_head(&h->out, GRPC_PREFIX + message.n, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, c->stream);
	buf_add1(&h->out, 0);
	add_u32(&h->out, (uint32_t)message.n);
	buf_adds(&h->out, message);
}

static bool may_send(const struct h2_unary *h, size_t n)
{
	int64_t need = (int64_t)(GRPC_PREFIX + n);

	return h->up && h->n_running < h->max_streams && need <= h->window && need <= h->stream_window;
}

static void send_call(struct h2_unary *h, struct h2_unary_call *c, struct str message)
{
	c->stream = h->next_stream;
	h->next_stream += 2;
	h->window -= (int64_t)(GRPC_PREFIX + message.n);
	add_request(h, c, message);
	list_add_tail(&h->running, &c->link);
	h->n_running++;
}

static void flush(struct h2_unary *h)
{
	if (h->out.n > 0 && h->stream != NULL)
		stream_write(h->stream, buf_str(&h->out), NULL);
	buf_clear(&h->out);
}

static void send_waiting(struct h2_unary *h)
{
	LIST_FOR_EACH_SAFE (c, next, &h->waiting, struct h2_unary_call, link) {
		if (!may_send(h, c->waiting.n))
			break;
		list_del(&c->link);
		send_call(h, c, buf_str(&c->waiting));
		buf_fini(&c->waiting);
	}
}

void h2_unary_start(struct h2_unary *h, struct h2_unary_call *c, struct str message)
{
	ASSERT(message.n <= H2_UNARY_MAX);
	c->got = c->want = 0;
	c->code = -1;
	list_init(&c->link);
	if (list_empty(&h->waiting) && may_send(h, message.n)) {
		send_call(h, c, message);
	} else {
		buf_init(&c->waiting, BUF_NO_LIMIT);
		buf_adds(&c->waiting, message);
		list_add_tail(&h->waiting, &c->link);
	}
	/* What the answers of one read bring about leaves with one write. */
	if (!h->feeding)
		flush(h);
}

static void call_over(struct h2_unary *h, struct h2_unary_call *c, int code)
{
	list_del(&c->link);
	h->n_running--;
	c->code = code;
	c->done(c);
}

/* --- Answers ---------------------------------------------------------------------------------------------------------- */

/* Only numbers of the table (RFC 7541, 6.1): such a block leaves it as it is. */
static bool only_indexed(struct str block)
{
	for (size_t i = 0; i < block.n; i++) {
		unsigned char b = (unsigned char)block.p[i];

		if (b < 0x80)
			return false;
		for (bool more = b == 0xff; more && ++i < block.n;)
			more = (unsigned char)block.p[i] >= 0x80;
	}
	return true;
}

static int number_of(const nghttp2_nv *nv)
{
	uint64_t v;

	return str_to_u64(str_of(nv->value, nv->valuelen), &v) && v < 1000 ? (int)v : GRPC_UNKNOWN;
}

static int unpack(struct h2_unary *h, struct str block)
{
	const uint8_t *p = (const uint8_t *)block.p;
	size_t n = block.n;
	int status = -1, flags = 0;

	while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
		nghttp2_nv nv;
		ssize_t used = nghttp2_hd_inflate_hd2(h->inflater, &nv, &flags, p, n, 1);

		if (used < 0)
			unsupported(h, "a block of headers that cannot be read");
		p += used;
		n -= (size_t)used;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
			continue;
		if (str_eqc(str_of(nv.name, nv.namelen), "grpc-status"))
			status = number_of(&nv);
		else if (str_eqc(str_of(nv.name, nv.namelen), ":status") && number_of(&nv) != 200)
			status = GRPC_INTERNAL;
	}
	nghttp2_hd_inflate_end_headers(h->inflater);
	return status;
}

static int status_in(struct h2_unary *h, struct str block)
{
	struct block *k;

	for (unsigned i = 0; i < h->n_blocks; i++)
		if (str_eq(block, str_of(h->blocks[i].bytes, h->blocks[i].n)))
			return h->blocks[i].status;
	if (!only_indexed(block)) {
		h->n_blocks = 0;
		return unpack(h, block);
	}
	if (block.n > BLOCK_MAX || h->n_blocks == MAX_BLOCKS)
		return unpack(h, block);
	k = &h->blocks[h->n_blocks++];
	memcpy(k->bytes, block.p, block.n);
	k->n = block.n;
	return k->status = unpack(h, block);
}

static struct h2_unary_call *find(struct h2_unary *h, uint32_t stream)
{
	LIST_FOR_EACH (c, &h->running, struct h2_unary_call, link)
		if (c->stream == stream)
			return c;
	return NULL;
}

static void on_headers(struct h2_unary *h, uint8_t flags, uint32_t stream, struct str block)
{
	struct h2_unary_call *c = find(h, stream);
	int status;

	if ((flags & NGHTTP2_FLAG_END_HEADERS) == 0 || (flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)) != 0)
		unsupported(h, "headers in several frames, padded or with a priority");
	status = status_in(h, block);
	if (c == NULL)
		return;
	if (status >= 0)
		c->code = status;
	if ((flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return;
	if (c->code == GRPC_OK && (c->got < GRPC_PREFIX || c->got != c->want))
		unsupported(h, "an answer that is not one message");
	call_over(h, c, c->code < 0 ? GRPC_UNKNOWN : c->code);
}

static void on_data(struct h2_unary *h, uint8_t flags, uint32_t stream, struct str bytes)
{
	struct h2_unary_call *c = find(h, stream);

	if ((flags & NGHTTP2_FLAG_PADDED) != 0)
		unsupported(h, "padding");
	h->unacked += (uint32_t)bytes.n;
	if (h->unacked > WINDOW_LOW) {
		add_frame_head(&h->out, 4, NGHTTP2_WINDOW_UPDATE, 0, 0);
		add_u32(&h->out, h->unacked);
		h->unacked = 0;
	}
	if (c == NULL)
		return;
	for (size_t i = 0; i < bytes.n && c->got + i < GRPC_PREFIX; i++)
		c->head[c->got + i] = bytes.p[i];
	c->got += bytes.n;
	if (c->want == 0 && c->got >= GRPC_PREFIX)
		c->want = GRPC_PREFIX + (uint64_t)get_u32(c->head + 1);
	if ((flags & NGHTTP2_FLAG_END_STREAM) != 0)
		call_over(h, c, GRPC_UNKNOWN); /* without a status */
}

static void on_settings(struct h2_unary *h, uint8_t flags, struct str s)
{
	if ((flags & NGHTTP2_FLAG_ACK) != 0)
		return;
	for (; s.n >= 6; s = str_skip(s, 6)) {
		unsigned id = (unsigned)(unsigned char)s.p[0] << 8 | (unsigned char)s.p[1];
		uint32_t v = get_u32(s.p + 2);

		if (id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
			h->max_streams = v;
		else if (id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
			h->stream_window = v;
		else if (id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE && v < TABLE_SIZE)
			unsupported(h, "a small table of headers");
	}
	add_frame_head(&h->out, 0, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0);
}

static void on_frame(struct h2_unary *h, uint8_t type, uint8_t flags, uint32_t stream, struct str body)
{
	struct h2_unary_call *c;

	switch (type) {
	case NGHTTP2_DATA: on_data(h, flags, stream, body); break;
	case NGHTTP2_HEADERS: on_headers(h, flags, stream, body); break;
	case NGHTTP2_SETTINGS: on_settings(h, flags, body); break;
	case NGHTTP2_RST_STREAM:
		c = find(h, stream);
		if (c != NULL)
			call_over(h, c, GRPC_INTERNAL);
		break;
	case NGHTTP2_PING:
		if ((flags & NGHTTP2_FLAG_ACK) == 0) {
			add_frame_head(&h->out, body.n, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0);
			buf_adds(&h->out, body);
		}
		break;
	case NGHTTP2_WINDOW_UPDATE:
		if (stream == 0 && body.n == 4)
			h->window += get_u32(body.p) & WINDOW_MAX;
		break;
	case NGHTTP2_CONTINUATION: unsupported(h, "headers in several frames"); break;
	default: break; /* GOAWAY: the end of the connection says the same */
	}
}

/* Returns how many bytes were whole frames. */
static size_t take_frames(struct h2_unary *h, struct str bytes)
{
	size_t at = 0;

	while (bytes.n - at >= FRAME_HEAD) {
		const char *p = bytes.p + at;
		size_t n = get_u32(p) >> 8;

		if (n > FRAME_MAX)
			unsupported(h, "a frame that is too large");
		if (bytes.n - at < FRAME_HEAD + n)
			break;
		on_frame(h, (uint8_t)p[3], (uint8_t)p[4], get_u32(p + 5) & WINDOW_MAX, str_of(p + FRAME_HEAD, n));
		at += FRAME_HEAD + n;
	}
	return at;
}

static void on_bytes(struct stream_user *user, struct stream *s _unused_, struct str bytes)
{
	struct h2_unary *h = container_of(user, struct h2_unary, user);

	h->feeding = h->heard = true;
	if (h->in.n == 0) {
		buf_adds(&h->in, str_skip(bytes, take_frames(h, bytes)));
	} else {
		buf_adds(&h->in, bytes);
		buf_consume(&h->in, take_frames(h, buf_str(&h->in)));
	}
	h->feeding = false;
	send_waiting(h);
	flush(h);
}

/* --- The connection ------------------------------------------------------------------------------------------------ */

static void dial(struct h2_unary *h);

static void on_redial(struct loop_timer *t)
{
	dial(container_of(t, struct h2_unary, timer));
}

static void down(struct h2_unary *h)
{
	if (h->stream != NULL)
		stream_close(h->stream, NULL, NULL);
	h->stream = NULL;
	h->up = false;
	nghttp2_hd_inflate_del(h->inflater);
	h->inflater = NULL;
	buf_clear(&h->in);
	buf_clear(&h->out);
	loop_timer_start(&h->timer, h->loop, REDIAL_MS, on_redial);
	LIST_FOR_EACH_SAFE (c, next, &h->running, struct h2_unary_call, link)
		call_over(h, c, GRPC_UNAVAILABLE);
}

static void on_end(struct stream_user *user, struct stream *s _unused_, const struct err *why _unused_)
{
	down(container_of(user, struct h2_unary, user));
}

static void on_stale(struct loop_timer *t)
{
	struct h2_unary *h = container_of(t, struct h2_unary, timer);

	h->stale = h->heard || h->n_running == 0 ? 0 : h->stale + 1;
	h->heard = false;
	if (h->stale == 2)
		down(h);
	else
		loop_timer_start(&h->timer, h->loop, STALE_MS, on_stale);
}

static void say_hello(struct h2_unary *h)
{
	buf_adds(&h->out, STR(NGHTTP2_CLIENT_MAGIC));
	add_frame_head(&h->out, 12, NGHTTP2_SETTINGS, 0, 0);
	buf_add(&h->out, "\0\2\0\0\0\0", 6); /* ENABLE_PUSH 0 */
	buf_add(&h->out, "\0\4", 2);         /* INITIAL_WINDOW_SIZE */
	add_u32(&h->out, WINDOW_MAX);
	add_frame_head(&h->out, 4, NGHTTP2_WINDOW_UPDATE, 0, 0);
	add_u32(&h->out, WINDOW_MAX - 65535);
}

static void on_connected(struct stream_connect *sc, struct stream *s, const struct err *why _unused_)
{
	struct h2_unary *h = container_of(sc, struct h2_unary, connect);

	if (s == NULL) {
		loop_timer_start(&h->timer, h->loop, REDIAL_MS, on_redial);
		return;
	}
	h->stream = s;
	h->up = true;
	h->stale = h->n_added = h->n_blocks = 0;
	for (unsigned i = 0; i < h->n_fields; i++)
		h->fields[i].added = 0;
	ASSERT(nghttp2_hd_inflate_new(&h->inflater) == 0);
	h->next_stream = 1;
	h->max_streams = 100; /* until it says otherwise */
	h->window = h->stream_window = 65535;
	h->unacked = 0;
	h->user = (struct stream_user){.on_data = on_bytes, .on_end = on_end};
	stream_start(s, &h->user);
	say_hello(h);
	send_waiting(h);
	flush(h);
	loop_timer_start(&h->timer, h->loop, STALE_MS, on_stale);
}

static void dial(struct h2_unary *h)
{
	h->connect = (struct stream_connect){.loop = h->loop, .address = h->address, .tls = h->tls, .alpn = "h2", .done = on_connected};
	stream_connect(&h->connect);
}

struct h2_unary *h2_unary_new(struct loop *loop, const char *address, struct tls_ctx *tls)
{
	struct h2_unary *h = xcalloc(1, sizeof(*h));

	h->loop = loop;
	h->tls = tls;
	h->address = xstrdup(address);
	buf_init(&h->in, BUF_NO_LIMIT);
	buf_init(&h->out, BUF_NO_LIMIT);
	list_init(&h->running);
	list_init(&h->waiting);
	new_field(h, 1, NULL, h->address);
	new_field(h, 31, NULL, "application/grpc");
	new_field(h, 0, "te", "trailers");
	new_field(h, 58, NULL, "kontiki-load");
	new_field(h, 0, "grpc-timeout", "10000m");
	dial(h);
	return h;
}
