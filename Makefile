# make demo       from nothing to steered recommendations on real data
# make test       all tests that need nothing but this environment
# make test-all   those too that need Debian packages; says which are missing
# make lint       formatters in checking mode, linters, types
# make sanitize   the C++ tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
# make fuzz       hostile index arrays for FUZZ_SECONDS (60)
# make bench      benchmarks; results into benchmarks/results
# make prompt-encoder   the prompt encoder that ships, trained again (an hour and a half on one core)
#
# Everything lives in .venv/, .cache/, runs/ and bundles/, which git ignores. A second call redoes nothing that is done.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
CHECKPOINT := runs/ml-100k/config.json
BUNDLE := bundles/ml-100k/manifest.json

CORE_FILES := $(wildcard csrc/*.cc csrc/*.h csrc/*/*.cc csrc/*/*.h)
CORE_SOURCES := CMakeLists.txt $(CORE_FILES)
CPP_FILES := $(CORE_FILES) $(wildcard tests/native/*.cc tests/native/*.h tests/fuzz/*.cc)

# Types of TensorRT's API, for mypy. As a dependency they would bring TensorRT itself, which is gigabytes.
STUBS = rm -rf .venv/stubs && $(BIN)/pip install -q --disable-pip-version-check --no-deps --target .venv/stubs \
	'tensorrt-stubs==10.13.0.35.1' && $(BIN)/python tests/mend_tensorrt_stubs.py .venv/stubs

# Two workers; a file's tests stay together, because they share what was slow to make.
SPREAD := -n 2 --dist loadfile

# C++ builds without Python, in build/.
JOBS ?= 2
FUZZ_SECONDS ?= 60
NATIVE = cmake -S . -B build/$(1) -DDPR_PYTHON=OFF $(2) >/dev/null && cmake --build build/$(1) -j $(JOBS) >/dev/null
NEEDS = @command -v $(1) >/dev/null || { echo "Missing Debian package: apt-get install $(2)"; exit 1; }
# ThreadSanitizer needs its shadow memory free, which a kernel that spreads addresses widely may take.
FIXED_ADDRESSES := $(shell setarch -R true 2>/dev/null && echo setarch -R)

.PHONY: demo test test-all lint format stubs bench prompt-encoder install clean sanitize sanitize-address sanitize-thread fuzz

demo: $(BUNDLE)
	@$(BIN)/dpr-query bundles/ml-100k --demo

install: $(INSTALLED)

# torch comes first and pinned: left to pip, newer builds bring gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml $(CORE_SOURCES)
	@test -x $(BIN)/python || { echo "Making the environment in .venv"; $(PYTHON) -m venv .venv; }
	@echo "Installing packages and building the C++ core (a minute or two)"
	@$(BIN)/pip install -q --disable-pip-version-check 'torch~=2.13.0'
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[cpu,cli,train,export,bench,dev,serve,serve-dev]'
	@$(STUBS)
	@touch $@

# A finished checkpoint or bundle is not remade because the environment changed; delete it to have a new one.
$(CHECKPOINT): | $(INSTALLED)
	@echo "Training on MovieLens-100K (about five minutes on two cores)"
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

sanitize: sanitize-address sanitize-thread

sanitize-address sanitize-thread: sanitize-%:
	$(call NEEDS,cmake,cmake)
	@echo "Building and running the C++ tests, -fsanitize=$*"
	@$(call NATIVE,sanitize-$*,-DDPR_NATIVE_TESTS=ON -DDPR_SANITIZE=$*)
	@$(FIXED_ADDRESSES) ctest --test-dir build/sanitize-$* --output-on-failure --no-tests=error

# What it finds lies in build/fuzz as crash-...; give such a file to build/fuzz/tests/fuzz/fuzz_index to see it again.
fuzz:
	$(call NEEDS,cmake,cmake)
	$(call NEEDS,clang++,clang libclang-rt-dev)
	@echo "Building the fuzz target"
	@CXX=clang++ && export CXX && $(call NATIVE,fuzz,-DDPR_FUZZ=ON -DDPR_SANITIZE=address)
	@mkdir -p build/fuzz/corpus
	@build/fuzz/tests/fuzz/fuzz_index -max_total_time=$(FUZZ_SECONDS) -max_len=400 -len_control=0 -verbosity=0 \
		-print_final_stats=1 -artifact_prefix=build/fuzz/ build/fuzz/corpus

stubs: $(INSTALLED)
	@$(BIN)/pybind11-stubgen dpr_infer._core -o python

bench: $(BUNDLE)
	$(call NEEDS,wrk,wrk)
	@$(BIN)/dpr-bench latency bundles/ml-100k --checkpoint runs/ml-100k --out benchmarks/results
	@$(BIN)/dpr-bench kernel --quick --bundle bundles/ml-100k --out benchmarks/results
	@$(BIN)/dpr-bench serve --quick --out benchmarks/results

# Two parts: the second one goes on at four fifths of the rates.
prompt-encoder: $(INSTALLED)
	@$(BIN)/dpr-train prompt-encoder --cache-dir .cache --out runs/prompt-encoder-1
	@$(BIN)/dpr-train prompt-encoder --cache-dir .cache --out runs/prompt-encoder --from runs/prompt-encoder-1 \
		--pack training/dpr_train/prompt_encoders/english.zip

clean:
	rm -rf .venv build
