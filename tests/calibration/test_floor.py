"""The floor is what noise shows: the root mean square drift between windows in which nothing moved."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from icshift.distribution import Sample, from_sample
from tests.calibration import streams
from tests.calibration.trials import as_blocks, random_of
from tests.zoo.distributions import ZOO

W1 = METRICS["w1"]
UNITS, STEPS, WINDOWS = 12, 24, 8


def window(activations):
    """The distribution of activations [steps, examples, units], every one of them kept."""
    units = activations.shape[-1]
    values = np.sort(activations.reshape(-1, units).T, axis=1)
    whole = from_sample(Sample(values, np.full(units, values.shape[1])))
    return replace(whole, blocks=as_blocks(activations, len(activations)))


def floors_and_drifts(windows):
    """Root mean squares over pairs of windows that follow each other, and over units."""
    pairs = [(window(a), window(b)) for a, b in zip(windows[::2], windows[1::2], strict=True)]
    return (
        np.sqrt(np.mean([np.square(each(W1, a, b)) for a, b in pairs]))
        for each in (floor, lambda m, a, b: m.function(a, b))
    )


@pytest.mark.some(5)
@pytest.mark.parametrize("examples", [8, 64, 256])
@pytest.mark.parametrize("name", ["normal", "relu", "lognormal", "student_t3", "bimodal"])
def test_it_is_the_noise_of_independent_windows(name, examples):
    random = random_of(name, examples)
    windows = [ZOO[name](random, STEPS * examples, UNITS).T.reshape(STEPS, examples, UNITS) for _ in range(2 * WINDOWS)]
    level, drift = floors_and_drifts(windows)
    assert level == pytest.approx(drift, rel=0.25)


@pytest.mark.parametrize(
    ("stream", "steps"),
    [(streams.in_turns, 24), (streams.in_turns, 17), (streams.fresh_sorted, 24), (streams.shuffled_within_class, 24)],
    ids=["two sources in turns", "17 steps of two sources", "sorted by class", "the same sorted by class"],
)
def test_what_every_window_does_in_the_same_order_is_no_noise(stream, steps):
    """So a drift below its floor is no evidence, and one above it is some, in streams and sorted loaders too."""
    lengths, batches = (steps,) * 2 * WINDOWS, (16,) * 2 * WINDOWS
    windows = [np.array(one) for one in stream(random_of("floor", steps), lengths, batches)]
    level, drift = floors_and_drifts(windows)
    most = 1.6 if steps % 2 else 1.3  # An odd step is left over: it is of one source, and counts as noise.
    assert level >= 0.75 * drift
    if stream is not streams.shuffled_within_class:  # The same examples: there is less noise than any two windows tell.
        assert level <= most * drift


def test_training_that_oscillates_has_the_floor_of_its_data():
    """A swing of 0.5 sd from step to step leaves next to no trace in it, and a shift of 0.2 sd is well beyond."""
    random = random_of("oscillating", 0)
    swing = 0.5 * np.resize([1.0, -1.0], 23)[:, None, None]
    still = [random.normal(size=(23, 16, UNITS)) for _ in range(2 * WINDOWS)]
    swung = [values + (swing if number % 2 else -swing) for number, values in enumerate(still)]
    level, _ = floors_and_drifts(still)
    higher, drift = floors_and_drifts([values + 0.2 * (number % 2) for number, values in enumerate(swung)])
    assert higher <= 1.7 * level
    assert drift > 1.5 * higher


def test_steps_that_depend_on_each_other_have_more_noise_than_the_floor():
    """That is why they are told: no floor from within two windows knows of it."""
    lengths, batches = (32,) * 2 * WINDOWS, (16,) * 2 * WINDOWS
    windows = [np.array(one) for one in streams.autoregressive(random_of("floor", 0), lengths, batches)]
    level, drift = floors_and_drifts(windows)
    assert level < 0.7 * drift
