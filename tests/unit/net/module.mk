UNIT_TESTS += tests/unit/net/test_link
tests_unit_net_test_link_SOURCES = tests/unit/net/test_link.c
tests_unit_net_test_link_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_net_test_link_LDADD = libnet.a libbase.a $(NL_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/net/test_ipam
tests_unit_net_test_ipam_SOURCES = tests/unit/net/test_ipam.c
tests_unit_net_test_ipam_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_net_test_ipam_LDADD = libnet.a libbase.a $(NL_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/net/test_iptables
tests_unit_net_test_iptables_SOURCES = tests/unit/net/test_iptables.c
tests_unit_net_test_iptables_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_net_test_iptables_LDADD = libnet.a libbase.a $(NL_LIBS) $(CMOCKA_LIBS)
