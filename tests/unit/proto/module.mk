UNIT_TESTS += tests/unit/proto/test_pb tests/unit/proto/test_codec tests/unit/proto/test_codec_random tests/unit/proto/test_go_time
tests_unit_proto_test_pb_SOURCES = tests/unit/proto/test_pb.c
tests_unit_proto_test_pb_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_pb_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)

# protoc itself is the second opinion on what the codecs write.
tests_unit_proto_test_codec_SOURCES = tests/unit/proto/test_codec.c tests/unit/proto/codec_rig.c tests/unit/proto/codec_rig.h
tests_unit_proto_test_codec_CPPFLAGS = $(AM_CPPFLAGS) -DPROTOC='"$(PROTOC) -I$(PROTOBUFC_INCLUDEDIR)"'
tests_unit_proto_test_codec_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_codec_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS) $(CMOCKA_LIBS)
tests_unit_proto_test_codec_random_SOURCES = tests/unit/proto/test_codec_random.c tests/unit/proto/codec_rig.c tests/unit/proto/codec_rig.h
tests_unit_proto_test_codec_random_CPPFLAGS = $(AM_CPPFLAGS) -DPROTOC='"$(PROTOC) -I$(PROTOBUFC_INCLUDEDIR)"'
tests_unit_proto_test_codec_random_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_codec_random_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += tests/data/proto/objects.jsonl
$(tests_unit_proto_test_pb_OBJECTS) $(tests_unit_proto_test_codec_OBJECTS) $(tests_unit_proto_test_codec_random_OBJECTS): | $(PROTO_PB_H)

tests_unit_proto_test_go_time_SOURCES = tests/unit/proto/test_go_time.c
tests_unit_proto_test_go_time_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_go_time_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/proto/test_tz
tests_unit_proto_test_tz_SOURCES = tests/unit/proto/test_tz.c
tests_unit_proto_test_tz_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proto_test_tz_LDADD = libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS) $(CMOCKA_LIBS)
