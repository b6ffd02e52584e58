# verify/: was that history one of a correct etcd? Pure; may use base/ and proto/.
noinst_LIBRARIES += libverify.a
libverify_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
libverify_a_SOURCES = \
	verify/after.c \
	verify/etcd.c verify/etcd.h \
	verify/evidence.c \
	verify/history.c verify/history.h \
	verify/linear.c \
	verify/model.c \
	verify/verify-priv.h \
	verify/watch.c
