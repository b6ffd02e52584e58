UNIT_TESTS += tests/unit/orchestrator/informer/test_informer
tests_unit_orchestrator_informer_test_informer_SOURCES = tests/unit/orchestrator/informer/test_informer.c tests/lib/fake_client.h
tests_unit_orchestrator_informer_test_informer_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_informer_test_informer_LDADD = libinformer.a libclient.a libproto.a libnet.a $(IO_LIBS) $(PROTOBUFC_LIBS) \
	$(NL_LIBS) $(CMOCKA_LIBS)
