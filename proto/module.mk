# proto/: see doc/architecture.md, section layers.
