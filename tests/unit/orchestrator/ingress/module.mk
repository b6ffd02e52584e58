UNIT_TESTS += tests/unit/orchestrator/ingress/test_ingress_routes
tests_unit_orchestrator_ingress_test_ingress_routes_SOURCES = tests/unit/orchestrator/ingress/test_ingress_routes.c
tests_unit_orchestrator_ingress_test_ingress_routes_CFLAGS = $(KT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_orchestrator_ingress_test_ingress_routes_LDADD = libingress.a libproto.a libbase.a $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
