# orchestrator/kubelet: pods on a node, over CRI.
noinst_LIBRARIES += libkubelet.a
libkubelet_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS) $(UV_CFLAGS)
libkubelet_a_SOURCES = \
	orchestrator/kubelet/atomic-writer.c orchestrator/kubelet/atomic-writer.h \
	orchestrator/kubelet/cgroup.c orchestrator/kubelet/cgroup.h \
	orchestrator/kubelet/containerd.c orchestrator/kubelet/containerd.h \
	orchestrator/kubelet/containerd-config.c orchestrator/kubelet/containerd-priv.h \
	orchestrator/kubelet/containerd-images.c \
	orchestrator/kubelet/containerd-teardown.c \
	orchestrator/kubelet/cri.c orchestrator/kubelet/cri.def orchestrator/kubelet/cri.h \
	orchestrator/kubelet/claims.c orchestrator/kubelet/claims.h \
	orchestrator/kubelet/crilog.c orchestrator/kubelet/crilog.h \
	orchestrator/kubelet/env.c orchestrator/kubelet/env.h \
	orchestrator/kubelet/eviction.c orchestrator/kubelet/eviction.h \
	orchestrator/kubelet/eviction-config.c orchestrator/kubelet/eviction-config.h \
	orchestrator/kubelet/ephemeral.c orchestrator/kubelet/ephemeral.h \
	orchestrator/kubelet/events.c \
	orchestrator/kubelet/fsutil.c orchestrator/kubelet/fsutil.h \
	orchestrator/kubelet/hooks.c \
	orchestrator/kubelet/image-gc.c orchestrator/kubelet/image-gc.h \
	orchestrator/kubelet/image-keeper.c \
	orchestrator/kubelet/images.c \
	orchestrator/kubelet/kubelet.c orchestrator/kubelet/kubelet.h orchestrator/kubelet/kubelet-priv.h \
	orchestrator/kubelet/logs-rotate.c \
	orchestrator/kubelet/node.c \
	orchestrator/kubelet/node-stats.c \
	orchestrator/kubelet/objects.c orchestrator/kubelet/objects.h \
	orchestrator/kubelet/pbutil.h \
	orchestrator/kubelet/pod-actions.c orchestrator/kubelet/pod-actions-priv.h \
	orchestrator/kubelet/pod-actions-resize.c \
	orchestrator/kubelet/pod-objects.c \
	orchestrator/kubelet/pod-resize.c \
	orchestrator/kubelet/pod-tell.c \
	orchestrator/kubelet/pod-worker.c orchestrator/kubelet/pod-worker-priv.h \
	orchestrator/kubelet/pod-look.c \
	orchestrator/kubelet/pressure.c \
	orchestrator/kubelet/probe.c \
	orchestrator/kubelet/pod-config.c orchestrator/kubelet/pod-config.h \
	orchestrator/kubelet/pod-status.c orchestrator/kubelet/pod-status.h \
	orchestrator/kubelet/pod-sync.c orchestrator/kubelet/pod-sync.h \
	orchestrator/kubelet/resize.c orchestrator/kubelet/resize.h \
	orchestrator/kubelet/resources.c orchestrator/kubelet/resources.h \
	orchestrator/kubelet/runtime.c orchestrator/kubelet/runtime.h \
	orchestrator/kubelet/runtime-view.c \
	orchestrator/kubelet/server.c orchestrator/kubelet/server-priv.h \
	orchestrator/kubelet/server-auth.c \
	orchestrator/kubelet/server-logs.c \
	orchestrator/kubelet/server-stats.c \
	orchestrator/kubelet/server-stream.c \
	orchestrator/kubelet/server-volumes.c \
	orchestrator/kubelet/volumes.c orchestrator/kubelet/volumes.h
$(libkubelet_a_OBJECTS): | $(PROTO_PB_H)
