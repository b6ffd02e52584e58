# base/: libc only.
noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = \
	base/alloc.c \
	base/arena.c base/arena.h \
	base/buf.c base/buf.h \
	base/clock.c base/clock.h \
	base/crc32c.c base/crc32c.h \
	base/err.c base/err.h base/err.def \
	base/fault.c base/fault.h base/faults.def \
	base/file.c base/file.h \
	base/heap.c base/heap.h \
	base/histogram.c base/histogram.h \
	base/list.h \
	base/log.c base/log.h \
	base/map.c base/map.h \
	base/mutant.h base/mutants.def \
	base/obj.h \
	base/str.c base/str.h \
	base/util.h
