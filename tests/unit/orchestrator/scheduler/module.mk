UNIT_TESTS += tests/unit/orchestrator/scheduler/test_snapshot
tests_unit_orchestrator_scheduler_test_snapshot_SOURCES = tests/unit/orchestrator/scheduler/test_snapshot.c
tests_unit_orchestrator_scheduler_test_snapshot_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_scheduler_test_snapshot_LDADD = libscheduler.a libcontrollers.a libinformer.a libclient.a libproto.a $(IO_LIBS) \
	$(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/orchestrator/scheduler/test_preempt
tests_unit_orchestrator_scheduler_test_preempt_SOURCES = tests/unit/orchestrator/scheduler/test_preempt.c
tests_unit_orchestrator_scheduler_test_preempt_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_scheduler_test_preempt_LDADD = $(CONTROLLERS_LIBS)
