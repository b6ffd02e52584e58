# store/: one member's MVCC state on LMDB; may use base/, io/ and proto/.
noinst_LIBRARIES += libstore.a
libstore_a_CFLAGS = $(KT_CFLAGS) $(LMDB_CFLAGS) $(PROTOBUFC_CFLAGS)
libstore_a_SOURCES = \
	store/answers.def \
	store/apply.c \
	store/auth.c store/auth.h store/auth-priv.h \
	store/auth_perm.c \
	store/auth_token.c \
	store/bolt.h store/bolt-priv.h \
	store/bolt_import.c \
	store/bolt_items.c \
	store/bolt_read.c \
	store/bolt_write.c \
	store/batch.c store/batch.h \
	store/checkpoint.c \
	store/command.c \
	store/compact.c \
	store/damage.c \
	store/defrag.c \
	store/env.c \
	store/hub.c store/hub-priv.h \
	store/keys.c store/keys.h \
	store/lessor.c \
	store/meta.c \
	store/mvcc.c \
	store/pages.c store/pages.h \
	store/range.c \
	store/record.c store/record.h \
	store/replay.c \
	store/scrub.c \
	store/seal.c \
	store/snapfile.c store/snapfile.h \
	store/snapshot.c store/snapshot.h \
	store/install.c \
	store/store.c store/store.h store/store-priv.h \
	store/unpack.c \
	store/view.c store/view.h \
	store/watch.h \
	store/wire.c store/wire.h
