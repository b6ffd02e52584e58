# raft/: consensus: libraft's core behind an adapter, our WAL, transport, membership; kv.h is what others use.
noinst_LIBRARIES += libraft.a
libraft_a_CPPFLAGS = $(AM_CPPFLAGS) $(RAFT_CFLAGS) $(UV_CFLAGS) $(PROTOBUFC_CFLAGS)
libraft_a_SOURCES = \
	raft/addrs.c raft/addrs.h \
	raft/bytes.h \
	raft/disk.c raft/disk.h \
	raft/hello.c \
	raft/join.c \
	raft/kv.c raft/kv.h raft/kv-priv.h \
	raft/kv_boot.c \
	raft/kv_disk.c \
	raft/kv_local.c raft/kv_local.h \
	raft/gather.c raft/gather.h \
	raft/log.c raft/log.h \
	raft/member.c raft/member.h raft/member-priv.h \
	raft/member_apply.c \
	raft/member_change.c raft/member_change_start.c \
	raft/member_conf.c \
	raft/member_defrag.c \
	raft/member_files.c \
	raft/member_disk.c \
	raft/member_health.c \
	raft/member_lease.c \
	raft/member_msg.c \
	raft/member_propose.c \
	raft/member_read.c \
	raft/member_roles.c \
	raft/member_scrub.c \
	raft/member_snap.c \
	raft/member_start.c \
	raft/member_step.c \
	raft/member_turn.c \
	raft/msg.c raft/msg.h raft/msg.def \
	raft/problems.c raft/problems.h \
	raft/recover.c raft/recover.h \
	raft/repair.c raft/repair.h \
	raft/roles.c raft/roles.h \
	raft/stable.c raft/stable.h \
	raft/transport.c raft/transport.h raft/transport-priv.h \
	raft/transport_in.c raft/transport_out.c raft/hello-priv.h \
	raft/wal.c raft/wal.h raft/wal-priv.h \
	raft/wal_check.c \
	raft/wal_load.c
