# raft/ may use base/, io/, proto/ and store/.
RAFT_TEST_LIBS = libraft.a libstore.a libproto.a libio.a libbase.a $(RAFT_LIBS) $(LMDB_LIBS) $(PROTOBUFC_LIBS) \
	$(UV_LIBS) $(OPENSSL_LIBS) $(NGHTTP2_LIBS) -lpthread
RAFT_TEST_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS) $(RAFT_CFLAGS)
RAFT_TEST_COMMON = tests/unit/raft/raftest.c tests/unit/raft/raftest.h

UNIT_TESTS += tests/unit/raft/test_kv
tests_unit_raft_test_kv_SOURCES = tests/unit/raft/test_kv.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_kv_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_kv_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_wal
tests_unit_raft_test_wal_SOURCES = tests/unit/raft/test_wal.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_wal_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_wal_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_addrs
tests_unit_raft_test_addrs_SOURCES = tests/unit/raft/test_addrs.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_addrs_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_addrs_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_msg
tests_unit_raft_test_msg_SOURCES = tests/unit/raft/test_msg.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_msg_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_msg_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_transport
tests_unit_raft_test_transport_SOURCES = tests/unit/raft/test_transport.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_transport_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_transport_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_roles
tests_unit_raft_test_roles_SOURCES = tests/unit/raft/test_roles.c
tests_unit_raft_test_roles_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_roles_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_gather
tests_unit_raft_test_gather_SOURCES = tests/unit/raft/test_gather.c
tests_unit_raft_test_gather_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_gather_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_recover
tests_unit_raft_test_recover_SOURCES = tests/unit/raft/test_recover.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_recover_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_recover_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_problems
tests_unit_raft_test_problems_SOURCES = tests/unit/raft/test_problems.c
tests_unit_raft_test_problems_CFLAGS = $(RAFT_TEST_CFLAGS)
tests_unit_raft_test_problems_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/raft/test_repair
tests_unit_raft_test_repair_SOURCES = tests/unit/raft/test_repair.c $(RAFT_TEST_COMMON)
tests_unit_raft_test_repair_CFLAGS = $(RAFT_TEST_CFLAGS) $(LMDB_CFLAGS)
tests_unit_raft_test_repair_LDADD = $(RAFT_TEST_LIBS) $(CMOCKA_LIBS)
