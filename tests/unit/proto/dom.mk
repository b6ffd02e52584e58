# Tests of what works on the JSON tree.
UNIT_TESTS += tests/unit/proto/test_json
tests_unit_proto_test_json_SOURCES = tests/unit/proto/test_json.c
tests_unit_proto_test_json_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_json_LDADD = libproto.a libbase.a $(CMOCKA_LIBS) -lm
