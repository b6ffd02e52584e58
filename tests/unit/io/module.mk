UNIT_TESTS += \
	tests/unit/io/test_grpc \
	tests/unit/io/test_http \
	tests/unit/io/test_http_chaos \
	tests/unit/io/test_jws \
	tests/unit/io/test_listen \
	tests/unit/io/test_loop \
	tests/unit/io/test_process \
	tests/unit/io/test_stream \
	tests/unit/io/test_websocket \
	tests/unit/io/test_x509
tests_unit_io_test_loop_SOURCES = tests/unit/io/test_loop.c tests/unit/io/iotest.h
tests_unit_io_test_loop_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_loop_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_stream_SOURCES = tests/unit/io/test_stream.c tests/unit/io/iotest.h
tests_unit_io_test_stream_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_stream_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_jws_SOURCES = tests/unit/io/test_jws.c
tests_unit_io_test_jws_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_jws_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_x509_SOURCES = tests/unit/io/test_x509.c tests/unit/io/iotest.h
tests_unit_io_test_x509_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_x509_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_http_SOURCES = tests/unit/io/test_http.c tests/unit/io/iotest.h
tests_unit_io_test_http_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_http_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_grpc_SOURCES = tests/unit/io/test_grpc.c tests/unit/io/iotest.h
tests_unit_io_test_grpc_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_grpc_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_process_SOURCES = tests/unit/io/test_process.c tests/unit/io/iotest.h
tests_unit_io_test_process_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_process_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_websocket_SOURCES = tests/unit/io/test_websocket.c tests/unit/io/iotest.h
tests_unit_io_test_websocket_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_websocket_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_listen_SOURCES = tests/unit/io/test_listen.c tests/unit/io/iotest.h
tests_unit_io_test_listen_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_listen_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
tests_unit_io_test_http_chaos_SOURCES = tests/unit/io/test_http_chaos.c tests/unit/io/iotest.h
tests_unit_io_test_http_chaos_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_http_chaos_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/io/test_balancer
tests_unit_io_test_balancer_SOURCES = tests/unit/io/test_balancer.c
tests_unit_io_test_balancer_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_balancer_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/io/test_balancer_race
tests_unit_io_test_balancer_race_SOURCES = tests/unit/io/test_balancer_race.c
tests_unit_io_test_balancer_race_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_balancer_race_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/io/test_health
tests_unit_io_test_health_SOURCES = tests/unit/io/test_health.c
tests_unit_io_test_health_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_io_test_health_LDADD = $(IO_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/io/test_spdy
tests_unit_io_test_spdy_SOURCES = tests/unit/io/test_spdy.c
tests_unit_io_test_spdy_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(UV_CFLAGS)
tests_unit_io_test_spdy_LDADD = $(IO_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS) -lpthread
