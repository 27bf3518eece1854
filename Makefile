# `make help` lists the targets; a target is described behind its ##.
PYTHON = python3
PORT = 8501
MINUTES = 5
VENV = .venv
BIN = $(VENV)/bin
# pip compiles every module on one core, half of its time; all cores do it afterwards. What cannot be compiled, such as
# a template, is skipped, as pip does.
PIP = $(BIN)/python -m pip install --disable-pip-version-check --no-compile
# uv does it in a third of the time; where it is not to be had, or fails, pip does.
UV = uv==0.13.9
define install
	$(PIP) --quiet $(UV) && $(BIN)/uv pip install --python $(BIN)/python --no-cache --system-certs \
		--index-strategy unsafe-best-match $(1) || $(PIP) $(1)
endef
# PyTorch without CUDA where that is of use: install/torch_index.py; TORCH_INDEX= takes PyPI's in any case.
TORCH = $$($(BIN)/python install/torch_index.py)
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true

# Where it is set every process of the tests would compile anew what it imports, several seconds each.
unexport PYTHONDONTWRITEBYTECODE

# Two processes, each with whole files of tests, in the order of tests/conftest.py; WORKERS=0 runs all in this one. If one
# of them is lost, the run ends with a sentence: pytest-xdist would go on without the files that the lost one had.
WORKERS = 2
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart=0

.PHONY: run test pytest exhaustive quick fuzz soak lint help

run: $(VENV)/.runtime ## create the environment, install this package into it, serve the app on localhost
	$(BIN)/streamlit run app.py --server.port $(PORT)

test: lint pytest ## the same environment with the development tools; lint, types, unit, page and browser tests

pytest: $(VENV)/.development ## these tests, without lint and types
	$(PYTEST) -m "not exhaustive"

exhaustive: $(VENV)/.development ## all tests, with those of many seeds, sizes and kills (tests/README.md)
	$(PYTEST)

quick: lint ## lint, types, and the tests that are neither slow nor in a browser (tests/README.md)
	$(PYTEST) -m "not slow and not browser and not exhaustive" --hypothesis-profile quick

fuzz: $(VENV)/.development ## altered files of every kind through the intake for MINUTES
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES)

soak: $(VENV)/.development ## eight programs at once at the served app, with hostile files and cases, for MINUTES
	$(BIN)/python tests/soak.py --minutes $(MINUTES)

lint: $(VENV)/.development ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	nice $(BIN)/mypy # what runs beside it goes first

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

NEW_ENOUGH = @$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "This needs Python 3.11 or newer: make run PYTHON=python3.11")'

# The two stamps are younger than the requirements they were installed from, and absent after a failed install. What is
# installed is this checkout (--editable): a change of the code, the pages or the weights needs no new install.
$(VENV)/.runtime: requirements.txt pyproject.toml setup.py
	$(NEW_ENOUGH)
	$(PYTHON) -m venv $(VENV)
	$(call install,$(TORCH) --editable .)
	$(COMPILE)
	touch $@

$(VENV)/.development: requirements-dev.txt requirements.txt pyproject.toml setup.py
	$(NEW_ENOUGH)
	$(PYTHON) -m venv $(VENV)
	$(call install,$(TORCH) -r requirements-dev.txt --editable .)
	$(COMPILE)
	touch $(VENV)/.runtime $@
