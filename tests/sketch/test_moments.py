"""Moments of every activation against NumPy in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from icshift.hooks.observer import SEED, Observer
from icshift.model.sites import Sites
from icshift.sketch.moments import from_tensor, moments, stack
from icshift.sketch.workspace import Workspace
from tests.zoo.distributions import BROKEN, FINITE, ZOO, draw

RELATIVE = {torch.float32: 1e-5, torch.float64: 1e-11}
FIELDS = ("count", "nonfinite", "mean", "deviation", "min", "max")


def measured(activations, workspace=None):
    return from_tensor(moments(activations, workspace or Workspace()))


def layouts(values, dtype):
    """Values [units, n] as [1, n, units], [2, n / 2, units] and [2, n / 12, units, 6], and each group's values."""
    units, n = values.shape
    plain = torch.tensor(values.T.copy(), dtype=dtype)
    yield plain.reshape(1, n, units), [values]
    yield plain.reshape(2, n // 2, units), np.split(values, 2, axis=1)
    positions = plain.reshape(2, n // 12, 6, units)
    yield positions.transpose(2, 3).contiguous(), np.split(values, 2, axis=1)
    yield positions.transpose(2, 3), np.split(values, 2, axis=1)


def assert_right(found, groups, relative):
    for group, values in enumerate(groups):
        for unit, every in enumerate(values):
            raw = every[np.isfinite(every)]
            count, nonfinite, mean, deviation, low, high = (getattr(found, name)[group, unit] for name in FIELDS)
            assert (count, nonfinite) == (len(raw), len(every) - len(raw))
            if not len(raw):
                assert (mean, deviation, low, high) == (0, 0, np.inf, -np.inf)
                continue
            assert (low, high) == (raw.min(), raw.max())
            assert abs(mean - raw.mean()) <= relative * raw.std() + 1e-15 * abs(raw.mean())
            spread = deviation / np.sqrt(count)
            assert abs(spread - raw.std()) <= relative * raw.std() + 1e-15 * abs(raw.mean())


@pytest.mark.some(20)
@pytest.mark.parametrize("dtype", RELATIVE, ids=str)
@pytest.mark.parametrize("n", [12, 3600])
@pytest.mark.parametrize("name", ZOO)
def test_agree_with_numpy_in_every_layout(name, n, dtype):
    for activations, groups in layouts(draw(name, n, units=4), dtype):
        assert_right(measured(activations), groups, RELATIVE[dtype])


@pytest.mark.parametrize(("mean", "spread"), [(1e6, 1e-3), (-1e6, 1e-3), (1e4, 1.0), (9.0, 1.0), (1.0, 1e-7)])
def test_far_off_centre_in_float64(mean, spread):
    values = mean + spread * draw("normal", 3600, units=4)
    for activations, groups in layouts(values, torch.float64):
        found = measured(activations)
        assert_right(found, groups, 1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half], ids=str)
@pytest.mark.parametrize("name", ["normal", "off_centre", "relu", "saturated", "with_nan", "with_inf"])
def test_half_precision_counts_as_what_it_holds(name, dtype):
    for activations, _ in layouts(draw(name, 3600, units=4), dtype):
        exact = activations.double().transpose(1, 2).flatten(2).numpy()
        assert_right(measured(activations), exact, 5e-5)


def test_one_far_unit_does_not_harm_the_others():
    values = np.concatenate([draw("tiny", 3600, units=2), draw("off_centre", 3600, units=1)])
    for activations, groups in layouts(values, torch.float32):
        assert_right(measured(activations), groups, 1e-5)


@pytest.mark.parametrize("power", [40, 50, 80])
def test_squares_beyond_float32(power):
    values = draw("huge", 3600, units=2) * 2.0**power
    for activations, groups in layouts(values, torch.float32):
        assert_right(measured(activations), groups, 1e-5)


@pytest.mark.parametrize("shape", [(1, 0, 3), (2, 0, 3, 4), (2, 5, 3, 0)])
def test_of_nothing(shape):
    assert_right(measured(torch.empty(shape)), np.empty((shape[0], 3, 0)), 0)


def test_one_value():
    assert_right(measured(torch.tensor([[[5.0, -2.0]]])), [np.array([[5.0], [-2.0]])], 0)


@pytest.mark.parametrize("name", [*FINITE, *BROKEN])
def test_used_memory_does_not_show(name):
    used = Workspace()
    for earlier in ("off_centre", "huge"):
        moments(torch.tensor(draw(earlier, 500, units=5).T[None].copy(), dtype=torch.float32), used)
    activations = torch.tensor(draw(name, 3600, units=4).T[None].copy(), dtype=torch.float32)
    ours, fresh = measured(activations, used), measured(activations)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(ours, field), getattr(fresh, field))


def test_input_is_not_changed():
    activations = torch.tensor(draw("off_centre", 600).T[None].copy())
    before = activations.clone()
    moments(activations, Workspace())
    assert torch.equal(activations, before)


@pytest.mark.some(16)
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("cuts", [(1,), (1, 2, 600), (300, 600, 900)])
def test_total_of_parts_is_the_whole(name, cuts):
    values = draw(name, 1200, units=4)
    parts = [measured(torch.tensor(part.T[None].copy())) for part in np.split(values, cuts, axis=1)]
    assert_right(stack(parts).total(), [values], 1e-9)
    backwards = stack(parts[::-1]).total()
    np.testing.assert_array_equal(backwards.count, stack(parts).total().count)
    assert_right(backwards, [values], 1e-9)


def test_total_of_one_group_is_that_group():
    one = measured(torch.tensor(draw("with_nan", 600).T[None].copy()))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one.total(), name), getattr(one, name))


def test_group_is_one_of_several():
    activations = torch.tensor(draw("normal", 600, units=4).T.copy()).reshape(3, 200, 4)
    found = measured(activations)
    assert found.mean.shape == (3, 4)
    assert_right(found.group(1), [activations[1].numpy().T], 1e-11)


def scales():
    yield from ((torch.float32, power) for power in range(-40, 39))
    yield from ((torch.float64, power) for power in range(-300, 301, 20))


@pytest.mark.some(3)
@pytest.mark.usefixtures("either_kernel")
@pytest.mark.parametrize("n", [3, 64, 3000])
def test_right_at_every_scale_that_a_type_has(n):
    """As of a window of two steps, through the way that they are recorded, whatever NumPy is asked to do."""
    unit = draw("normal", 2 * n, units=3).clip(-3.4, 3.4)
    for dtype, power in scales():
        values = torch.tensor(unit.T * 10.0**power, dtype=dtype)
        observer = Observer(Sites(), 64, SEED, lambda *_: None)
        with np.errstate(all="raise"):
            for step, rows in enumerate(values.split(n)):
                observer.observe("fc", nn.Linear(1, 3), rows, "train", stepping=True)
                observer.tick(step, stepping=True)
            (found,) = observer.distributions().values()
        assert not observer.failed
        size = max(values.abs().max().item(), 1e-300)  # So that nothing leaves the range here either.
        raw = values.double().numpy() / size
        np.testing.assert_allclose(found.std / size, raw.std(0), rtol=1e-6)
        assert (np.abs(found.mean / size - raw.mean(0)) <= 1e-6 * raw.std(0)).all()
