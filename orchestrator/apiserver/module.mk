# The Kubernetes API of one server.
noinst_LIBRARIES += libapiserver.a
libapiserver_a_SOURCES = \
	orchestrator/apiserver/admission.c orchestrator/apiserver/admission.h \
	orchestrator/apiserver/admit_csr.c orchestrator/apiserver/admit_limits.c orchestrator/apiserver/admit_node.c \
	orchestrator/apiserver/admit_podsecurity.c orchestrator/apiserver/admit_quota.c \
	orchestrator/apiserver/aggregate.c orchestrator/apiserver/aggregate.h \
	orchestrator/apiserver/aggregate_index.c orchestrator/apiserver/aggregate_index.h \
	orchestrator/apiserver/aggregate_discovery.c \
	orchestrator/apiserver/aggregate_docs.c orchestrator/apiserver/aggregate_docs.h \
	orchestrator/apiserver/aggregate_openapi.c orchestrator/apiserver/aggregate_openapi.h \
	orchestrator/apiserver/aggregate_proxy.c \
	orchestrator/apiserver/aggregator.c orchestrator/apiserver/aggregator.h orchestrator/apiserver/aggregator-priv.h \
	orchestrator/apiserver/aggregator_remote.c \
	orchestrator/apiserver/front_proxy.c orchestrator/apiserver/front_proxy.h \
	orchestrator/apiserver/amounts.c orchestrator/apiserver/amounts.h \
	orchestrator/apiserver/answer.c orchestrator/apiserver/answer.h \
	orchestrator/apiserver/apiserver.c orchestrator/apiserver/apiserver.h orchestrator/apiserver/apiserver-priv.h \
	orchestrator/apiserver/attrs.c orchestrator/apiserver/attrs.h \
	orchestrator/apiserver/policies.c orchestrator/apiserver/policies.h orchestrator/apiserver/policies-priv.h \
	orchestrator/apiserver/policies_mutate.c orchestrator/apiserver/policy_params.c \
	orchestrator/apiserver/params_cache.c orchestrator/apiserver/params_cache.h \
	orchestrator/apiserver/parent_cache.c orchestrator/apiserver/parent_cache.h \
	orchestrator/apiserver/admit_cel.c orchestrator/apiserver/admit_cel.h orchestrator/apiserver/policy.c orchestrator/apiserver/policy.h \
	orchestrator/apiserver/admit_match.c orchestrator/apiserver/admit_match.h orchestrator/apiserver/admit_special.c orchestrator/apiserver/webhook.c orchestrator/apiserver/webhook.h \
	orchestrator/apiserver/hook_target.c orchestrator/apiserver/hook_target.h \
	orchestrator/apiserver/conversion.c orchestrator/apiserver/conversion.h \
	orchestrator/apiserver/convert.c orchestrator/apiserver/convert.h \
	orchestrator/apiserver/webhook_review.c orchestrator/apiserver/webhook_state.c orchestrator/apiserver/webhook_state.h \
	orchestrator/apiserver/webhooks.c orchestrator/apiserver/webhooks.h orchestrator/apiserver/webhooks-priv.h \
	orchestrator/apiserver/audit.c orchestrator/apiserver/audit.h \
	orchestrator/apiserver/audit_policy.c orchestrator/apiserver/audit_policy.h \
	orchestrator/apiserver/auth_hook.c orchestrator/apiserver/auth_hook.h \
	orchestrator/apiserver/token_hook.c orchestrator/apiserver/token_hook.h \
	orchestrator/apiserver/authn.c orchestrator/apiserver/authn_token.c orchestrator/apiserver/authn.h orchestrator/apiserver/authn-priv.h \
	orchestrator/apiserver/authz.c orchestrator/apiserver/authz.h \
	orchestrator/apiserver/authz_hook.c orchestrator/apiserver/authz_hook.h \
	orchestrator/apiserver/authz_node.c orchestrator/apiserver/authz_node.h \
	orchestrator/apiserver/authz_state.c orchestrator/apiserver/authz_state.h \
	orchestrator/apiserver/backend.h \
	orchestrator/apiserver/boot_write.c orchestrator/apiserver/boot_write.h \
	orchestrator/apiserver/bootstrap.c orchestrator/apiserver/bootstrap.h \
	orchestrator/apiserver/client_local.c \
	orchestrator/apiserver/client_remote.c orchestrator/apiserver/client_remote.h \
	orchestrator/apiserver/crypt.c orchestrator/apiserver/crypt.h \
	orchestrator/apiserver/custom_index.c orchestrator/apiserver/custom_index.h \
	orchestrator/apiserver/custom_route.c \
	orchestrator/apiserver/decode.c orchestrator/apiserver/decode.h \
	orchestrator/apiserver/zones.c orchestrator/apiserver/zones.h \
	orchestrator/apiserver/delete.c \
	orchestrator/apiserver/discovery.c \
	orchestrator/apiserver/eviction.c \
	orchestrator/apiserver/fair.c orchestrator/apiserver/fair.h \
	orchestrator/apiserver/flow.c orchestrator/apiserver/flow.h orchestrator/apiserver/flow-priv.h \
	orchestrator/apiserver/flow_balance.c orchestrator/apiserver/flow_report.c orchestrator/apiserver/flow_state.c \
	orchestrator/apiserver/flow_boot.c orchestrator/apiserver/flow_boot.h \
	orchestrator/apiserver/flow_config.c orchestrator/apiserver/flow_config.h \
	orchestrator/apiserver/flow_default.c orchestrator/apiserver/flow_default.h orchestrator/apiserver/flow_default.def \
	orchestrator/apiserver/flow_drops.c orchestrator/apiserver/flow_drops.h \
	orchestrator/apiserver/flow_limits.c orchestrator/apiserver/flow_limits.h \
	orchestrator/apiserver/forward.c orchestrator/apiserver/forward.h \
	orchestrator/apiserver/http_front.c \
	orchestrator/apiserver/join_token.c orchestrator/apiserver/join_token.h \
	orchestrator/apiserver/jwt.c orchestrator/apiserver/jwt.h \
	orchestrator/apiserver/jwt_issuer.c orchestrator/apiserver/jwt_issuer.h \
	orchestrator/apiserver/authn_config.c orchestrator/apiserver/authn_config.h \
	orchestrator/apiserver/config_file.c orchestrator/apiserver/config_file.h \
	orchestrator/apiserver/authz_chain.c orchestrator/apiserver/authz_chain.h \
	orchestrator/apiserver/authz_config.c orchestrator/apiserver/authz_config.h \
	orchestrator/apiserver/impersonate.c \
	orchestrator/apiserver/keyset.c orchestrator/apiserver/keyset.h \
	orchestrator/apiserver/limits.c orchestrator/apiserver/limits.h \
	orchestrator/apiserver/negotiate.c \
	orchestrator/apiserver/node_graph.c orchestrator/apiserver/node_graph.h \
	orchestrator/apiserver/oidc.c orchestrator/apiserver/oidc.h \
	orchestrator/apiserver/objects.c orchestrator/apiserver/objects.h \
	orchestrator/apiserver/openapi.c \
	orchestrator/apiserver/proxy.c \
	orchestrator/apiserver/proxy_html.c orchestrator/apiserver/proxy_html.h \
	orchestrator/apiserver/proxy_target.c orchestrator/apiserver/proxy_target.h \
	orchestrator/apiserver/ws_bridge.c orchestrator/apiserver/ws_bridge.h \
	orchestrator/apiserver/ws_watch.c \
	orchestrator/apiserver/paths.c orchestrator/apiserver/paths.h \
	orchestrator/apiserver/kms.c orchestrator/apiserver/kms.h orchestrator/apiserver/kms-priv.h orchestrator/apiserver/kms_plugin.c \
	orchestrator/apiserver/kms_value.c orchestrator/apiserver/kms_value.h \
	orchestrator/apiserver/kubelet_proxy.c \
	orchestrator/apiserver/lease.c \
	orchestrator/apiserver/metrics_api.c \
	orchestrator/apiserver/list.c orchestrator/apiserver/list_options.c \
	orchestrator/apiserver/list_count.c orchestrator/apiserver/list_count.h \
	orchestrator/apiserver/list_form.c orchestrator/apiserver/list_form.h \
	orchestrator/apiserver/list_stream.c \
	orchestrator/apiserver/managed.c orchestrator/apiserver/managed.h \
	orchestrator/apiserver/podsecurity.c orchestrator/apiserver/podsecurity.h orchestrator/apiserver/podsecurity-priv.h \
	orchestrator/apiserver/podsecurity_confine.c orchestrator/apiserver/podsecurity_host.c orchestrator/apiserver/podsecurity_pod.c \
	orchestrator/apiserver/quota_state.c orchestrator/apiserver/quota_state.h \
	orchestrator/apiserver/rbac.c orchestrator/apiserver/rbac.h \
	orchestrator/apiserver/rbac_boot.c orchestrator/apiserver/rbac_boot.h \
	orchestrator/apiserver/rbac_default.c orchestrator/apiserver/rbac_default.h orchestrator/apiserver/rbac_default.def \
	orchestrator/apiserver/rbac_index.c orchestrator/apiserver/rbac_index.h \
	orchestrator/apiserver/reviews.c orchestrator/apiserver/reviews_access.c \
	orchestrator/apiserver/strategy_rbac.c \
	orchestrator/apiserver/read.c orchestrator/apiserver/read.h \
	orchestrator/apiserver/relay.c orchestrator/apiserver/relay.h \
	orchestrator/apiserver/request.c orchestrator/apiserver/request.h \
	orchestrator/apiserver/scale.c \
	orchestrator/apiserver/selection.c \
	orchestrator/apiserver/service_clients.c orchestrator/apiserver/service_clients.h \
	orchestrator/apiserver/storage.c orchestrator/apiserver/storage.h \
	orchestrator/apiserver/strategy.c orchestrator/apiserver/strategy.h orchestrator/apiserver/strategies.h \
	orchestrator/apiserver/strategy_crd.c \
	orchestrator/apiserver/strategy_kinds.c \
	orchestrator/apiserver/strategy_pod.c \
	orchestrator/apiserver/service_fields.c orchestrator/apiserver/service_fields.h \
	orchestrator/apiserver/strategy_service.c \
	orchestrator/apiserver/tables.c orchestrator/apiserver/tables.h \
	orchestrator/apiserver/txn.c orchestrator/apiserver/txn.h \
	orchestrator/apiserver/watch.c orchestrator/apiserver/watch-priv.h \
	orchestrator/apiserver/watch_events.c orchestrator/apiserver/watch_frame.c orchestrator/apiserver/watch_initial.c \
	orchestrator/apiserver/write.c orchestrator/apiserver/write.h \
	orchestrator/apiserver/write_commit.c orchestrator/apiserver/write_complete.c orchestrator/apiserver/write_load.c \
	orchestrator/apiserver/write_stamp.c
libapiserver_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS) $(OPENSSL_CFLAGS) $(NGHTTP2_CFLAGS) $(ZLIB_CFLAGS)
$(libapiserver_a_OBJECTS): | $(PROTO_PB_H)
