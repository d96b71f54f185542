# Two commands do all the set-up: `make lab` to learn, `make test` to check. See README.md.
# More options for JupyterLab: make lab LAB="--no-browser --port=9999"
# On a machine with an NVIDIA GPU: make lab GPU=1

PYTHON ?= python3
LESSONS ?=
PARAMS ?=
LAB ?=
# The tests run lesson 16, which exports a network.
EXTRAS ?= $(if $(filter 1,$(GPU)),gpu) $(if $(filter test,$(MAKECMDGOALS)),export)
BIN := .venv/bin
PYTEST := env -u CITYSEG_DATA $(BIN)/python -m pytest
READY := .venv/ready $(EXTRAS:%=.venv/with-%)

# A relative folder must mean the same from inside notebooks/; spaces and $ in it are kept, and ~.
ifdef CITYSEG_DATA
DATA := $(value CITYSEG_DATA)
override CITYSEG_DATA := $(if $(filter /% ~%,$(firstword $(DATA))),,$(CURDIR)/)$(DATA)
export CITYSEG_DATA
endif

# The first target is what `make` alone does.
.PHONY: help lab check test lint docs course notebooks repository lock clean

help:
	@echo "make lab     set up everything, then open JupyterLab on lesson 00"
	@echo "make check   what a change needs before anything else: the linter and the unit tests, minutes"
	@echo "make test    all tests, and every notebook strictly: an hour of two cores"
	@echo "make docs    render the lessons and the package as a site: build/site/index.html"


lab: $(READY)
	env -u CITYSEG_DATA $(BIN)/python -m cityseg_utils.minicity data/minicity
	$(BIN)/jupyter lab --ServerApp.root_dir="$$PWD" \
	    --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB)

# What a change needs before anything else: minutes, where `make test` takes most of an hour.
check: lint
	$(PYTEST) tests -m "not slow"

test: lint
	$(PYTEST) --nbval

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The site of all lessons as they are stored, and of the package: build/site/index.html. On one of its
# pages a network runs in the browser, by an engine from npm; where that is missing the page says so.
docs: $(READY)
	@[ -f docs/try_it/node_modules/.package-lock.json ] || npm ci --prefix docs/try_it --ignore-scripts --silent || \
	    echo "no engine from npm: on the page 'Try it' no network will run"
	$(BIN)/python -m sphinx -c docs -b html -q -W --keep-going -d build/doctrees . build/site

# Every lesson in order, without a screen: make course LESSONS="05 06" PARAMS="EPOCHS=30"
# With a space in a value: PARAMS="'DATA=/mnt/My Drive/camvid' EPOCHS=30"
course: $(READY)
	$(BIN)/python -m cityseg_utils.course run --lessons $(LESSONS) --params $(PARAMS)

# Execute notebooks on the default data and store their outputs: make notebooks LESSONS=03
notebooks: $(READY)
	env -u CITYSEG_DATA $(BIN)/python -m cityseg_utils.course store --lessons $(LESSONS)

# Write the repository's address where it is needed, and the tag that a lesson in Colab installs:
# make repository URL=https://github.com/me/course TAG=v1.0
repository: .venv/ready
	$(BIN)/python -m cityseg_utils.course address $(URL) $(TAG)

# Needs uv; writes the tested versions anew.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra docs --extra lab --extra test \
	    --no-emit-index-url --no-emit-find-links --no-annotate \
	    --custom-compile-command "make lock" pyproject.toml -o requirements.lock

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	    echo "The course needs Python 3.11, 3.12 or 3.13; $(PYTHON) is not one of them."; \
	    echo "Choose another one: make PYTHON=python3.12 ..."; \
	    echo "No such Python? See docs/mac_linux.md"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt-get install python3-venv"; \
	    exit 1; }
	@echo "Installing 3.5 GB into .venv, for 5 to 15 minutes ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@$(BIN)/python -c 'import cv2' || { \
	    echo "OpenCV lacks a system library. On Debian or Ubuntu:"; \
	    echo "    sudo apt-get install libgl1 libglib2.0-0"; exit 1; }
	@touch $@

# An extra of pyproject.toml that the lock leaves out, on top of the locked versions.
.venv/with-%: .venv/ready
	$(BIN)/python -m pip freeze --exclude-editable > .venv/locked.txt
	$(BIN)/python -m pip install --disable-pip-version-check -c .venv/locked.txt -e ".[$*]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info
