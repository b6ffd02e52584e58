# net/: see doc/architecture.md, section layers.
