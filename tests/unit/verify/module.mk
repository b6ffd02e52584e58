# verify/ may use base/ and proto/.
VERIFY_TEST_LIBS = libverify.a libproto.a libbase.a $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/verify/test_linear tests/unit/verify/test_watch
tests_unit_verify_test_linear_SOURCES = tests/unit/verify/test_linear.c tests/unit/verify/by_hand.c tests/unit/verify/by_hand.h
tests_unit_verify_test_linear_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_verify_test_linear_LDADD = $(VERIFY_TEST_LIBS)
tests_unit_verify_test_watch_SOURCES = tests/unit/verify/test_watch.c tests/unit/verify/by_hand.c tests/unit/verify/by_hand.h
tests_unit_verify_test_watch_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_verify_test_watch_LDADD = $(VERIFY_TEST_LIBS)
