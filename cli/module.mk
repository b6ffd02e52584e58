# cli/: see doc/architecture.md, section layers.
