# The API client's interface; its back ends are apiserver/client_local.c and client_http.c.
noinst_LIBRARIES += libclient.a
libclient_a_SOURCES = \
	orchestrator/client/csr.c orchestrator/client/csr.h \
	orchestrator/client/client.c orchestrator/client/client.h \
	orchestrator/client/client_http.c orchestrator/client/client_http.h \
	orchestrator/client/pki_annotations.h
libclient_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
