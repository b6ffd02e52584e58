/*
 * The inside of struct stream, shared by stream.c (its life, reading), stream_write.c, stream_tls.c
 * (the TLS layer), connect.c and listener.c.
 *
 *	stream_write -> chunks (plain) -> [TLS: encrypted, at most WIRE_MAX ahead, into wire_next ->
 * wire] -> kernel kernel -> loop_scratch -> [TLS: decrypted into loop__plain] -> user->on_data
 *
 * All that must not happen inside a call (done callbacks, delivery of kept bytes, errors) is marked
 * on the stream and done by stream__kick's timer in the next turn.
 */
#ifndef IO_STREAM_PRIV_H
#define IO_STREAM_PRIV_H

#include <openssl/ssl.h>
#include <uv.h>

#include "base/arena.h"
#include "io/stream.h"
#include "io/tls.h"
#include "io/x509.h"

/* Plain bytes on their way out. */
struct chunk {
	struct chunk *next;
	char *p; /* behind this struct, or memory taken from a buf */
	size_t n, off;
	bool taken;
};

struct tls_peer {
	struct arena arena;
	struct x509_info info;
	bool present;
};

struct tls_state {
	SSL *ssl;
	bool server;
	bool handshaken;
	bool close_notify_sent;
	bool got_close_notify;
	struct str in; /* ciphertext not yet given to OpenSSL; points into loop_scratch or `kept` */
	struct buf kept;       /* ciphertext that waits while reading is stopped */
	struct buf wire_next;  /* ciphertext not yet given to the kernel */
	uint64_t encrypted;    /* plain bytes in wire and wire_next, counted from the start */
	struct tls_peer *peer; /* made on the first question */
	char alpn[16];
};

struct stream {
	struct loop *loop;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	struct stream_user *user;
	struct tls_state *tls; /* NULL: plain */

	/* Out. accepted >= flushed; their difference is queued. */
	struct chunk *out_head, **out_tail;
	uint64_t accepted, flushed;
	struct stream_write *w_head, **w_tail;
	struct stream_write *failed_head,
		**failed_tail; /* refused; done with an error in the next turn */
	struct buf wire;       /* TLS: ciphertext that uv_write has */
	uv_write_t write_req;
	size_t write_size;
	uv_shutdown_t shutdown_req;

	/* In. */
	struct buf unread;

	struct err *why; /* what broke it */
	struct loop_timer kick;
	struct loop_timer linger;
	char *peer_address;

	/* Runs once the handshake has ended, with NULL or the reason; set by connect.c and
	 * listener.c. */
	void (*on_handshake)(struct stream *, void *arg, const struct err *);
	void *handshake_arg;

	void (*close_cb)(void *arg);
	void *close_arg;

	bool reading;    /* the user wants bytes */
	bool uv_reading; /* libuv reads */
	bool writing;    /* write_req is out */
	bool drain_due;  /* the user saw queued bytes and has not been told that they left */
	bool shut;       /* stream_shutdown was called */
	bool shut_sent;  /* and uv_shutdown too */
	bool shut_done;
	bool eof;    /* the peer ended in good order; told when ended */
	bool ended;  /* on_end was called */
	bool broken; /* no more I/O */
	bool closing;
	bool lingering; /* stream_close_flushed */
};

/* A stream around an initialised handle that is yet to be opened. */
struct stream *stream__new(struct loop *, bool tcp);
void stream__tcp_options(int fd);
/* Put TLS on a connected stream and shake hands; `on_handshake` is called later, in no call of the
 * user. */
void stream__tls_start(struct stream *, struct tls_ctx *, const char *server_name,
	void (*on_handshake)(struct stream *, void *arg, const struct err *), void *arg);
void stream__tls_free(struct tls_state *);
/* Decrypt and deliver as long as the user reads. */
void stream__tls_input(struct stream *);
/* Encrypt queued chunks into wire_next, up to a bound. False: the stream broke. */
bool stream__tls_encrypt(struct stream *);
void stream__tls_close_notify(struct stream *);
/* Deliver bytes to the user, if there is one that reads. */
void stream__deliver(struct stream *, struct str bytes);
void stream__eof(struct stream *);
void stream__break(struct stream *, enum err_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void stream__break_uv(struct stream *, int uv_code, const char *what);
void stream__kick(struct stream *);
/* Tell the writers whose bytes have left, or never will. */
void stream__run_writers(struct stream *);
void stream__flush(struct stream *);
/* Start or stop libuv's reading as wanted. */
void stream__update_reading(struct stream *);
void stream__chunk_consumed(struct stream *, size_t size);

#endif
