# Each target says what it does in one line: `make help`. The work is in shell scripts and in cargo.

.DEFAULT_GOAL := help
.PHONY: help run build pages test verify bench bench-pages cluster cluster-watch cluster-kill cluster-drain cluster-pause cluster-resume cluster-revive \
	cluster-stop ha ha-bugs ha-report ha-cost end-to-end sim tour look

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build Carillon and run all of it on this machine: server, console, a worker with sample jobs
	@./target/release/carillon dev

build: pages ## Build the release binary with its web pages, target/release/carillon
	@cargo build --release --quiet -p carillon

pages: ## Build the web pages, web/dist
	@./web/build.sh

test: ## Run every test, with a real ZooKeeper, MariaDB, nginx and Chromium (installs them where it may)
	@./tests/run-all.sh

verify: ## Run the quick checks: formatting, lints, the tests that need nothing installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo test --workspace --quiet

bench: ## Measure triggers, lateness and throughput on SQLite and on MariaDB
	@./tests/bench.sh

bench-pages: ## Measure lists and run pages on ROWS=10000000 stored runs while FIRES=1000 jobs fire each second; TABLE=docs/performance.md writes it
	@./tests/bench-pages.sh

cluster: ## Run a whole cluster on this machine: 3 ZooKeepers, MariaDB, 3 servers, 3 consoles behind nginx, 2 workers
	@./tests/cluster.sh start

cluster-watch: ## Watch that cluster: processes, owner, last runs; NAME below is server-1, console-2, worker-1, nginx, zookeeper-1, mariadb or owner
	@./tests/cluster.sh watch

cluster-kill: ## Kill one process of that cluster: make cluster-kill NAME=owner
	@./tests/cluster.sh kill $(NAME)

cluster-drain: ## Ask one of its processes to end: make cluster-drain NAME=server-1
	@./tests/cluster.sh stop-gently $(NAME)

cluster-pause: ## Have one of its processes stand still: make cluster-pause NAME=mariadb
	@./tests/cluster.sh pause $(NAME)

cluster-resume: ## ... and go on: make cluster-resume NAME=mariadb
	@./tests/cluster.sh resume $(NAME)

cluster-revive: ## Start a killed process again: make cluster-revive NAME=server-1
	@./tests/cluster.sh revive $(NAME)

cluster-stop: ## Stop that cluster and delete its data
	@./tests/cluster.sh stop

ha: ## Break a real cluster on purpose and judge it: make ha CASES=F1,F3 TRIALS=5 JOBS=2 RESUME=1 (CASES=list shows them)
	@./tests/ha.sh

ha-report: ## Tell the figures of all trials that `make ha` kept; TABLE=docs/reliability.md writes them
	@./tests/ha.sh report

ha-cost: ## Measure what 1,000 idle shards cost ZooKeeper and MySQL, then kill one server of three
	@./tests/ha.sh cost

ha-bugs: ## Prove that the judge of `make ha` sees bugs: run programs that have some on purpose
	@PROFILE=dev ./tests/ha.sh bugs

end-to-end: ## Run the end-to-end stories with real processes
	@./tests/run-all.sh ha

sim: ## Run the seeded simulation of the trigger engine: make sim SEEDS=100000 THREADS=2 (of safety and of liveness each; TWICE=1 runs each twice)
	@./tests/run-all.sh sim

tour: ## Take the pictures of docs/tour from a cluster that is started for it
	@./tests/pictures.sh tour

look: ## Take pictures of every page in both themes and languages, to be judged by people: make look LOOK_FOLDER=/tmp/look
	@LOOK_FOLDER=$(LOOK_FOLDER) ./tests/pictures.sh look
