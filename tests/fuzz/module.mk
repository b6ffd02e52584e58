# Fuzz targets. Each is tests/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput, and a corpus in tests/fuzz/corpus/NAME/.
# Without --enable-fuzzers they are linked with standalone.c, and `make check` replays the corpora (tests/fuzz/replay).
# To add one, add below (or in your folder's part):
#	FUZZ_TARGETS += tests/fuzz/fuzz_NAME
#	tests_fuzz_fuzz_NAME_SOURCES = tests/fuzz/fuzz_NAME.c $(FUZZ_MAIN)
#	tests_fuzz_fuzz_NAME_LDFLAGS = $(FUZZ_LDFLAGS)
#	tests_fuzz_fuzz_NAME_LDADD = libFOLDER.a ...
if ENABLE_FUZZERS
FUZZ_MAIN =
FUZZ_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
FUZZ_MAIN = tests/fuzz/standalone.c
FUZZ_LDFLAGS = $(AM_LDFLAGS)
endif
FUZZ_TARGETS =
FUZZ_TARGETS += tests/fuzz/fuzz_http1
tests_fuzz_fuzz_http1_SOURCES = tests/fuzz/fuzz_http1.c $(FUZZ_MAIN)
tests_fuzz_fuzz_http1_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_http1_LDADD = libio.a libbase.a
check_PROGRAMS += $(FUZZ_TARGETS)
dist_check_SCRIPTS += tests/fuzz/replay
TESTS += tests/fuzz/replay
EXTRA_DIST += tests/fuzz/corpus
