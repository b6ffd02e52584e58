UNIT_TESTS += tests/unit/proto/test_pb
tests_unit_proto_test_pb_SOURCES = tests/unit/proto/test_pb.c
tests_unit_proto_test_pb_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_pb_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
