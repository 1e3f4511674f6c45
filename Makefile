# `make demo` and `make test` work on a fresh machine with Python >= 3.10 and pip.
PYTHON ?= python3
VENV ?= .venv
# A CPU machine must not download CUDA. Where this version's default build is the CUDA one (PyPI, x86 Linux), pass the
# PyTorch project's CPU package index:  make demo TORCH_OPTIONS="--index-url URL"
TORCH ?= torch==2.13.0
TORCH_OPTIONS ?=
BIN := $(VENV)/bin
CODE := bark_stream server clients tests

.PHONY: demo test test-all lint format bench bench-server listen serve clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(TORCH_OPTIONS) "$(TORCH)"
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/bark-stream say - -o demo.wav < demo.txt
	@echo "Listen to demo.wav"

# Two processes, a test file to each in turn: what a file's tests share is made once. The page plays in real time: alone.
PAGE := tests/clients/test_page.py
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore $(PAGE)
	$(BIN)/python -m pytest $(PAGE)

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "" --timeout 1800

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(VENV)/.installed-dev
	$(BIN)/bark-stream bench --streams 2 4 8 --against transformers --json bench/engine.json --plot bench/engine.svg

bench-server: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks.bench_server

listen: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet "$(TORCH)" -e ".[listen]"
	$(BIN)/python -W ignore -m tests.listening listen

serve: $(VENV)/.installed-dev
	$(BIN)/bark-stream serve

clean:
	rm -rf $(VENV) build dist *.egg-info demo.wav
