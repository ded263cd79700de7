# Everything a fresh machine needs: `make demo` shows the main job, `make test` runs the tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export MUJOCO_GL ?= egl

.PHONY: demo test lint bench venv clean

demo: venv
	$(BIN)/himoe demo

test: venv lint
	$(BIN)/pytest

lint: venv
	$(BIN)/ruff check src test launch
	$(BIN)/mypy

bench: venv
	$(BIN)/himoe bench graph

venv: $(STAMP)

$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; ok = sys.version_info[:2] == (3, 11); ok or sys.exit("error: Python 3.11 is needed here, \
	"$(PYTHON)" is " + sys.version.split()[0] + "; install it (Debian 12: apt-get install python3.11-venv) or run: make PYTHON=/path/to/python3.11")'
	sh tools/system_libraries.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --progress-bar on --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt -e '.[ros,sim,train,test]'
	$(BIN)/pip install --progress-bar on --no-deps gym-xarm==0.1.1
	touch $@

clean:
	rm -rf $(VENV) build install log
