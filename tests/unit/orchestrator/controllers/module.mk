# Controllers and scheduler over a whole API server in this process (the rig of the API server's tests).
CONTROLLERS_RIG = tests/unit/orchestrator/controllers/world.c tests/unit/orchestrator/controllers/world.h \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
CONTROLLERS_LIBS = libscheduler.a libcontrollers.a libingress.a libinformer.a libnet.a $(APISERVER_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_controllers
tests_unit_orchestrator_controllers_test_controllers_SOURCES = tests/unit/orchestrator/controllers/test_controllers.c $(CONTROLLERS_RIG)
tests_unit_orchestrator_controllers_test_controllers_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_controllers_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_runner
tests_unit_orchestrator_controllers_test_runner_SOURCES = tests/unit/orchestrator/controllers/test_runner.c
tests_unit_orchestrator_controllers_test_runner_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_runner_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_tokens
tests_unit_orchestrator_controllers_test_tokens_SOURCES = tests/unit/orchestrator/controllers/test_tokens.c $(CONTROLLERS_RIG)
tests_unit_orchestrator_controllers_test_tokens_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_tokens_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_workloads
tests_unit_orchestrator_controllers_test_workloads_SOURCES = tests/unit/orchestrator/controllers/test_workloads.c $(CONTROLLERS_RIG)
tests_unit_orchestrator_controllers_test_workloads_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_workloads_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_volumes
tests_unit_orchestrator_controllers_test_volumes_SOURCES = tests/unit/orchestrator/controllers/test_volumes.c $(CONTROLLERS_RIG)
tests_unit_orchestrator_controllers_test_volumes_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_volumes_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_hpa
tests_unit_orchestrator_controllers_test_hpa_SOURCES = tests/unit/orchestrator/controllers/test_hpa.c
tests_unit_orchestrator_controllers_test_hpa_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_hpa_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_autoscaler
tests_unit_orchestrator_controllers_test_autoscaler_SOURCES = tests/unit/orchestrator/controllers/test_autoscaler.c $(CONTROLLERS_RIG)
tests_unit_orchestrator_controllers_test_autoscaler_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_autoscaler_LDADD = $(CONTROLLERS_LIBS)
UNIT_TESTS += tests/unit/orchestrator/controllers/test_ingress_status
tests_unit_orchestrator_controllers_test_ingress_status_SOURCES = tests/unit/orchestrator/controllers/test_ingress_status.c $(CONTROLLERS_RIG)
tests_unit_orchestrator_controllers_test_ingress_status_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_controllers_test_ingress_status_LDADD = $(CONTROLLERS_LIBS)
