# The scheduler: decide.c decides, scheduler.c waits.
noinst_LIBRARIES += libscheduler.a
libscheduler_a_SOURCES = \
	orchestrator/scheduler/decide.c orchestrator/scheduler/decide.h \
	orchestrator/scheduler/scheduler.c orchestrator/scheduler/scheduler.h \
	orchestrator/scheduler/snapshot.c orchestrator/scheduler/snapshot.h \
	orchestrator/scheduler/volumes.c orchestrator/scheduler/volumes.h
libscheduler_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
