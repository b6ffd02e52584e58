UNIT_TESTS += tests/unit/base/test_base
tests_unit_base_test_base_SOURCES = tests/unit/base/test_base.c
tests_unit_base_test_base_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_base_test_base_LDADD = libbase.a $(CMOCKA_LIBS) -lpthread
UNIT_TESTS += tests/unit/base/test_file
tests_unit_base_test_file_SOURCES = tests/unit/base/test_file.c
tests_unit_base_test_file_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_base_test_file_LDADD = libbase.a $(CMOCKA_LIBS)
