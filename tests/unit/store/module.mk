# store/ may use base/, io/ and proto/.
STORE_TEST_LIBS = libstore.a libproto.a libio.a libbase.a $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) \
	$(NGHTTP2_LIBS) $(CMOCKA_LIBS) -lpthread
STORE_TEST_COMMON = tests/unit/store/common.c tests/unit/store/common.h
STORE_TEST_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)

UNIT_TESTS += \
	tests/unit/store/test_auth \
	tests/unit/store/test_bolt \
	tests/unit/store/test_damage \
	tests/unit/store/test_model \
	tests/unit/store/test_power \
	tests/unit/store/test_scrub \
	tests/unit/store/test_seal \
	tests/unit/store/test_snapshot \
	tests/unit/store/test_store \
	tests/unit/store/test_unpack \
	tests/unit/store/test_watch
tests_unit_store_test_auth_SOURCES = tests/unit/store/test_auth.c $(STORE_TEST_COMMON)
tests_unit_store_test_auth_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_auth_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_bolt_SOURCES = tests/unit/store/test_bolt.c $(STORE_TEST_COMMON)
tests_unit_store_test_bolt_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_bolt_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_model_SOURCES = tests/unit/store/test_model.c tests/unit/store/model.c \
	tests/unit/store/model_random.c tests/unit/store/model.h $(STORE_TEST_COMMON)
tests_unit_store_test_model_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_model_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_power_SOURCES = tests/unit/store/test_power.c $(STORE_TEST_COMMON)
tests_unit_store_test_power_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_power_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_scrub_SOURCES = tests/unit/store/test_scrub.c $(STORE_TEST_COMMON)
tests_unit_store_test_scrub_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_scrub_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_seal_SOURCES = tests/unit/store/test_seal.c $(STORE_TEST_COMMON)
tests_unit_store_test_seal_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_seal_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_snapshot_SOURCES = tests/unit/store/test_snapshot.c $(STORE_TEST_COMMON)
tests_unit_store_test_snapshot_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_snapshot_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_store_SOURCES = tests/unit/store/test_store.c $(STORE_TEST_COMMON)
tests_unit_store_test_store_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_store_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_watch_SOURCES = tests/unit/store/test_watch.c $(STORE_TEST_COMMON)
tests_unit_store_test_watch_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_watch_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_damage_SOURCES = tests/unit/store/test_damage.c $(STORE_TEST_COMMON)
tests_unit_store_test_damage_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_damage_LDADD = $(STORE_TEST_LIBS)
tests_unit_store_test_unpack_SOURCES = tests/unit/store/test_unpack.c $(STORE_TEST_COMMON)
tests_unit_store_test_unpack_CFLAGS = $(STORE_TEST_CFLAGS)
tests_unit_store_test_unpack_LDADD = $(STORE_TEST_LIBS)
