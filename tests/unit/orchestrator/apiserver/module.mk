# The API server's unit tests: pure parts alone, and a whole server of one member in this process.
APISERVER_LIBS = libapiserver.a libclient.a libraft.a libstore.a libproto.a libio.a libbase.a \
	$(RAFT_LIBS) $(LMDB_LIBS) $(YAML_LIBS) $(PROTOBUFC_LIBS) $(NGHTTP2_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(ZLIB_LIBS) \
	$(PCRE2_LIBS) -lpthread -lm
UNIT_TESTS += \
	tests/unit/orchestrator/apiserver/test_golden \
	tests/unit/orchestrator/apiserver/test_pure \
	tests/unit/orchestrator/apiserver/test_proxy_html \
	tests/unit/orchestrator/apiserver/test_ws_bridge \
	tests/unit/orchestrator/apiserver/test_rbac \
	tests/unit/orchestrator/apiserver/test_authn \
	tests/unit/orchestrator/apiserver/test_sealed \
	tests/unit/orchestrator/apiserver/test_admission \
	tests/unit/orchestrator/apiserver/test_guard \
	tests/unit/orchestrator/apiserver/test_server
tests_unit_orchestrator_apiserver_test_proxy_html_SOURCES = tests/unit/orchestrator/apiserver/test_proxy_html.c
tests_unit_orchestrator_apiserver_test_proxy_html_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_proxy_html_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_ws_bridge_SOURCES = tests/unit/orchestrator/apiserver/test_ws_bridge.c tests/lib/bridge_rig.h
tests_unit_orchestrator_apiserver_test_ws_bridge_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_ws_bridge_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_pure_SOURCES = tests/unit/orchestrator/apiserver/test_pure.c
tests_unit_orchestrator_apiserver_test_pure_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_pure_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_rbac_SOURCES = tests/unit/orchestrator/apiserver/test_rbac.c
tests_unit_orchestrator_apiserver_test_rbac_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_rbac_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_authn_SOURCES = tests/unit/orchestrator/apiserver/test_authn.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_authn_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_authn_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_sealed_SOURCES = tests/unit/orchestrator/apiserver/test_sealed.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_sealed_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_sealed_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_kms
tests_unit_orchestrator_apiserver_test_kms_SOURCES = tests/unit/orchestrator/apiserver/test_kms.c \
	tests/lib/kms_server.c tests/lib/kms_server.h
tests_unit_orchestrator_apiserver_test_kms_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_unit_orchestrator_apiserver_test_kms_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_kms_OBJECTS): | $(PROTO_PB_H)
tests_unit_orchestrator_apiserver_test_admission_SOURCES = tests/unit/orchestrator/apiserver/test_admission.c
tests_unit_orchestrator_apiserver_test_admission_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_admission_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_guard_SOURCES = tests/unit/orchestrator/apiserver/test_guard.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_guard_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_guard_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
tests_unit_orchestrator_apiserver_test_server_SOURCES = tests/unit/orchestrator/apiserver/test_server.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_server_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_server_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
# Not a test by itself: the same server as a program, to try it with curl and kubectl.
check_PROGRAMS += tests/lib/apiserver_run
tests_lib_apiserver_run_SOURCES = tests/lib/apiserver_run.c tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_lib_apiserver_run_LDADD = $(APISERVER_LIBS)
$(tests_unit_orchestrator_apiserver_test_rbac_OBJECTS) $(tests_unit_orchestrator_apiserver_test_guard_OBJECTS) \
$(tests_unit_orchestrator_apiserver_test_sealed_OBJECTS) $(tests_unit_orchestrator_apiserver_test_authn_OBJECTS) $(tests_unit_orchestrator_apiserver_test_admission_OBJECTS) \
$(tests_unit_orchestrator_apiserver_test_server_OBJECTS): | $(PROTO_PB_H)
tests_unit_orchestrator_apiserver_test_golden_SOURCES = tests/unit/orchestrator/apiserver/test_golden.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_golden_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_golden_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_golden_OBJECTS): | $(PROTO_PB_H)
EXTRA_DIST += tests/data/api/create.jsonl
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_lost_leader
tests_unit_orchestrator_apiserver_test_lost_leader_SOURCES = tests/unit/orchestrator/apiserver/test_lost_leader.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_lost_leader_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_lost_leader_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=kv_propose
tests_unit_orchestrator_apiserver_test_lost_leader_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_custom
tests_unit_orchestrator_apiserver_test_custom_SOURCES = tests/unit/orchestrator/apiserver/test_custom.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_custom_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_custom_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_custom_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_webhooks
tests_unit_orchestrator_apiserver_test_webhooks_SOURCES = tests/unit/orchestrator/apiserver/test_webhooks.c \
	tests/unit/orchestrator/apiserver/hook_rig.c tests/unit/orchestrator/apiserver/hook_rig.h \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_webhooks_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_webhooks_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_webhooks_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_policies
tests_unit_orchestrator_apiserver_test_policies_SOURCES = tests/unit/orchestrator/apiserver/test_policies.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_policies_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_policies_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_policies_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_conversion
tests_unit_orchestrator_apiserver_test_conversion_SOURCES = tests/unit/orchestrator/apiserver/test_conversion.c \
	tests/unit/orchestrator/apiserver/hook_rig.c tests/unit/orchestrator/apiserver/hook_rig.h \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_conversion_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_conversion_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_conversion_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_flow
tests_unit_orchestrator_apiserver_test_flow_SOURCES = tests/unit/orchestrator/apiserver/test_flow.c
tests_unit_orchestrator_apiserver_test_flow_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_flow_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += tests/data/api/flow.jsonl
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_aggregate
tests_unit_orchestrator_apiserver_test_aggregate_SOURCES = tests/unit/orchestrator/apiserver/test_aggregate.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_aggregate_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_aggregate_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_aggregate_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_nobody_sees
tests_unit_orchestrator_apiserver_test_nobody_sees_SOURCES = tests/unit/orchestrator/apiserver/test_nobody_sees.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_nobody_sees_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_nobody_sees_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_nobody_sees_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_flow_requests
tests_unit_orchestrator_apiserver_test_flow_requests_SOURCES = tests/unit/orchestrator/apiserver/test_flow_requests.c \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_unit_orchestrator_apiserver_test_flow_requests_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_flow_requests_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_flow_requests_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_zones
tests_unit_orchestrator_apiserver_test_zones_SOURCES = tests/unit/orchestrator/apiserver/test_zones.c
tests_unit_orchestrator_apiserver_test_zones_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_zones_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
