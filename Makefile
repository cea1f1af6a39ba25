# From nothing but Python and make: `make demo` and `make test` set everything up themselves.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= outputs/demo
SEED ?= 0
# Threads of each of $(1) processes that share the cores.
SHARING = OMP_NUM_THREADS=$$(( ($$(nproc 2> /dev/null || getconf _NPROCESSORS_ONLN) + $(1) - 1) / $(1) ))
RUN = LNQ_OUTPUTS=$(OUT) $(BIN)/python -m
# The same beside others: each line begins with whose it is. A failure counts through the pipe (make 3.81, as on a Mac, has no .SHELLFLAGS).
RUN_NAMED = set -o pipefail; $(RUN)
NAMED = 2>&1 | sed -u 's/^/$(@:demo-%=%): /'
GRID = 'preprocessing.spacing_mm=[3.0,2.5,2.5]' preprocessing.normalisation=ct
PREPARE = $(RUN) lnq.preprocess data=phantom $(GRID)
GENESIS_BUDGET = trainer.max_epochs=8
PREDICT = lnq.predict

# Table 1: every row for every seed (masks of organs are for *recommended* alone); JOBS rows at a time, each with its share of the cores. The mode is
# the one that the paper's figures were computed in; docs/results.md says what mode, phantom and budget do. Each row is cut where it chose itself, on
# scans that it did not learn.
TABLE1 ?= outputs/table1
SEEDS ?= 0 1 2
JOBS ?= 2
MODE ?= original
ROW_MODE = $(MODE)
ROWS = baseline a b c d e f g recommended
TABLE1_PHANTOM = policy@data.layout.policy=random data.layout.policy.count=2 data.layout.num_train=48
# The row beside it that tells what is left to win: the same scans with every node annotated.
COMPLETE_PHANTOM = $(TABLE1_PHANTOM) data.layout.num_full=48
TABLE1_PATCH = 'datamodule.patch_size=[16,40,40]'
TABLE1_GENESIS = $(TABLE1_PATCH) datamodule.batch_size=16 trainer.max_epochs=12 optimizer.lr=0.001 augmentation@datamodule.transform=genesis_original
TABLE1_BUDGET = $(TABLE1_PATCH) datamodule.holdout=0.15 trainer.max_epochs=140 callbacks=table1 optimizer.lr=0.02 trainer.check_val_every_n_epoch=140 method.inferer.batch_size=4

.PHONY: help setup demo demo-genesis demo-baseline demo-dbdmp table1 test bench quick docs notebooks check format clean
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

setup: $(READY)  ## a virtual environment with everything, in .venv

$(READY): pyproject.toml constraints.txt .ci/hashes.txt .ci/install
	PYTHON=$(PYTHON) VENV=$(VENV) bash .ci/install
	touch $(READY)

demo: $(READY)  ## all stages on the phantom, with a report at the end (SEED=0, OUT=outputs/demo)
	rm -rf $(addprefix $(OUT)/,phantom preprocess genesis baseline dbdmp report.html)
	$(PREPARE) data.layout.seed=$(SEED)
	$(call SHARING,2) $(MAKE) --no-print-directory -j 2 demo-baseline demo-dbdmp
	$(RUN) lnq.report 'run=[$(OUT)/baseline,$(OUT)/dbdmp]' output=$(OUT)/report.html

# Side by side, each with its share of the cores: networks as small as these gain little from a second one.
demo-dbdmp: demo-genesis
demo-dbdmp: START = init_from=$(OUT)/genesis
demo-genesis:
	$(RUN_NAMED) lnq.train '+experiment=[genesis,phantom]' seed=$(SEED) run_dir=$(OUT)/genesis $(GENESIS_BUDGET) $(NAMED)
demo-baseline demo-dbdmp: demo-%:
	$(RUN_NAMED) lnq.train '+experiment=[$*,phantom]' seed=$(SEED) run_dir=$(OUT)/$* $(START) $(NAMED)
	$(RUN_NAMED) $(PREDICT) checkpoint=$(OUT)/$* input=$(OUT)/phantom/test overlap=0.25 $(NAMED)
	$(RUN_NAMED) lnq.evaluate predictions=$(OUT)/$*/predictions references=$(OUT)/phantom/complete/test reference_kind=instances $(NAMED)

table1: $(READY)  ## the paper's Table 1 on the phantom, resumable (TABLE1=outputs/table1, SEEDS, JOBS, MODE)
	$(call SHARING,$(JOBS)) $(MAKE) -j $(JOBS) $(foreach s,$(SEEDS),$(addprefix $(TABLE1)/seed$s/,$(ROWS:%=%/.measured) complete/.measured))
	$(BIN)/python -m lnq.collect sweep=$(TABLE1)

# $(1) is a seed. A row that is finished stays; one that was interrupted begins again.
define SEED_RULES
$(TABLE1)/seed$(1)/genesis/.trained: OUT = $(TABLE1)/seed$(1)
$(TABLE1)/seed$(1)/genesis/.trained: | $(READY)
	rm -rf $$(OUT)/genesis
	$$(PREPARE) data.layout.seed=$(1) $$(TABLE1_PHANTOM) data.layout.organs=true
	$$(RUN) lnq.train '+experiment=[genesis,phantom]' seed=$(1) run_dir=$$(OUT)/genesis $$(TABLE1_GENESIS)
	touch $$@

$(ROWS:%=$(TABLE1)/seed$(1)/%/.measured): OUT = $(TABLE1)/seed$(1)
$(TABLE1)/seed$(1)/recommended/.measured: ROW_MODE = recommended
$(ROWS:%=$(TABLE1)/seed$(1)/%/.measured): $(TABLE1)/seed$(1)/%/.measured: $(TABLE1)/seed$(1)/genesis/.trained
	rm -rf $$(@D)
	$$(RUN) lnq.train '+experiment=[table1/$$*,phantom]' seed=$(1) run_dir=$$(@D) method.mode=$$(ROW_MODE) $$(TABLE1_BUDGET) callbacks.progress=null
	$$(RUN) lnq.calibrate run=$$(@D) overlap=0.25
	$$(RUN) $$(PREDICT) checkpoint=$$(@D) input=$$(OUT)/phantom/test overlap=0.25 save_probabilities=true
	$$(RUN) lnq.evaluate predictions=$$(@D)/predictions references=$$(OUT)/phantom/complete/test reference_kind=instances thresholds=true
	$$(RUN) $$(PREDICT) checkpoint=$$(@D) input=$$(OUT)/phantom/train output=$$(@D)/training/predictions overlap=0
	$$(RUN) lnq.evaluate predictions=$$(@D)/training/predictions references=$$(OUT)/phantom/complete/train annotations=$$(OUT)/phantom/train reference_kind=instances
	touch $$@

$(TABLE1)/seed$(1)/complete/.measured: OUT = $(TABLE1)/seed$(1)
$(TABLE1)/seed$(1)/complete/.measured: | $(READY)
	rm -rf $$(@D)
	LNQ_OUTPUTS=$$(OUT)/all $$(BIN)/python -m lnq.preprocess data=phantom $$(GRID) data.layout.seed=$(1) $$(COMPLETE_PHANTOM)
	$$(RUN) lnq.train '+experiment=[table1/complete,phantom]' seed=$(1) run_dir=$$(@D) store=$$(OUT)/all/preprocess/phantom $$(TABLE1_BUDGET) callbacks.progress=null
	$$(RUN) lnq.calibrate run=$$(@D) overlap=0.25
	$$(RUN) $$(PREDICT) checkpoint=$$(@D) input=$$(OUT)/all/phantom/test overlap=0.25 save_probabilities=true
	$$(RUN) lnq.evaluate predictions=$$(@D)/predictions references=$$(OUT)/all/phantom/complete/test reference_kind=instances thresholds=true
	touch $$@
endef
$(foreach s,$(SEEDS),$(eval $(call SEED_RULES,$s)))

test: $(READY)  ## checks and all tests
	$(MAKE) check
	$(BIN)/python -m pytest -n logical --dist loadfile

bench: $(READY)  ## how fast this machine is, in benchmarks/results: a GPU in six minutes, two cores in ten (ORIGINAL=DIR: a checkout of the authors' code to hold it against)
	$(BIN)/python benchmarks/run.py $(if $(ORIGINAL),--original '$(ORIGINAL)')

docs: $(READY)  ## the site of docs/, in site/: generated pages renewed, links checked, nothing from elsewhere
	$(BIN)/python docs_build/reference.py
	PYTHONPATH=docs_build $(BIN)/zensical build --clean --strict
	$(BIN)/python docs_build/site_check.py site

notebooks: $(READY)  ## runs the notebooks and keeps their outputs, as they are committed
	$(BIN)/python docs_build/run_notebooks.py

quick: $(READY)  ## tests without processes, training and what takes long: a minute
	$(BIN)/python -m pytest -n logical --dist loadfile -m "not process and not training and not slow"

check: $(READY)  ## ruff, mypy, import contracts
	$(BIN)/ruff format --check src tests benchmarks notebooks docs_build
	$(BIN)/ruff check src tests benchmarks notebooks docs_build
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## ruff's formatter and its safe fixes
	$(BIN)/ruff check --fix src tests benchmarks notebooks docs_build
	$(BIN)/ruff format src tests benchmarks notebooks docs_build

clean:  ## removes the environment and caches; keeps outputs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
