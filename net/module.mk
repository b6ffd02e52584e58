# net/: node data plane; base and libnl, no Kubernetes.
noinst_LIBRARIES += libnet.a
libnet_a_CFLAGS = $(KT_CFLAGS) $(NL_CFLAGS)
libnet_a_SOURCES = \
	net/attach.c net/attach.h \
	net/cni.c net/cni.h \
	net/iptables.c net/iptables.h \
	net/ipam.c net/ipam.h \
	net/link.c net/link.h net/link-priv.h \
	net/netns.c net/netns.h \
	net/nft.c net/nft.h \
	net/overlay.c net/overlay.h \
	net/policy.c net/policy.h \
	net/policy_nft.c net/policy_nft.h \
	net/ruleset.c net/ruleset.h
