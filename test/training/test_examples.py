"""What a sentence means, and what a mixture draws."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np

from himoe_ros.resources import config
from himoe_ros.training.config import GroundingTerms
from himoe_ros.training.examples import Examples, drawn
from himoe_ros.training.meanings import meanings, things_meant

TERMS = GroundingTerms(1.0, 0.3, ("xarm7/fruit_to_plate", "xarm7/cup_in_cup"))
APPLE_BLUE = "Pick up the apple and place it onto the blue plate"


def test_a_sentence_means_what_its_protocol_says():
    told, names = meanings(TERMS, config("trials")), things_meant(TERMS, config("trials"))
    assert len(told) == (4 + 6) * 5, "settings, each in five ways"
    assert [names[n] for n in told[APPLE_BLUE].meant] == ["apple", "blue_plate"]
    assert [names[n] for n in told["Put the red cup into the yellow cup"].meant] == ["red_cup", "yellow_cup"]
    assert told["Put the apple on the blue plate"] == told[APPLE_BLUE]
    assert len(told[APPLE_BLUE].others) == 3 * 5 and not set(told[APPLE_BLUE].others) & set(told[APPLE_BLUE].same)


def test_some_sentences_are_others_of_the_protocol_and_are_not_imitated():
    sentences = meanings(TERMS, config("trials"))
    examples = SimpleNamespace(_config=SimpleNamespace(grounding=TERMS), _sentences=sentences)
    rng = np.random.default_rng(0)
    heard = [Examples._sentence(examples, APPLE_BLUE, rng) for _ in range(2000)]
    changed = [sentence for sentence, imitated in heard if not imitated]
    assert 0.27 < len(changed) / 2000 < 0.33
    assert set(changed) == set(sentences[APPLE_BLUE].others)
    assert {sentence for sentence, imitated in heard if imitated} == set(sentences[APPLE_BLUE].same)
    unknown = Examples._sentence(examples, "wipe the table", rng)
    assert unknown == ("wipe the table", True)


def source(weight: float, samples: int):
    return SimpleNamespace(member=SimpleNamespace(weight=weight), training=np.arange(samples))


def test_members_are_drawn_by_their_weights_and_a_step_decides_alone():
    sources = [source(3.0, 50), source(1.0, 5000)]
    keys = [key for step in range(100) for key in drawn(sources, 1, step, 40)]
    share = Counter(member for member, _, _ in keys)[0] / len(keys)
    assert 0.72 < share < 0.78, "whatever their sizes"
    assert {i for m, i, _ in keys if m == 0} == set(range(50))
    assert drawn(sources, 1, 7, 40) == drawn(sources, 1, 7, 40) != drawn(sources, 1, 8, 40)
    assert drawn(sources, 2, 7, 40) != drawn(sources, 1, 7, 40)
