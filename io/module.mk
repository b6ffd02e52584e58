# io/: see doc/architecture.md, section layers.
