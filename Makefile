# The two commands of a newcomer are `make demo` and `make test`; both set up what they need.
# PYTHON chooses the interpreter, VENV the folder; CI runs the tests again with other pairs of them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
# Most of what tests do is to wait, so one process more than a small machine has processors. JOBS=0 runs them in one, in order.
JOBS ?= 3
# Of `make test-here`; folders that it leaves out besides; and whether it measures the coverage of the core.
MARKS ?= not soak
WITHOUT ?=
COVERAGE ?=
PARALLEL = $(if $(filter-out 0,$(JOBS)),--dist worksteal --tx "$(JOBS)*popen//python=$(BIN)/python -X dev")

.PHONY: demo test test-task-order test-slow-lines simulate simulate-ci test-quick test-here test-pythons soak coverage lint format types architecture legacy-typing docs dist bench bench-check bench-flood bench-growth bench-overload bench-workers packages prove-restart check clean

# Dependency groups are read by `pip >= 25.1` alone, so pip comes first.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q --editable . --group test --group check --group look --group notebooks
	@touch $@

demo: $(READY)
	$(BIN)/python -m examples.demo

test: $(READY)
	$(BIN)/python -X dev -m pytest -q -m "not soak" $(PARALLEL)

# Everything twice, with trio's tasks that are due in one moment in either order: for tests that fail now and then. A quarter of an hour.
test-task-order: $(READY)
	for order in forward reverse; do \
	  $(BIN)/python -m pytest -q -m "not soak" -p tests.task_order --task-order $$order -n $(JOBS) --dist worksteal || exit; done

# What has threads and processes, with some lines of the library slow, others for each of the seeds: for races that a busy machine shows
# now and then. Needs Python 3.12 or newer; three minutes for each seed: `make test-slow-lines PYTHON=python3.13 VENV=.venv-3.13`.
SLOW_SEEDS ?= 1 2 3
test-slow-lines: $(READY)
	for seed in $(SLOW_SEEDS); do \
	  $(BIN)/python -X dev -m pytest -q -m "not soak and not slow" -p tests.slow_lines --slow-lines $$seed -n $(JOBS) --dist worksteal \
	    tests/compat tests/differential || exit; done

test-quick: $(READY)
	$(BIN)/python -X dev -m pytest -q -m "not soak and not slow" $(PARALLEL)

# Every other Python that stands ready here, each in a folder of its own.
test-pythons:
	.ci/pythons

# What is the same on every Python is tested on one: pictures, pages, lessons, simulated runs, and the benchmark's own.
test-here: $(READY)
	$(if $(COVERAGE),$(BIN)/python -m coverage erase)
	$(BIN)/python -X dev $(if $(COVERAGE),-m coverage run) -m pytest -q -m "$(MARKS)" $(PARALLEL) \
	  --ignore tests/look --ignore tests/docs --ignore tests/tutorial --ignore tests/benchmarks --ignore tests/simulation \
	  $(addprefix --ignore tests/,$(WITHOUT))
	$(if $(COVERAGE),$(REPORT_COVERAGE))

# Many seeds of everything that is simulated: SEEDS of each, for WITHIN seconds each at most. Without -X dev, which `make test` has.
SEEDS ?= 100000
WITHIN ?= 600
simulate: $(READY)
	$(BIN)/python -m pytest -q $(subst python -X dev,python,$(PARALLEL)) tests/simulation/test_library.py --simulate-seeds $(SEEDS) --simulate-within $(WITHIN)

# What CI runs, beside the few seeds of `make test`: 300 of each, as far as twenty seconds for each will do. About
# 100 seconds of processor time in all.
simulate-ci:
	$(MAKE) simulate SEEDS=300 WITHIN=20

# Minutes, not seconds: never a part of `make test`.
soak: $(READY)
	$(BIN)/python -m pytest -q -m soak

# Branch coverage of the core: at least 95 %.
REPORT_COVERAGE = $(BIN)/python -m coverage combine -q && \
	$(BIN)/python -m coverage report --include='triosock/_core/**' --fail-under=95

# From the core's own tests alone, on this Python. Without those that measure memory: until 3.13 a traced coroutine has a frame object
# besides. CI measures it with the tests on 3.14, whose `sys.monitoring` counts branches at little cost.
coverage: $(READY)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q $(PARALLEL) --ignore tests/core/test_memory.py \
	  tests/core tests/properties tests/faults tests/datagrams tests/rates tests/stdio tests/health tests/observe/test_blocked_loop.py
	$(REPORT_COVERAGE)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

architecture: $(READY)
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_source_tree.py

# Type-checks a project that still has trio-typing installed, in a folder of its own.
legacy-typing:
	.ci/legacy-typing

check: lint types architecture

# Side by side with peers, in a folder of their own, on the newest Python that stands ready.
$(BENCH)/.ready: benchmarks/requirements.txt pyproject.toml
	$$(.ci/newest-python) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install -q --upgrade pip
	$(BENCH)/bin/python -m pip install -q --editable . -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks run

# Ten to twenty minutes: what is close to its bound is measured in more rounds.
bench-check: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks check

# What honest clients of TLS wait while others begin handshakes and stop. About a minute and a half.
bench-flood: $(READY)
	$(BIN)/python -m benchmarks.flood

# What a server does at twice the load that it can do, with each kind of limit. About two minutes and a half.
bench-overload: $(READY)
	$(BIN)/python -m benchmarks.overload

# The memory of a server after a million connections, and after a day of virtual time. About two minutes.
bench-growth: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.growth

# One process and workers, beside uvicorn's and gunicorn's: about four minutes.
bench-workers: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.workers

# Restarts and upgrades under load behind a real HAProxy (Debian's package): nothing may be lost. Beside uvicorn and gunicorn. Minutes.
prove-restart: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.restart --direct
	$(BENCH)/bin/python -m benchmarks.restart --peers uvicorn gunicorn

# Packages from PyPI that build on socketserver: their own tests with compat in its place and without. Half an hour.
packages: $(READY)
	nice $(BIN)/python -m tests.packages

# In a folder of its own. Runs the lessons, whose outputs and pictures are on the pages.
DOCS := .venv-docs
$(DOCS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -q --upgrade "pip>=25.1"
	$(DOCS)/bin/python -m pip install -q --editable ".[dtls,metrics,cli,green,identity,opentelemetry]" --group docs
	@touch $@

docs: $(DOCS)/.ready
	$(DOCS)/bin/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
	$(DOCS)/bin/python docs/check_links.py docs/_build/html
	@if command -v chromium >/dev/null; then $(DOCS)/bin/python docs/look.py docs/_build/html; fi

# An sdist and a wheel in dist/, looked at, and tried in an empty environment.
dist:
	.ci/dist

clean:
	rm -rf .venv .venv-* build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/_build
