# The API server's unit tests: pure parts alone, and a whole server of one member in this process (rig.h).
APISERVER_LIBS = libapiserver.a libclient.a libraft.a libstore.a libproto.a libio.a libbase.a \
	$(RAFT_LIBS) $(LMDB_LIBS) $(YAML_LIBS) $(PROTOBUFC_LIBS) $(NGHTTP2_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(ZLIB_LIBS) \
	$(PCRE2_LIBS) -lpthread -lm
check_LIBRARIES += tests/unit/orchestrator/apiserver/librig.a
tests_unit_orchestrator_apiserver_librig_a_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_librig_a_SOURCES = \
	tests/unit/orchestrator/apiserver/rig.c tests/unit/orchestrator/apiserver/rig.h \
	tests/unit/orchestrator/apiserver/hook_rig.c tests/unit/orchestrator/apiserver/hook_rig.h \
	tests/unit/orchestrator/apiserver/lamp_rig.c tests/unit/orchestrator/apiserver/lamp_rig.h \
	tests/unit/orchestrator/apiserver/words.h tests/lib/json_words.h \
	tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
$(tests_unit_orchestrator_apiserver_librig_a_OBJECTS): | $(PROTO_PB_H)
APISERVER_RIG_LIBS = tests/unit/orchestrator/apiserver/librig.a $(APISERVER_LIBS) $(CMOCKA_LIBS)
# Not a test by itself: the same server as a program, to try it with curl and kubectl.
check_PROGRAMS += tests/lib/apiserver_run
tests_lib_apiserver_run_SOURCES = tests/lib/apiserver_run.c tests/lib/apiserver_pki.c tests/lib/apiserver_pki.h
tests_lib_apiserver_run_LDADD = $(APISERVER_LIBS)
EXTRA_DIST += tests/data/api/create.jsonl tests/data/api/flow.jsonl

# Pure parts.
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_proxy_html
tests_unit_orchestrator_apiserver_test_proxy_html_SOURCES = tests/unit/orchestrator/apiserver/test_proxy_html.c
tests_unit_orchestrator_apiserver_test_proxy_html_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_proxy_html_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_proxy_html_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_ws_bridge
tests_unit_orchestrator_apiserver_test_ws_bridge_SOURCES = tests/unit/orchestrator/apiserver/test_ws_bridge.c tests/lib/bridge_rig.h
tests_unit_orchestrator_apiserver_test_ws_bridge_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_ws_bridge_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_ws_bridge_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_pure
tests_unit_orchestrator_apiserver_test_pure_SOURCES = tests/unit/orchestrator/apiserver/test_pure.c
tests_unit_orchestrator_apiserver_test_pure_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_pure_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_pure_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_auth_config
tests_unit_orchestrator_apiserver_test_auth_config_SOURCES = tests/unit/orchestrator/apiserver/test_auth_config.c tests/lib/json_words.h tests/lib/test_arena.h
tests_unit_orchestrator_apiserver_test_auth_config_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_auth_config_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_auth_config_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_rbac
tests_unit_orchestrator_apiserver_test_rbac_SOURCES = tests/unit/orchestrator/apiserver/test_rbac.c
tests_unit_orchestrator_apiserver_test_rbac_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_rbac_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_rbac_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_admission
tests_unit_orchestrator_apiserver_test_admission_SOURCES = tests/unit/orchestrator/apiserver/test_admission.c
tests_unit_orchestrator_apiserver_test_admission_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_admission_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_admission_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_fair
tests_unit_orchestrator_apiserver_test_fair_SOURCES = tests/unit/orchestrator/apiserver/test_fair.c
tests_unit_orchestrator_apiserver_test_fair_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_fair_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_flow
tests_unit_orchestrator_apiserver_test_flow_SOURCES = tests/unit/orchestrator/apiserver/test_flow.c
tests_unit_orchestrator_apiserver_test_flow_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_flow_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_flow_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_zones
tests_unit_orchestrator_apiserver_test_zones_SOURCES = tests/unit/orchestrator/apiserver/test_zones.c
tests_unit_orchestrator_apiserver_test_zones_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_zones_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_zones_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_kms
tests_unit_orchestrator_apiserver_test_kms_SOURCES = tests/unit/orchestrator/apiserver/test_kms.c \
	tests/lib/kms_server.c tests/lib/kms_server.h
tests_unit_orchestrator_apiserver_test_kms_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_unit_orchestrator_apiserver_test_kms_LDADD = $(APISERVER_LIBS) $(CMOCKA_LIBS)
$(tests_unit_orchestrator_apiserver_test_kms_OBJECTS): | $(PROTO_PB_H)

# With a server.
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_answers
tests_unit_orchestrator_apiserver_test_answers_SOURCES = tests/unit/orchestrator/apiserver/test_answers.c
tests_unit_orchestrator_apiserver_test_answers_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_answers_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_answers_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_services
tests_unit_orchestrator_apiserver_test_services_SOURCES = tests/unit/orchestrator/apiserver/test_services.c
tests_unit_orchestrator_apiserver_test_services_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_services_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_services_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_aggregate
tests_unit_orchestrator_apiserver_test_aggregate_SOURCES = tests/unit/orchestrator/apiserver/test_aggregate.c
tests_unit_orchestrator_apiserver_test_aggregate_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_aggregate_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_aggregate_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_aggregator
tests_unit_orchestrator_apiserver_test_aggregator_SOURCES = tests/unit/orchestrator/apiserver/test_aggregator.c
tests_unit_orchestrator_apiserver_test_aggregator_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_aggregator_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_aggregator_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_asides
tests_unit_orchestrator_apiserver_test_asides_SOURCES = tests/unit/orchestrator/apiserver/test_asides.c
tests_unit_orchestrator_apiserver_test_asides_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_asides_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_asides_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_authn
tests_unit_orchestrator_apiserver_test_authn_SOURCES = tests/unit/orchestrator/apiserver/test_authn.c
tests_unit_orchestrator_apiserver_test_authn_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_authn_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_authn_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_bad_requests
tests_unit_orchestrator_apiserver_test_bad_requests_SOURCES = tests/unit/orchestrator/apiserver/test_bad_requests.c
tests_unit_orchestrator_apiserver_test_bad_requests_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_bad_requests_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_bad_requests_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_client_local
tests_unit_orchestrator_apiserver_test_client_local_SOURCES = tests/unit/orchestrator/apiserver/test_client_local.c
tests_unit_orchestrator_apiserver_test_client_local_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_client_local_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_client_local_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_conversion
tests_unit_orchestrator_apiserver_test_conversion_SOURCES = tests/unit/orchestrator/apiserver/test_conversion.c
tests_unit_orchestrator_apiserver_test_conversion_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_conversion_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_conversion_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_custom
tests_unit_orchestrator_apiserver_test_custom_SOURCES = tests/unit/orchestrator/apiserver/test_custom.c
tests_unit_orchestrator_apiserver_test_custom_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_custom_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_custom_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_flow_requests
tests_unit_orchestrator_apiserver_test_flow_requests_SOURCES = tests/unit/orchestrator/apiserver/test_flow_requests.c
tests_unit_orchestrator_apiserver_test_flow_requests_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_flow_requests_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_flow_requests_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_golden
tests_unit_orchestrator_apiserver_test_golden_SOURCES = tests/unit/orchestrator/apiserver/test_golden.c
tests_unit_orchestrator_apiserver_test_golden_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_golden_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_golden_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_guard
tests_unit_orchestrator_apiserver_test_guard_SOURCES = tests/unit/orchestrator/apiserver/test_guard.c
tests_unit_orchestrator_apiserver_test_guard_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_guard_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_guard_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_kms_requests
tests_unit_orchestrator_apiserver_test_kms_requests_SOURCES = tests/unit/orchestrator/apiserver/test_kms_requests.c \
	tests/lib/kms_server.c tests/lib/kms_server.h
tests_unit_orchestrator_apiserver_test_kms_requests_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_unit_orchestrator_apiserver_test_kms_requests_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_kms_requests_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_lost_leader
tests_unit_orchestrator_apiserver_test_lost_leader_SOURCES = tests/unit/orchestrator/apiserver/test_lost_leader.c
tests_unit_orchestrator_apiserver_test_lost_leader_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_lost_leader_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=kv_propose
tests_unit_orchestrator_apiserver_test_lost_leader_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_lost_leader_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_nobody_sees
tests_unit_orchestrator_apiserver_test_nobody_sees_SOURCES = tests/unit/orchestrator/apiserver/test_nobody_sees.c \
	tests/unit/orchestrator/apiserver/nobody_world.c tests/unit/orchestrator/apiserver/nobody_world.h
tests_unit_orchestrator_apiserver_test_nobody_sees_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_nobody_sees_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_nobody_sees_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_pods
tests_unit_orchestrator_apiserver_test_pods_SOURCES = tests/unit/orchestrator/apiserver/test_pods.c
tests_unit_orchestrator_apiserver_test_pods_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_pods_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_pods_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_policies
tests_unit_orchestrator_apiserver_test_policies_SOURCES = tests/unit/orchestrator/apiserver/test_policies.c
tests_unit_orchestrator_apiserver_test_policies_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_policies_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_policies_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_reads
tests_unit_orchestrator_apiserver_test_reads_SOURCES = tests/unit/orchestrator/apiserver/test_reads.c
tests_unit_orchestrator_apiserver_test_reads_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_reads_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_reads_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_sealed
tests_unit_orchestrator_apiserver_test_sealed_SOURCES = tests/unit/orchestrator/apiserver/test_sealed.c
tests_unit_orchestrator_apiserver_test_sealed_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_sealed_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_sealed_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_server
tests_unit_orchestrator_apiserver_test_server_SOURCES = tests/unit/orchestrator/apiserver/test_server.c
tests_unit_orchestrator_apiserver_test_server_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_server_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_server_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_server_apply
tests_unit_orchestrator_apiserver_test_server_apply_SOURCES = tests/unit/orchestrator/apiserver/test_server_apply.c
tests_unit_orchestrator_apiserver_test_server_apply_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_server_apply_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_server_apply_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_webhook
tests_unit_orchestrator_apiserver_test_webhook_SOURCES = tests/unit/orchestrator/apiserver/test_webhook.c
tests_unit_orchestrator_apiserver_test_webhook_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_webhook_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_webhook_OBJECTS): | $(PROTO_PB_H)
UNIT_TESTS += tests/unit/orchestrator/apiserver/test_webhooks
tests_unit_orchestrator_apiserver_test_webhooks_SOURCES = tests/unit/orchestrator/apiserver/test_webhooks.c
tests_unit_orchestrator_apiserver_test_webhooks_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_apiserver_test_webhooks_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_orchestrator_apiserver_test_webhooks_OBJECTS): | $(PROTO_PB_H)
