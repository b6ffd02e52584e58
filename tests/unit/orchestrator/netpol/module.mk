UNIT_TESTS += tests/unit/orchestrator/netpol/test_netpol_compile
tests_unit_orchestrator_netpol_test_netpol_compile_SOURCES = tests/unit/orchestrator/netpol/test_netpol_compile.c
tests_unit_orchestrator_netpol_test_netpol_compile_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_netpol_test_netpol_compile_LDADD = libnetpol.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) \
	$(YAML_LIBS) $(PCRE2_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/orchestrator/netpol/test_netpol
tests_unit_orchestrator_netpol_test_netpol_SOURCES = tests/unit/orchestrator/netpol/test_netpol.c tests/lib/fake_client.h
tests_unit_orchestrator_netpol_test_netpol_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_netpol_test_netpol_LDADD = libnetpol.a libinformer.a libclient.a libproto.a libnet.a $(IO_LIBS) \
	$(PROTOBUFC_LIBS) $(YAML_LIBS) $(PCRE2_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
