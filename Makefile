# Every target says what it does; `make` alone lists them.
# Downloads go to $(CACHE), never into the clone. TORCH=cpu|cuda|/path picks libtorch.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export TORCH ?= cpu

# cargo, with libtorch where torch-sys finds it; without libtorch it is not even started.
CARGO = export LIBTORCH && LIBTORCH=$$(scripts/libtorch.sh) && cargo

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Fetches libtorch, the demo's base and photographs (620 MB, once) and installs missing tools
	@scripts/tools.sh
	@scripts/libtorch.sh >/dev/null
	@scripts/data.sh >/dev/null

.PHONY: build
build: ## Builds katagami and katagami-worker into target/release
	@scripts/tools.sh
	$(CARGO) build --release --locked --bins

.PHONY: run
run: setup build ## Shows the whole way: server, training, gate, edge, dashboard (12 minutes; DEMO="--quick --once" for 2)
	@scripts/demo.sh $(DEMO)

# Many processes share few cores there: threads that wait must not spin.
.PHONY: test
test: setup ## Runs all tests
	@scripts/tools.sh test
	OMP_WAIT_POLICY=passive $(CARGO) test --release --locked
	@tests/browser/run.sh

.PHONY: test-browser
test-browser: setup ## Tests the dashboard in headless Chromium, against the real server
	$(CARGO) build --release --locked --bins
	@tests/browser/run.sh

.PHONY: check
check: ## Checks formatting and lints
	cargo fmt --check
	$(CARGO) clippy --release --locked --all-features --all-targets -- -D warnings

.PHONY: check-server
check-server: ## Checks that the server builds without libtorch
	cargo check --release --locked --no-default-features --features server

.PHONY: check-edge
check-edge: ## Checks that the edge agent builds without libtorch
	cargo check --release --locked --no-default-features --features edge

.PHONY: test-unit
test-unit: ## Runs the unit tests of server and edge without libtorch
	cargo test --release --locked --no-default-features --features server,edge --lib

.PHONY: fix
fix: ## Formats, and applies what the lints can mend
	cargo fmt
	$(CARGO) clippy --release --all-features --all-targets --fix --allow-dirty --allow-staged

.PHONY: fixtures
fixtures: setup ## Makes tests/vectors and tests/fixtures anew (5 GB of PyTorch, once)
	export KATAGAMI_WRITE_GOLDEN=1 && $(CARGO) test --release --locked --test it format::vectors
	@scripts/fixtures.sh

.PHONY: check-torch
check-torch: setup build ## Checks a device's model with PyTorch, and masked ONNX exports with onnxruntime (5 GB, once)
	@scripts/check-torch.sh

.PHONY: bench
bench: setup build ## Measures beside peers (NAME=codec; SEED=n trains fresh masks, half an hour; then 5 minutes)
	@NAME="$(NAME)" SEED="$(SEED)" LIST="$(LIST)" scripts/bench.sh

.PHONY: fuzz
fuzz: ## Feeds the readers of masks with made-up bytes, SECONDS=600 each, TARGET=header|coder|delta|apply|experts|onnx or all
	@scripts/fuzz.sh "$(or $(SECONDS),600)" $(TARGET)

.PHONY: doc
doc: ## Builds the documentation of the code
	$(CARGO) doc --release --no-deps --all-features

.PHONY: clean
clean: ## Removes what was built; the cache stays
	cargo clean
