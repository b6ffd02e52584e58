# verify/ may use base/ and proto/.
UNIT_TESTS += tests/unit/verify/test_verify
tests_unit_verify_test_verify_SOURCES = tests/unit/verify/test_verify.c
tests_unit_verify_test_verify_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_verify_test_verify_LDADD = libverify.a libproto.a libbase.a $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
