# cli/: the program.
bin_PROGRAMS += kontiki
kontiki_CPPFLAGS = $(AM_CPPFLAGS) $(UV_CFLAGS) $(OPENSSL_CFLAGS) $(NL_CFLAGS) $(PROTOBUFC_CFLAGS)
kontiki_SOURCES = \
	cli/cmd.h cli/commands.def \
	cli/control.c cli/control.h \
	cli/fetch.c cli/fetch.h \
	cli/files.c \
	cli/join.c cli/join.h \
	cli/kubeconfig.c \
	cli/lb.c \
	cli/local.c cli/local.h \
	cli/local_net.c \
	cli/local_proc.c \
	cli/local_role.c cli/local_role.h \
	cli/local_wait.c cli/local_wait.h \
	cli/main.c \
	cli/opts.c cli/opts.h \
	cli/pki.c cli/pki.h \
	cli/server.c \
	cli/up.c
kontiki_LDADD = libagent.a libkubelet.a libproxy.a libdns.a libapiserver.a libscheduler.a libcontrollers.a libinformer.a libclient.a \
	libnet.a libraft.a libstore.a libproto.a $(IO_LIBS) $(RAFT_LIBS) $(LMDB_LIBS) $(PROTOBUFC_LIBS) $(YAML_LIBS) $(NL_LIBS) \
	$(PCRE2_LIBS) $(ZLIB_LIBS) -lm
