# From nothing but Python and make: `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= outputs/demo
SEED ?= 0
RUN = LNQ_OUTPUTS=$(OUT) $(BIN)/python -m
# Without binding, the threads of forward and backward now and then fight over two cores: ten times slower.
BOUND = OMP_PROC_BIND=spread $(RUN)

.PHONY: help setup demo test check format clean
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

setup: $(READY)  ## a virtual environment with everything, in .venv

$(READY): pyproject.toml constraints.txt .ci/install
	PYTHON=$(PYTHON) VENV=$(VENV) bash .ci/install
	touch $(READY)

demo: $(READY)  ## all stages on the phantom, with a report at the end (SEED=0, OUT=outputs/demo)
	rm -rf $(addprefix $(OUT)/,phantom preprocess genesis baseline dbdmp report.html)
	$(RUN) lnq.preprocess data=phantom data.layout.seed=$(SEED) 'preprocessing.spacing_mm=[3.0,2.5,2.5]' preprocessing.normalisation=ct
	$(BOUND) lnq.train '+experiment=[genesis,phantom]' seed=$(SEED) run_dir=$(OUT)/genesis trainer.max_epochs=8
	for method in baseline dbdmp; do \
	  start=; [ $$method = dbdmp ] && start=init_from=$(OUT)/genesis; \
	  $(BOUND) lnq.train "+experiment=[$$method,phantom]" seed=$(SEED) run_dir=$(OUT)/$$method $$start && \
	  $(BOUND) lnq.predict checkpoint=$(OUT)/$$method input=$(OUT)/phantom/test overlap=0.25 && \
	  $(RUN) lnq.evaluate predictions=$(OUT)/$$method/predictions references=$(OUT)/phantom/complete/test reference_kind=instances || exit; \
	done
	$(RUN) lnq.report 'run=[$(OUT)/baseline,$(OUT)/dbdmp]' output=$(OUT)/report.html

test: $(READY)  ## checks and all tests
	$(MAKE) check
	$(BIN)/python -m pytest

check: $(READY)  ## ruff, mypy, import contracts
	$(BIN)/ruff format --check src tests benchmarks notebooks
	$(BIN)/ruff check src tests benchmarks notebooks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## ruff's formatter and its safe fixes
	$(BIN)/ruff check --fix src tests benchmarks notebooks
	$(BIN)/ruff format src tests benchmarks notebooks

clean:  ## removes the environment and caches; keeps outputs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
