# The scheduler: decide.c and preempt.c decide, scheduler.c waits.
noinst_LIBRARIES += libscheduler.a
libscheduler_a_SOURCES = \
	orchestrator/scheduler/decide.c orchestrator/scheduler/decide.h \
	orchestrator/scheduler/evict.c orchestrator/scheduler/evict.h \
	orchestrator/scheduler/preempt.c orchestrator/scheduler/preempt.h \
	orchestrator/scheduler/scheduler.c orchestrator/scheduler/scheduler.h \
	orchestrator/scheduler/snapshot.c orchestrator/scheduler/snapshot.h \
	orchestrator/scheduler/volumes.c orchestrator/scheduler/volumes.h
libscheduler_a_CFLAGS = $(KT_CFLAGS) $(PROTOBUFC_CFLAGS)
