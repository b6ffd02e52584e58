/*
 * struct stream: a byte stream over TCP, a unix socket or TLS; struct listener: where they come
 * from.
 *
 * A stream belongs to one loop. Its user embeds a struct stream_user and is told of bytes and of
 * the end:
 *
 *	stream_start(s, &me->user)          bytes come to user->on_data until stream_read_stop;
 * back-pressure is the kernel's: nothing is read while stopped stream_write(s, bytes, NULL) copies;
 * goes out at once as far as the kernel takes it; stream_queued() says what waits (plain bytes), and
 * the writer is expected to heed it stream_shutdown(s)                  ends our direction when all
 * queued has left (TLS close_notify, then FIN) stream_close(s, cb)                 drops the stream;
 * what is queued is lost; cb is the last call, then the memory is gone
 *
 * on_end comes at most once: with NULL for a clean end of the peer's direction, or with the error
 * that broke the stream. It does not close the stream. Neither on_data nor on_end nor a write's done
 * ever runs inside a call to the stream; after stream_close only outstanding done callbacks
 * (-ERR_CANCELED) and the close callback come. Closing in any callback is allowed.
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

struct stream;
struct tls_ctx;
struct x509_info;

struct stream_user {
	/* The bytes are borrowed for the call, and all of them are the user's now. */
	void (*on_data)(struct stream_user *, struct stream *, struct str bytes);
	/* why == NULL: the peer ended its direction in good order. */
	void (*on_end)(struct stream_user *, struct stream *, const struct err *why);
	/* Optional: queued bytes fell to zero, after there were some. */
	void (*on_drain)(struct stream_user *, struct stream *);
};

/* One write that wants to know. Embedded; must live until done. */
struct stream_write {
	void (*done)(
		struct stream_write *, int status); /* 0: the kernel has the bytes; else -ERR_... */
	struct stream_write *next;                  /* the stream's */
	uint64_t mark;                              /* the stream's */
};

/*
 * Connecting. Fill the inputs, call stream_connect; done runs once with a stream (after the TLS
 * handshake), which is the caller's to close, or with NULL and the error. The request must live
 * until then.
 */
struct stream_connect {
	struct loop *loop;
	/* "127.0.0.1:6443", "[::1]:80", "localhost:80", "name:443" (resolved), "unix:/run/x.sock"
	 * or "/run/x.sock". Copied. */
	const char *address;
	/* Network namespace in which the socket is made; 0 or -1: the thread's own. Borrowed until
	 * done. */
	int netns_fd;
	/* NULL: plain. */
	struct tls_ctx *tls;
	/* Name to verify in the server's certificate and to send as SNI; NULL: the host of the
	 * address. Copied. */
	const char *server_name;
	/* Protocols to offer instead of the context's, "http/1.1"; NULL: the context's. Must be
	 * static. */
	const char *alpn;
	/* Over all of resolve, connect and handshake; 0: 10 s. */
	uint64_t timeout_ms;
	void (*done)(struct stream_connect *, struct stream *, const struct err *);
	/* Out: the last address refused: its host is up, and nothing listens there. */
	bool refused;

	void *priv; /* ours while it runs */
};
void stream_connect(struct stream_connect *);
/* done runs later with ERR_CANCELED. Nothing to do when done has run. */
void stream_connect_cancel(struct stream_connect *);

/* Adopt a connected stream socket (TCP, unix or one of a socketpair); the stream owns it, also on
 * failure. */
int stream_from_fd(struct loop *, int fd, struct stream **ret, struct err *);

/* Set or change the user and start reading. Bytes put back by stream_unread come first. */
void stream_start(struct stream *, struct stream_user *);
void stream_read_stop(struct stream *);
/* As stream_start with the user of before. */
void stream_read_start(struct stream *);
/* Put bytes back in front of what is to be read: for handing a stream on. Reading must be stopped.
 */
void stream_unread(struct stream *, struct str bytes);

/* `w` may be NULL. On a broken, shut down or closed stream the bytes are dropped, and done gets an
 * error. */
void stream_write(struct stream *, struct str bytes, struct stream_write *w);
/* Several pieces as one write. */
void stream_writev(struct stream *, const struct str *pieces, size_t n, struct stream_write *w);
/* Takes the buf's memory instead of copying; the buf is empty afterwards. For large bodies. */
void stream_write_take(struct stream *, struct buf *, struct stream_write *w);
/* Bytes written by the user that the kernel does not have yet. */
size_t stream_queued(const struct stream *);
/* Half-close after all that is queued. */
void stream_shutdown(struct stream *);
/* cb may be NULL. */
void stream_close(struct stream *, void (*cb)(void *arg), void *arg);
/* As stream_close, but first sends what is queued and ends in good order, for at most ms. Reads
 * nothing any more. */
void stream_close_flushed(struct stream *, uint64_t ms);

struct loop *stream_loop(const struct stream *);
bool stream_is_tls(const struct stream *);
/* "h2", "http/1.1", or "" when ALPN chose nothing. */
const char *stream_alpn(const struct stream *);
/* The peer's certificate; NULL: it sent none or the stream is plain. Lives as long as the stream.
 */
const struct x509_info *stream_peer_cert(struct stream *);
/* True when that certificate chains to the context's CA pool and is valid. */
bool stream_peer_verified(const struct stream *);
/* "10.0.0.1:4711", "unix:", "" when unknown. Lives as long as the stream. */
const char *stream_peer_address(struct stream *);
/*
 * The user whose process has the other end, when that is on this machine and in the calling thread's network namespace
 * (a unix socket, a loopback connection). 0 or -errno: -ENOENT when the kernel knows no such socket.
 */
int stream_peer_uid(const struct stream *, uid_t *ret);
/* The socket, for getsockopt and the like. */
int stream_fd(const struct stream *);

/* Listening. The config is copied where needed. */
struct listener;
struct listener_user {
	/* A new stream (after the TLS handshake, if there is one): the user's to start and close.
	 */
	void (*on_stream)(struct listener_user *, struct stream *);
};
struct listener_config {
	/* "127.0.0.1:0", ":6443" and "*:6443" (all addresses), "[::1]:80", "unix:/path" (an old
	 * socket file is replaced). */
	const char *address;
	/* A listening or bound socket to use instead, > 0; the listener owns it. */
	int fd;
	/* Namespace in which the socket is made; 0 or -1: the thread's own. */
	int netns_fd;
	/* Let several listeners (one a loop) share the port. */
	bool reuseport;
	struct tls_ctx *tls;           /* NULL: plain; a reference is taken */
	uint64_t handshake_timeout_ms; /* 0: 10 s */
	unsigned
		max_handshakes; /* handshakes at one time; 0: 1024. Accepting pauses at the limit */
	unsigned mode;          /* permission bits of a unix socket file; 0: 0600 */
};
/* -ERR_ALREADY_EXISTS when the address is in use; the text says what to do. */
int listener_open(struct loop *, const struct listener_config *, struct listener_user *,
	struct listener **ret, struct err *);
/*
 * Whether nobody else listens on the address: listeners that share a port (reuseport) would join a
 * stranger's without a word. The same errors as listener_open.
 */
int listener_probe(const struct listener_config *, struct err *);
/* The TCP port, also when the kernel chose it; 0 for a unix socket. */
uint16_t listener_port(const struct listener *);
/* Stops at once; cb (may be NULL) is the last call. Handshakes under way are dropped; a unix socket
 * file is removed. */
void listener_close(struct listener *, void (*cb)(void *arg), void *arg);

/*
 * Make a socket in a network namespace: the calling thread switches there and back; if it cannot
 * get back the process aborts, because code would go on in the wrong network. netns_fd <= 0: plain
 * socket(2). Returns the fd or -errno.
 */
int socket_in_netns(int netns_fd, int domain, int type, int protocol);

#endif
