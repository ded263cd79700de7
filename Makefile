# A fresh machine needs nothing but Python 3.11: `make demo` shows the main job, `make test` runs the tests.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
LIBRARIES := libegl1 libosmesa6 libgl1
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export MUJOCO_GL ?= egl

.PHONY: demo test trials train-demo faults mutants soak interop gym-aloha jazzy lint bench venv clean

demo: venv
	$(BIN)/himoe demo

test: lint
	$(BIN)/pytest

# All xArm7 protocols, 86 trials, and a report of them; what was interrupted is gone on with.
POLICY ?= expert
PROTOCOLS := fruit_to_plate cup_in_cup block_on_block cup_in_cup_distractors fruit_to_plate_novel
TRIALS := himoe_trials/$(notdir $(POLICY))
trials: venv
	set -e; for protocol in $(PROTOCOLS); do \
		$(BIN)/himoe trials run xarm7/$$protocol --policy $(POLICY) --out $(TRIALS)/$$protocol; done
	$(BIN)/himoe trials report $(PROTOCOLS:%=$(TRIALS)/%) --published --out $(TRIALS)/report

# The shipped policy of the xArm7 from nothing: demonstrations, datasets, training, trials. Some hours on two
# cores; what was interrupted is gone on with.
DEMONSTRATIONS := cup_in_cup:714 block_on_block:450 fruit_to_plate:400
train-demo: venv
	set -e; for task in $(DEMONSTRATIONS); do name=$${task%:*}; \
		$(BIN)/himoe sim record $$name --episodes $${task#*:} --switch 0.3 --push 0.03 --images jpeg --seed 1 --out demos/$$name; \
		[ -d data/$$name ] || $(BIN)/himoe export demos/$$name data/$$name --held-out 0.03 --chunk-steps 12 --workers 2; done
	OMP_NUM_THREADS=2 $(BIN)/himoe train xarm7_small
	$(MAKE) trials POLICY=runs/xarm7_small/policy

faults: venv
	HIMOE_CYCLES=1000 $(BIN)/pytest --timeout 0 -m '' test/faults
	$(BIN)/pytest --timeout 0 -m slow --ignore=test/faults

mutants: venv
	$(BIN)/python test/mutants.py

soak: venv
	$(BIN)/pytest --timeout 0 -s test/soak/random_faults.py test/soak/recording.py test/soak/full_size_training.py

interop: venv .interop/.ready
	rm -rf .interop/check && mkdir .interop/check
	$(BIN)/python test/interop/make_dataset.py .interop/check
	env -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u LD_LIBRARY_PATH HF_HUB_OFFLINE=1 HF_HOME=$(CURDIR)/.interop/check/hf \
		PYTHONPATH=test/interop/stubs .interop/bin/python test/interop/read_dataset.py .interop/check

# lerobot's own requirements ask for another torch: it gets its other packages, and this project's torch.
.interop/.ready: $(READY)
	"$(PYTHON)" -m venv .interop
	.interop/bin/pip install --progress-bar on datasets==4.8.5 huggingface-hub==0.35.3 av==15.1.0 pillow==13.0.0 \
		psutil==7.2.2 safetensors==0.8.0 "packaging<26" numpy==2.4.6
	.interop/bin/pip install --progress-bar on --no-deps lerobot==0.4.4 accelerate==1.15.0
	realpath .venv/lib/python3.11/site-packages > .interop/lib/python3.11/site-packages/torch_of_himoe.pth
	@touch $@

# gym-aloha's own environment judges our graph; it and what it needs get an environment of their own.
gym-aloha: .gym/.ready
	.gym/bin/himoe trials run aloha/transfer_cube --policy $(POLICY) --out himoe_trials/gym_aloha_$(notdir $(POLICY))

.gym/.ready: setup.py constraints.txt
	"$(PYTHON)" -m venv .gym
	.gym/bin/pip install --progress-bar on -c constraints.txt -e '.[ros,sim]' gym-aloha==0.1.5
	@touch $@

# The tests on ROS 2 Jazzy's rclpy and Fast DDS, with NumPy 1, in an environment of their own.
jazzy: .jazzy/.ready
	.jazzy/bin/pytest

.jazzy/.ready: setup.py constraints.txt
	"$(PYTHON)" -m venv .jazzy
	grep -vE '^(ros-|numpy=|opencv|pyarrow|scipy)' constraints.txt > .jazzy/constraints.txt
	.jazzy/bin/pip install --progress-bar on -c .jazzy/constraints.txt -e '.[jazzy,sim,train,test]'
	.jazzy/bin/pip install --progress-bar on --no-deps gym-xarm==0.1.1 gym-aloha==0.1.5 openpi-client==0.1.2
	@touch $@

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
	$(BIN)/pip install --progress-bar on --no-deps gym-xarm==0.1.1 gym-aloha==0.1.5 openpi-client==0.1.2
	@touch $@

clean:
	rm -rf .venv .interop .gym .jazzy build install log
