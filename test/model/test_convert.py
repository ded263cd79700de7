"""Released pickles: what the authors trained is what acts here, and a stranger's file runs nothing."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from release import PRESET, released_tensors, sample, small_model
from safetensors.torch import load_file

from himoe_ros.core.errors import ConfigError
from himoe_ros.model.checkpoint import load_released
from himoe_ros.model.config import load_model_config
from himoe_ros.model.convert import convert_weights, read_released
from himoe_ros.model.folder import load_model
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.weights import INDEX
from himoe_ros.resources import config


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return released_tensors(small_model(seed=3))


def preset(name: str = PRESET):
    return load_model_config(name, config("models"))


def saved(tmp_path: Path, data: object, **options) -> Path:
    torch.save(data, tmp_path / "pytorch_model.pth", **options)
    return tmp_path / "pytorch_model.pth"


class Malicious:
    """Runs a shell command when it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_converted_model_acts_as_the_released_one(tmp_path, tensors, wrapper, dtype):
    held = {key: t.to(dtype) for key, t in tensors.items()}
    path = saved(tmp_path, {wrapper: held, "step": 7} if wrapper else held)
    convert_weights(path, preset(), tmp_path)
    directly = HiMoEVLA(preset()).eval()
    for parameter in directly.parameters():
        parameter.data = parameter.data.to(dtype)
    load_released(directly, held)
    assert torch.equal(sample(load_model(tmp_path)), sample(directly))


def test_experts_in_shards_and_of_different_dtypes(tmp_path, tensors):
    odd = dict(tensors)
    first = next(key for key in odd if key.endswith(".mlp.experts.1.up_proj.weight"))
    odd[first] = odd[first].bfloat16()
    convert_weights(saved(tmp_path, odd), preset(), tmp_path, shard_bytes=1_000_000)
    assert (tmp_path / INDEX).is_file()
    loaded = load_model(tmp_path, torch.float32)
    directly = HiMoEVLA(preset())
    load_released(directly, odd)
    want = dict(directly.named_parameters())
    assert all(torch.equal(p, want[name]) for name, p in loaded.named_parameters())


def test_strided_tensors_are_written_as_they_look(tmp_path, tensors):
    odd = dict(tensors)
    odd["action_in_proj.weight"] = odd["action_in_proj.weight"].t().contiguous().t()
    odd["state_proj.bias"] = torch.rand(2 * 192)[::2]
    convert_weights(saved(tmp_path, odd), preset(), tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(written[key], odd[key]) for key in ("action_in_proj.weight", "state_proj.bias"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path, tensors, zipped):
    marker = tmp_path / "owned"
    path = saved(tmp_path, {**tensors, "x": Malicious(marker)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConfigError, match="none of its code was run" if zipped else "zip format"):
        convert_weights(path, preset(), tmp_path)
    assert not marker.exists()
    if zipped:
        torch.load(path, weights_only=False)
        assert marker.exists(), "the file is harmless, so this test shows nothing"


def test_a_bare_pickle_is_refused_and_runs_nothing(tmp_path):
    path = tmp_path / "pytorch_model.pth"
    path.write_bytes(pickle.dumps({"x": Malicious(tmp_path / "owned")}))
    with pytest.raises(ConfigError, match="zip format"):
        read_released(path)
    assert not (tmp_path / "owned").exists()


def test_legacy_truncated_and_foreign_files_are_named(tmp_path, tensors):
    legacy = saved(tmp_path, tensors, _use_new_zipfile_serialization=False)
    with pytest.raises(ConfigError, match=r"pytorch_model\.pth must be a whole file .*save an old one anew"):
        read_released(legacy)
    whole = saved(tmp_path, tensors).read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-100], b"", b"<html>404</html>"):
        legacy.write_bytes(content)
        with pytest.raises(ConfigError, match=f"{len(content)} bytes that are not"):
            read_released(legacy)
    with zipfile.ZipFile(legacy, "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(ConfigError, match="must be a whole file"):
        read_released(legacy)
    with pytest.raises(ConfigError, match=r"nothing\.pth is missing"):
        read_released(tmp_path / "nothing.pth")


def test_what_is_no_table_of_tensors_is_told(tmp_path, tensors):
    with pytest.raises(ConfigError, match="got something else under epoch"):
        read_released(saved(tmp_path, {**tensors, "epoch": 3}))
    with pytest.raises(ConfigError, match="expected names and tensors, got list"):
        read_released(saved(tmp_path, [torch.zeros(2)]))


def test_missing_unknown_and_misshapen_tensors_are_all_listed_before_anything_is_written(tmp_path, tensors):
    odd = dict(tensors)
    del odd["state_proj.bias"]
    odd["stranger"] = torch.zeros(2)
    expert = "paligemma_with_expert.gemma_expert.layers.0.mlp.experts.2.gate_proj.weight"
    odd[expert] = torch.zeros(384, 7)
    with pytest.raises(ConfigError) as error:
        convert_weights(saved(tmp_path, odd), preset(), tmp_path)
    for told in (
        "missing state_proj.bias",
        "unknown stranger",
        f"{expert}: expected (384, 192), got (384, 7)",
        "1 tensors missing, 1 unknown, 1 of another shape",
    ):
        assert told in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_model.pth"]


def test_a_wrong_preset_is_refused(tmp_path, tensors):
    path = saved(tmp_path, tensors)
    with pytest.raises(ConfigError, match="does not fit himoe_4b"):
        convert_weights(path, preset("himoe_4b"), tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint of 'adamoe_small' was released"):
        convert_weights(path, preset("adamoe_small"), tmp_path)


def test_integer_tensors_are_refused(tmp_path, tensors):
    odd = {**tensors, "state_proj.bias": torch.zeros(192, dtype=torch.int64)}
    with pytest.raises(ConfigError, match="got state_proj.bias: torch.int64"):
        convert_weights(saved(tmp_path, odd), preset(), tmp_path)
