/* The TLS layer of a stream: OpenSSL between two memory ends, see stream-priv.h. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/io-priv.h"
#include "io/stream-priv.h"
#include "io/tls-priv.h"

/* Encrypt no further ahead of the kernel than this. */
#define WIRE_MAX 65536

/* A BIO that reads from tls_state.in and writes to tls_state.wire_next, so that no byte is copied
 * twice. */

static int bio_read(BIO *b, char *p, size_t size, size_t *ret)
{
	struct tls_state *t = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (t->in.n == 0) {
		BIO_set_retry_read(b);
		return 0;
	}
	*ret = MIN(size, t->in.n);
	memcpy(p, t->in.p, *ret);
	t->in = str_skip(t->in, *ret);
	return 1;
}

static int bio_write(BIO *b, const char *p, size_t size, size_t *ret)
{
	struct tls_state *t = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	buf_add(&t->wire_next, p, size);
	*ret = size;
	return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *p)
{
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kontiki stream");
	ASSERT(bio_method != NULL);
	BIO_meth_set_read_ex(bio_method, bio_read);
	BIO_meth_set_write_ex(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static BIO *new_bio(struct tls_state *t)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *b;

	pthread_once(&once, make_bio_method);
	b = BIO_new(bio_method);
	ASSERT(b != NULL);
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	return b;
}

static void set_server_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	struct in6_addr any;

	if (name == NULL || name[0] == '\0')
		return;
	if (uv_inet_pton(AF_INET, name, &any) == 0 || uv_inet_pton(AF_INET6, name, &any) == 0) {
		X509_VERIFY_PARAM_set1_ip_asc(param, name);
		return;
	}
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	X509_VERIFY_PARAM_set1_host(param, name, 0);
	SSL_set_tlsext_host_name(ssl, name);
}

void stream__tls_start(struct stream *s, struct tls_ctx *ctx, const char *server_name,
	void (*on_handshake)(struct stream *, void *arg, const struct err *), void *arg)
{
	struct tls_state *t = xcalloc(1, sizeof(*t));
	BIO *b;

	t->ssl = tls__ssl_new(ctx);
	t->server = tls__is_server(ctx);
	buf_init(&t->kept, BUF_NO_LIMIT);
	buf_init(&t->wire_next, BUF_NO_LIMIT);
	b = new_bio(t);
	SSL_set_bio(t->ssl, b, b);
	s->tls = t;
	s->on_handshake = on_handshake;
	s->handshake_arg = arg;
	if (t->server) {
		SSL_set_accept_state(t->ssl);
	} else {
		SSL_set_connect_state(t->ssl);
		set_server_name(t->ssl, server_name);
		stream__kick(s); /* the first flight */
	}
	stream__update_reading(s);
}

void stream__tls_free(struct tls_state *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	buf_fini(&t->kept);
	buf_fini(&t->wire_next);
	if (t->peer != NULL)
		arena_fini(&t->peer->arena);
	free(t->peer);
	free(t);
}

static void tls_broke(struct stream *s, const char *doing)
{
	char text[160];
	long verify = SSL_get_verify_result(s->tls->ssl);
	bool verify_error =
		ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;

	tls__error_text(text, sizeof(text));
	stream__flush(s); /* the alert that tells the peer */
	if (verify_error && verify != X509_V_OK)
		stream__break(s, ERR_UNAVAILABLE,
			"tls: %s: the peer's certificate was not accepted: %s", doing,
			X509_verify_cert_error_string(verify));
	else
		stream__break(s, ERR_UNAVAILABLE, "tls: %s: %s", doing, text);
}

/* SSL_get_error believes what is in the queue of errors. It is nearly always empty, and emptying it
 * costs more than looking. */
static void no_errors(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

/* False when there is nothing more to do for now. */
static bool handshake(struct stream *s)
{
	struct tls_state *t = s->tls;
	void (*cb)(struct stream *, void *, const struct err *);
	const unsigned char *alpn;
	unsigned n;
	int rv;

	no_errors();
	rv = SSL_do_handshake(t->ssl);
	if (rv != 1 && SSL_get_error(t->ssl, rv) != SSL_ERROR_WANT_READ) {
		tls_broke(s, "handshake");
		return false;
	}
	stream__flush(s);
	if (rv != 1 || s->broken)
		return false;
	t->handshaken = true;
	SSL_get0_alpn_selected(t->ssl, &alpn, &n);
	if (n > 0 && n < sizeof(t->alpn))
		memcpy(t->alpn, alpn, n);
	cb = TAKE(s->on_handshake);
	cb(s, s->handshake_arg, NULL);
	return true;
}

/* False when OpenSSL wants more input, or the stream is over. */
static bool read_some(struct stream *s)
{
	struct tls_state *t = s->tls;
	char *p = loop__plain(s->loop);
	size_t n = 0;
	int rv;

	no_errors();
	rv = SSL_read_ex(t->ssl, p, LOOP_PLAIN_SIZE, &n);
	if (rv == 1) {
		stream__deliver(s, str_of(p, n));
		return true;
	}
	switch (SSL_get_error(t->ssl, rv)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		break;
	case SSL_ERROR_ZERO_RETURN:
		t->got_close_notify = true;
		stream__eof(s);
		break;
	default:
		tls_broke(s, "read");
	}
	return false;
}

void stream__tls_input(struct stream *s)
{
	struct tls_state *t = s->tls;
	struct buf held = t->kept;

	buf_init(&t->kept, BUF_NO_LIMIT);
	if (held.n > 0) {
		buf_adds(&held, t->in);
		t->in = buf_str(&held);
	}
	if (!t->handshaken && handshake(s))
		stream__update_reading(s);
	/* Bytes put back by stream_unread are older than ours: on_kick delivers them first. When none
	 * are left OpenSSL need not be asked. */
	while (t->handshaken && (t->in.n > 0 || SSL_has_pending(t->ssl)) && s->reading &&
		s->unread.n == 0 && !t->got_close_notify && !s->broken && !s->closing)
		if (!read_some(s))
			break;
	buf_adds(&t->kept, t->in);
	t->in = STR_NULL;
	buf_fini(&held);
	if (!s->closing && t->wire_next.n > 0)
		stream__flush(s);
}

bool stream__tls_encrypt(struct stream *s)
{
	struct tls_state *t = s->tls;

	while (t->handshaken && !t->close_notify_sent && s->out_head != NULL &&
		t->wire_next.n < WIRE_MAX) {
		struct chunk *c = s->out_head;
		size_t n = 0;
		int rv;

		no_errors();
		rv = SSL_write_ex(t->ssl, c->p + c->off, c->n - c->off, &n);
		if (rv != 1) {
			rv = SSL_get_error(t->ssl, rv);
			if (rv == SSL_ERROR_WANT_READ || rv == SSL_ERROR_WANT_WRITE)
				return true;
			tls_broke(s, "write");
			return false;
		}
		t->encrypted += n;
		stream__chunk_consumed(s, n);
	}
	return true;
}

void stream__tls_close_notify(struct stream *s)
{
	s->tls->close_notify_sent = true;
	if (!s->tls->handshaken)
		return;
	ERR_clear_error();
	SSL_shutdown(s->tls->ssl);
	ERR_clear_error();
}

const char *stream_alpn(const struct stream *s)
{
	return s->tls ? s->tls->alpn : "";
}

const struct x509_info *stream_peer_cert(struct stream *s)
{
	struct tls_state *t = s->tls;
	unsigned char *der = NULL;
	X509 *x;
	int n;

	if (t == NULL)
		return NULL;
	if (t->peer == NULL) {
		t->peer = xcalloc(1, sizeof(*t->peer));
		arena_init(&t->peer->arena);
		x = SSL_get1_peer_certificate(t->ssl);
		n = x ? i2d_X509(x, &der) : 0;
		t->peer->present = n > 0 && x509_info_from_der(str_of(der, (size_t)n),
						    &t->peer->arena, &t->peer->info, NULL) == 0;
		OPENSSL_free(der);
		X509_free(x);
	}
	return t->peer->present ? &t->peer->info : NULL;
}

bool stream_peer_verified(const struct stream *s)
{
	return s->tls != NULL && s->tls->handshaken &&
	       SSL_get0_peer_certificate(s->tls->ssl) != NULL &&
	       SSL_get_verify_mode(s->tls->ssl) != SSL_VERIFY_NONE &&
	       !tls__verify_failed(s->tls->ssl) && SSL_get_verify_result(s->tls->ssl) == X509_V_OK;
}
