# io/: libuv, OpenSSL, nghttp2 over base/.
noinst_LIBRARIES += libio.a
libio_a_CPPFLAGS = $(AM_CPPFLAGS) $(UV_CFLAGS) $(OPENSSL_CFLAGS) $(NGHTTP2_CFLAGS)
libio_a_SOURCES = \
	io/balancer.c io/balancer.h \
	io/grpc.h \
	io/http.c io/http.h \
	io/http_client.h \
	io/http_server.h \
	io/loop.h \
	io/process.h \
	io/splice.c io/splice.h \
	io/stream.h \
	io/tls.h \
	io/websocket.h \
	io/x509.h
IO_LIBS = libio.a libbase.a $(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(UV_LIBS)
