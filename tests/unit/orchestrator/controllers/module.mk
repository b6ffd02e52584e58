# Controllers and scheduler over a whole API server in this process (the rig of the API server's tests).
UNIT_TESTS += tests/unit/orchestrator/controllers/test_controllers
tests_unit_orchestrator_controllers_test_controllers_SOURCES = tests/unit/orchestrator/controllers/test_controllers.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_controllers_test_controllers_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_controllers_LDADD = libscheduler.a libcontrollers.a libinformer.a libnet.a \
	$(APISERVER_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
