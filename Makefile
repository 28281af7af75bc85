# What people run is what CI runs. Every target installs what it needs through infra/setup.sh,
# which is quick when everything is there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PROFILE ?= release
CARGO_FLAGS := $(if $(filter release,$(PROFILE)),--release,)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/$(PROFILE)/headwater

.PHONY: help
help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: setup-build setup-test setup-cdn
setup-build:
	@infra/setup.sh build
setup-test:
	@infra/setup.sh test

# The edge that the demo is to run behind: CDN=varnish or CDN=nginx.
setup-cdn:
	@$(if $(CDN),infra/setup.sh $(CDN),true)

# What is only asked for in order does not make it anew: the server that embeds the pages would be, too.
player-demo/dist/.built: $(shell find player-demo -path player-demo/node_modules -prune -o -path player-demo/dist -prune -o -type f -print) | setup-build
	cd player-demo && npm run --silent build
	@touch $@

.PHONY: player
player: player-demo/dist/.built ## Build the web pages that the server embeds

.PHONY: build
build: setup-build player ## Build the headwater program (release)
	cargo build --locked $(CARGO_FLAGS) -p headwater-origin

.PHONY: demo
demo: build setup-cdn ## Build and run everything on loopback; CDN=varnish or CDN=nginx puts that edge in front
	$(BIN) demo $(if $(CDN),--cdn $(CDN)) $(DEMO_FLAGS)

.PHONY: check
check: setup-test player ## Formatting, lints, documentation
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

# Always the whole workspace: for a part of it, cargo would build everything anew with other features.
# The tests of the running program have the machine to themselves, one after the other: players at the
# live edge and pictures that are counted can't share it.
.PHONY: test
test: check ## Everything CI runs
	cd player-demo && npm test --silent
	cargo build --locked --workspace --all-targets
	cargo test --locked --workspace --lib --bins --test '[!i]*'
# What is kept of a long log is its end: what went wrong stands there, and not where in the test.
	RUST_BACKTRACE=0 cargo test --locked --workspace --test it -- --test-threads=1

.PHONY: soak
soak: setup-test build ## The long real-time runs (about an hour)
	HEADWATER_BIN=$(abspath $(BIN)) cargo test --locked -p headwater-tests --test it -- soak:: low_latency:: s3:: --ignored --test-threads=1 --nocapture
# What ships has no crash points.
	cargo build --locked -p headwater-origin
	HEADWATER_BIN=$(abspath $(TARGET_DIR)/debug/headwater) cargo test --locked -p headwater-tests --test it -- restart:: --ignored --test-threads=1 --nocapture

.PHONY: bench
bench: setup-test build ## The numbers, as ratios against peers, into bench/RESULTS.md (BENCH="latency" for some of them)
	HEADWATER_BIN=$(abspath $(BIN)) cargo run --locked -p headwater-tests --bin bench -- $(BENCH)

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -rf player-demo/dist
