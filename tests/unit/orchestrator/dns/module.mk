UNIT_TESTS += tests/unit/orchestrator/dns/test_dns_zone
tests_unit_orchestrator_dns_test_dns_zone_SOURCES = tests/unit/orchestrator/dns/test_dns_zone.c
tests_unit_orchestrator_dns_test_dns_zone_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_dns_test_dns_zone_LDADD = libdns.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) $(NL_LIBS) \
	$(CMOCKA_LIBS)
