# Each target says what it does in one line: `make help`. The work is in shell scripts and in cargo.

.DEFAULT_GOAL := help
.PHONY: help run build test verify bench cluster cluster-kill cluster-revive cluster-stop ha sim

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build Carillon and run all of it on this machine: server, console, a worker with sample jobs
	@./target/release/carillon dev

build: ## Build the release binary, target/release/carillon
	@cargo build --release --quiet -p carillon

test: ## Run every test there is, with a real ZooKeeper and a real MariaDB (installs them where it may)
	@./tests/run-all.sh

verify: ## Run the quick checks: formatting, lints, the tests that need nothing installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo test --workspace --quiet

bench: ## Measure triggers, lateness and throughput on SQLite and on MariaDB
	@./tests/bench.sh

cluster: ## Run a whole cluster on this machine: 3 ZooKeepers, MariaDB, 3 servers, 3 consoles behind nginx, 2 workers
	@./tests/cluster.sh start

cluster-kill: ## Kill one process of that cluster: make cluster-kill NAME=server-1; cluster-revive starts it again
	@./tests/cluster.sh kill $(NAME)

cluster-revive: ## Start a killed process again: make cluster-revive NAME=server-1
	@./tests/cluster.sh revive $(NAME)

cluster-stop: ## Stop that cluster and delete its data
	@./tests/cluster.sh stop

ha: ## Run the end-to-end tests with real processes and their faults
	@./tests/run-all.sh ha

sim: ## Run the seeded simulation of the trigger engine; SEEDS=100000 for more
	@./tests/run-all.sh sim
