# Ingresses on a node: what they say, compiled for HAProxy, and the process that serves it.
noinst_LIBRARIES += libingress.a
libingress_a_SOURCES = \
	orchestrator/ingress/haproxy.c orchestrator/ingress/haproxy.h \
	orchestrator/ingress/haproxy_config.c orchestrator/ingress/haproxy_config.h \
	orchestrator/ingress/ingress.c orchestrator/ingress/ingress.h \
	orchestrator/ingress/ingress_routes.c orchestrator/ingress/ingress_routes.h
libingress_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
$(libingress_a_OBJECTS): | $(PROTO_PB_H)
