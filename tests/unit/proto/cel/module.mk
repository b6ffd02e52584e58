# Tests of proto/cel. The rows of test_cel are data: tests/data/cel.
UNIT_TESTS += tests/unit/proto/cel/test_cel
tests_unit_proto_cel_test_cel_SOURCES = tests/unit/proto/cel/test_cel.c
tests_unit_proto_cel_test_cel_CFLAGS = $(DOM_TEST_CFLAGS)
tests_unit_proto_cel_test_cel_LDADD = $(DOM_TEST_LIBS)
UNIT_TESTS += tests/unit/proto/cel/test_run
tests_unit_proto_cel_test_run_SOURCES = tests/unit/proto/cel/test_run.c
tests_unit_proto_cel_test_run_CFLAGS = $(DOM_TEST_CFLAGS)
tests_unit_proto_cel_test_run_LDADD = $(DOM_TEST_LIBS)
UNIT_TESTS += tests/unit/proto/cel/test_costs
tests_unit_proto_cel_test_costs_SOURCES = tests/unit/proto/cel/test_costs.c
tests_unit_proto_cel_test_costs_CFLAGS = $(DOM_TEST_CFLAGS)
tests_unit_proto_cel_test_costs_LDADD = $(DOM_TEST_LIBS)
EXTRA_DIST += tests/data/cel
