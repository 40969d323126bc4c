# Everything a newcomer runs. `make help` lists it.
PYTHON ?= python3
PYTEST_ARGS ?=

run := .venv/bin/python
product := .venv/.product
tests := .venv/.tests
synapse := .synapse-venv/.ready
described := constraints.txt $(wildcard shared/pyproject.toml services/*/pyproject.toml examples/*/pyproject.toml)
product_parts := python3-venv libcurl4
test_parts := $(product_parts) --wish rabbitmq-server mariadb-server-core chromium

export PYTHON

.DEFAULT_GOAL := help
.PHONY: demo up test lint bench faults compose-smoke docs venv clean help product-parts test-parts

demo: $(product) $(if $(MATRIX),$(synapse)) ## run one job on real data from submission to mail; MATRIX=1: and a room
	@$(run) -m heliograph_standalone demo $(if $(MATRIX),--matrix)

up: $(product) ## run all services in one process, until Ctrl-C; api on port 8000, or PORT=8001
	@$(run) -m heliograph_standalone up $(if $(PORT),--port $(PORT))

test: test-parts $(tests) $(synapse) ## run the tests; PYTEST_ARGS='-k name' for some of them
	@$(run) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

faults: test-parts $(tests) $(synapse) ## run the tests that kill, stop and cut off real processes
	@$(run) -m pytest -q -m faults $(PYTEST_ARGS)

lint: $(tests) ## check style and types
	@$(run) -m ruff check
	@$(run) -m ruff format --check
	@$(run) -m mypy shared services examples tests bench docs scripts

bench: test-parts $(tests) $(synapse) ## measure
	@$(run) bench/run.py

docs: $(tests) ## build the documentation
	@$(run) docs/build.py

compose-smoke: ## build the containers and run one job through them
	@scripts/compose-smoke

venv: $(product) ## set up .venv, and nothing else

clean: ## remove .venv and caches; data (.heliograph) stay
	rm -rf .venv .synapse-venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1#\2/p' Makefile | while IFS='#' read -r target what; \
		do printf '%-22s %s\n' "$$target" "$$what"; done

# The parts are looked for at every run, which takes a twentieth of a second; behind the bar, they do not make the
# stamps look old.
product-parts:
	@scripts/system-parts $(product_parts)

test-parts:
	@scripts/system-parts $(test_parts)

$(product): $(described) scripts/bootstrap | product-parts
	@scripts/bootstrap product
	@touch $@

$(tests): $(product) requirements-dev.txt
	@scripts/bootstrap tests
	@touch $@

$(synapse): constraints-synapse.txt scripts/bootstrap | product-parts
	@scripts/bootstrap synapse
	@touch $@
