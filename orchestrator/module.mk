# orchestrator/: see doc/architecture.md, section layers.
include orchestrator/client/module.mk
include orchestrator/apiserver/module.mk
include orchestrator/etcd/module.mk
include orchestrator/controllers/module.mk
include orchestrator/informer/module.mk
include orchestrator/scheduler/module.mk
include orchestrator/proxy/module.mk
include orchestrator/netpol/module.mk
include orchestrator/kubelet/module.mk
include orchestrator/dns/module.mk
include orchestrator/ingress/module.mk
include orchestrator/agent/module.mk
