# The service proxy: a pure compiler to rulesets, and what applies them.
noinst_LIBRARIES += libproxy.a
libproxy_a_SOURCES = \
	orchestrator/proxy/host_ports.c orchestrator/proxy/host_ports.h \
	orchestrator/proxy/proxy.c orchestrator/proxy/proxy.h \
	orchestrator/proxy/service_rules.c orchestrator/proxy/service_rules.h
libproxy_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
$(libproxy_a_OBJECTS): | $(PROTO_PB_H)
