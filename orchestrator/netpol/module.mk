# NetworkPolicies on a node: a pure compiler to rules, and what writes them to the kernel.
noinst_LIBRARIES += libnetpol.a
libnetpol_a_SOURCES = \
	orchestrator/netpol/local_pods.c orchestrator/netpol/local_pods.h \
	orchestrator/netpol/netpol.c orchestrator/netpol/netpol.h \
	orchestrator/netpol/netpol_compile.c orchestrator/netpol/netpol_compile.h \
	orchestrator/netpol/netpol_peers.c orchestrator/netpol/netpol_peers.h
libnetpol_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
$(libnetpol_a_OBJECTS): | $(PROTO_PB_H)
