"""The policy folder: what is written is read back, and what is wrong with it is told by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from release import sample, small_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from himoe_ros.core.errors import ConfigError
from himoe_ros.model.config import RegularisationConfig, load_model_config, parse_model_config
from himoe_ros.model.folder import find_folder, load_config, load_model, new_folder, save_config, save_model
from himoe_ros.model.weights import INDEX, WEIGHTS, Entry, stored_weights, write_weights
from himoe_ros.resources import config

PRESETS = sorted(path.stem for path in config("models").glob("*.yaml"))


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def folder(model, tmp_path) -> Path:
    save_model(model, tmp_path / "policy")
    return tmp_path / "policy"


def rewrite(folder: Path, change) -> None:
    """Apply `change` to the dict of the folder's tensors."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_a_saved_model_acts_as_before(model, folder):
    loaded = load_model(folder)
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(sample(loaded), sample(model))


def test_a_loaded_model_has_the_buffers_of_a_built_one_and_can_be_trained(model, folder):
    loaded = load_model(folder, torch.bfloat16)
    want, have = dict(model.named_buffers()), dict(loaded.named_buffers())
    assert want.keys() == have.keys()
    assert all(torch.equal(want[name], have[name]) and want[name].dtype == have[name].dtype for name in want)
    assert all(p.requires_grad and p.dtype == torch.bfloat16 for p in loaded.parameters())
    assert {p.device.type for p in small_model().parameters()} == {"cpu"}, "building later must not be affected"


def test_a_model_outlives_its_files(model, folder):
    loaded = load_model(folder)
    (folder / WEIGHTS).write_bytes(b"")
    assert torch.equal(sample(loaded), sample(model))


def test_without_a_dtype_it_is_that_of_the_largest_tensor(folder):
    def mixed(tensors):
        tensors.update({k: t.bfloat16() for k, t in tensors.items() if "norm" not in k})

    rewrite(folder, mixed)
    assert {p.dtype for p in load_model(folder).parameters()} == {torch.bfloat16}
    assert {p.dtype for p in load_model(folder, torch.float32).parameters()} == {torch.float32}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_configuration_is_read_back_whole(preset, tmp_path):
    told = load_model_config(preset, config("models"))
    told = replace(told, action_dim=20, regularisation=RegularisationConfig("paper", 1e-5, 3.0, (), ()))
    save_config(told, tmp_path)
    assert load_config(tmp_path) == told


def test_shards_have_the_layout_of_hugging_face(model, tmp_path):
    save_model(model, tmp_path, shard_bytes=2_000_000)
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == 4 * sum(p.numel() for p in model.parameters())
    for name in files:
        with safe_open(tmp_path / name, "pt") as file:
            held = list(file.keys())
            assert file.metadata() == {"format": "pt"}
        assert sorted(held) == sorted(k for k, place in index["weight_map"].items() if place == name)
        assert len(held) == 1 or (tmp_path / name).stat().st_size < 2_100_000
    assert torch.equal(sample(load_model(tmp_path)), sample(model))


def test_mixed_dtypes_are_stored_exactly(tmp_path):
    mixed = small_model()
    mixed.action_out_proj.bfloat16()
    mixed.state_proj.double()
    save_model(mixed, tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    for name, parameter in mixed.named_parameters():
        assert stored[name].dtype == parameter.dtype
        assert torch.equal(stored[name], parameter)


def test_every_tensor_is_aligned(tmp_path):
    tensors = {
        "a": torch.rand(3).bfloat16(),
        "b": torch.rand(2).double(),
        "c": torch.rand(1),
        "d": torch.rand(5).half(),
    }
    entries = [Entry(name, tuple(t.shape), t.dtype, lambda t=t: (t,)) for name, t in tensors.items()]
    write_weights(tmp_path, entries)
    content = (tmp_path / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert all(header[name]["data_offsets"][0] % t.dtype.itemsize == 0 for name, t in tensors.items())
    read = load_file(tmp_path / WEIGHTS)
    assert all(torch.equal(read[name], t) for name, t in tensors.items())


def test_missing_unknown_and_misshapen_tensors_are_all_listed(folder):
    def spoil(tensors):
        del tensors["expert.norm.weight"], tensors["state_proj.bias"]
        tensors["stranger"] = torch.zeros(2)
        tensors["action_in_proj.weight"] = torch.zeros(5, 24)

    rewrite(folder, spoil)
    with pytest.raises(ConfigError) as error:
        load_model(folder)
    for told in (
        "2 tensors missing, 1 unknown, 1 of another shape",
        "missing expert.norm.weight",
        "missing state_proj.bias",
        "unknown stranger",
        "action_in_proj.weight: expected (192, 24), got (5, 24)",
    ):
        assert told in str(error.value)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_named(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConfigError, match=r"model\.safetensors must be a complete safetensors file"):
        load_model(folder)


def test_a_missing_or_truncated_shard_is_named(model, tmp_path):
    save_model(model, tmp_path, shard_bytes=2_000_000)
    second = sorted(tmp_path.glob("*.safetensors"))[1]
    content = second.read_bytes()
    second.write_bytes(content[:-4])
    with pytest.raises(ConfigError, match=f"{second.name} must be a complete"):
        load_model(tmp_path)
    second.unlink()
    with pytest.raises(ConfigError, match=f"lacks {second.name}"):
        load_model(tmp_path)
    second.write_bytes(sorted(tmp_path.glob("*.safetensors"))[0].read_bytes())
    with pytest.raises(ConfigError, match="expected it once"):
        stored_weights(tmp_path)


@pytest.mark.parametrize("places", [{"a": "../model.safetensors"}, {"a": 3}, [], None])
def test_an_index_that_points_elsewhere_is_refused(tmp_path, places):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ConfigError, match="index.json"):
        stored_weights(tmp_path)


def test_integer_weights_and_no_weights_are_refused(folder):
    rewrite(folder, lambda tensors: tensors.update(stranger=torch.zeros(2, dtype=torch.int64)))
    with pytest.raises(ConfigError, match="got I64 for stranger"):
        load_model(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ConfigError, match="has no weights"):
        load_model(folder)


def test_a_folder_without_or_with_a_broken_configuration_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no policy folder, it lacks config.json; `himoe model convert`"):
        load_config(tmp_path)
    (tmp_path / "config.json").write_text('{"name": ')
    with pytest.raises(ConfigError, match="config.json must be a readable JSON file"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match="expected named entries"):
        parse_model_config({}, "config.json")


def test_a_model_is_not_written_over_another(model, folder):
    with pytest.raises(ConfigError, match="already holds a model"):
        save_model(model, folder)


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), new_folder(out) as partial:
        (partial / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "of a killed run").write_text("x")
    with new_folder(out) as partial:
        assert partial == tmp_path / "out.partial"
        (partial / "whole").write_text("x")
        assert not out.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "whole"]
    with pytest.raises(ConfigError, match="exists; remove it"), new_folder(out):
        pass


def test_a_full_disk_is_an_error_for_the_user(tmp_path):
    with pytest.raises(ConfigError, match="out could not be written: .*No space"), new_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_names_without_a_folder_are_hugging_face_names(tmp_path, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert find_folder("org/policy-a", files=["config.json"]) == tmp_path
    assert asked == [("org/policy-a", ["config.json"])]
    assert find_folder(tmp_path) == tmp_path
    for name in ("no_folder", "../org/policy", "/org/policy", "./policy", "a/b/c"):
        with pytest.raises(ConfigError, match="is no folder"):
            find_folder(name)
    assert len(asked) == 1


def test_no_hub_is_told_plainly(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConfigError, match="could not be downloaded from Hugging Face: .*Check the name and the network"
    ):
        find_folder("org/no-such-policy")
