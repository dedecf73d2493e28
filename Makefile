# Two commands matter: make demo, make test. Paths in recipes are relative or quoted shell variables, because the checkout's
# directory may have a space in its name and make cannot quote.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup build dev demo bench test test-matrix test-valgrind scenarios soak fmt clippy boundaries clean distclean

# what the set-up wrote: servers, libclang
ENV = . "$${BOOTSTRAP_CACHE:-./.cache}/env"

help: ## this list
	@echo 'make <target>   (REDIS_SERVER=FILE uses an installed server, REDIS_TIMESERIES=FILE its redistimeseries.so)'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

setup: ## fetch Redis, RedisTimeSeries and libclang into .cache/, once
	@scripts/bootstrap.sh

build: setup ## release build: libredis_anomaly.so and the anomaly binary
	@$(ENV) && cargo build --release --locked -p redis-anomaly && cargo build --release --locked -p anomaly

demo: build ## watch anomalies of simulated sensors being caught (DEMO_SECONDS=60)
	@$(ENV) && exec scripts/demo.sh

dev: setup # what the server suite tests: built by the suite too, here with its progress in sight
	@$(ENV) && cargo build --locked -p redis-anomaly && cargo build --locked -p anomaly

bench: build ## what detection costs the server, against its own commands; BENCH='--quick' for a look, '--record docs/benchmarks' to keep it
	@$(ENV) && exec scripts/bench.sh $(BENCH)

test: setup ## format, lints, boundaries, every test
	@$(ENV) && cargo fmt --all --check
	@$(ENV) && cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/boundaries.sh
	@scripts/instructions.sh
	@$(MAKE) --no-print-directory dev
	@$(ENV) && cargo test --workspace --locked

test-matrix: dev ## the server suite on Redis 7.4, 8.0, Valkey 8.0, 8.1, and a table
	@scripts/test-matrix.sh

test-valgrind: dev ## a part of the server suite under valgrind: no report with a frame of the module's
	@scripts/test-valgrind.sh

scenarios: ## how detectors do where it matters to users (SEEDS=10 DAYS=3 DETECTORS='auto on' for a quick look)
	@cargo run --release --locked --quiet -p anomaly-core --example scenarios

soak: dev ## kills and seeds by the hundred, a day at 1000x, a million sensors saved, ten minutes of everything, fuzzing (ANOMALY_SOAK_KILLS=200 ANOMALY_SOAK_SEEDS=500 ANOMALY_SOAK_SECONDS=600 ANOMALY_FUZZ=30)
	@ANOMALY_FUZZ=$${ANOMALY_FUZZ:-30} cargo test --locked -p anomaly-core --lib
	@$(ENV) && ANOMALY_HOSTILE_ROUNDS=$${ANOMALY_HOSTILE_ROUNDS:-10000} cargo test --locked -p anomaly-tests --test server -- hostile
	@$(ENV) && exec timeout 10800 cargo test --locked -p anomaly-tests --test server -- --ignored --nocapture --test-threads=1 soak

fmt: ## format the code
	@cargo fmt --all

clippy: setup ## lints only
	@$(ENV) && cargo clippy --workspace --all-targets --locked -- -D warnings

boundaries: ## what each crate may depend on
	@scripts/boundaries.sh

clean: ## remove what was built (downloads stay)
	@cargo clean

distclean: clean ## remove the downloads too
	@rm -rf "$${BOOTSTRAP_CACHE:-./.cache}"
