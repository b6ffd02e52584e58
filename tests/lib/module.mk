# Programs and helpers that tests share.
check_PROGRAMS += tests/lib/apiserver_run
tests_lib_apiserver_run_SOURCES = tests/lib/apiserver_run.c tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_lib_apiserver_run_CFLAGS = $(KT_CFLAGS) $(UV_CFLAGS) $(PROTOBUFC_CFLAGS)
APISERVER_LIBS = libapiserver.a libclient.a libraft.a libstore.a libproto.a libio.a libbase.a \
	$(RAFT_LIBS) $(LMDB_LIBS) $(YAML_LIBS) $(PROTOBUFC_LIBS) $(NGHTTP2_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(ZLIB_LIBS) \
	$(PCRE2_LIBS) -lpthread -lm
tests_lib_apiserver_run_LDADD = $(APISERVER_LIBS)
