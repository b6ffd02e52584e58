# tests/: unit tests mirror the tree; a unit test links only what its folder may use.
include tests/unit/module.mk
include tests/fuzz/module.mk
include tests/system/module.mk
include tests/sim/module.mk
include tests/bench/module.mk
