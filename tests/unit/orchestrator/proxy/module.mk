UNIT_TESTS += tests/unit/orchestrator/proxy/test_service_rules
tests_unit_orchestrator_proxy_test_service_rules_SOURCES = tests/unit/orchestrator/proxy/test_service_rules.c
tests_unit_orchestrator_proxy_test_service_rules_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_proxy_test_service_rules_LDADD = libproxy.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) \
	$(NL_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/orchestrator/proxy/test_proxy
tests_unit_orchestrator_proxy_test_proxy_SOURCES = tests/unit/orchestrator/proxy/test_proxy.c tests/lib/fake_client.h
tests_unit_orchestrator_proxy_test_proxy_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_proxy_test_proxy_LDADD = libproxy.a libinformer.a libclient.a libproto.a libnet.a $(IO_LIBS) \
	$(PROTOBUFC_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
