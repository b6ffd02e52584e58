#include "io/spdy.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/stream.h"

#define SPDY_VERSION 3u
#define FRAME_HEAD 8u
#define DATA_MAX 32768u
#define HELD_MAX ((size_t)16 << 20 | 64)

enum { SYN_STREAM = 1, SYN_REPLY = 2, RST_STREAM = 3, PING = 6, GOAWAY = 7 };
enum { FLAG_FIN = 1 };

struct spdy {
	struct stream *stream;
	struct stream_user su;
	struct spdy_user *user;
	struct buf in;
	z_stream deflate;
	uint32_t next_id;
	bool over;
};

/* The words that both sides' compressors know beforehand (section 2.6.10.1), with their lengths in front. */
static const char *const words[] = {
	"options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
	"accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
	"content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
	"expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
	"last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
	"retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
	"www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive",
	"origin",
};
static const char tail[] =
		"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
		"Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal "
		"Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, "
		"Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,"
		"text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void add_u32(struct buf *b, uint32_t v)
{
	char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};

	buf_add(b, bytes, sizeof(bytes));
}

static void add_text(struct buf *b, struct str s)
{
	add_u32(b, (uint32_t)s.n);
	buf_adds(b, s);
}

static uint32_t read_u32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void start_deflate(struct spdy *s)
{
	struct buf dictionary = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		add_text(&dictionary, str_from(words[i]));
	buf_addc(&dictionary, tail);
	ASSERT(deflateInit(&s->deflate, Z_BEST_COMPRESSION) == Z_OK);
	ASSERT(deflateSetDictionary(&s->deflate, (const Bytef *)dictionary.p, (uInt)dictionary.n) == Z_OK);
	buf_fini(&dictionary);
}

static void compress_to(struct spdy *s, struct str in, struct buf *out)
{
	s->deflate.next_in = (Bytef *)(uintptr_t)in.p;
	s->deflate.avail_in = (uInt)in.n;
	do {
		char block[512];

		s->deflate.next_out = (Bytef *)block;
		s->deflate.avail_out = sizeof(block);
		ASSERT(deflate(&s->deflate, Z_SYNC_FLUSH) != Z_STREAM_ERROR);
		buf_add(out, block, sizeof(block) - s->deflate.avail_out);
	} while (s->deflate.avail_out == 0);
}

/* ---- sending ---- */

static void send_control(struct spdy *s, unsigned type, unsigned flags, struct str payload)
{
	struct buf b = BUF_INIT;

	add_u32(&b, 1u << 31 | SPDY_VERSION << 16 | type);
	add_u32(&b, flags << 24 | (uint32_t)payload.n);
	buf_adds(&b, payload);
	stream_write_take(s->stream, &b, NULL);
	buf_fini(&b);
}

uint32_t spdy_open(struct spdy *s, const char *header, const char *value)
{
	struct buf plain = BUF_INIT, payload = BUF_INIT;
	uint32_t id = s->next_id;

	s->next_id += 2;
	add_u32(&plain, 1);
	add_text(&plain, str_from(header));
	add_text(&plain, str_from(value));
	add_u32(&payload, id);
	add_u32(&payload, 0);
	buf_add(&payload, "\0\0", 2); /* priority and slot */
	compress_to(s, buf_str(&plain), &payload);
	if (!s->over)
		send_control(s, SYN_STREAM, 0, buf_str(&payload));
	buf_fini(&plain);
	buf_fini(&payload);
	return id;
}

void spdy_send(struct spdy *s, uint32_t id, struct str bytes, bool end, struct stream_write *w)
{
	do {
		struct str part = str_sub(bytes, 0, MIN(bytes.n, (size_t)DATA_MAX));
		struct buf b = BUF_INIT;
		bool last = part.n == bytes.n;

		bytes = str_skip(bytes, part.n);
		add_u32(&b, id);
		add_u32(&b, (last && end ? (uint32_t)FLAG_FIN << 24 : 0) | (uint32_t)part.n);
		buf_adds(&b, part);
		stream_write_take(s->stream, &b, last ? w : NULL);
		buf_fini(&b);
	} while (bytes.n > 0);
}

/* ---- receiving ---- */

int spdy_decode(struct str *bytes, struct spdy_frame *ret)
{
	uint32_t first, second;
	size_t size;

	if (bytes->n < FRAME_HEAD)
		return 0;
	first = read_u32(bytes->p);
	second = read_u32(bytes->p + 4);
	size = second & 0xffffff;
	*ret = (struct spdy_frame){.control = first >> 31, .flags = (uint8_t)(second >> 24)};
	if (ret->control && (first >> 16 & 0x7fff) != SPDY_VERSION)
		return -1;
	if (bytes->n < FRAME_HEAD + size)
		return 0;
	ret->type = ret->control ? (uint16_t)first : 0;
	ret->id = ret->control ? 0 : first;
	ret->data = str_sub(*bytes, FRAME_HEAD, FRAME_HEAD + size);
	*bytes = str_skip(*bytes, FRAME_HEAD + size);
	return 1;
}

static void on_control(struct spdy *s, const struct spdy_frame *f)
{
	bool has_id = f->data.n >= 4;

	switch (f->type) {
	case SYN_REPLY:
		if (has_id && (f->flags & FLAG_FIN))
			s->user->on_data(s->user, read_u32(f->data.p), STR_NULL, true);
		break;
	case RST_STREAM:
		if (has_id)
			s->user->on_data(s->user, read_u32(f->data.p), STR_NULL, true);
		break;
	case PING:
		/* The server's have even numbers; ours would be answers. */
		if (has_id && read_u32(f->data.p) % 2 == 0)
			send_control(s, PING, 0, str_sub(f->data, 0, 4));
		break;
	default:
		break;
	}
}

static void fail(struct spdy *s, const struct err *why)
{
	if (s->over)
		return;
	s->over = true;
	s->user->on_close(s->user, why);
}

static void on_data(struct stream_user *u, struct stream *stream, struct str bytes)
{
	struct spdy *s = container_of(u, struct spdy, su);
	struct spdy_frame f;
	struct str rest;
	struct err e;
	int rv = 0;

	buf_adds(&s->in, bytes);
	rest = buf_str(&s->in);
	while (!s->over && (rv = spdy_decode(&rest, &f)) > 0) {
		if (f.control)
			on_control(s, &f);
		else
			s->user->on_data(s->user, f.id, f.data, f.flags & FLAG_FIN);
	}
	buf_consume(&s->in, s->in.n - rest.n);
	if (rv < 0 || !buf_ok(&s->in)) {
		err_set(&e, ERR_PROTOCOL, "the server does not speak SPDY/3.1");
		fail(s, &e);
	}
}

static void on_end(struct stream_user *u, struct stream *stream, const struct err *why)
{
	fail(container_of(u, struct spdy, su), why);
}

struct spdy *spdy_new(struct stream *stream, struct spdy_user *user)
{
	struct spdy *s = xcalloc(1, sizeof(*s));

	s->stream = stream;
	s->user = user;
	s->next_id = 1;
	s->su = (struct stream_user){.on_data = on_data, .on_end = on_end};
	buf_init(&s->in, HELD_MAX);
	start_deflate(s);
	stream_start(stream, &s->su);
	return s;
}

size_t spdy_queued(const struct spdy *s)
{
	return stream_queued(s->stream);
}

void spdy_read_stop(struct spdy *s)
{
	stream_read_stop(s->stream);
}

void spdy_read_start(struct spdy *s)
{
	stream_read_start(s->stream);
}

static void on_closed(void *arg)
{
	struct spdy *s = arg;

	deflateEnd(&s->deflate);
	buf_fini(&s->in);
	free(s);
}

void spdy_close(struct spdy *s)
{
	s->over = true;
	stream_close(s->stream, on_closed, s);
}
