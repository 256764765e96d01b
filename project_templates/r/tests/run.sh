#!/bin/sh
# Runs the tests in the image that the actions use. `jobrunner run` has built it.
set -eu
cd "$(dirname "$0")/.."
docker run --rm --network none --user "$(id -u)" --volume "$PWD:/workspace:ro" \
    jobrunner/r:v2 tests/test_rounding.R
