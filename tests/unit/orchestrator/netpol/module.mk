UNIT_TESTS += tests/unit/orchestrator/netpol/test_netpol_compile
tests_unit_orchestrator_netpol_test_netpol_compile_SOURCES = tests/unit/orchestrator/netpol/test_netpol_compile.c
tests_unit_orchestrator_netpol_test_netpol_compile_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_netpol_test_netpol_compile_LDADD = libnetpol.a libproto.a libnet.a libbase.a $(PROTOBUFC_LIBS) \
	$(YAML_LIBS) $(PCRE2_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
