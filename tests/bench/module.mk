# Measurements: built by `make check`, run by hand.
check_PROGRAMS += tests/bench/store_bench
tests_bench_store_bench_SOURCES = tests/bench/store_bench.c
tests_bench_store_bench_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_bench_store_bench_LDADD = libstore.a libproto.a libio.a libbase.a $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(UV_LIBS) \
	$(OPENSSL_LIBS) $(NGHTTP2_LIBS) -lpthread
check_PROGRAMS += tests/bench/kv_bench
tests_bench_kv_bench_SOURCES = tests/bench/kv_bench.c
tests_bench_kv_bench_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
tests_bench_kv_bench_LDADD = libraft.a libstore.a libproto.a libio.a libbase.a $(RAFT_LIBS) $(LMDB_LIBS) \
	$(PROTOBUFC_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(NGHTTP2_LIBS) -lpthread
check_PROGRAMS += tests/bench/http_bench
tests_bench_http_bench_SOURCES = tests/bench/http_bench.c
tests_bench_http_bench_LDADD = $(IO_LIBS)
check_PROGRAMS += tests/bench/etcd_load
tests_bench_etcd_load_SOURCES = tests/bench/etcd_load.c tests/bench/h2_unary.c tests/bench/h2_unary.h
tests_bench_etcd_load_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_bench_etcd_load_LDADD = libproto.a libio.a libbase.a $(PROTOBUFC_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(NGHTTP2_LIBS) \
	-lpthread
# The API over TLS; needs tests/lib/apiserver_run.
check_PROGRAMS += tests/bench/api_bench
tests_bench_api_bench_SOURCES = tests/bench/api_bench.c
tests_bench_api_bench_LDADD = $(IO_LIBS)
