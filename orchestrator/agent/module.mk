# The node agent: assembly of what a node runs.
noinst_LIBRARIES += libagent.a
libagent_a_SOURCES = \
	orchestrator/agent/agent.c orchestrator/agent/agent.h \
	orchestrator/agent/certs.c orchestrator/agent/certs.h \
	orchestrator/agent/routes.c orchestrator/agent/routes.h \
	orchestrator/agent/servers.c orchestrator/agent/servers.h
libagent_a_CPPFLAGS = $(AM_CPPFLAGS) $(UV_CFLAGS) $(PROTOBUFC_CFLAGS)
