# cmocka programs, one per tested module: tests/unit/<folder>/test_<module>.c.
if HAVE_CMOCKA
UNIT_TESTS =
include tests/unit/base/module.mk
include tests/unit/io/module.mk
include tests/unit/net/module.mk
include tests/unit/store/module.mk
include tests/unit/proto/module.mk
include tests/unit/proto/dom.mk
include tests/unit/proto/cel/module.mk
include tests/unit/orchestrator/kubelet/module.mk
include tests/unit/orchestrator/proxy/module.mk
include tests/unit/orchestrator/netpol/module.mk
include tests/unit/orchestrator/agent/module.mk
include tests/unit/orchestrator/apiserver/module.mk
include tests/unit/orchestrator/controllers/module.mk
include tests/unit/orchestrator/dns/module.mk
include tests/unit/orchestrator/informer/module.mk
include tests/unit/orchestrator/ingress/module.mk
include tests/unit/orchestrator/etcd/module.mk
include tests/unit/orchestrator/scheduler/module.mk
include tests/unit/raft/module.mk
include tests/unit/verify/module.mk
include tests/unit/cli/module.mk
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
endif
