"""Units that vary little beside their mean: where what blocks keep cannot tell their noise, nothing is told of them."""

import numpy as np
import pytest
import torch

import icshift
from icshift.blocks import Blocks
from icshift.cli.main import _run
from icshift.noise.exchange import differences
from icshift.noise.movement import movement
from tests.blocks import blocks_of, normal_blocks

RATIOS = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8)


class Site(torch.nn.Module):
    """Shows what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, rows):
        return rows + 0 * self.weight.to(rows.dtype)


class Passed(torch.nn.Module):
    """A loss of a site."""

    def __init__(self):
        super().__init__()
        self.site = Site()

    def forward(self, rows):
        return self.site(rows).sum() * 0


def recorded(path, windows):
    """The run of windows [windows, steps, rows, units] of activations."""
    model = Passed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with icshift.Recorder(model, path, optimizer=optimizer) as recorder:
        for steps in windows:
            for rows in steps:
                optimizer.zero_grad()
                model(torch.from_numpy(rows)).backward()
                optimizer.step()
            recorder.epoch()
    return icshift.open(path)


def windows(ratio, by, dtype, mean=1.0):
    """Two windows of normal activations with a mean of so many sd, of which the second is moved by so many sd."""
    noise = np.random.default_rng(1).normal(size=(2, 24, 16, 4)) + np.array([0.0, by]).reshape(2, 1, 1, 1)
    return (mean * (1 + noise / ratio)).astype(dtype)


def of_second(run):
    return run.drift("w1_sd").query("window == 2 and site == 'site'")


@pytest.mark.parametrize("mean", [1.0, -100.0])
@pytest.mark.parametrize("ratio", [*RATIOS, 1e9, 1e10])
def test_a_movement_in_float64_has_the_floor_that_it_has_beside_no_mean(tmp_path, ratio, mean):
    drift = of_second(recorded(tmp_path / "run", windows(ratio, 10.0, np.float64, mean)))
    plain = of_second(recorded(tmp_path / "plain", windows(1.0, 10.0, np.float64)))
    assert drift.moved.all()
    np.testing.assert_allclose(drift.value, plain.value, rtol=1e-3)
    np.testing.assert_allclose(drift.floor, plain.floor, rtol=1e-3)


@pytest.mark.parametrize("by", [0.0, 1.0, 10.0])
@pytest.mark.parametrize(("dtype", "ratio"), [*((np.float32, ratio) for ratio in RATIOS[:-1]), (np.float64, 1e13)])
def test_what_is_told_is_true_or_nothing_is(tmp_path, dtype, ratio, by):
    drift = of_second(recorded(tmp_path / "run", windows(ratio, by, dtype, mean=100.0)))
    plain = of_second(recorded(tmp_path / "plain", windows(1.0, by, np.float64)))
    for unit, (_, row) in enumerate(drift.iterrows()):
        if row.value == 0:  # Activations are rounded themselves: to one number in both windows.
            assert (row.floor, bool(row.moved)) == (0, False)
        elif np.isnan(row.floor):
            assert not isinstance(row.moved, bool | np.bool_)
        else:
            assert bool(row.moved) == (by > 0)
            assert row.floor == pytest.approx(plain.floor.iloc[unit], rel=0.3)
    if ratio <= 1e4:
        assert drift.moved.notna().all()


@pytest.mark.parametrize("by", [0.0, 1.0])
def test_units_of_two_neighbouring_numbers_are_unknown_where_blocks_round_to_one(tmp_path, by):
    """A step of float32 is larger than their sd: blocks keep one number of both windows, of which values differ."""
    drift = of_second(recorded(tmp_path / "run", windows(1e8, by, np.float32, mean=1000.0)))
    differ = drift[drift.value > 0]
    assert len(differ) >= 3
    assert differ.floor.isna().all()
    assert differ.moved.isna().all()


def test_a_constant_of_float32_is_known_to_stand_still(tmp_path):
    drift = of_second(recorded(tmp_path / "run", windows(1e9, 0.0, np.float32, mean=1000.0)))
    assert (drift.value == 0).all()
    assert (drift.floor == 0).all()
    assert drift.moved.notna().all()
    assert not drift.moved.any()


def test_a_report_says_why_nothing_is_told(tmp_path, capsys):
    recorded(tmp_path / "run", windows(1e7, 10.0, np.float32))
    assert _run(["report", str(tmp_path / "run")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "vary too little beside their mean" in out
    assert "No evidence" not in out


def test_some_units_that_are_coarse_leave_what_is_told_of_the_others():
    fine = [normal_blocks(32, 3, seed=seed, shift=2.0 * seed) for seed in (0, 1)]
    coarse = [blocks_of(windows(1e7, 3.0, np.float64)[at].transpose(2, 0, 1)) for at in (0, 1)]
    steps = min(len(one) for one in (*fine, *coarse))
    fine, coarse = ([one.joined(steps) for one in pair] for pair in (fine, coarse))
    both = [
        Blocks(*(np.concatenate([x, y]) for x, y in zip(_units(a), _units(b), strict=True)), a.steps)
        for a, b in zip(fine, coarse, strict=True)
    ]
    found = movement({"site": tuple(both)})
    assert found.told["site"].tolist() == [True] * 3 + [False] * 4
    assert found.moved["site"].tolist() == [True] * 3 + [False] * 4
    assert found.untold("site") == 4


def _units(blocks):
    return blocks.slices, blocks.sampled, blocks.zeros


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 1.0, -3e4])
def test_constants_do_not_differ_and_are_known(value, dtype):
    a = blocks_of(np.full((2, 32, 16), value), dtype)
    apart = differences(a, a)
    assert apart.known.all()
    assert not apart.coarse.any()


def test_the_same_examples_but_for_rounding_are_known_to_have_no_noise():
    a = normal_blocks(32, shift=1000.0)
    apart = differences(a, Blocks(a.slices * np.float32(1 + 2e-7), a.sampled, a.zeros, a.steps))
    assert apart.known.all()
    assert not apart.slices.any()
