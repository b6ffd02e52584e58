# The cache of one resource's objects.
noinst_LIBRARIES += libinformer.a
libinformer_a_SOURCES = \
	orchestrator/informer/informer.c orchestrator/informer/informer.h
libinformer_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
