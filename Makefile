# make demo       a trained network compiled, run on Lava's simulator, verified, evaluated and reported on
# make test       lint, types and every test, Lava, NEST and Brian2 included
# make benchmark  the engine paired with snnTorch and Lava, and with NEST and Brian2
# Both install the pinned set into .venv first. PYTHON chooses the interpreter, PIP_FLAGS adds options to pip, e.g.
#     make demo PYTHON=python3.12 PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo "$$name" && break; done)
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_TIMEOUT_S ?= 300
TEST_WORKERS ?= 2

.PHONY: demo test lint benchmark install clean

install: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "neurodeploy needs Python 3.11, 3.12 or 3.13 on the PATH," \
		"or named: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned set into $(VENV); the first time takes some minutes, most of it for PyTorch"
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable ".[lava,lava-dl,datasets,cluster,nest,pynn,spinnaker,sanafe,neurobench,nir,dev]"
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt \
		--no-deps --ignore-requires-python lava-nc neurobench lava-dl \
		spikingjelly norse sinabs nirtorch loguru pbr
	touch $@

demo: $(STAMP)
	$(BIN)/neurodeploy compile models/digits_mlp/model.pt --target loihi2-sim --calibration digits -o demo/digits_mlp.ndc
	$(BIN)/neurodeploy run demo/digits_mlp.ndc --on lava --data digits --limit 20 -o demo/result.npz
	$(BIN)/neurodeploy verify demo/digits_mlp.ndc --against lava --data digits --limit 20
	$(BIN)/neurodeploy verify demo/digits_mlp.ndc --against source --data digits
	$(BIN)/neurodeploy evaluate demo/digits_mlp.ndc --on engine --data digits
	$(BIN)/neurodeploy report demo/digits_mlp.ndc -o demo/digits_mlp.html

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Lava's runtime can hang in ways that signals do not break, hence the thread method; a Lava test that is skipped fails.
test: lint
	$(BIN)/python -m pytest --require-lava --timeout $(TEST_TIMEOUT_S) --timeout-method thread \
		--numprocesses $(TEST_WORKERS) --dist loadfile

benchmark: $(STAMP)
	$(BIN)/python -m tests.benchmarks.engine_throughput
	$(BIN)/python -m tests.benchmarks.pynn_throughput

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
