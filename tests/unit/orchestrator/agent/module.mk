UNIT_TESTS += tests/unit/orchestrator/agent/test_servers
tests_unit_orchestrator_agent_test_servers_SOURCES = tests/unit/orchestrator/agent/test_servers.c tests/lib/fake_client.h
tests_unit_orchestrator_agent_test_servers_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_agent_test_servers_LDADD = libagent.a libkubelet.a libinformer.a libclient.a libproto.a libnet.a $(IO_LIBS) \
	$(PROTOBUFC_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
