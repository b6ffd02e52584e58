# Programs that the shell tests here use.
check_PROGRAMS += tests/system/kubelet_rig
tests_system_kubelet_rig_SOURCES = tests/system/kubelet_rig.c
tests_system_kubelet_rig_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
tests_system_kubelet_rig_LDADD = libkubelet.a libclient.a libproto.a libnet.a $(IO_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) \
	$(PCRE2_LIBS) $(NL_LIBS)
check_PROGRAMS += tests/system/kms_plugin
tests_system_kms_plugin_SOURCES = tests/system/kms_plugin.c tests/lib/kms_server.c tests/lib/kms_server.h
tests_system_kms_plugin_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
tests_system_kms_plugin_LDADD = libproto.a $(IO_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) $(PCRE2_LIBS)

# The whole program with the deliberate mistakes of base/mutants.def in raft/ and store/: does kontiki chaos find them?
check_PROGRAMS += tests/system/kontiki-mutants
tests_system_kontiki_mutants_SOURCES = tests/system/mutants.c
tests_system_kontiki_mutants_CPPFLAGS = $(AM_CPPFLAGS) -DKONTIKI_MUTANTS
tests_system_kontiki_mutants_LDADD = $(kontiki_OBJECTS) $(tests_sim_libmutants_a_OBJECTS) $(kontiki_LDADD)
tests_system_kontiki_mutants_DEPENDENCIES = kontiki$(EXEEXT) tests/sim/libmutants.a
