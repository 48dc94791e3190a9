# Two commands for everybody: `make demo` and `make test`. Each sets up what it needs in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint faults fuzz mutants bench bench-chains bench-peer notebooks clean

demo: $(READY)
	$(BIN)/ttplan demo

test: $(READY)
	$(BIN)/pytest -m "not browser" -n auto --dist worksteal
	$(BIN)/pytest -m browser tests/browser
	$(BIN)/pytest -p nbval -m "" --nbval --nbval-current-env --nbval-cell-timeout 120 notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: $(READY)  # more than `make test` does: make faults RUNS=10000 SEED=7
	$(BIN)/python -m tests.faults.run --runs $(or $(RUNS),1000) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.faults.run --store postgres --runs $(or $(RUNS),1000) --seed $(or $(SEED),1)
	$(BIN)/python -m tests.faults.crowd

fuzz: $(READY)  # make fuzz TARGET=reader SECONDS=600; without TARGET each in turn
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --constraint constraints.txt --group fuzz
	$(BIN)/python -m tests.fuzz.run $(TARGET) --seconds $(or $(SECONDS),60)

mutants: $(READY)  # make mutants MODULE=verify; without MODULE all that check something
	$(BIN)/python scripts/mutants.py $(MODULE)

bench: $(READY)
	$(BIN)/python -m benchmarks.run

bench-chains: $(READY)  # part of bench
	$(BIN)/python -m benchmarks.chains

bench-peer: $(READY)  # needs cargo
	cargo build --release --quiet --manifest-path benchmarks/peer/Cargo.toml
	$(BIN)/python -m benchmarks.peer.chains
	$(BIN)/python -m benchmarks.peer.compare

notebooks: $(READY)
	$(BIN)/python scripts/run_notebooks.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ttplan needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(READY)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
