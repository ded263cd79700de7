"""himoe_ros.policy.sampler and .device: a model runs where it was asked to."""

from __future__ import annotations

import time

import pytest
import torch
from model.test_himoe import inputs, noise

from himoe_ros.core.errors import ConfigError
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.policy.device import chosen_device
from himoe_ros.policy.sampler import Sampler
from himoe_ros.policy.stopwatch import Stopwatch
from himoe_ros.resources import config


def test_without_a_gpu_the_cpu_is_chosen_and_a_gpu_that_is_asked_for_is_missed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("") == "cpu" and chosen_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="sees no GPU here; use cpu"):
        chosen_device("cuda")
    with pytest.raises(ConfigError, match="device must be cpu or cuda, got 'tpu'"):
        chosen_device("tpu")


def test_where_there_is_a_gpu_it_is_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("") == "cuda" and chosen_device("cuda:1") == "cuda:1" and chosen_device("cpu") == "cpu"


def test_it_answers_as_the_model_and_tells_where_the_time_went():
    small = load_model_config("himoe_small", config("models"))
    sampler, plain = Sampler(HiMoEVLA(small).initialise(0), "cpu"), HiMoEVLA(small).initialise(0).eval()
    watch = Stopwatch(time.monotonic)
    got = sampler(inputs(), noise(), None, watch)
    torch.testing.assert_close(got, plain.sample_actions(inputs(), noise()), atol=1e-4, rtol=1e-4)
    assert list(watch.took) == ["prefix", "flow steps"] and min(watch.took.values()) > 0
    assert sampler.words == 0


@pytest.mark.parametrize(("native", "kept"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_without_bfloat16_plans_in_float32(monkeypatch, native, kept):
    monkeypatch.setattr("himoe_ros.policy.sampler.multiplies_bfloat16", lambda _: native)
    model = HiMoEVLA(load_model_config("himoe_small", config("models"))).initialise(0).bfloat16()
    assert Sampler(model, "cpu").model.action_in_proj.weight.dtype is kept
