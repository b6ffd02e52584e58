# The pure parts of the kubectl-like commands.
CLI_TEST_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
CLI_TEST_LIBS = libverbs.a libproto.a libbase.a $(PROTOBUFC_LIBS) $(YAML_LIBS) $(PCRE2_LIBS) $(CMOCKA_LIBS) -lm

UNIT_TESTS += tests/unit/cli/test_describe tests/unit/cli/test_kube
tests_unit_cli_test_describe_SOURCES = tests/unit/cli/test_describe.c
tests_unit_cli_test_describe_CPPFLAGS = $(AM_CPPFLAGS) -DDATA='"$(abs_top_srcdir)/tests/data/cli"'
tests_unit_cli_test_describe_CFLAGS = $(CLI_TEST_CFLAGS)
tests_unit_cli_test_describe_LDADD = $(CLI_TEST_LIBS)
tests_unit_cli_test_kube_SOURCES = tests/unit/cli/test_kube.c
tests_unit_cli_test_kube_CFLAGS = $(CLI_TEST_CFLAGS)
tests_unit_cli_test_kube_LDADD = $(CLI_TEST_LIBS)
EXTRA_DIST += tests/data/cli

UNIT_TESTS += tests/unit/cli/test_local
tests_unit_cli_test_local_SOURCES = tests/unit/cli/test_local.c cli/files.c cli/local.c cli/opts.c cli/pki.c
tests_unit_cli_test_local_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cli_test_local_LDADD = libnet.a $(IO_LIBS) $(NL_LIBS) $(CMOCKA_LIBS)

UNIT_TESTS += tests/unit/cli/test_join_names
tests_unit_cli_test_join_names_SOURCES = tests/unit/cli/test_join_names.c cli/join_names.c
tests_unit_cli_test_join_names_CFLAGS = $(CLI_TEST_CFLAGS) $(UV_CFLAGS)
tests_unit_cli_test_join_names_LDADD = $(CLI_TEST_LIBS)

UNIT_TESTS += tests/unit/cli/test_join_claim
tests_unit_cli_test_join_claim_SOURCES = tests/unit/cli/test_join_claim.c cli/join_claim.c
tests_unit_cli_test_join_claim_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
tests_unit_cli_test_join_claim_LDADD = $(APISERVER_RIG_LIBS)
$(tests_unit_cli_test_join_claim_OBJECTS): | $(PROTO_PB_H)

UNIT_TESTS += tests/unit/cli/test_etcd_config
tests_unit_cli_test_etcd_config_SOURCES = tests/unit/cli/test_etcd_config.c
tests_unit_cli_test_etcd_config_CFLAGS = $(CLI_TEST_CFLAGS)
tests_unit_cli_test_etcd_config_LDADD = $(CLI_TEST_LIBS)

UNIT_TESTS += tests/unit/cli/test_rotation
tests_unit_cli_test_rotation_SOURCES = tests/unit/cli/test_rotation.c cli/files.c cli/join_token.c cli/pki.c cli/rotation.c cli/rotation_obstacles.c
tests_unit_cli_test_rotation_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cli_test_rotation_LDADD = libproto.a $(IO_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) $(PCRE2_LIBS) $(CMOCKA_LIBS) -lm

UNIT_TESTS += tests/unit/cli/test_server_opts
tests_unit_cli_test_server_opts_SOURCES = tests/unit/cli/test_server_opts.c cli/server_opts.c cli/kubelet_opts.c cli/opts.c
tests_unit_cli_test_server_opts_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cli_test_server_opts_LDADD = libkubelet.a libproto.a libbase.a $(PROTOBUFC_LIBS) $(CMOCKA_LIBS) -lm
