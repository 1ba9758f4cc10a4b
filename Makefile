# Everything a contributor or CI types. Each target sets up what it needs; the first run makes .venv.
PYTHON ?= python3
BIN    := .venv/bin
# Installer chatter goes to a file and is shown only when something fails.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements/$(1).txt > .venv/install.log 2>&1 \
          && $(BIN)/python -m pip install --disable-pip-version-check -q --no-build-isolation --no-deps -e . >> .venv/install.log 2>&1 \
          || { cat .venv/install.log; exit 1; }

.PHONY: demo
.PHONY: test
.PHONY: check
.PHONY: bench
.PHONY: bench-chassis
.PHONY: bench-chassis-layers
.PHONY: prove-once
.PHONY: bench-jobs
.PHONY: bench-load
.PHONY: bench-submit
.PHONY: chaos-jobs
.PHONY: lock
.PHONY: clean
.PHONY: simulate
.PHONY: compare
.PHONY: prove-gates
.PHONY: simulate-judge
.PHONY: power-cuts
.PHONY: prove-simulator
.PHONY: bench-controller
.PHONY: kill-points
.PHONY: backlog
.PHONY: bench-pruning
.PHONY: fuzz-http
.PHONY: schemathesis
.PHONY: bench-scrape

demo: .venv/demo.stamp  ## A good release, a killed controller, a bad release: all of golive in about a minute
	$(BIN)/golive demo

# Three workers on two cores: much of the suite waits for processes to start and stop. What holds a wall time runs alone
# afterwards, so that it measures golive and not the other tests.
test: .venv/dev.stamp  ## The whole suite: in parallel, then what holds a wall time by itself
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not timed"; parallel=$$?; \
	  $(BIN)/python -m pytest -m timed && exit $$parallel

check: .venv/dev.stamp  ## Lint, types, arrows between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

prove-gates: .venv/dev.stamp  ## Every gate with its planted defects: exactly that gate goes red, and green when all is well
	GOLIVE_PROVE=1 $(BIN)/python -m pytest -n 2 tests/defects

bench: .venv/dev.stamp  ## Side by side against peers and against nothing; ratios of one run
	@for each in benchmarks/bench_*.py; do [ -e "$$each" ] && echo "== $$each" && $(BIN)/python $$each || true; done

bench-chassis: .venv/dev.stamp .venv/bench-chassis.stamp  ## The chassis beside nothing and beside the stack people assemble today (a minute)
	$(BIN)/python benchmarks/bench_chassis.py --hold

bench-chassis-layers: .venv/dev.stamp  ## What each concern of the chassis costs alone, in microseconds of CPU, without a network (two minutes)
	$(BIN)/python benchmarks/chassis_layers.py

bench-scrape: .venv/dev.stamp  ## What a scrape of 5,000 series costs four workers of which twenty were killed (a minute)
	$(BIN)/python benchmarks/fleet_scrape.py --hold

prove-once: .venv/dev.stamp  ## Ten thousand rounds of five equal requests on four processes, one killed every hundred (ten minutes)
	$(BIN)/python benchmarks/ingest_rounds.py

bench-jobs: .venv/dev.stamp .venv/bench-jobs.stamp  ## Jobs beside seven other systems on one PostgreSQL and one Valkey (about ten minutes)
	$(BIN)/python benchmarks/bench_jobs.py

bench-load: .venv/dev.stamp  ## golive load beside the truth of a server of known delays, and beside wrk where it is installed (a minute)
	$(BIN)/python benchmarks/bench_load.py

bench-submit: .venv/dev.stamp  ## POST -> fsynced row -> 202 as a share of the bare echo (about a minute)
	$(BIN)/python benchmarks/bench_submit.py

chaos-jobs: .venv/dev.stamp  ## 100,000 jobs while server, worker, PostgreSQL and Valkey are killed -9 (about half an hour)
	GOLIVE_CHAOS_JOBS=100000 $(BIN)/python -m pytest -s tests/jobs/test_jobs_chaos.py

power-cuts: .venv/dev.stamp  ## Thirty power cuts of SQLite and of PostgreSQL; needs leave to mount (about twenty minutes)
	GOLIVE_POWER_CUTS=30 $(BIN)/python -m pytest -s tests/jobs/test_jobs_power_cut.py

backlog: .venv/dev.stamp  ## Claims and lists with a million pending jobs beside an almost empty table (about ten minutes)
	GOLIVE_BACKLOG=1000000 $(BIN)/python -m pytest -s tests/jobs/test_jobs_backlog.py -k million

bench-pruning: .venv/dev.stamp  ## Pruning a million of two million finished jobs: pace, claims in between, size (some minutes; FINISHED=n)
	$(BIN)/python benchmarks/prune_jobs.py

simulate: .venv/dev.stamp  ## Ten thousand seeded rollouts with faults (about ten minutes)
	GOLIVE_SEEDS=10000 $(BIN)/python -m pytest -n 2 tests/rollout/test_rollout_simulation.py

kill-points: .venv/dev.stamp  ## Every point at which a controller can be killed or replaced, in every story (about ten minutes)
	$(BIN)/python tests/rollout/kill_points.py
	GOLIVE_KILLED_PROCESSES=40 $(BIN)/python -m pytest -q tests/rollout/test_rollout_killed_processes.py

simulate-judge: .venv/dev.stamp  ## Every bar of the verdict: a thousand whole rollouts a cell (about twenty minutes)
	$(BIN)/python benchmarks/simulate_judge.py

prove-simulator: .venv/dev.stamp  ## Bugs planted on purpose, one by one, and who finds each (about twenty minutes)
	$(BIN)/python tests/rollout/planted.py

bench-controller: .venv/dev.stamp  ## What ten rollouts cost: one real minute, then 100,000 ticks (about five minutes)
	$(BIN)/python benchmarks/bench_controller.py

compare: .venv/dev.stamp  ## golive beside the rules of Argo, Flagger and Kayenta on the same seeded days (about five minutes)
	$(BIN)/python benchmarks/compare_judges.py

fuzz-http: .venv/dev.stamp  ## Search for bad input guided by coverage, FUZZ_SECONDS (60) long
	$(BIN)/python tests/fuzz/atheris_http.py -max_total_time=$(or $(FUZZ_SECONDS),60) -max_len=4096 -artifact_prefix=.venv/

schemathesis: .venv/dev.stamp  ## A thousand requests for each operation, made from an OpenAPI document (some minutes)
	SCHEMATHESIS_EXAMPLES=1000 $(BIN)/python -m pytest tests/fuzz/test_fuzz_schema.py --timeout 1800

lock: .venv/dev.stamp  ## Pin and hash the requirements anew; no registry is named in them
	$(BIN)/python -m pip install -q uv
	for set in core demo dev; do $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links requirements/$$set.in -o requirements/$$set.txt; done

clean:
	rm -rf .venv .golive

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("golive needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/demo.stamp: requirements/demo.txt pyproject.toml | .venv/bin/python
	@echo "installing what the demonstration needs into .venv ..."
	@$(call INSTALL,demo)
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml | .venv/bin/python
	@echo "installing what the tests need into .venv ..."
	@$(call INSTALL,dev)
	@touch $@ .venv/demo.stamp

.venv/bench-jobs.stamp: benchmarks/jobs_peers/requirements.txt | .venv/bin/python
	@echo "installing the systems to compare with into .venv/bench-jobs ..."
	@$(PYTHON) -m venv .venv/bench-jobs
	@.venv/bench-jobs/bin/python -m pip install --disable-pip-version-check -q -r $< > .venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@touch $@

.venv/bench-chassis.stamp: benchmarks/chassis_peers/requirements.txt | .venv/bin/python
	@echo "installing the stack to compare with into .venv/bench-chassis ..."
	@$(PYTHON) -m venv .venv/bench-chassis
	@.venv/bench-chassis/bin/python -m pip install --disable-pip-version-check -q -r $< > .venv/install.log 2>&1 || { cat .venv/install.log; exit 1; }
	@touch $@
