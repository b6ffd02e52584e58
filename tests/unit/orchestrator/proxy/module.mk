UNIT_TESTS += tests/unit/orchestrator/proxy/test_service_rules
tests_unit_orchestrator_proxy_test_service_rules_SOURCES = tests/unit/orchestrator/proxy/test_service_rules.c
tests_unit_orchestrator_proxy_test_service_rules_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_proxy_test_service_rules_LDADD = libproxy.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) \
	$(NL_LIBS) $(CMOCKA_LIBS)

