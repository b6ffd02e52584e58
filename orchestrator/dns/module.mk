# The cluster's DNS server on every node.
noinst_LIBRARIES += libdns.a
libdns_a_SOURCES = \
	orchestrator/dns/dns-priv.h \
	orchestrator/dns/dns.c orchestrator/dns/dns.h \
	orchestrator/dns/dns_forward.c \
	orchestrator/dns/dns_msg.c orchestrator/dns/dns_msg.h \
	orchestrator/dns/dns_view.c \
	orchestrator/dns/dns_zone.c orchestrator/dns/dns_zone.h
libdns_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
$(libdns_a_OBJECTS): | $(PROTO_PB_H)
