#!/bin/sh
# Makes ./configure from configure.ac. Needed once after a clone.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux m4
exec autoreconf --install --warnings=all "$@"
