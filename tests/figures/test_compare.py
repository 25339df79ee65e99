"""Two groups of runs as a figure: values, floors, ratios and intervals are those of `icshift compare`."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.figures.compare import compare
from icshift.page.pairs import Mark, Pair, Pairs, Ratio
from tests.figures.reading import DARK, LIGHT, drawn, number, said, texts


def marks(*values):
    return tuple(Mark(group, at + 1, value, value / 9) for group in "AB" for at, value in enumerate(values))


FEW = Pairs(
    groups=(("a",), ("b",)),
    phases=("train", "probe"),
    metric="w1_sd",
    unit="sd",
    sentence="One seed: no statement.",
    notes=(),
    pairs=(
        Pair("fc1 : norm1", ("fc1", "norm1"), {"train": marks(0.5), "probe": marks(0.25)}, {}),
        Pair("fc2", ("fc2", "fc2"), {"train": marks(np.nan), "probe": marks(0.0)}, {}),
    ),
)

RATIOS = {"train": Ratio(2.0, 1.5, 2.7, 0.03, noisy=False), "probe": Ratio(0.5, 0.2, 1.1, 0.5, noisy=True)}


def test_every_run_tells_its_path_and_its_floor():
    labels = said(compare(FEW, LIGHT))
    first = [label for label in labels if label.startswith("fc1 : norm1, A run 1")]
    assert [number(label, "path") for label in first] == [0.5, 0.25]
    assert [number(label, "floor") for label in first] == pytest.approx([0.5 / 9, 0.25 / 9])
    assert [number(label, "path") for label in labels if label.startswith("fc2, B run 1")] == [0.0]


def test_few_runs_have_no_interval_and_say_so():
    words = " ".join(texts(compare(FEW, LIGHT)).split())
    assert "of fewer than 5 runs of each no statement" in words
    assert "95 % interval" not in words
    assert "One seed: no statement." in words


def test_ratios_have_intervals_unless_they_are_of_noise():
    tested = replace(FEW, pairs=tuple(replace(pair, ratios=RATIOS) for pair in FEW.pairs))
    labels = said(compare(tested, LIGHT))
    ratios = [label for label in labels if label.startswith("fc2: A / B")]
    assert [number(label, "A / B") for label in ratios] == [2.0, 0.5]
    assert "95 % interval 1.5 to 2.7, p 0.03" in ratios[0]
    assert "no statement" in ratios[1]


def test_nothing_known_is_drawn_all_the_same():
    empty = tuple(replace(pair, marks={"train": marks(np.nan), "probe": marks(np.nan)}) for pair in FEW.pairs)
    assert drawn(compare(replace(FEW, pairs=empty), DARK)).startswith(b"<svg")
