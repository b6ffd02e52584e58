# Whole members (core, WAL, store) on virtual time, disk and network. `make check` runs some seeds; more: tests/sim/sim --seeds N.
check_PROGRAMS += tests/sim/sim
SIM_SOURCES = tests/sim/sim.c tests/sim/world.c tests/sim/world.h tests/sim/node.c tests/sim/node_start.c \
	tests/sim/node_ops.c tests/sim/node_check.c tests/sim/node-priv.h tests/sim/faults.c \
	tests/sim/scenario.c tests/sim/scenario_disk.c tests/sim/client.c tests/sim/watcher.c tests/sim/simdisk.c tests/sim/simdisk.h tests/lib/rng.h
tests_sim_sim_SOURCES = $(SIM_SOURCES)
tests_sim_sim_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS) $(RAFT_CFLAGS)
tests_sim_sim_LDADD = libverify.a libraft.a libstore.a libproto.a libio.a libbase.a $(RAFT_LIBS) $(LMDB_LIBS) $(PROTOBUFC_LIBS) \
	$(UV_LIBS) $(OPENSSL_LIBS) $(NGHTTP2_LIBS) -lpthread
dist_check_SCRIPTS += tests/sim/seeds
TESTS += tests/sim/seeds

# The same with deliberate mistakes in raft/ and store/ (base/mutants.def): tests/sim/mutants shows that each is found.
check_LIBRARIES += tests/sim/libmutants.a
tests_sim_libmutants_a_CPPFLAGS = $(libraft_a_CPPFLAGS) -DKONTIKI_MUTANTS
tests_sim_libmutants_a_CFLAGS = $(libstore_a_CFLAGS)
tests_sim_libmutants_a_SOURCES = $(libraft_a_SOURCES) $(libstore_a_SOURCES)
check_PROGRAMS += tests/sim/sim-mutants
tests_sim_sim_mutants_SOURCES = $(SIM_SOURCES)
tests_sim_sim_mutants_CPPFLAGS = $(AM_CPPFLAGS) -DKONTIKI_MUTANTS
tests_sim_sim_mutants_CFLAGS = $(tests_sim_sim_CFLAGS)
tests_sim_sim_mutants_LDADD = libverify.a tests/sim/libmutants.a libproto.a libio.a libbase.a $(RAFT_LIBS) $(LMDB_LIBS) \
	$(PROTOBUFC_LIBS) $(UV_LIBS) $(OPENSSL_LIBS) $(NGHTTP2_LIBS) -lpthread
EXTRA_DIST += tests/sim/mutants
