"""Runs: what a policy is trained on is what it will see, a resumed run is the same run, and bad input is named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from recording.test_data_robots import dataset
from recording.test_frames import LIMITS, RATE, XARM7, record
from recording.test_samples import foreign

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, RecordingError, TrainingError
from himoe_ros.model.config import load_model_config
from himoe_ros.model.folder import save_model
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.policy.local import load_policy
from himoe_ros.policy.processing import resize_with_pad
from himoe_ros.recording.export import Terms, export
from himoe_ros.recording.frames import read_frames
from himoe_ros.recording.reader import read_info
from himoe_ros.recording.samples import own_layout
from himoe_ros.resources import config
from himoe_ros.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from himoe_ros.training.checks import held_out
from himoe_ros.training.config import load_training
from himoe_ros.training.examples import collate, drawn
from himoe_ros.training.places import Places
from himoe_ros.training.processes import joined
from himoe_ros.training.routing import activation, routing_page
from himoe_ros.training.run import Run
from himoe_ros.training.trainer import learning_rate

TINY = {
    "image_size": 32,
    "chunk_steps": 4,
    "vision": {"width": 32, "mlp": 32, "layers": 1, "heads": 2, "patch": 16},
    "language": {"vocab": 1024, "width": 32, "mlp": 32, "layers": 4, "heads": 2, "kv_heads": 1, "head_dim": 16},
    "expert": {
        "width": 32,
        "mlp": 32,
        "heads": 2,
        "boundary": ["as", "hb"],
        "middle": "dense",
        "as_moe": {"experts": 3, "top_k": 1, "mlp": 32},
        "hb_moe": {"experts": 4, "top_k": 2, "mlp": 16, "shared": 1},
    },
}
SPACE = XARM7.action_space("end_effector")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A dataset of three episodes, one of them held out, and a folder of models with a tiny one."""
    folder = tmp_path_factory.mktemp("training")
    bags = [record(folder / f"episode_{n:04d}", task=t) for n, t in enumerate(("lift", "place", "push"))]
    export(bags, folder / "data", XARM7, LIMITS, Terms(round(RATE), held_out=0.34), lambda progress: None)
    models = shutil.copytree(config("models"), folder / "models")
    (models / "tiny.yaml").write_text(yaml.safe_dump(yaml.safe_load((models / "himoe_small.yaml").read_text()) | TINY))
    shutil.copy(models / "himoe_small.tokenizer.json", models / "tiny.tokenizer.json")
    return folder


@pytest.fixture
def begin(shared, tmp_path):
    """Begin, or go on with, the run of this test; options are written over its configuration."""

    def make(**options: object) -> Run:
        member = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
        told = {
            "model": "tiny",
            "mixture": [member],
            "steps": 6,
            "batch": 4,
            "learning_rate": 1e-3,
            "precision": "float32",
            "save_every": 2,
            "ema": 0.9,
        }
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(told | options))
        others = (config(kind) for kind in ("datasets", "trials"))
        places = Places(config("embodiments"), shared / "models", *others)
        return Run(tmp_path / "run.yaml", tmp_path / "run", places, "cpu")

    return make


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["flow"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_policy_is_trained_on_what_it_will_see(begin, shared):
    run = begin(cache=True)
    run.train()
    policy = load_policy(run.folder / "policy", XARM7, SPACE)
    seen = []
    policy._sample = lambda inputs, noise, *_: seen.append(inputs) or torch.zeros_like(noise)
    frames = list(read_frames(read_info(shared / "episode_0000"), XARM7, LIMITS, RATE))
    for index in (0, 5):
        policy.act(frames[index].observation)
        (batch,) = (collate([run._examples[(0, index, 0)]]),)
        assert torch.equal(batch.inputs.tokens, seen[-1].tokens)
        torch.testing.assert_close(batch.inputs.state, seen[-1].state, rtol=0, atol=1e-5)
        # The dataset's video is not the camera's picture, pixel by pixel.
        assert (batch.inputs.images - seen[-1].images).abs().mean() < 0.2
        targets = frames[index].action[SPACE.slots]
        told = run.statistics[("xarm7", "end_effector")].action.restore(batch.actions[0].double().numpy())
        told = told[0][SPACE.slots] + np.where(SPACE.delta, frames[index].state[SPACE.slots], 0.0)
        assert told == pytest.approx(targets, abs=2e-2), "the first step of the chunk, back in m and rad"
    assert (run.folder / "policy/card.md").read_text().startswith("# tiny, trained by himoe_ros")


def test_a_dropped_state_is_said_to_be_unknown(begin):
    inputs = collate([begin(augmentation={"drop_state": 1.0, "state_noise": 0.1})._examples[(0, 0, 0)]]).inputs
    assert not inputs.state.any() and not inputs.state_mask.any() and inputs.data_mask.any()


def test_a_check_in_parts_is_a_check_of_all(begin):
    run = begin()
    batch = collate([run._examples[(0, i, i)] for i in range(7)])
    std = torch.ones(7, 1, 24)
    with torch.no_grad():
        whole, parts = (held_out(run.trainer.objective, batch, std, 3, at_once) for at_once in (7, 3))
    assert parts == pytest.approx(whole, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("cache", [False, True])
def test_a_camera_that_a_dataset_lacks_is_not_seen(begin, monkeypatch, cache):
    lacking = own_layout(XARM7)
    del lacking.cameras["left_wrist"]
    monkeypatch.setattr("himoe_ros.training.examples.own_layout", lambda robot: lacking)
    example = begin(cache=cache)._examples[(0, 3, 0)]
    assert example["view_mask"].tolist() == [True, False]
    assert example["images"][0].any() and not example["images"][1].any()


def test_kept_pictures_are_the_decoded_ones(begin):
    run = begin(cache=True)
    example, plain = run._examples[(0, 3, 0)], run.sources[0].samples.pictures(3)
    for view, camera in enumerate(XARM7.cameras):
        np.testing.assert_array_equal(example["images"][view], resize_with_pad(plain[camera.name], 32))


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(begin, tmp_path):
    run = begin()
    stopped = iter(run.trainer.train(_batches(run)))
    for _ in range(3):
        next(stopped)
        if run.trainer.step == 2:
            run.trainer.save()  # what came after it is lost
    again = begin()
    assert again.resumed and again.trainer.step == 2
    later = flows(again)
    shutil.rmtree(tmp_path / "run")
    fresh = begin()
    whole = flows(fresh)
    assert later == pytest.approx(whole[2:], rel=1e-6)
    for name, tensor in again.trainer.average.items():
        torch.testing.assert_close(tensor, fresh.trainer.average[name])


def flows(run: Run) -> list[float]:
    """The flow loss of each step to the end."""
    return [told["flow"] for told in run.trainer.train(_batches(run))]


def _batches(run: Run):
    for step in range(run.trainer.step, run.config.steps):
        yield collate([run._examples[k] for k in drawn(run.sources, run.config.seed, step, run.config.batch)])


def test_parts_of_a_batch_make_the_same_step(begin, tmp_path):
    """But for the routers' regularisation, which compares the tokens of what is computed together."""
    whole = flows(begin(batch=4))
    shutil.rmtree(tmp_path / "run")
    parts = flows(begin(batch=4, accumulate=2))
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert parts == pytest.approx(whole, rel=2e-3)


def test_it_learns(begin):
    run = begin(steps=90, batch=8, flow_samples=2, learning_rate=3e-3, save_every=1000, check_every=90)
    run.train()
    told = losses(run.folder)
    assert np.mean(told[-20:]) < 0.5 * np.mean(told[:5])
    last = json.loads((run.folder / "log.jsonl").read_text().splitlines()[-1])
    assert {f"held_out_slot_{i}" for i in range(7)} <= set(last)


def test_two_robots_learn_in_one_run_and_get_experts_of_their_own(begin, shared, tmp_path):
    """Our export of an xArm7 and a LeRobot dataset of an ALOHA, in one batch."""
    mine = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
    other = {"dataset": str(foreign(tmp_path / "aloha", "v3.0")), "embodiment": "aloha", "action_space": "joints"}
    mixture = [mine, other | {"layout": "aloha.yaml"}]
    run = begin(mixture=mixture, steps=80, batch=8, learning_rate=1e-2, ema=0.0)

    def flow(member: int) -> float:
        batch = collate([run._examples[(member, i, i)] for i in range(8)])
        noise, t = torch.randn(batch.actions.shape, generator=torch.Generator().manual_seed(1)), torch.full((8,), 0.5)
        with torch.no_grad():
            return float(run.trainer.losses(batch, noise, t)["flow"])

    before = [flow(0), flow(1)]
    flows(run)
    assert all(after < 0.8 * first for after, first in zip([flow(0), flow(1)], before, strict=True))
    masks = torch.stack([torch.from_numpy(run._examples[(member, 0, 0)]["mask"]) for member in (0, 1)])
    chosen = [r.chosen[:, 0, 0].tolist() for r in run.trainer.objective.model.expert.route(masks).values()]
    assert all(one != two for one, two in chosen), chosen


def test_a_run_of_two_robots_writes_a_policy_for_each(begin, shared, tmp_path):
    mine = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
    other = {"dataset": str(foreign(tmp_path / "aloha", "v3.0")), "embodiment": "aloha", "action_space": "joints"}
    run = begin(mixture=[mine, other | {"layout": "aloha.yaml"}], steps=1)
    run.train()
    aloha = load_embodiment("aloha", config("embodiments"))
    first = load_policy(run.folder / "policy", XARM7, SPACE)
    second = load_policy(run.folder / "policy_aloha_joints", aloha, aloha.action_space("joints"))
    for name, weight in first._model.state_dict().items():
        assert torch.equal(weight, second._model.state_dict()[name]), name


def test_a_robot_that_is_only_in_data_is_learned_from_and_gets_no_policy(begin, shared, tmp_path):
    """Its state lacks what its dataset does not tell, and its actions are moves."""
    theirs = {"dataset": str(dataset(tmp_path / "viola", "viola", 20.0)), "layout": "open_x.yaml"}
    theirs |= {"embodiment": "viola", "action_space": "end_effector"}
    mine = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
    run = begin(mixture=[theirs, mine], steps=2, batch=8)
    run.train()
    assert {m for m, _, _ in drawn(run.sources, run.config.seed, 1, 8)} == {0, 1}
    told = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert len(told) == 2 and all(np.isfinite(t["flow"]) for t in told)
    assert sorted(p.name for p in run.folder.glob("policy*")) == ["policy"]
    assert load_policy(run.folder / "policy", XARM7, SPACE).space is SPACE
    whole, partly = (collate([run._examples[(member, 0, 0)]]).inputs for member in (1, 0))
    assert whole.state_mask is None and partly.state_mask.nonzero()[:, 1].tolist() == [6]
    shutil.rmtree(run.folder)
    alone = begin(mixture=[theirs], steps=1)
    alone.train()
    assert (alone.folder / "policy").is_dir(), "to be trained on"


def test_the_share_of_each_expert_is_shown_for_each_dataset(begin, shared, tmp_path):
    run = begin(steps=1)
    run.train()
    places = Places(config("embodiments"), shared / "models", config("datasets"), config("trials"))
    told = activation(run.folder / "policy", run.config, places, samples=8)
    assert told.names == ("data, end_effector",) and {k.value for k in told.kinds.values()} == {"as", "hb"}
    for layer, kind in told.kinds.items():
        per_token = 1 if kind.value == "as" else 2
        assert told.means(layer).sum(1) == pytest.approx(per_token)
        assert (told.means(layer) <= 1.0).all()
    shown = routing_page(told, "Experts")
    assert shown.count("<h3>layer") == len(told.share) and "HB-MoE" in shown


def test_a_loss_that_is_not_finite_ends_the_run_with_the_last_checkpoint_good(begin):
    run = begin()
    run.trainer.save()
    with torch.no_grad():
        run.trainer.objective.model.action_out_proj.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 0: .* is not finite; the last checkpoint is good"):
        next(run.trainer.train(_batches(run)))
    again = begin()
    assert again.resumed and all(torch.isfinite(p).all() for p in again.trainer.objective.parameters())


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, {"x": torch.zeros(3)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="cannot be written, the one before stays: .*No space left on device"):
        save_checkpoint(tmp_path, 2, {"x": torch.ones(3)})
    step, path, shapes = newest_checkpoint(tmp_path)
    assert step == 1 and shapes == {"x": (3,)} and list(tmp_path.iterdir()) == [path]
    state = {"x": torch.ones(3)}
    load_checkpoint(path, state)
    assert state["x"].sum() == 0


def test_a_checkpoint_of_another_model_or_without_its_end_is_refused(begin):
    run = begin()
    run.trainer.save()
    shapes = dict(run.trainer._trained)
    run.trainer._trained["model.action_out_proj.bias"] = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(TrainingError, match=r"is of another model: \['objective.model.action_out_proj.bias'\]"):
        run.trainer.resume()
    run.trainer._trained = shapes
    for part in (run.folder / "checkpoints").glob("*/*.distcp"):
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(TrainingError, match="cannot be read: .*delete it to go on from the one before"):
        begin()


def test_values_that_are_not_finite_are_named(begin):
    run = begin()
    run.sources[0].samples.vectors(0).states[2, 1] = np.nan
    with pytest.raises(TrainingError, match="data: frame 2 holds values that are not finite"):
        run._examples[(0, 2, 0)]


def test_another_run_in_the_folder_and_another_robot_are_refused(begin, shared):
    begin()
    with pytest.raises(TrainingError, match="is a run of another configuration"):
        begin(batch=2)
    other = {"dataset": str(shared / "data"), "embodiment": "aloha", "action_space": "joints"}
    shutil.rmtree(begin().folder)
    with pytest.raises(ConfigError, match="was recorded on xarm7, the mixture says aloha"):
        begin(mixture=[other])


def test_a_dataset_slower_than_the_robots_chunks_or_with_a_cut_video_is_refused(begin, shared, tmp_path):
    data = shutil.copytree(shared / "data", tmp_path / "data", ignore=shutil.ignore_patterns("cache"))
    member = {"dataset": str(data), "embodiment": "xarm7", "action_space": "end_effector"}
    video = next(data.glob("videos/**/*.mp4"))
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match=f"{video.name} "):
        begin(mixture=[member], cache=True)
    video.write_bytes(whole)
    info = json.loads((data / "meta/info.json").read_text())
    (data / "meta/info.json").write_text(json.dumps(info | {"fps": 5}))
    with pytest.raises(ConfigError, match="data has 5 frames a second, a chunk of 10 Hz needs as many"):
        begin(mixture=[member], cache=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"precision": "float8"}, "precision: expected one of float32, bfloat16, got 'float8'"),
        ({"mixture": []}, "mixture: expected a list of datasets"),
        ({"batch": 3, "accumulate": 2}, "batch 3 must be a multiple of accumulate 2"),
        ({"ema": 1.5}, "ema: expected a number from 0 to 1"),
        ({"epochs": 3}, r"unknown \['epochs'\]"),
        ({"model": "himoe_2b"}, "'himoe_2b' is no folder"),
    ],
)
def test_a_configuration_is_checked_before_anything_is_read(begin, change, words):
    with pytest.raises(ConfigError, match=words):
        begin(**change)


def test_the_learning_rate_warms_up_and_comes_down_to_its_floor():
    plan = replace(load_training(config("training") / "xarm7_small.yaml"), warm_up=10, steps=110, floor=0.1)
    rates = [learning_rate(plan, step) for step in range(111)]
    assert rates[0] == pytest.approx(plan.learning_rate / 10) and max(rates) == plan.learning_rate
    assert rates[-1] == pytest.approx(0.1 * plan.learning_rate)
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_recomputed_layers_give_the_same_steps(begin, tmp_path):
    plain = flows(begin())
    shutil.rmtree(tmp_path / "run")
    assert flows(begin(checkpointing=True)) == pytest.approx(plain, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP2"])
def test_two_processes_train_as_one(shared, tmp_path, sharded):
    """torchrun over the command, the same batches cut in two: the same losses, the regularisation's too.

    A run that was stopped goes on as if it had not been, by two processes or by one.
    """
    model = tmp_path / "model"
    save_model(HiMoEVLA(load_model_config("tiny", shared / "models")).initialise(0), model)
    shutil.copy(shared / "models/tiny.tokenizer.json", model / "tokenizer.json")
    member = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
    told = {
        "model": str(model),
        "mixture": [member],
        "steps": 20,
        "batch": 8,
        "flow_samples": 2,
        "precision": "float32",
        "learning_rate": 1e-3,
        "augmentation": {"colour": 0.2},
        "ema": 0.9,
        "save_every": 10,
        "sharded": sharded,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(told))
    train = ["-m", "himoe_ros.cli", "train", str(tmp_path / "run.yaml"), "--device", "cpu", "--out"]
    two = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    for name, before in (("one", []), ("two", two), ("two_again", two), ("one_again", [])):
        if name.endswith("again"):
            shutil.copytree(tmp_path / "two", tmp_path / name)
            shutil.rmtree(tmp_path / name / "checkpoints/step_00000020")
        command = [sys.executable, *before, *train, str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        assert ("resumed at step 10" in done.stdout) == name.endswith("again")
        assert load_policy(tmp_path / name / "policy", XARM7, SPACE).space.name == "end_effector"
    whole, *others = (
        [json.loads(line) for line in path.read_text().splitlines()] for path in sorted(tmp_path.glob("*/log.jsonl"))
    )
    assert len(whole) == 20
    for other in others:
        assert len(other) == 20
        for mine, theirs in zip(whole, other, strict=True):
            for loss in ("flow", "as", "hb"):
                assert theirs[loss] == pytest.approx(mine[loss], abs=1e-5), (mine["step"], loss)
        assert other[-1]["held_out_flow"] == pytest.approx(whole[-1]["held_out_flow"], abs=1e-4)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in (("RANK", "2"), ("LOCAL_RANK", "2"), ("WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match="3 processes, 2 GPUs; torchrun --nproc-per-node 2"), joined("cuda"):
        pass


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_member_is_trained_on_its_episodes_alone(begin, shared):
    member = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
    one = begin(mixture=[member | {"episodes": [1, 2]}]).sources[0]
    assert {one.data.place(int(i))[0] for i in one.training} == {1}
    assert {one.data.place(int(i))[0] for i in one.held_out} == {2}, "what is held out stays so"
    with pytest.raises(ConfigError, match="episodes: expected a whole number >= 2"):
        begin(mixture=[member | {"episodes": [1, 1]}])


def test_a_member_whose_episodes_are_held_out_is_refused(begin, shared):
    member = {"dataset": str(shared / "data"), "embodiment": "xarm7", "action_space": "end_effector"}
    with pytest.raises(TrainingError, match="the mixture wants episodes 2 to 3, its split trains on 0 to 2"):
        begin(mixture=[member | {"episodes": [2, 3]}])


@pytest.mark.parametrize("variant", ["separate_heads", "indicator"])
def test_a_variant_that_numbers_action_spaces_is_trained_and_loaded_by_number(begin, shared, variant):
    numbered = {"base": "tiny", "expert": {"conditioning": variant, "spaces": 2}}
    (shared / "models" / f"tiny_{variant}.yaml").write_text(yaml.safe_dump(numbered))
    member = {"dataset": str(shared / "data"), "embodiment": "xarm7"}
    mixture = [member | {"action_space": space} for space in ("end_effector", "joints")]
    run = begin(model=f"tiny_{variant}", mixture=mixture, steps=2)
    run.train()
    batch = collate([run._examples[(m, 0, 0)] for m in (0, 1, 1)])
    assert batch.inputs.space.tolist() == [0, 1, 1]
    frame = next(iter(read_frames(read_info(shared / "episode_0000"), XARM7, LIMITS, RATE))).observation
    for number, (folder, space) in enumerate((("policy", "end_effector"), ("policy_xarm7_joints", "joints"))):
        policy, seen = load_policy(run.folder / folder, XARM7, XARM7.action_space(space)), []
        policy._sample = lambda inputs, noise, *_, seen=seen: seen.append(inputs) or torch.zeros_like(noise)
        policy.act(frame)
        assert seen[0].space.tolist() == [number]
