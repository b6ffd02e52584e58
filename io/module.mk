# io/: libuv, OpenSSL, nghttp2 over base/.
noinst_LIBRARIES += libio.a
libio_a_CPPFLAGS = $(AM_CPPFLAGS) $(UV_CFLAGS) $(OPENSSL_CFLAGS) $(NGHTTP2_CFLAGS)
libio_a_SOURCES = \
	io/balancer.c io/balancer.h io/balancer-priv.h \
	io/balancer_conn.c \
	io/connect.c \
	io/grpc.c io/grpc.h \
	io/grpc_server.c \
	io/health.c io/health.h \
	io/http.c io/http.h io/http-priv.h io/http_priv.c \
	io/http_client.c io/http_client.h io/http_client-priv.h \
	io/http_call.c \
	io/http_client_h1.c \
	io/http_client_h2.c \
	io/http1.c io/http1.h \
	io/http_server.c io/http_server.h io/http_server-priv.h \
	io/http_server_h1.c \
	io/http_server_h2.c \
	io/http_server_req.c \
	io/io-priv.h \
	io/listener.c \
	io/loop.c io/loop.h \
	io/process.c io/process.h \
	io/process_run.c \
	io/spdy.c io/spdy.h \
	io/splice.c io/splice.h \
	io/stream.c io/stream.h io/stream-priv.h \
	io/stream_owner.c io/stream_tls.c io/stream_write.c \
	io/supervisor.c \
	io/tls.c io/tls.h io/tls-priv.h \
	io/websocket.c io/websocket.h \
	io/aead.c io/aead.h \
	io/jws.c io/jws.h \
	io/x509.c io/x509.h io/x509-priv.h \
	io/x509_info.c io/x509_key.c io/x509_sign.c
IO_LIBS = libio.a libbase.a $(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(UV_LIBS)
