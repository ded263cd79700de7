"""Ten steps of the 4B model on a CPU: low-rank updates of the action expert, the vision-language model frozen."""

from __future__ import annotations

import json
import resource
import shutil
import time

import numpy as np
import torch
import yaml
from recording.test_frames import LIMITS, RATE, XARM7, record

from himoe_ros.recording.export import Terms, export
from himoe_ros.resources import config
from himoe_ros.training.places import Places
from himoe_ros.training.run import Run

STEPS, BATCH = 10, 2


def test_the_4b_model_takes_ten_steps(tmp_path):
    export([record(tmp_path / "episode_0000")], tmp_path / "data", XARM7, LIMITS, Terms(round(RATE)), lambda _: None)
    models = shutil.copytree(config("models"), tmp_path / "models")
    shutil.copy(models / "himoe_small.tokenizer.json", models / "himoe_4b.tokenizer.json")  # any that fits its words
    told = {
        "model": "himoe_4b",
        "tuning": {"freeze": ["vision", "language"], "lora": {"parts": ["expert"], "rank": 8}},
        "mixture": [{"dataset": str(tmp_path / "data"), "embodiment": "xarm7", "action_space": "end_effector"}],
        "steps": STEPS,
        "batch": BATCH,
        "learning_rate": 1e-3,
        "save_every": 100,
        "check_every": 100,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(told))
    places = Places(config("embodiments"), models, config("datasets"), config("trials"))
    begin = time.monotonic()
    run = Run(tmp_path / "run.yaml", tmp_path / "run", places, "cpu")
    parameters = list(run.trainer.objective.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    print(f"\n{sum(p.numel() for p in parameters) / 1e6:.1f} M parameters, {trained / 1e6:.1f} M of them trained")
    built = time.monotonic() - begin
    before = [p.detach().clone() for p in parameters if p.requires_grad]
    begin = time.monotonic()
    run.train()
    spent = time.monotonic() - begin
    losses = [json.loads(line)["flow"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"built in {built:.0f} s; {STEPS} steps of {BATCH} and the policy written in {spent:.0f} s; peak {peak:.1f} GB"
    )
    print(f"flow loss {losses}")
    assert (
        len(losses) == STEPS
        and np.isfinite(losses).all()
        and (tmp_path / "run/policy/model.safetensors.index.json").exists()
    )
    after = [p for p in parameters if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
