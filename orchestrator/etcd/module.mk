# The etcd v3 API of one member.
noinst_LIBRARIES += libetcd.a
libetcd_a_SOURCES = \
	orchestrator/etcd/auth.c \
	orchestrator/etcd/call.c \
	orchestrator/etcd/cluster.c \
	orchestrator/etcd/election.c \
	orchestrator/etcd/errors.c orchestrator/etcd/errors.h orchestrator/etcd/errors.def \
	orchestrator/etcd/etcd.h orchestrator/etcd/etcd-priv.h \
	orchestrator/etcd/front.c orchestrator/etcd/front.h \
	orchestrator/etcd/front_grpc.c \
	orchestrator/etcd/gateway.c \
	orchestrator/etcd/health.c \
	orchestrator/etcd/identity.c \
	orchestrator/etcd/json.c orchestrator/etcd/json.h \
	orchestrator/etcd/kv.c \
	orchestrator/etcd/lease.c \
	orchestrator/etcd/lock.c \
	orchestrator/etcd/maintenance.c \
	orchestrator/etcd/metrics.c orchestrator/etcd/metrics.def \
	orchestrator/etcd/methods.c orchestrator/etcd/methods.def \
	orchestrator/etcd/pages.c \
	orchestrator/etcd/propose.c \
	orchestrator/etcd/read.c \
	orchestrator/etcd/recipe.c orchestrator/etcd/recipe.h \
	orchestrator/etcd/server.c \
	orchestrator/etcd/snapshot.c \
	orchestrator/etcd/token.c orchestrator/etcd/token.h \
	orchestrator/etcd/watch.c orchestrator/etcd/watch.h \
	orchestrator/etcd/watch_encode.c \
	orchestrator/etcd/worker.c
libetcd_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS) $(OPENSSL_CFLAGS) $(NGHTTP2_CFLAGS)
$(libetcd_a_OBJECTS): | $(PROTO_PB_H)
