# orchestrator/: see doc/architecture.md, section layers.
