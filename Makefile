# `make help` says what there is. Every working target first brings .venv in step with the lock (.ci/setup).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
STAMP := .venv/.stamp
ARGS ?=
# Processes of the tests: one per core, at most four; WORKERS=0 runs them in this one, for a debugger.
WORKERS ?= auto
# Kills of a training in the suite of faults; the others come in proportion.
KILLS ?= 20

.PHONY: help setup demo teacher bench-gpu test test-slow test-slurm test-faults lint format site dist lock clean

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo '  ARGS=...   more arguments for what is run: make test ARGS=tests/flow, make lock ARGS=--upgrade'

$(STAMP): pyproject.toml requirements.lock .python-version
	@.ci/setup

setup: $(STAMP) ## make .venv as requirements.lock says (all other targets do it on their own)
	@echo 'setup: .venv is ready'

demo: $(STAMP) ## distill the small embedded teacher with fix full32 into outputs/demo
	@echo 'demo: distilling the embedded teacher'
	@$(BIN)/python -m reflow.train +fix=full32 $(ARGS)

teacher: $(STAMP) ## record the demonstrations and train the embedded teacher anew
	@echo 'teacher: recording demonstrations'
	@$(BIN)/python -m reflow.demo.record $(ARGS)
	@echo 'teacher: training'
	@$(BIN)/python -m reflow.demo.train_teacher $(ARGS)

# Another size, or what it does without a GPU: make bench-gpu ARGS='size=tiny device=cpu latency_ways=[eager,compiled]'
bench-gpu: $(STAMP) ## measure training and latency on a GPU, in bf16, into outputs/bench-gpu/benchmark.md
	@echo 'bench-gpu: measuring'
	@$(BIN)/python -m reflow.benchmark run_dir=outputs/bench-gpu size=smolvla-1 device=cuda precision=bf16-mixed \
		batch_size=8 frames=32 rounds=20 warmup=3 compile=true latency_repeats=50 \
		'latency_ways=[eager,compiled,graphed]' velocity_repeats=20 $(ARGS)

test: $(STAMP) ## run the tests, but for those marked slow
	@echo 'test: pytest, without the slow ones'
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses=4 -m 'not slow and not faults' $(ARGS)

test-slow: $(STAMP) ## run the tests marked slow
	@echo 'test-slow: pytest, the slow ones'
	@HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -m 'slow and not slurm' $(ARGS)

test-slurm: $(STAMP) ## run the tests on a SLURM cluster of this machine, which is installed (Debian, root) and started
	@echo 'test-slurm: pytest, on a cluster'
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -m slurm tests/slurm $(ARGS)

test-faults: $(STAMP) ## kill, fill the disk, flip bits: runs must not notice (KILLS=20; nightly KILLS=300)
	@echo 'test-faults: pytest, $(KILLS) kills of a training'
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 KILLS=$(KILLS) $(BIN)/python -m pytest -q -rP -m faults tests/faults $(ARGS)

lint: $(STAMP) ## check style, format, types and the layers
	@echo 'lint: ruff check'
	@$(BIN)/ruff check --quiet
	@echo 'lint: ruff format'
	@$(BIN)/ruff format --check --quiet || { echo 'these files are not formatted (make format):'; $(BIN)/ruff format --check; }
	@echo 'lint: mypy'
	@$(BIN)/mypy --no-error-summary
	@echo 'lint: import-linter'
	@$(BIN)/lint-imports > .venv/.lint-imports 2>&1 || { cat .venv/.lint-imports; exit 1; }

format: $(STAMP) ## format the code and mend what ruff can mend
	@echo 'format: ruff'
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

site: $(STAMP) ## build the documentation as a site (build/site/index.html), strictly: a link that leads nowhere fails
	@echo 'site: mkdocs'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file .mkdocs.yml
	@echo 'site: build/site/index.html'

dist: $(STAMP) ## build wheel and sdist (dist/), and say what they weigh
	@echo 'dist: building'
	@rm -rf dist
	@.ci/uv build --quiet --out-dir dist
	@du -k dist/*.whl dist/*.tar.gz

# Resolved on the main index alone: what one person's extra index holds is not in everybody's reach.
lock: $(STAMP) ## bring requirements.lock in step with pyproject.toml (ARGS=--upgrade for the newest)
	@echo 'lock: resolving'
	@UV_INDEX='' .ci/uv pip compile pyproject.toml --group dev --no-header --no-annotate --quiet \
		--python-version "$$(cat .python-version)" -o requirements.lock $(ARGS)

clean: ## remove caches and build products (outputs/ and .venv stay)
	@echo 'clean: caches and build products'
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	@find reflow tests .mkdocs -name __pycache__ -type d -prune -exec rm -rf {} +
