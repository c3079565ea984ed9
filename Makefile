# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, pip and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test endurance lint bench soak setup clean

demo: $(READY)          ## federations, three attacks, a report: one to five minutes, no download
	@$(BIN)/spikeleak run configs/demo.toml --fresh --workers 2

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test: $(READY)          ## all tests but the next, in two processes; those that read real data skip without SPIKELEAK_DATA
	@$(PYTEST) -m "not endurance"

endurance: $(READY)     ## whole runs: of the configs, killed, damaged, short of memory, in other processes, in a browser
	@$(PYTEST) -m endurance

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(READY)         ## speed against one victim at a time, as ratios measured in one process
	@$(BIN)/python -m tests.bench_matching
	@$(BIN)/python -m tests.bench_profile
	@$(BIN)/python -m tests.bench_descent
	@$(BIN)/python -m tests.bench_grnn
	@$(BIN)/python -m tests.bench_inversion

soak: $(READY)          ## a run killed at 100 random moments: what is lost, and what comes out
	@$(BIN)/python -m tests.soak_kills 100

setup: $(READY)        ## .venv with all extras and the tools of the development

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spikeleak needs Python 3.11 or newer; make PYTHON=/path/to/it")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); torch is large, this takes a few minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
