#!/bin/sh
# Runs the tests of the queries, on an SQLite database that lives in memory.
set -eu
cd "$(dirname "$0")/.."
python3 tests/test_queries.py
