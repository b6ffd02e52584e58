# store/: see doc/architecture.md, section layers.
