# make          the virtual environment (.venv), with the versions of requirements.lock
# make demo     plans DeepSeek-V3 on eight H800, verifies the plan, draws it beside DualPipe; leaves demo/ with
#               report.html in it
# make test     formatting, lint, types and tests (5 minutes at most on two cores); make lint leaves out the tests
# make bench    plans the configs one after the other, then the cases at operator level beside their rivals
#               (docs/cases.md) and whole steps that choose what to recompute (docs/whole-steps.md), counts what two
#               threads evaluate beside one (docs/results.md) and what justification brings, then races the solver
#               against CP-SAT, big-M and heuristics (docs/bench.md, docs/race.svg); installs OR-Tools for it. Takes
#               more than two hours
# make browser  installs what tests/report/browser_*.py need besides Chromium (CI runs it)
# make dask     installs what planner sweep --dask and its tests need (CI runs them)
# make lock     resolves requirements.lock and requirements-bench.lock again
# make configs  writes configs/ again from scripts/make_configs.py
# make clean    removes what make has made
#
# No target needs an active virtual environment. Debian 12: apt-get install make python3 python3-venv

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := .venv
.DELETE_ON_ERROR:
# Two jobs: lint and types are checked while the kernels compile, each on one core.
MAKEFLAGS += --no-builtin-rules --jobs=2

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := .venv/bin
STAMP := .venv/.installed
COMPILED := .venv/.compiled
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO := configs/deepseek-v3-h800-whole
DEMO_SECONDS ?= 50
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
CASES_FLAGS ?=
WHOLE_FLAGS ?=
RACE_FLAGS ?=
RIVALS := .venv/.rivals-installed
BROWSER := .venv/.browser-installed
DASK := .venv/.dask-installed
TORCH := .venv/.torch-installed

# What a shell may carry in and a fresh environment must not see. Without bytecode every process of a test would compile
# what it imports, 0.3 s for a solve.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: .venv demo test lint bench rivals browser dask torch lock configs clean

.venv: $(COMPILED)

# setuptools, which builds the package, is in the lock: nothing comes without a hash.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is no Python 3.11 or newer; give one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
	  || { echo "make: $(PYTHON) lacks venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

# Once, so that the first solve does not wait for it.
$(COMPILED): $(STAMP)
	$(BIN)/python -m planner warmup
	touch $@

demo: $(COMPILED)
	mkdir -p demo
	cp $(DEMO)/graph.yaml $(DEMO)/cluster.yaml demo/
	$(BIN)/planner solve demo/graph.yaml demo/cluster.yaml --copies 2 --time-limit $(DEMO_SECONDS) -o demo/plan.json
	$(BIN)/planner verify demo/plan.json --graph demo/graph.yaml --cluster demo/cluster.yaml
	@# DualPipe on the same input, for the pictures: every task (plan.svg), and what is idle (idle.svg).
	$(BIN)/planner baseline dualpipe demo/graph.yaml demo/cluster.yaml --quiet -o demo/dualpipe.json
	$(BIN)/planner compare demo/plan.json demo/dualpipe.json --svg demo/plan.svg
	$(BIN)/python scripts/picture.py demo/plan.json demo/dualpipe.json --titles planner,DualPipe -o demo/idle.svg
	@# The page to open in a browser; its name is the last line.
	@$(BIN)/planner show demo/plan.json --html demo/report.html --baseline-plan demo/dualpipe.json \
	  --graph demo/graph.yaml --cluster demo/cluster.yaml > /dev/null

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Each process begins with a share of neighbours, which use the same fixtures, and takes from others when it is done.
test: $(COMPILED) lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(PYTEST_FLAGS)

bench: $(RIVALS)
	$(BIN)/python scripts/bench.py $(BENCH_FLAGS)
	$(BIN)/python scripts/cases.py --cpsat $(CASES_FLAGS)
	$(BIN)/python scripts/whole_step_cases.py $(WHOLE_FLAGS)
	$(BIN)/python scripts/bench_threads.py
	$(BIN)/python scripts/bench_justify.py
	$(BIN)/python scripts/race.py $(RACE_FLAGS)

rivals: $(RIVALS)

# What only the race needs; the rest of the environment stays as requirements.lock has it.
$(RIVALS): $(COMPILED) requirements-bench.lock
	$(PIP) install --require-hashes -r requirements-bench.lock
	touch $@

browser: $(BROWSER)

# What only the tests of the page and of PNG need; Chromium itself comes from the system (.ci/run installs it).
$(BROWSER): $(COMPILED) requirements-browser.lock
	$(PIP) install --require-hashes -r requirements-browser.lock
	touch $@

dask: $(DASK)

# A scheduler and workers on loopback, for tests/engine/dask_runs.py.
$(DASK): $(COMPILED) requirements-dask.lock
	$(PIP) install --require-hashes -r requirements-dask.lock
	touch $@

torch: $(TORCH)

# What runs exported schedules (tests/exporters/torch_runs.py), reads exported jobs (with_torchtitan.py), and planner
# import torch and onnx. Not in a lock: the CPU build
# that this takes where pip finds one (PIP_FIND_LINKS, or PyTorch's own index) has other hashes than the one on PyPI.
$(TORCH): $(COMPILED) pyproject.toml
	$(PIP) install --no-build-isolation -e '.[onnx,pipelining]'
	@# Its parser of TOML alone is used, so without what its models need.
	$(PIP) install --no-deps torchtitan==0.2.2
	touch $@

# The build requirements of pyproject.toml are locked too. Universal: markers cover Python 3.11 and newer.
lock: $(STAMP)
	$(BIN)/python -m uv --version || $(PIP) install 'uv>=0.5'
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(BIN)/python -m uv pip compile --quiet --upgrade --universal --extra dev --generate-hashes \
	    --python-version 3.11 --custom-compile-command "make lock" pyproject.toml - -o requirements.lock
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --extra bench --constraints requirements.lock \
	  --generate-hashes --python-version 3.11 --custom-compile-command "make lock" pyproject.toml \
	  -o requirements-bench.lock
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --extra browser --extra png \
	  --constraints requirements.lock --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	  pyproject.toml -o requirements-browser.lock
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --extra dask --constraints requirements.lock \
	  --generate-hashes --python-version 3.11 --custom-compile-command "make lock" pyproject.toml \
	  -o requirements-dask.lock

configs: $(STAMP)
	$(BIN)/python scripts/make_configs.py

clean:
	rm -rf .venv build dist demo parallelism_planner.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
