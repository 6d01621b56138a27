# Everything a checkout needs; `make` alone lists the targets.

PYTHON ?= python3
# Another package index for torch alone, for instance one with CPU builds; empty: the default index.
TORCH_INDEX ?=
# Of rubbish that `make test-serve` sends; a share of it is the first part of the whole.
MUTANTS ?= 20000
# For training: its data, and how many processes share the work: one a GPU, or one a core.
DATA ?=
PROCESSES ?= 2

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
TORCH := $(shell sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help env demo test test-engines test-serve test-browser test-vm check bench results train clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

env: $(VENV)/.dev  ## .venv with everything for development (torch included: large)

demo: $(VENV)/.base  ## the bundled clip through the live line, into demo.mp4 (installs no torch)
	$(VENV)/bin/rtmatte demo --output demo.mp4

test: $(VENV)/.dev  ## all tests: no GPU, camera or network needed
	$(RUN) -m pytest

test-engines: $(VENV)/.dev  ## MatAnyone's graphs, exported and built for RTX 30, 40 and 50: minutes, no GPU needed
	$(RUN) -m pytest -m engines -s

test-vm: $(VENV)/.dev  ## the virtual camera in a small virtual machine: minutes, on Debian, no device needed
	$(RUN) -m tests.vm

test-serve: $(VENV)/.dev  ## the server under load, rubbish and bad networks: minutes, no network needed
	@test "$$(id -u)" -ne 0 || { command -v turnserver && command -v ip; } > /dev/null || { apt-get update -qq && apt-get install -yqq coturn iproute2; }
	RTMATTE_MUTANTS='$(MUTANTS)' $(RUN) -m pytest -m serve -rs -s tests/test_serve_*.py

test-browser: $(VENV)/.dev  ## the page in Chromium with a made camera, against a real server: minutes; root gets it by apt
	@command -v chromium > /dev/null || test "$$(id -u)" -ne 0 || { apt-get update -qq && apt-get install -yqq chromium fonts-inter; }
	$(RUN) -m pytest -m browser tests/browser

check: $(VENV)/.dev  ## format, lint, and types on three platforms
	$(RUN) -m ruff format --check
	$(RUN) -m ruff check
	for platform in linux win32 darwin; do \
	    $(RUN) -m mypy --platform $$platform --cache-dir .mypy_cache/$$platform || exit 1; \
	done

bench: $(VENV)/.dev  ## latency of the network and of the compositor on this machine
	$(RUN) -m benchmarks.latency
	$(RUN) -m benchmarks.compositing

# What the model card shows of quality. 200 clips a question take ten minutes on two idle cores; what was answered before a
# run was stopped is kept in runs/.
RESULTS := benchmarks/results
MADE := runs/made
results: $(VENV)/.dev  ## measure the default network again, for README and model card: DATA=folder, half an hour
	@test -n '$(DATA)' || { echo 'say where the data lies: make results DATA=folder' >&2; exit 2; }
	for set in mixed returns twins person; do \
	    test -d $(MADE)/$$set || $(RUN) -m training.data.held_out --shared '$(DATA)' --set $$set || exit 1; \
	done
	$(RUN) -m benchmarks.quality --data '$(DATA)/webcam/val' --json $(RESULTS)/quality-val.json
	$(RUN) -m benchmarks.quality --data $(MADE)/mixed --resume runs/quality-made.jsonl --json $(RESULTS)/quality-made.json
	$(RUN) -m benchmarks.identity --data $(MADE)/returns --data $(MADE)/twins --resume runs/identity.jsonl \
	    --json $(RESULTS)/identity-made.json
	$(RUN) -m benchmarks.identity.bank training/checkpoints/lite.pt --data $(MADE)/returns --only '*-0[0-4]*' \
	    --resume runs/bank.jsonl --json $(RESULTS)/bank-made.json
	$(RUN) -m benchmarks.person --data $(MADE)/person --json $(RESULTS)/person-made.json
	$(RUN) -m benchmarks.person --data '$(DATA)/webcam/val' --json $(RESULTS)/person-val.json
	$(RUN) -m benchmarks.recovery --data $(MADE)/returns --only '*-0[0-3]* single' \
	    --json $(RESULTS)/recovery-made.json
	$(RUN) -m benchmarks.recovery --data '$(DATA)/webcam/val' --json $(RESULTS)/recovery-val.json
	$(RUN) -m benchmarks.thin --data $(MADE)/mixed --rounds 1 --json $(RESULTS)/thin-made.json
	$(RUN) -m benchmarks.thin --data '$(DATA)/webcam/val' --json $(RESULTS)/thin-val.json
	$(RUN) -m benchmarks.drift --data '$(DATA)/webcam/val' --json $(RESULTS)/drift-val.json
	$(RUN) -m benchmarks.ablation training/checkpoints/lite.pt --data '$(DATA)/webcam/val' --json $(RESULTS)/ablation-val.json
	$(RUN) -m benchmarks.figures

train: $(VENV)/.dev  ## train the default network on DATA=folder; goes on where it was stopped
	@test -n '$(DATA)' || { echo 'say where the training data lies: make train DATA=folder' >&2; exit 2; }
	$(RUN) -m torch.distributed.run --nproc-per-node $(PROCESSES) -m training --shared '$(DATA)' --out runs/lite

clean:  ## remove caches and build output; .venv, runs/ and your videos stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis demo.mp4
	find . -name __pycache__ -not -path './$(VENV)*' -prune -exec rm -rf {} +

# One stamp a step, so that a step is done once for every change of pyproject.toml.
$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rtmatte needs Python 3.11 or newer, " \
	    "$(PYTHON) is %d.%d; name another: make PYTHON=python3.11" % sys.version_info[:2])'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[cpu]'
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(if $(TORCH_INDEX),$(PIP) --index-url '$(TORCH_INDEX)' '$(TORCH)')
	$(PIP) --editable '.[dev]'
	touch $@
