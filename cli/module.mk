# cli/: the program.
bin_PROGRAMS += kontiki

# The kubectl-like commands' pure parts, which the unit tests link too.
noinst_LIBRARIES += libverbs.a
libverbs_a_SOURCES = \
	cli/describe.c cli/describe.h cli/describe-priv.h \
	cli/describe_apps.c \
	cli/describe_core.c \
	cli/describe_pod.c \
	cli/etcd_config.c cli/etcd_config.h cli/etcd_flags.def \
	cli/etcd_config_check.c \
	cli/files.c \
	cli/kube_apply.c cli/kube_apply.h \
	cli/kube_args.c \
	cli/kube_config.c cli/kube_config.h \
	cli/kube_error.c cli/kube_error.h \
	cli/kube_meta.c cli/kube_meta.h \
	cli/kube_wait.c cli/kube_wait.h \
	cli/tabs.c cli/tabs.h

libverbs_a_CPPFLAGS = $(AM_CPPFLAGS) $(UV_CFLAGS) $(PROTOBUFC_CFLAGS) $(NL_CFLAGS)
kontiki_CPPFLAGS = $(AM_CPPFLAGS) $(UV_CFLAGS) $(OPENSSL_CFLAGS) $(NL_CFLAGS) $(PROTOBUFC_CFLAGS)
kontiki_SOURCES = \
	cli/backup.c cli/backup.h \
	cli/cmd.h cli/commands.def \
	cli/chaos.c cli/chaos.h cli/chaos_faults.c cli/chaos_load.c cli/chaos_load-priv.h cli/chaos_client.c cli/chaos_watch.c cli/chaos_report.c \
	cli/cmd_apply.c \
	cli/cmd_delete.c \
	cli/cmd_describe.c \
	cli/cmd_exec.c \
	cli/cmd_get.c \
	cli/cmd_label.c \
	cli/cmd_logs.c \
	cli/cmd_scale.c \
	cli/cmd_version.c \
	cli/cmd_wait.c \
	cli/control.c cli/control.h \
	cli/etcd.c \
	cli/etcd_backup.c cli/etcd_backup.h \
	cli/etcd_client.c cli/etcd_client.h \
	cli/etcd_tls.c cli/etcd_tls.h \
	cli/fetch.c cli/fetch.h \
	cli/join.c cli/join.h \
	cli/join_claim.c cli/join_claim.h \
	cli/join_names.c cli/join_names.h \
	cli/join_token.c \
	cli/kube.c cli/kube.h \
	cli/kube_pod.c \
	cli/kube_print.c \
	cli/kubeconfig.c \
	cli/lb.c \
	cli/local.c cli/local.h \
	cli/local_net.c \
	cli/local_proc.c \
	cli/local_role.c cli/local_role.h \
	cli/local_wait.c cli/local_wait.h \
	cli/main.c \
	cli/admin.c cli/admin.h \
	cli/cert.c \
	cli/check.c \
	cli/renew.c cli/renew.h \
	cli/rotation.c cli/rotation.h \
	cli/rotation_obstacles.c \
	cli/rotation_serve.c \
	cli/rotation_store.c cli/rotation_store.h \
	cli/rotate.c cli/rotate.h \
	cli/member.c \
	cli/token.c \
	cli/member_serve.c \
	cli/notify.c cli/notify.h \
	cli/opts.c cli/opts.h \
	cli/pki.c cli/pki.h \
	cli/recover.c \
	cli/server.c cli/server-priv.h \
	cli/kubelet_opts.c cli/kubelet_opts.h \
	cli/server_opts.c cli/server_opts.h \
	cli/server_start.c \
	cli/snapshot.c \
	cli/status.c \
	cli/store_client.c cli/store_client.h \
	cli/store_serve.c \
	cli/up.c
kontiki_LDADD = libverbs.a libverify.a libagent.a libingress.a libkubelet.a libproxy.a libnetpol.a libdns.a libetcd.a libapiserver.a libscheduler.a libcontrollers.a libingress.a libinformer.a libclient.a \
	libnet.a libraft.a libstore.a libproto.a $(IO_LIBS) $(RAFT_LIBS) $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) $(NL_LIBS) \
	$(PCRE2_LIBS) $(ZLIB_LIBS) -lcrypt -lm
