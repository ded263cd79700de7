# A fresh machine needs nothing but Python 3.11: `make demo` shows the main job, `make test` runs the tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
LIBRARIES := libegl1 libosmesa6 libgl1
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export MUJOCO_GL ?= egl

.PHONY: demo test faults mutants soak lint bench venv clean

demo: venv
	$(BIN)/himoe demo

test: lint
	$(BIN)/pytest

faults: venv
	HIMOE_CYCLES=1000 $(BIN)/pytest -m '' test/faults

mutants: venv
	$(BIN)/python test/mutants.py

soak: venv
	$(BIN)/pytest test/soak/random_faults.py

lint: venv
	$(BIN)/ruff check src test launch setup.py
	$(BIN)/ruff format --check src test launch setup.py
	$(BIN)/mypy

bench: venv
	$(BIN)/himoe bench graph

venv: $(READY)

$(READY): setup.py constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "error: expected Python 3.11, got $$("$(PYTHON)" --version 2>&1 || echo none). Install it" \
		"(Debian 12: apt-get install python3.11-venv) or name one: make PYTHON=/path/to/python3.11"; exit 2; }
	@{ ldconfig -p | grep -q libEGL.so.1 && ldconfig -p | grep -q libOSMesa.so.8; } || \
		if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q $(LIBRARIES); else \
		echo "error: the simulated cameras need rendering libraries; run: sudo apt-get install $(LIBRARIES)"; exit 2; fi
	"$(PYTHON)" -m venv .venv
	$(BIN)/pip install --progress-bar on -c constraints.txt -e '.[ros,sim,train,test]'
	$(BIN)/pip install --progress-bar on --no-deps gym-xarm==0.1.1
	@touch $@

clean:
	rm -rf .venv build install log
