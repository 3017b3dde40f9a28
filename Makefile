# make demo       from nothing to steered recommendations on real data
# make test       all tests that need nothing but this environment
# make test-all   those too that need Debian packages; says which are missing
# make lint       formatters in checking mode, linters, types
# make bench      benchmarks; results into benchmarks/results
#
# Everything lives in .venv/, .cache/, runs/ and bundles/, which git ignores. A second call redoes nothing that is done.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CHECKPOINT := runs/ml-100k/config.json
BUNDLE := bundles/ml-100k/manifest.json

CORE_SOURCES := CMakeLists.txt $(wildcard csrc/*.cc csrc/*.h csrc/kernels/*.cc csrc/kernels/*.h)
CPP_FILES := $(wildcard csrc/*.cc csrc/*.h csrc/kernels/*.cc csrc/kernels/*.h)

# Two workers; a file's tests stay together, because they share what was slow to make.
SPREAD := -n 2 --dist loadfile

.PHONY: demo test test-all lint format stubs bench install clean

demo: $(BUNDLE)
	@$(BIN)/dpr-query bundles/ml-100k --demo

install: $(INSTALLED)

# torch comes first and pinned: left to pip, newer builds bring gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml $(CORE_SOURCES)
	@test -x $(BIN)/python || { echo "Making the environment in .venv"; $(PYTHON) -m venv .venv; }
	@echo "Installing packages and building the C++ core (a minute or two)"
	@$(BIN)/pip install -q --disable-pip-version-check 'torch~=2.13.0'
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[cpu,cli,train,export,bench,dev]'
	@touch $@

# A finished checkpoint or bundle is not remade because the environment changed; delete it to have a new one.
$(CHECKPOINT): | $(INSTALLED)
	@echo "Training on MovieLens-100K (under five minutes on two cores)"
	@$(BIN)/dpr-train --dataset ml-100k --out runs/ml-100k --cache-dir .cache

$(BUNDLE): $(CHECKPOINT) | $(INSTALLED)
	@echo "Exporting the bundle"
	@$(BIN)/dpr-export runs/ml-100k --out bundles/ml-100k --prompt-encoder int8 --force

test: $(INSTALLED)
	@$(BIN)/python -m pytest $(SPREAD)

test-all: $(INSTALLED)
	@$(BIN)/python -m pytest --debian $(SPREAD)

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/clang-format --dry-run --Werror $(CPP_FILES)
	@$(BIN)/codespell

format: $(INSTALLED)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CPP_FILES)

stubs: $(INSTALLED)
	@$(BIN)/pybind11-stubgen dpr_infer._core -o python

bench: $(BUNDLE)
	@$(BIN)/dpr-bench latency bundles/ml-100k --checkpoint runs/ml-100k --out benchmarks/results

clean:
	rm -rf .venv build
