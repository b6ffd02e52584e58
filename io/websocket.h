/*
 * struct websocket: RFC 6455 framing over a stream, after an upgrade; both sides.
 *
 * Fragments are joined: the user sees whole messages up to max_message. Pings are answered, a close
 * frame too. Client frames are masked and a server insists on it. No extensions. UTF-8 of text
 * messages is checked.
 *
 *	server: in on_request, if websocket_is_upgrade(req):
 *		struct websocket *ws = websocket_accept(req, "v5.channel.k8s.io,v4.channel.k8s.io",
 * &me->user, 0, e); client: websocket_call_headers() gives the headers for an http_call with
 * .upgrade = true; in its done websocket_from_call(call, &me->user, 0, &ws, e)
 *
 * on_close comes at most once, as the last callback but done of writes; then the user calls
 * websocket_close. Callbacks never run inside a call.
 */
#ifndef IO_WEBSOCKET_H
#define IO_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"

struct websocket;

struct websocket_user {
	/* One message, borrowed. */
	void (*on_message)(
		struct websocket_user *, struct websocket *, struct str message, bool binary);
	/* The peer closed (code from its frame, 1005: none given) or the stream broke (1006). */
	void (*on_close)(struct websocket_user *, struct websocket *, int code, struct str reason);
};

#define WEBSOCKET_MAX_MESSAGE (4 << 20) /* default */

bool websocket_is_upgrade(const struct http_request *);
/*
 * Answer 101 and take the connection over. `protocols`: comma separated, the first that the client
 * offers too is chosen (ours in order); NULL or none offered: no protocol; offered but none
 * matches: -error, the request is still the caller's.
 */
struct websocket *websocket_accept(struct http_request *, const char *protocols,
	struct websocket_user *, size_t max_message, struct err *);

#define WEBSOCKET_N_HEADERS 5
/*
 * The same for who has a request in another form, and upgrades and calls websocket_new himself: the headers of the 101 and the
 * protocol chosen ("" for none). Strings live in the arena or are the request's.
 */
int websocket_answer(struct arena *, const struct http_headers *request, const char *protocols,
	struct http_header out[WEBSOCKET_N_HEADERS], size_t *ret_n, struct str *ret_protocol, struct err *);

/* Client: headers for the upgrade; strings live in the arena. `protocols` may be NULL. */
size_t websocket_call_headers(
	struct arena *, const char *protocols, struct http_header out[WEBSOCKET_N_HEADERS]);
/* Check the answer against the key sent, and take the stream. */
int websocket_from_call(struct http_call *, struct websocket_user *, size_t max_message,
	struct websocket **ret, struct err *);
/* Over any stream; the websocket owns it. */
struct websocket *websocket_new(
	struct stream *, bool client, struct websocket_user *, size_t max_message);

/* "" when none was agreed on. */
const char *websocket_protocol(const struct websocket *);
/* One message in one frame; copied. `w` may be NULL. */
void websocket_send(struct websocket *, struct str message, bool binary, struct stream_write *w);
/* Two pieces in one message: the channel byte and its data. */
void websocket_send2(
	struct websocket *, struct str head, struct str tail, bool binary, struct stream_write *w);
void websocket_ping(struct websocket *);
size_t websocket_queued(const struct websocket *);
void websocket_read_stop(struct websocket *);
void websocket_read_start(struct websocket *);
/* Sends a close frame (unless one went out), flushes for a few seconds, closes, frees. No callbacks
 * but done of writes. */
void websocket_close(struct websocket *, int code, const char *reason);

/*
 * The decoder alone, fuzzed: all-zero is the start (set the first three members).
 */
struct ws_decoder {
	bool client;        /* we are the client: frames must not be masked */
	size_t max_message; /* must be set */
	struct buf message; /* payload so far; limit is set by us */
	uint8_t head[14];
	uint8_t n_head;
	uint8_t opcode; /* of the message under way; 0: none */
	bool in_payload;
	uint8_t frame_opcode;
	bool frame_fin;
	uint64_t left; /* payload bytes to come */
	uint32_t mask_at;
	uint8_t mask[4];
	uint8_t control[125];
	uint8_t n_control;
};
/* What ws_decode found: a whole message or a control frame (1 text, 2 binary, 8 close, 9 ping, 10
 * pong). */
struct ws_event {
	int opcode;
	struct str payload; /* borrowed until the next call */
};
/*
 * Consume from *bytes (advanced); returns 1 with an event, 0 when more bytes are needed, or the
 * negative close code to send (-1002 protocol, -1007 bad UTF-8, -1009 too big).
 */
int ws_decode(struct ws_decoder *, struct str *bytes, struct ws_event *ret);
void ws_decoder_fini(struct ws_decoder *);

#endif
