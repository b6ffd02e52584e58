# Tests of what works on the JSON tree.
DOM_TEST_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
DOM_TEST_LIBS = libproto.a libbase.a $(YAML_LIBS) $(PROTOBUFC_LIBS) $(CMOCKA_LIBS) -lm
UNIT_TESTS += tests/unit/proto/test_json
tests_unit_proto_test_json_SOURCES = tests/unit/proto/test_json.c
tests_unit_proto_test_json_CFLAGS = $(DOM_TEST_CFLAGS)
tests_unit_proto_test_json_LDADD = $(DOM_TEST_LIBS)
UNIT_TESTS += tests/unit/proto/test_yaml
tests_unit_proto_test_yaml_SOURCES = tests/unit/proto/test_yaml.c
tests_unit_proto_test_yaml_CFLAGS = $(DOM_TEST_CFLAGS)
tests_unit_proto_test_yaml_LDADD = $(DOM_TEST_LIBS)
