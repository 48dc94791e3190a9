# Each target sets up what it needs in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/.demo
READY := .venv/.ready
PYTEST := $(BIN)/pytest -n auto --dist worksteal
NBVAL := $(BIN)/pytest -p nbval -m "" --nbval --nbval-current-env --nbval-cell-timeout 120 -n auto --dist loadfile

# Compiled modules are kept, though an environment may say otherwise: compiling takes each process that
# loads the tests 6 seconds.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test quick test-all test-rest test-notebooks test-panel test-slow test-browser test-lowest universes \
	test-audit-only coverage lint docs dist notebooks faults fuzz mutants bench bench-chains bench-projections bench-peer clean

demo: $(DEMO)  ## the whole story on an hour of real traffic
	$(BIN)/ttplan demo

test: $(READY)  ## what to run before each commit: at most 5 minutes on 2 cores
	$(PYTEST)
	$(MAKE) --no-print-directory --jobs 2 --output-sync test-notebooks test-panel

test-notebooks: $(READY)  ## part of test
	$(NBVAL) notebooks

test-panel: $(READY)  ## part of test
	$(BIN)/pytest -m browser tests/browser/test_smoke.py

# Left out of `make quick`: they start processes, drive the whole program or render much.
SLOWER := faults backends fuzz docs universes operations cli panel views workspace

quick: $(READY)  ## the first case of each test, without the slower folders: at most 2 minutes
	$(PYTEST) -q --quick $(SLOWER:%=--ignore=tests/%)

test-all: test test-rest  ## every test

test-rest: $(READY)  ## what `make test-all` has beyond `make test`
	$(MAKE) --no-print-directory --jobs 2 test-slow test-browser

test-slow: $(READY)  ## part of test-rest
	$(PYTEST) -m "slow or fault or statistics or spark or postgres or fuzz"

test-browser: $(READY)  ## part of test-rest
	$(BIN)/pytest -m browser tests/browser --ignore=tests/browser/test_smoke.py

test-lowest: $(READY)  ## the tests with the lowest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear build/lowest
	$(BIN)/uv pip install --quiet --python build/lowest --resolution lowest-direct --editable . \
		--group lowest
	build/lowest/bin/python -m pytest -n auto --dist worksteal -W ignore \
		tests/audit tests/engine tests/store tests/workspace tests/logs tests/prices tests/cli

test-audit-only: $(READY)  ## the verifier in an environment with its own libraries alone
	$(BIN)/pytest -m slow tests/audit/test_dependencies.py

coverage: $(READY)  ## the share of lines and branches that `make test` reaches
	mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine -q
	$(BIN)/coverage html -q -d build/coverage/html
	$(BIN)/coverage report | tail -n 1

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

docs: $(READY)  ## the documentation site, in build/site
	$(BIN)/python scripts/make_cli_reference.py
	$(BIN)/mkdocs build --strict --quiet

dist: $(READY)  ## the wheel and the source archive, in dist/
	$(BIN)/uv build --quiet

notebooks: $(READY)  ## run the notebooks and keep their outputs, after a change that is meant to show
	$(BIN)/python scripts/run_notebooks.py

faults: $(READY)  ## more than `make test-all` does: make faults RUNS=10000 SEED=7
	$(BIN)/python -m tests.faults.run --runs $(or $(RUNS),1000) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.faults.run --store postgres --runs $(or $(RUNS),1000) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.faults.stress

fuzz: $(READY)  ## make fuzz TARGET=reader SECONDS=600; without TARGET each in turn
	$(BIN)/python -c 'import atheris' 2>/dev/null || \
		$(BIN)/pip install --quiet --constraint constraints.txt --group fuzz
	$(BIN)/python -m tests.fuzz.run $(TARGET) --seconds $(or $(SECONDS),60)

universes: $(READY)  ## projections of worlds with a known truth: make universes SEEDS=100 WORLDS="verbose images"
	$(BIN)/python -m tests.universes --seeds $(or $(SEEDS),20) $(WORLDS)
	$(if $(WORLDS),,$(BIN)/python -m tests.universes.coverage --seeds $(or $(SEEDS),200) --write)

mutants: $(READY)  ## make mutants MODULE=verify.walker; all of ttplan.audit without MODULE
	$(BIN)/python scripts/mutants.py $(MODULE)

attacks: $(READY)  ## the attacks of docs/threat-model.md, and what detects each
	$(BIN)/python scripts/attacks.py

bench: $(READY)
	$(BIN)/python -m benchmarks.run

bench-chains: $(READY)  ## part of bench
	$(BIN)/python -m benchmarks.chains

bench-projections: $(READY)  ## part of bench: full beside reference, a minute
	$(BIN)/python -m benchmarks.projections

bench-peer: $(READY)  ## needs cargo
	cargo build --release --quiet --manifest-path benchmarks/peer/Cargo.toml
	$(BIN)/python -m benchmarks.peer.chains
	$(BIN)/python -m benchmarks.peer.compare

$(DEMO): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ttplan needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $(DEMO)

$(READY): $(DEMO)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(READY)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
