UNIT_TESTS += tests/unit/orchestrator/dns/test_dns_zone
tests_unit_orchestrator_dns_test_dns_zone_SOURCES = tests/unit/orchestrator/dns/test_dns_zone.c
tests_unit_orchestrator_dns_test_dns_zone_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_dns_test_dns_zone_LDADD = libdns.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) $(NL_LIBS) \
	$(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/orchestrator/dns/test_dns_server
tests_unit_orchestrator_dns_test_dns_server_SOURCES = tests/unit/orchestrator/dns/test_dns_server.c tests/lib/fake_client.h
tests_unit_orchestrator_dns_test_dns_server_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_dns_test_dns_server_LDADD = libdns.a libinformer.a libclient.a libproto.a libnet.a $(IO_LIBS) \
	$(PROTOBUFC_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
