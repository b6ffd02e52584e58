# raft/: see doc/architecture.md, section layers.
