/* RFC 6455: the decoder, and struct websocket around a stream. */
#include "io/websocket.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

#define CLOSE_PROTOCOL 1002
#define CLOSE_NO_CODE 1005
#define CLOSE_BROKEN 1006
#define CLOSE_BAD_UTF8 1007
#define CLOSE_TOO_BIG 1009
#define FLUSH_MS 3000

/* The decoder. */

static bool is_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)(s.p ? s.p : ""), *end = p + s.n;

	while (p < end) {
		unsigned n = *p < 0x80             ? 0
			     : (*p & 0xe0) == 0xc0 ? 1
			     : (*p & 0xf0) == 0xe0 ? 2
			     : (*p & 0xf8) == 0xf0 ? 3
						   : 9;
		uint32_t c;

		if (n == 9 || (size_t)(end - p) <= n)
			return false;
		c = n == 0 ? *p : *p & (0x3fu >> n);
		for (unsigned i = 1; i <= n; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return false;
			c = c << 6 | (p[i] & 0x3f);
		}
		/* Overlong forms, surrogates, beyond the last plane. */
		if ((n == 1 && c < 0x80) || (n == 2 && c < 0x800) || (n == 3 && c < 0x10000) ||
			c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return false;
		p += n + 1;
	}
	return true;
}

/* How long the frame's head is, as far as it is known. */
static unsigned head_size(const struct ws_decoder *d)
{
	unsigned n = 2;

	if (d->n_head < 2)
		return 2;
	if ((d->head[1] & 0x7f) == 126)
		n += 2;
	else if ((d->head[1] & 0x7f) == 127)
		n += 8;
	return d->head[1] & 0x80 ? n + 4 : n;
}

/* A complete head: 0, or the close code. */
static int read_head(struct ws_decoder *d)
{
	bool masked = d->head[1] & 0x80, fin = d->head[0] & 0x80;
	uint8_t op = d->head[0] & 0x0f;
	unsigned at = 2, n_length = (d->head[1] & 0x7f) == 126   ? 2
				    : (d->head[1] & 0x7f) == 127 ? 8
								 : 0;
	uint64_t length = d->head[1] & 0x7f;

	if (n_length > 0)
		for (length = 0; at < 2 + n_length; at++)
			length = length << 8 | d->head[at];
	/* Reserved bits, a mask where there must be none (or none where there must be one), lengths
	 * not in their shortest form. */
	if ((d->head[0] & 0x70) || masked == d->client || (n_length == 2 && length < 126) ||
		(n_length == 8 && length < 65536))
		return -CLOSE_PROTOCOL;
	if (op >= OP_CLOSE) {
		if (op > OP_PONG || !fin || length > 125)
			return -CLOSE_PROTOCOL;
	} else if (op > OP_BINARY || (op == OP_CONTINUATION) != (d->opcode != 0)) {
		return -CLOSE_PROTOCOL;
	} else if (length > d->max_message || d->message.n > d->max_message - length) {
		return -CLOSE_TOO_BIG;
	}
	if (op == OP_TEXT || op == OP_BINARY) {
		d->opcode = op;
		buf_fini(&d->message);
		buf_init(&d->message, d->max_message);
	}
	if (masked)
		memcpy(d->mask, d->head + at, 4);
	else
		memset(d->mask, 0, 4);
	d->frame_opcode = op;
	d->frame_fin = fin;
	d->left = length;
	d->mask_at = 0;
	d->n_control = 0;
	d->n_head = 0;
	d->in_payload = true;
	return 0;
}

static void unmask(struct ws_decoder *d, char *to, const char *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (char)(from[i] ^ d->mask[(d->mask_at + i) & 3]);
	d->mask_at = (uint32_t)((d->mask_at + n) & 3);
}

static void take_payload(struct ws_decoder *d, struct str *bytes)
{
	size_t n = d->left < bytes->n ? (size_t)d->left : bytes->n;

	if (d->frame_opcode >= OP_CLOSE) {
		unmask(d, (char *)d->control + d->n_control, bytes->p, n);
		d->n_control = (uint8_t)(d->n_control + n);
	} else if (n > 0) {
		char *p = buf_reserve(&d->message, n);

		ASSERT(p != NULL);
		unmask(d, p, bytes->p, n);
		buf_advance(&d->message, n);
	}
	*bytes = str_skip(*bytes, n);
	d->left -= n;
}

/* A frame's payload is complete: an event, nothing yet, or a close code. */
static int frame_done(struct ws_decoder *d, struct ws_event *ret)
{
	d->in_payload = false;
	if (d->frame_opcode >= OP_CLOSE) {
		ret->opcode = d->frame_opcode;
		ret->payload = str_of(d->control, d->n_control);
		if (d->frame_opcode == OP_CLOSE && d->n_control == 1)
			return -CLOSE_PROTOCOL;
		if (d->frame_opcode == OP_CLOSE && d->n_control > 2 &&
			!is_utf8(str_skip(ret->payload, 2)))
			return -CLOSE_BAD_UTF8;
		return 1;
	}
	if (!d->frame_fin)
		return 0;
	ret->opcode = d->opcode;
	ret->payload = buf_str(&d->message);
	d->opcode = 0;
	return ret->opcode == OP_TEXT && !is_utf8(ret->payload) ? -CLOSE_BAD_UTF8 : 1;
}

int ws_decode(struct ws_decoder *d, struct str *bytes, struct ws_event *ret)
{
	int rv;

	for (;;) {
		if (d->in_payload) {
			take_payload(d, bytes);
			if (d->left > 0)
				return 0;
			rv = frame_done(d, ret);
			if (rv != 0)
				return rv;
			continue;
		}
		if (bytes->n == 0)
			return 0;
		d->head[d->n_head++] = (uint8_t)bytes->p[0];
		*bytes = str_skip(*bytes, 1);
		if (d->n_head >= 2 && d->n_head == head_size(d)) {
			rv = read_head(d);
			if (rv != 0)
				return rv;
		}
	}
}

void ws_decoder_fini(struct ws_decoder *d)
{
	buf_fini(&d->message);
}

/* struct websocket. */

struct websocket {
	struct stream *stream;
	struct stream_user stream_user;
	struct websocket_user *user;
	struct ws_decoder decoder;
	char *protocol;
	struct buf left; /* bytes that came while reading was stopped */
	struct loop_timer kick;
	bool reading;
	bool busy; /* in a callback of the user */
	bool close_sent;
	bool ended; /* on_close is due or was called */
	bool told;
	bool closed; /* websocket_close was called */
	int code;
	struct buf reason;
};

static void ws_free(struct websocket *ws)
{
	loop_timer_stop(&ws->kick);
	ws_decoder_fini(&ws->decoder);
	buf_fini(&ws->left);
	buf_fini(&ws->reason);
	free(ws->protocol);
	free(ws);
}

static void send_frame(
	struct websocket *ws, int opcode, struct str head, struct str tail, struct stream_write *w)
{
	uint64_t n = head.n + tail.n;
	struct buf b = BUF_INIT;
	char mask[4];
	size_t at;

	buf_add1(&b, (char)(0x80 | opcode));
	if (n < 126) {
		buf_add1(&b, (char)n);
	} else if (n < 65536) {
		buf_add1(&b, 126);
		buf_add(&b, (char[]){(char)(n >> 8), (char)n}, 2);
	} else {
		buf_add1(&b, 127);
		for (int i = 56; i >= 0; i -= 8)
			buf_add1(&b, (char)(n >> i));
	}
	if (!ws->decoder.client) {
		/* No copy of a server's message. */
		stream_writev(ws->stream, (struct str[]){buf_str(&b), head, tail}, 3, w);
		buf_fini(&b);
		return;
	}
	b.p[1] = (char)(b.p[1] | 0x80);
	random_bytes(mask, sizeof(mask));
	buf_add(&b, mask, sizeof(mask));
	at = b.n;
	buf_adds(&b, head);
	buf_adds(&b, tail);
	for (size_t i = 0; i < n; i++)
		b.p[at + i] = (char)(b.p[at + i] ^ mask[i & 3]);
	stream_write_take(ws->stream, &b, w);
}

static void send_close(struct websocket *ws, int code, struct str reason)
{
	char head[2] = {(char)(code >> 8), (char)code};

	if (ws->close_sent)
		return;
	ws->close_sent = true;
	send_frame(ws, OP_CLOSE, str_of(head, code == CLOSE_NO_CODE ? 0 : 2),
		str_sub(reason, 0, MIN(reason.n, 120)), NULL);
}

static void tell(struct websocket *ws)
{
	if (ws->told || ws->closed || ws->busy)
		return;
	ws->told = true;
	ws->user->on_close(ws->user, ws, ws->code, buf_str(&ws->reason));
}

static void end(struct websocket *ws, int code, struct str reason)
{
	if (ws->ended)
		return;
	ws->ended = true;
	ws->code = code;
	buf_adds(&ws->reason, reason);
	stream_read_stop(ws->stream);
}

static void on_event(struct websocket *ws, const struct ws_event *ev)
{
	struct str p = ev->payload;
	int code;

	switch (ev->opcode) {
	case OP_PING:
		if (!ws->close_sent)
			send_frame(ws, OP_PONG, p, STR(""), NULL);
		break;
	case OP_PONG:
		break;
	case OP_CLOSE:
		code = p.n >= 2 ? (uint8_t)p.p[0] << 8 | (uint8_t)p.p[1] : CLOSE_NO_CODE;
		send_close(ws, code, STR(""));
		end(ws, code, str_skip(p, 2));
		break;
	default:
		ws->user->on_message(ws->user, ws, p, ev->opcode == OP_BINARY);
	}
}

/* Decode and deliver while the user reads; what is left is kept. */
static void feed(struct websocket *ws, struct str bytes)
{
	struct ws_event ev;
	int rv = 0;

	ws->busy = true;
	while (!ws->closed && !ws->ended && ws->reading &&
		(rv = ws_decode(&ws->decoder, &bytes, &ev)) > 0)
		on_event(ws, &ev);
	ws->busy = false;
	if (ws->closed) {
		ws_free(ws);
		return;
	}
	if (rv < 0 && !ws->ended) {
		send_close(ws, -rv, STR(""));
		end(ws, -rv, STR(""));
	}
	if (ws->ended) {
		tell(ws);
		return;
	}
	buf_adds(&ws->left, bytes);
}

static void on_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	feed(container_of(u, struct websocket, stream_user), bytes);
}

static void on_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	struct websocket *ws = container_of(u, struct websocket, stream_user);

	end(ws, CLOSE_BROKEN, why ? str_from(why->text) : STR("the connection ended"));
	tell(ws);
}

static void on_kick(struct loop_timer *t)
{
	struct websocket *ws = container_of(t, struct websocket, kick);
	struct buf now = ws->left;

	buf_init(&ws->left, BUF_NO_LIMIT);
	if (now.n > 0)
		feed(ws, buf_str(&now));
	buf_fini(&now);
}

struct websocket *websocket_new(
	struct stream *s, bool client, struct websocket_user *user, size_t max_message)
{
	struct websocket *ws = xcalloc(1, sizeof(*ws));

	ws->stream = s;
	ws->user = user;
	ws->stream_user = (struct stream_user){on_data, on_end, NULL};
	ws->decoder.client = client;
	ws->decoder.max_message = max_message ? max_message : WEBSOCKET_MAX_MESSAGE;
	buf_init(&ws->decoder.message, ws->decoder.max_message);
	buf_init(&ws->left, BUF_NO_LIMIT);
	buf_init(&ws->reason, 512);
	ws->protocol = xstrdup("");
	ws->reading = true;
	stream_start(s, &ws->stream_user);
	return ws;
}

const char *websocket_protocol(const struct websocket *ws)
{
	return ws->protocol;
}

void websocket_send2(
	struct websocket *ws, struct str head, struct str tail, bool binary, struct stream_write *w)
{
	if (ws->close_sent) {
		/* Nothing may follow a close frame; the stream refuses the write in its own way
		 * once it is shut. */
		stream_shutdown(ws->stream);
		stream_write(ws->stream, STR(""), w);
		return;
	}
	send_frame(ws, binary ? OP_BINARY : OP_TEXT, head, tail, w);
}

void websocket_send(struct websocket *ws, struct str message, bool binary, struct stream_write *w)
{
	websocket_send2(ws, message, STR(""), binary, w);
}

void websocket_ping(struct websocket *ws)
{
	if (!ws->close_sent)
		send_frame(ws, OP_PING, STR(""), STR(""), NULL);
}

size_t websocket_queued(const struct websocket *ws)
{
	return stream_queued(ws->stream);
}

void websocket_read_stop(struct websocket *ws)
{
	ws->reading = false;
	stream_read_stop(ws->stream);
}

void websocket_read_start(struct websocket *ws)
{
	if (ws->ended || ws->reading)
		return;
	ws->reading = true;
	if (ws->left.n > 0)
		loop_timer_start(&ws->kick, stream_loop(ws->stream), 0, on_kick);
	stream_read_start(ws->stream);
}

void websocket_close(struct websocket *ws, int code, const char *reason)
{
	ASSERT(!ws->closed);
	ws->closed = true;
	send_close(ws, code, reason ? str_from(reason) : STR(""));
	stream_close_flushed(ws->stream, FLUSH_MS);
	if (!ws->busy)
		ws_free(ws);
}

/* The handshake. */

static void accept_key(struct str key, char out[32])
{
	struct buf b = BUF_INIT;
	uint8_t sum[20];

	buf_adds(&b, key);
	buf_addc(&b, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	x509_sha1(buf_str(&b), sum);
	buf_fini(&b);
	EVP_EncodeBlock((unsigned char *)out, sum, sizeof(sum));
}

bool websocket_is_upgrade(const struct http_request *r)
{
	return r->version == 1 && str_eqc(r->method, "GET") &&
	       http_header_has_token(&r->headers, "upgrade", "websocket") &&
	       http_header_has_token(&r->headers, "connection", "upgrade");
}

/* The first of ours that they offer. */
static bool choose(
	struct arena *a, const char *ours, const struct http_headers *theirs, struct str *ret)
{
	struct str rest = str_from(ours), one;

	*ret = STR("");
	if (ours == NULL || !http_header_has(theirs, "sec-websocket-protocol"))
		return true;
	while (!str_empty(rest)) {
		str_cut(rest, ',', &one, &rest);
		*ret = str_trim(one);
		if (http_header_has_token(theirs, "sec-websocket-protocol", arena_cstr(a, *ret)))
			return true;
	}
	return false;
}

int websocket_answer(struct arena *a, const struct http_headers *request, const char *protocols,
	struct http_header out[WEBSOCKET_N_HEADERS], size_t *ret_n, struct str *ret_protocol, struct err *e)
{
	struct str key = http_header_get(request, "sec-websocket-key");
	char *accept = arena_alloc(a, 32);
	size_t n = 0;

	if (!http_header_has_token(request, "upgrade", "websocket") || !http_header_has_token(request, "connection", "upgrade") ||
		key.n != 24 || !str_eqc(http_header_get(request, "sec-websocket-version"), "13"))
		return err_set(e, ERR_BAD_REQUEST, "not a proper WebSocket request (version 13 is supported)");
	if (!choose(a, protocols, request, ret_protocol))
		return err_set(e, ERR_BAD_REQUEST,
			"none of the WebSocket protocols is supported; known are: %s", protocols);
	accept_key(key, accept);
	out[n++] = (struct http_header){STR("Upgrade"), STR("websocket")};
	out[n++] = (struct http_header){STR("Connection"), STR("Upgrade")};
	out[n++] = (struct http_header){STR("Sec-WebSocket-Accept"), str_from(accept)};
	if (ret_protocol->n > 0)
		out[n++] = (struct http_header){STR("Sec-WebSocket-Protocol"), *ret_protocol};
	*ret_n = n;
	return 0;
}

struct websocket *websocket_accept(struct http_request *r, const char *protocols,
	struct websocket_user *user, size_t max_message, struct err *e)
{
	struct http_header h[WEBSOCKET_N_HEADERS];
	struct websocket *ws;
	struct str protocol;
	struct stream *s;
	char *name;
	size_t n;

	if (!websocket_is_upgrade(r)) {
		err_set(e, ERR_BAD_REQUEST, "not a proper WebSocket request (version 13 is supported)");
		return NULL;
	}
	if (websocket_answer(&r->arena, &r->headers, protocols, h, &n, &protocol, e) < 0)
		return NULL;
	name = str_dup(protocol);
	s = http_upgrade(r, h, n, e);
	if (s == NULL) {
		free(name);
		return NULL;
	}
	ws = websocket_new(s, false, user, max_message);
	free(ws->protocol);
	ws->protocol = name;
	return ws;
}

size_t websocket_call_headers(
	struct arena *a, const char *protocols, struct http_header out[WEBSOCKET_N_HEADERS])
{
	unsigned char random[16];
	char *key = arena_alloc(a, 32);
	size_t n = 0;

	random_bytes(random, sizeof(random));
	EVP_EncodeBlock((unsigned char *)key, random, sizeof(random));
	out[n++] = (struct http_header){STR("Upgrade"), STR("websocket")};
	out[n++] = (struct http_header){STR("Connection"), STR("Upgrade")};
	out[n++] = (struct http_header){STR("Sec-WebSocket-Version"), STR("13")};
	out[n++] = (struct http_header){STR("Sec-WebSocket-Key"), str_from(key)};
	if (protocols != NULL)
		out[n++] = (struct http_header){STR("Sec-WebSocket-Protocol"), str_from(protocols)};
	return n;
}

int websocket_from_call(struct http_call *c, struct websocket_user *user, size_t max_message,
	struct websocket **ret, struct err *e)
{
	struct http_headers sent = {(struct http_header *)c->headers, c->n_headers};
	struct str protocol = http_call_header(c, "sec-websocket-protocol");
	struct stream *s;
	char accept[32];

	if (c->status != 101)
		return err_set(e, err_from_http(c->status),
			"the server refused the WebSocket with status %d: %.*s", c->status,
			STR_FMT(str_sub(buf_str(&c->body_in), 0, MIN(c->body_in.n, 300))));
	accept_key(http_header_get(&sent, "sec-websocket-key"), accept);
	if (!str_eqc(http_call_header(c, "sec-websocket-accept"), accept) ||
		!str_ieq(http_call_header(c, "upgrade"), STR("websocket")))
		return err_set(
			e, ERR_PROTOCOL, "the server's WebSocket answer does not fit the request");
	s = http_call_take_stream(c);
	ASSERT(s != NULL);
	*ret = websocket_new(s, true, user, max_message);
	free((*ret)->protocol);
	(*ret)->protocol = str_dup(protocol);
	return 0;
}
