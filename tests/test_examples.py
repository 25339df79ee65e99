"""Every example runs, and leaves what it says: a table, a picture, and a next command that runs too."""

import importlib.util
import math
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from icshift.cli.main import _run
from icshift.selfcheck.runner import checks_named
from tests.warm.starting import python

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
WITHOUT_PICTURE = ("train", "diverging", "train_against_eval")
STEPS = {"deep_linear": 20, "gan": 200, "percentiles": 60, "noisy_batchnorm": 60, "transformer": 60}
"""Of those that train long. What they find is in tests/cli/test_selfcheck.py, or takes as long as they do."""
SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?")


def rows(text):
    """Lines of a table: two numbers or more, each between spaces."""
    return [line for line in text.splitlines() if sum(bool(NUMBER.fullmatch(word)) for word in line.split()) >= 2]


def assert_picture(file):
    """A drawing with words, in which nothing is drawn at no place."""
    text = file.read_text()
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert min(float(size) for size in root.attrib["viewBox"].split()[2:]) > 100
    words = [element.text for element in root.iter(f"{SVG}text") if element.text]
    assert len(words) > 10
    assert not {"NaN", "undefined", "null"} & set(words)
    assert "NaN" not in " ".join(element.attrib.get("d", "") for element in root.iter(f"{SVG}path"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_runs(example, tmp_path, capfd):
    """Those that record themselves end in a table; `train.py` is a script as others write it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "runs").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python(), str(example), *(["--steps", str(STEPS[example.stem])] if example.stem in STEPS else [])],
        cwd=tmp_path / "here", env=environment, capture_output=True, text=True, check=False, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    left = [file.name for file in (tmp_path / "here").iterdir()]
    if example.stem in WITHOUT_PICTURE:
        assert re.search("drift" if "icshift.Recorder" in example.read_text() else "accuracy|loss", done.stdout)
        assert left == []
    else:
        assert len(rows(done.stdout)) >= 2, done.stdout
        assert left == [f"{example.stem}.svg"]
        assert left[0] in done.stdout
        assert_picture(tmp_path / "here" / left[0])
    for command in re.findall("^Next: icshift (.*)", done.stdout, re.M):
        words = shlex.split(command)
        if words[:2] == ["selfcheck", "--quick"]:
            # tests/cli/test_selfcheck.py runs all quick checks, and some of them alone.
            assert checks_named(words[3::2])
            assert set(words[2::2]) == {"--only"}
        else:
            assert _run(words) == 0, capfd.readouterr().err


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_says_how_to_run_it_and_what_it_does_not_show(example):
    said = " ".join(example.read_text().split('"""')[1].split())
    assert f"examples/{example.name}" in said
    assert example.stem == "train" or re.search(r"does not (show|tell)", said)


@cache
def two_features():
    """The example as a module."""
    file = EXAMPLES[0].parent / "two_features.py"
    spec = importlib.util.spec_from_file_location("two_features", file)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def conditioning():
    return two_features().conditioning()


def test_two_features_have_the_moments_that_are_asked_for():
    for sd, mean, correlation in two_features().INPUTS.values():
        inputs = two_features().features(sd, mean, correlation)
        np.testing.assert_allclose(inputs.mean(0), mean, atol=1e-12)
        np.testing.assert_allclose(inputs.std(0), sd, rtol=1e-12)
        assert np.corrcoef(inputs.T)[0, 1] == pytest.approx(correlation, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "raw", "standardised"),
    [
        ("sd 1 and 10", 100, 1),
        ("sd 1 and 100", 10_000, 1),
        ("means 5 and 5, sd 1", 51, 1),
        ("sd 1, correlation 0.9", 19, 19),
    ],
)
def test_standardising_rounds_the_cost_but_for_correlation(name, raw, standardised):
    """Closed forms: kappa, and steps of gradient descent by ((kappa - 1) / (kappa + 1))^(2 steps) = 1e-6."""
    row = conditioning().loc[name]
    for kind, kappa in (("raw", raw), ("standardised", standardised)):
        assert row[kind, "kappa"] == pytest.approx(kappa, rel=1e-9)
        assert row[kind, "axis ratio"] == pytest.approx(math.sqrt(kappa), rel=1e-9)
        expected = math.log(1e-6) / (2 * math.log((kappa - 1) / (kappa + 1))) if kappa > 1 else 1
        assert row[kind, "steps"] == math.ceil(expected)


@pytest.mark.parametrize("correlation", [-0.5, 0, 0.5, 0.99])
def test_correlation_leaves_its_own_kappa_whatever_the_spread(correlation):
    inputs = two_features().standardised(two_features().features((3, 40), (-2, 7), correlation))
    expected = (1 + abs(correlation)) / (1 - abs(correlation))
    assert two_features().cost(inputs, inputs.sum(1)).kappa == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("case", "before", "after"),
    [
        ("y = 2x + 1", (2, 1), (2, 1)),
        ("y = x², which no line fits", (0, 1), (2, 0)),
        ("y = 2x + 1, labels kept", (2, 1), (2, -1)),
    ],
)
def test_a_shift_moves_the_minimum_only_where_theory_says_so(case, before, after):
    """After the shift, E[x x'] is [[2, 1], [1, 1]], whose eigenvalues are (3 ± sqrt 5) / 2."""
    first, second = two_features().shifts()[case]
    np.testing.assert_allclose(first.minimum, before, atol=1e-9)
    np.testing.assert_allclose(second.minimum, after, atol=1e-9)
    assert first.kappa == pytest.approx(1, rel=1e-9)
    assert second.kappa == pytest.approx((3 + math.sqrt(5)) / (3 - math.sqrt(5)), rel=1e-9)


def test_contours_are_where_the_cost_is_what_they_say():
    inputs = two_features().features((1, 10), (2, 1), 0.5)
    targets = inputs @ [0.3, -2] + 1
    found = two_features().cost(inputs, targets)

    def cost(weights):
        return ((inputs @ weights - targets) ** 2).mean() / 2

    heights = [cost(weights) - cost(found.minimum) for weights in found.contour(0.7)]
    np.testing.assert_allclose(heights, 0.7, rtol=1e-9)
