# What a person or a CI machine does with this checkout. Each target sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint mutants bench
PYTEST := .venv/bin/python -m pytest
# What needs a controller runs on both databases. test_postgresql.py starts a server of its own in any case.
ON_POSTGRESQL := tests/controller tests/attacks/test_P_controller.py tests/attacks/test_P_stream.py \
	tests/whole/test_whole_way.py::test_a_pushed_commit_becomes_a_moderately_sensitive_output \
	tests/whole/test_whole_way.py::test_cancel_ends_the_container_before_the_feed_says_so \
	--ignore tests/controller/test_postgresql.py
# These measure what a container may use, or make agents of one name; the others run two at a time.
ALONE := tests/attacks/test_S_limits.py tests/attacks/test_S_bombs.py tests/attacks/test_S_canary.py \
	tests/attacks/test_S_attest.py tests/attacks/test_P_evil_controller.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the whole thing on this machine: a real study on real public data (DEMO_DIR, DEMO_EXIT=1)
	@deploy/setup engine
	@.venv/bin/jobrunner demo

test: ## every test, with real containers and a real browser
	@deploy/setup engine tests
	@status=0; \
	$(PYTEST) -m "unit or http" -n 3 || status=1; \
	JOBRUNNER_TEST_DATABASE=postgresql $(PYTEST) $(ON_POSTGRESQL) -m "unit or http or docker" -n 3 || status=1; \
	$(PYTEST) $(ALONE:%=--ignore=%) -m "docker or browser" -n 2 --dist loadfile || status=1; \
	$(PYTEST) $(ALONE) -m "docker or browser" || status=1; \
	exit $$status

test-fast: ## the tests that need no server, engine or browser, in about a minute
	@deploy/setup
	@JOBRUNNER_FAST=1 $(PYTEST) -m "unit and not slow" -n 2

lint: ## ruff, mypy --strict and the import contracts
	@deploy/setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

mutants: ## take out each protection and see that its tests notice (MARK="unit http", SHARD=1/4, ONLY=G02, SUMMARY=1)
	@deploy/setup $(if $(filter docker browser,$(MARK)),engine tests)
	@.venv/bin/python -m tests.mutants $(if $(MARK),--mark $(MARK)) $(if $(SHARD),--shard $(SHARD)) $(if $(ONLY),--only $(ONLY)) \
	$(if $(SUMMARY),--summary)

bench: ## measure against the floor; writes benchmarks/latest.json
	@deploy/setup engine
	@.venv/bin/python -m benchmarks
