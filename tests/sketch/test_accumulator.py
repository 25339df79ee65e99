"""From rows of activations, step by step, to step rows and a distribution."""

import numpy as np
import pytest
import torch

from icshift.distribution import EXACT
from icshift.runs.format import STEP_QUANTILES
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.moments import moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.workspace import Workspace
from tests import laws
from tests.recorded import accumulator, distribution, joined, observe, step_rows
from tests.zoo.distributions import FINITE, ZOO, draw, scale

pytestmark = pytest.mark.usefixtures("either_kernel")


def assert_rows_of_steps(rows, values_of_steps, relative=3e-6):
    """Step rows are what NumPy says of each step's values [units, n]."""
    assert rows.steps.tolist() == list(range(len(values_of_steps)))
    for step, values in enumerate(values_of_steps):
        for unit, every in enumerate(values):
            raw = every[np.isfinite(every)]
            assert rows.count[step, unit] == len(raw)
            assert rows.nonfinite[step, unit] == len(every) - len(raw)
            names = ("mean", "std", "min", "max", "zero_share")
            found = np.array([getattr(rows, name)[step, unit] for name in names])
            quantiles = rows.quantiles[:, step, unit]
            if not len(raw):
                assert np.isnan([*found, *quantiles]).all()
                continue
            expected = np.array([raw.mean(), raw.std(), raw.min(), raw.max(), (raw == 0).mean()])
            atol = relative * raw.std() + 1e-15 * abs(raw.mean())
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=atol)
            np.testing.assert_allclose(
                quantiles, np.quantile(raw, STEP_QUANTILES), rtol=0, atol=1e-6 * scale(raw), err_msg=f"step {step}"
            )


@pytest.mark.some(24)
@pytest.mark.covering(2)
@pytest.mark.parametrize(("steps", "n"), [(1, 1), (7, 3), (200, 40), (3, 900)])
@pytest.mark.parametrize("name", ZOO)
def test_step_rows(name, steps, n):
    forwards = np.split(draw(name, steps * n), steps, axis=1)
    assert_rows_of_steps(step_rows([[values] for values in forwards]), forwards)


@pytest.mark.some(10)
@pytest.mark.parametrize("name", ZOO)
def test_step_of_several_forwards_is_one_step(name):
    values = draw(name, 600)
    steps = [np.split(step, (5, 6), axis=1) for step in np.split(values, 20, axis=1)]
    assert_rows_of_steps(step_rows(steps), np.split(values, 20, axis=1))


@pytest.mark.some(12)
@pytest.mark.parametrize("name", ZOO)
def test_steps_may_vary_in_size(name):
    values = np.split(draw(name, 3000), (1, 30, 59, 700, 701, 702, 2900), axis=1)
    assert_rows_of_steps(step_rows([[step] for step in values]), values)


def test_steps_of_one_and_of_several_forwards_may_alternate():
    values = np.split(draw("off_centre", 640), 16, axis=1)
    steps = [np.array_split(step, 1 + number % 3, axis=1) for number, step in enumerate(values)]
    assert_rows_of_steps(step_rows(steps), values)


@pytest.mark.some(20)
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("name", ZOO)
def test_distribution_of_uneven_steps(name, blocks):
    whole = accumulator(3, blocks=blocks)
    values = draw(name, 3000)
    for number, step in enumerate(np.split(values, (1, 30, 59, 700, 701, 702, 2900), axis=1)):
        for forward in np.array_split(step, 1 + number % 3, axis=1):
            if forward.size:
                observe(whole, forward)
        whole.tick(number)
    laws.assert_stands_for(distribution_of(whole.ended()), values)
    assert whole.ticks == 8


@pytest.mark.some(10)
@pytest.mark.parametrize("name", FINITE)
def test_distribution_does_not_depend_on_the_cut_into_steps(name):
    values = draw(name, 2000)
    one, other = distribution(values, steps=1), distribution(values, steps=250)
    laws.split_is_whole([one], other)


def test_probe_rows_come_in_order_and_match():
    forwards = np.split(draw("normal", 330), 11, axis=1)
    rows = step_rows([[values] for values in forwards], blocks=False)
    assert_rows_of_steps(rows, forwards)


def test_looking_does_not_disturb():
    plain, watched = accumulator(3), accumulator(3)
    for number, step in enumerate(np.split(draw("student_t3", 6000), 100, axis=1)):
        for one in (plain, watched):
            observe(one, step)
            one.tick(number)
        if number % 2:
            distribution_of(watched.ended())
    seen, undisturbed = distribution_of(watched.ended()), distribution_of(plain.ended())
    laws.split_is_whole([seen], undisturbed)
    np.testing.assert_array_equal(seen.blocks.sampled, undisturbed.blocks.sampled)
    np.testing.assert_allclose(seen.blocks.slices, undisturbed.blocks.slices, rtol=1e-6)


def test_open_step_is_not_in_the_distribution_yet():
    one = accumulator(3)
    observe(one, draw("normal", 20))
    one.tick(0)
    observe(one, draw("shifted", 33))
    laws.assert_stands_for(distribution_of(one.ended()), draw("normal", 20))
    observe(one, draw("relu", 7))
    one.tick(1)
    everything = np.concatenate([draw("normal", 20), draw("shifted", 33), draw("relu", 7)], axis=1)
    laws.assert_stands_for(distribution_of(one.ended()), everything)


def test_tick_without_observation_is_no_step():
    found = []
    one = accumulator(3, sink=found.append)
    one.tick(0)
    observe(one, draw("normal", 20))
    one.tick(1)
    one.tick(2)
    distribution_of(one.ended())
    assert joined(found).steps.tolist() == [1]
    assert one.ticks == 1


def test_input_may_be_overwritten_after_observing():
    rows = torch.from_numpy(draw("normal", 30).T.astype(np.float32).copy())
    one = accumulator(3)
    one.observe(rows, None)
    rows.zero_()
    one.tick(0)
    laws.assert_stands_for(distribution_of(one.ended()), draw("normal", 30))


def index_coded(n, start=0):
    """Three units whose values tell the row they come from."""
    row = np.arange(start, start + n, dtype=float)
    return np.stack([row, -row, row + 0.5])


def test_thinning_keeps_a_row_of_each_stretch_the_same_for_all_units():
    one = accumulator(3, samples=8)
    for forward in np.split(index_coded(80), (30, 33), axis=1):
        observe(one, forward)
    one.tick(0)
    kept = distribution_of(one.ended())
    assert kept.sampled.tolist() == [8, 8, 8]
    rows = kept.values[0]
    assert (rows // 10).tolist() == list(range(8))
    np.testing.assert_array_equal(np.sort(-kept.values[1]), rows)
    np.testing.assert_array_equal(kept.values[2], rows + 0.5)


@pytest.mark.parametrize("cuts", [(), (30, 33)])
def test_thinning_leaves_moments_of_everything(cuts):
    steps = [np.split(index_coded(80, 100 * number), cuts, axis=1) for number in range(6)]
    rows = step_rows(steps, samples=8)
    for number in range(6):
        raw = index_coded(80, 100 * number)
        np.testing.assert_array_equal(rows.count[number], 80)
        np.testing.assert_allclose(rows.mean[number], raw.mean(1), rtol=1e-7)
        np.testing.assert_allclose(rows.std[number], raw.std(1), rtol=1e-6)
        np.testing.assert_array_equal(rows.min[number], raw.min(1))
        np.testing.assert_array_equal(rows.max[number], raw.max(1))
        low, high = rows.quantiles[0, number, 0], rows.quantiles[-1, number, 0]
        assert raw[0, 0] <= low < raw[0].mean() < high <= raw[0, -1]


@pytest.mark.parametrize("samples", [16, 64])
def test_thinned_steps_draw_afresh(samples):
    one = accumulator(3, samples=samples)
    for number in range(30):
        observe(one, index_coded(640))
        one.tick(number)
    kept = distribution_of(one.ended())
    assert kept.sampled.tolist() == [30 * samples] * 3
    assert len(np.unique(kept.values[0])) > 100
    assert abs(kept.quantile([0.5])[0, 0] - 320) < 20


@pytest.mark.some(12)
@pytest.mark.parametrize("name", ZOO)
def test_moments_may_come_from_more_than_the_sampled_rows(name):
    values = draw(name, 12_000)
    found = []
    one = accumulator(3, samples=64, sink=found.append)
    sampler, workspace = Sampler(64, np.random.default_rng(9)), Workspace()
    for number, forward in enumerate(np.split(values, 20, axis=1)):
        activations = torch.from_numpy(forward.T.astype(np.float32).copy())
        one.observe(sampler.rows(activations), moments(activations[None], workspace))
        one.tick(number)
        sampler.renew()
    kept, rows = distribution_of(one.ended()), joined(found)
    for unit, every in enumerate(values):
        raw = every[np.isfinite(every)]
        assert (kept.count[unit], kept.nonfinite[unit]) == (len(raw), len(every) - len(raw))
        np.testing.assert_array_equal(rows.count[:, unit], np.isfinite(every).reshape(20, 600).sum(1))
        assert kept.sampled[unit] <= 20 * 64
        if len(raw):
            np.testing.assert_allclose(kept.mean[unit], raw.mean(), rtol=1e-12, atol=1e-5 * raw.std())
            np.testing.assert_allclose(kept.std[unit], raw.std(), rtol=1e-5)
            assert (kept.min[unit], kept.max[unit]) == (raw.min(), raw.max())
            assert laws.w1_of(kept.values[unit], raw) <= 0.15 * raw.std() + 1e-6 * scale(raw)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_keep_their_precision(dtype):
    values = 1 + 1e-9 * np.arange(EXACT)[None]
    kept = distribution(values, dtype=dtype)
    assert kept.values.dtype == dtype
    np.testing.assert_array_equal(kept.values, values.astype(dtype))


def test_every_window_and_part_draws_alike_of_steps_with_too_many_rows():
    one, found = accumulator(3, samples=16), []
    for begin_anew in (one.restart, one.next_part, one.restart):
        for step, values in enumerate(np.split(draw("student_t3", 4 * 25), 4, axis=1)):
            observe(one, values)
            one.tick(step)
        found.append(distribution_of(one.part_ended()))
        begin_anew()
    for other in found[1:]:
        laws.assert_identical(found[0], other)


def test_same_seed_same_distribution():
    laws.assert_identical(distribution(draw("student_t3", 9000)), distribution(draw("student_t3", 9000)))


@pytest.mark.some(12)
@pytest.mark.parametrize("name", ZOO)
def test_a_block_holds_the_slice_means_of_its_steps(name):
    steps = np.split(draw(name, 30 * 24), 24, axis=1)
    kept = distribution(np.concatenate(steps, axis=1), steps=24).blocks
    assert kept.steps.tolist() == [2] * 12
    for unit in range(3):
        for block in range(12):
            pair = [step[unit][np.isfinite(step[unit])] for step in steps[2 * block : 2 * block + 2]]
            sizes = [len(values) for values in pair]
            assert kept.sampled[unit, block] == sum(sizes)
            assert kept.zeros[unit, block] == sum((values == 0).sum() for values in pair)
            if sum(sizes):
                means = [quantile_slices(values) for values in pair if len(values)]
                expected = np.average(means, axis=0, weights=[size for size in sizes if size])
                np.testing.assert_allclose(kept.slices[unit, block], expected, rtol=2e-6, atol=2e-6 * scale(expected))


def quantile_slices(values, slices=8):
    """Means of equal slices of the quantile function of values [n], by repeating each value as often as slices."""
    return np.sort(np.repeat(values.astype(float), slices)).reshape(slices, -1).mean(1)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 60])
def test_slices_of_steps_of_any_size(n):
    values = draw("normal", 6 * n)
    kept = distribution(values, steps=6).blocks
    for unit, every in enumerate(values):
        expected = [quantile_slices(step.astype(np.float32)) for step in np.split(every, 6)]
        np.testing.assert_allclose(kept.slices[unit], expected, rtol=1e-5, atol=1e-6)


def test_blocks_do_not_depend_on_looking_or_on_chunks_of_odd_length():
    one = accumulator(1)
    for number in range(40):
        observe(one, np.full((1, 16 + number % 2), float(number)))
        one.tick(number)
        if number in (2, 5, 6):
            distribution_of(one.ended())
    kept = distribution_of(one.ended()).blocks
    assert kept.steps.tolist() == [4] * 10
    np.testing.assert_allclose(
        kept.slices[0, :, 0], [4.0 * block + (17 * (1 + 3) + 16 * 2) / 66 for block in range(10)], rtol=1e-6
    )


@pytest.mark.parametrize("share", [0.01, 0.4])
def test_that_the_first_block_is_shorter_in_every_window_changes_no_more_than_rounding(share):
    values, found = draw("shifted", 60 * 150, units=40), []
    for first_block in (1.0, share):
        sizes = []
        one = Accumulator(
            *(40, 64, np.float32, lambda: np.random.default_rng(5), Workspace()),
            sink=lambda rows, sizes=sizes: sizes.append(len(rows.steps)),
            first_block=first_block,
        )
        for window in range(2):
            for step, part in enumerate(np.split(values, 150, axis=1)):
                observe(one, part)
                one.tick(step)
            found.append(distribution_of(one.ended()))
            if not window:
                one.restart()
        assert sizes[0] == max(int(first_block * sizes[1]), 1)
        assert sizes[: len(sizes) // 2] == sizes[len(sizes) // 2 :]
    for other in found[1:]:
        for field in ("count", "min", "max", "values", "sampled", "zero_share", "tails"):
            np.testing.assert_array_equal(getattr(other, field), getattr(found[0], field))
        np.testing.assert_allclose(other.mean, found[0].mean, rtol=1e-12)
        np.testing.assert_allclose(other.std, found[0].std, rtol=1e-9)


def test_examples_are_kept_in_order_until_the_window_ends():
    one = accumulator(3, blocks=False)
    values = draw("with_nan", 12)
    for part in np.split(values, 3, axis=1):
        rows = torch.from_numpy(part.T.astype(np.float32))
        one.keep(rows)
        observe(one, part)
        one.tick(0)
        rows.fill_(7)
    np.testing.assert_array_equal(distribution_of(one.ended()).examples, values.astype(np.float32))
    np.testing.assert_array_equal(distribution_of(one.ended()).examples, values.astype(np.float32))
    one.restart()
    observe(one, values)
    one.tick(0)
    assert distribution_of(one.ended()).examples is None


@pytest.mark.parametrize("spread", [0.0, 2**-13])
def test_no_stated_error_exceeds_the_range_of_the_values(spread):
    """Rounding in float32, far off centre, is bounded by more than all these values differ by."""
    values = 1000 + spread * draw("relu", 20_000, units=2).clip(0, 1)
    whole = distribution(values)
    np.testing.assert_array_equal(whole.w1_error, whole.max - whole.min)
    assert (whole.max - whole.min <= 2 * spread).all()
