KUBELET_TEST_LIBS = libkubelet.a libclient.a libproto.a $(IO_LIBS) $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
KUBELET_TESTS = \
	tests/unit/orchestrator/kubelet/test_eviction \
	tests/unit/orchestrator/kubelet/test_eviction_config \
	tests/unit/orchestrator/kubelet/test_image_gc \
	tests/unit/orchestrator/kubelet/test_claims \
	tests/unit/orchestrator/kubelet/test_pod_sync \
	tests/unit/orchestrator/kubelet/test_pod_tell \
	tests/unit/orchestrator/kubelet/test_files \
	tests/unit/orchestrator/kubelet/test_server_auth \
	tests/unit/orchestrator/kubelet/test_text \
	tests/unit/orchestrator/kubelet/test_resize
UNIT_TESTS += $(KUBELET_TESTS)
tests_unit_orchestrator_kubelet_test_pod_sync_SOURCES = tests/unit/orchestrator/kubelet/test_pod_sync.c
tests_unit_orchestrator_kubelet_test_pod_sync_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_pod_sync_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_pod_tell_SOURCES = tests/unit/orchestrator/kubelet/test_pod_tell.c
tests_unit_orchestrator_kubelet_test_pod_tell_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_pod_tell_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_files_SOURCES = tests/unit/orchestrator/kubelet/test_files.c
tests_unit_orchestrator_kubelet_test_files_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_files_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_server_auth_SOURCES = tests/unit/orchestrator/kubelet/test_server_auth.c
tests_unit_orchestrator_kubelet_test_server_auth_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_server_auth_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_resize_SOURCES = tests/unit/orchestrator/kubelet/test_resize.c
tests_unit_orchestrator_kubelet_test_resize_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_resize_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_text_SOURCES = tests/unit/orchestrator/kubelet/test_text.c
tests_unit_orchestrator_kubelet_test_text_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_text_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_claims_SOURCES = tests/unit/orchestrator/kubelet/test_claims.c
tests_unit_orchestrator_kubelet_test_claims_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_claims_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_image_gc_SOURCES = tests/unit/orchestrator/kubelet/test_image_gc.c tests/lib/test_arena.h
tests_unit_orchestrator_kubelet_test_image_gc_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_image_gc_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_eviction_config_SOURCES = tests/unit/orchestrator/kubelet/test_eviction_config.c
tests_unit_orchestrator_kubelet_test_eviction_config_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_eviction_config_LDADD = $(KUBELET_TEST_LIBS)
tests_unit_orchestrator_kubelet_test_eviction_SOURCES = tests/unit/orchestrator/kubelet/test_eviction.c tests/lib/test_arena.h
tests_unit_orchestrator_kubelet_test_eviction_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_kubelet_test_eviction_LDADD = $(KUBELET_TEST_LIBS)
