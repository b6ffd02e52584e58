# orchestrator/: see doc/architecture.md, section layers.
include orchestrator/client/module.mk
