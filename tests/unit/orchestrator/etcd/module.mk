# The etcd API's unit tests: pure parts alone, and a whole server of one member in this process.
ETCD_LIBS = libetcd.a libraft.a libstore.a libproto.a libio.a libbase.a \
	$(RAFT_LIBS) $(LMDB_LIBS) $(YAML_LIBS) $(PROTOBUFC_LIBS) $(NGHTTP2_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(ZLIB_LIBS) \
	$(PCRE2_LIBS) -lcrypt -lpthread -lm
UNIT_TESTS += \
	tests/unit/orchestrator/etcd/test_etcd_admin \
	tests/unit/orchestrator/etcd/test_etcd_behind \
	tests/unit/orchestrator/etcd/test_etcd_pure \
	tests/unit/orchestrator/etcd/test_etcd_server \
	tests/unit/orchestrator/etcd/test_etcd_kubernetes
tests_unit_orchestrator_etcd_test_etcd_admin_SOURCES = tests/unit/orchestrator/etcd/test_etcd_admin.c \
	tests/unit/orchestrator/etcd/etcd_rig.c tests/unit/orchestrator/etcd/etcd_rig.h
tests_unit_orchestrator_etcd_test_etcd_admin_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_etcd_test_etcd_admin_LDADD = $(ETCD_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_etcd_test_etcd_admin_OBJECTS): | $(PROTO_PB_H)
tests_unit_orchestrator_etcd_test_etcd_behind_SOURCES = tests/unit/orchestrator/etcd/test_etcd_behind.c tests/unit/raft/raftest.c tests/unit/raft/raftest.h \
	tests/unit/orchestrator/etcd/etcd_rig.c tests/unit/orchestrator/etcd/etcd_rig.h
tests_unit_orchestrator_etcd_test_etcd_behind_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_etcd_test_etcd_behind_LDADD = $(ETCD_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_etcd_test_etcd_behind_OBJECTS): | $(PROTO_PB_H)
tests_unit_orchestrator_etcd_test_etcd_pure_SOURCES = tests/unit/orchestrator/etcd/test_etcd_pure.c
tests_unit_orchestrator_etcd_test_etcd_pure_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_etcd_test_etcd_pure_LDADD = $(ETCD_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_etcd_test_etcd_server_SOURCES = tests/unit/orchestrator/etcd/test_etcd_server.c \
	tests/unit/orchestrator/etcd/etcd_rig.c tests/unit/orchestrator/etcd/etcd_rig.h
tests_unit_orchestrator_etcd_test_etcd_server_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_etcd_test_etcd_server_LDADD = $(ETCD_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_etcd_test_etcd_kubernetes_SOURCES = tests/unit/orchestrator/etcd/test_etcd_kubernetes.c \
	tests/unit/orchestrator/etcd/etcd_rig.c tests/unit/orchestrator/etcd/etcd_rig.h
tests_unit_orchestrator_etcd_test_etcd_kubernetes_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_etcd_test_etcd_kubernetes_LDADD = $(ETCD_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_etcd_test_etcd_pure_OBJECTS) $(tests_unit_orchestrator_etcd_test_etcd_server_OBJECTS) \
$(tests_unit_orchestrator_etcd_test_etcd_kubernetes_OBJECTS): | $(PROTO_PB_H)
