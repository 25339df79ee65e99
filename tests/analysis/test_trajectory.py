"""Path length against displacement, of ways that are known."""

from dataclasses import asdict, replace

import numpy as np
import pytest

import icshift
from icshift.analysis.trajectory import trajectory
from icshift.errors import SelectionError
from icshift.runs.format import Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.recorded import distribution, of_zoo, probe, site, write_run
from tests.zoo.distributions import draw

N = 400


def way(folder, shifts, *, changes=None, scales=None, noiseless=True, units=3):
    """A run whose windows are one sample at these places [windows] or [windows, units], the spread scaled."""
    values = np.round(draw("normal", N, units) * 1024) / 1024
    scales = np.ones(len(shifts)) if scales is None else scales
    recording = Recording(folder / "run", {"sites": [asdict(site("fc", units))]})
    for index, (shift, factor) in enumerate(zip(shifts, scales, strict=True), start=1):
        window = Window(index, f"epoch {index}", index, index, True, None if changes is None else changes[index - 1])
        moved = values * factor + np.reshape(shift, (-1, 1))
        one = probe(moved, dtype=np.float64) if noiseless else distribution(moved, dtype=np.float64)
        recording.write_window(window, {("probe" if noiseless else "train", site("fc", units)): one})
    recording.finish({})
    return icshift.open(folder / "run")


def row(run, metric="w1", **options):
    table = run.paths(metric, **options)
    assert len(table) == 1
    return table.iloc[0]


@pytest.mark.parametrize("metric", ["w1", "w2", "displacement", "w1_sd", "displacement_sd", "mean_shift_sd"])
def test_a_shift_in_one_direction_is_straight(metric, tmp_path):
    found = row(way(tmp_path, [0, 0.25, 0.5, 0.75, 1]), metric)
    sd = np.median(draw("normal", N).std(1)) if metric.endswith("_sd") else 1
    np.testing.assert_allclose([found["path"], found["displacement"]], 1 / sd, rtol=0.01 if sd != 1 else 1e-12)
    np.testing.assert_allclose(found["straightness"], 1, rtol=1e-9)
    np.testing.assert_allclose(found["trend"], [0.25 / sd] * 4, rtol=0.01)
    assert (found["windows"], found["first"], found["last"]) == (5, "epoch 1", "epoch 5")


def test_to_and_fro_comes_nowhere(tmp_path):
    found = row(way(tmp_path, [0, 2, 0, 2, 0]))
    assert (found["path"], found["displacement"], found["straightness"]) == (pytest.approx(8), 0, 0)


def test_sliced_w2_is_the_length_of_the_way_of_the_site(tmp_path):
    found = row(way(tmp_path, [(0, 0, 0), (3, 0, 0), (3, 4, 0)]), "sliced_w2")
    np.testing.assert_allclose([found["path"], found["displacement"], found["straightness"]], [7, 5, 5 / 7], rtol=1e-9)


def test_medians_are_over_units_of_their_own_sums(tmp_path):
    found = row(way(tmp_path, [(0, 0, 0), (1, 5, 0), (2, 0, 0.5)]))
    # Paths of the units 2, 10, 0.5; they came 2, 0, 0.5.
    assert (found["path"], found["displacement"], found["straightness"]) == pytest.approx((2, 0.5, 0.25))


def test_a_random_walk_comes_as_far_as_the_root_of_its_steps(tmp_path):
    """Of k steps of a normal the path is k sqrt(2/pi), and it comes sqrt(k) sqrt(2/pi) far: medians near it."""
    steps, units = 25, 200
    walk = np.random.default_rng(0).normal(size=(steps, units)).cumsum(0)
    found = row(way(tmp_path, np.concatenate([np.zeros((1, units)), walk]), units=units))
    np.testing.assert_allclose(found["path"], steps * np.sqrt(2 / np.pi), rtol=0.02)
    # The median of |normal| is 0.6745 sd.
    np.testing.assert_allclose(found["displacement"], np.sqrt(steps) * 0.6745, rtol=0.12)
    np.testing.assert_allclose(found["straightness"], 0.6745 / np.sqrt(steps * 2 / np.pi), rtol=0.12)


@pytest.mark.parametrize("metric", ["w1_sd", "displacement_sd"])
def test_a_spread_that_grows_or_collapses_is_no_way_to_and_fro(metric, tmp_path):
    """With the sd of each pair of windows it would seem to be."""
    for place, scales in enumerate(([1, 2, 4, 8, 16], [16, 8, 4, 2, 1], [1, 1e-3, 1e-6, 1e-9, 1e-12])):
        found = row(way(tmp_path / str(place), np.zeros(5), scales=scales), metric)
        np.testing.assert_allclose(found["straightness"], 1, rtol=1e-6)
        assert found["path"] < 3


def test_unit_sd_is_of_all_windows(tmp_path):
    scales = np.array([1, 2, 4])
    found = row(way(tmp_path, np.zeros(3), scales=scales), "w1_sd")
    values = np.round(draw("normal", N) * 1024) / 1024
    yardstick = values.std(1) * np.sqrt(np.mean(scales**2))
    np.testing.assert_allclose(found["path"], np.median(3 * np.abs(values).mean(1) / yardstick), rtol=1e-6)


@pytest.mark.parametrize("windows", [4, 16])
def test_under_noise_alone_the_path_is_its_floor_and_grows_with_the_windows(windows, tmp_path):
    found = [{("train", "a"): of_zoo("normal", N, 60, seed)} for seed in range(windows)]
    one = row(icshift.open(write_run(tmp_path / "run", found)), "w1_sd")
    np.testing.assert_allclose(one["path"], one["floor"], rtol=0.3)
    np.testing.assert_allclose(one["displacement"], one["displacement_floor"], rtol=0.3)
    # E[W1] of two samples of a normal: 1.288 sqrt(2/n).
    np.testing.assert_allclose(one["path"], (windows - 1) * 1.288 * np.sqrt(2 / N), rtol=0.15)
    np.testing.assert_allclose(one["straightness"], 1 / (windows - 1), rtol=0.25)
    assert not one["noiseless"]


def test_a_probe_has_no_floor(tmp_path):
    one = row(way(tmp_path, [0, 1]))
    assert (one["floor"], one["displacement_floor"], one["noiseless"], one["straightness"]) == (0, 0, True, 1)


def test_drift_per_change_of_the_parameters(tmp_path):
    one = row(way(tmp_path, [0, 1, 3, 4], changes=[9.0, 2.0, 1.0, 4.0]))
    assert one["parameter_path"] == 7
    assert one["per_change"] == pytest.approx(np.median([1 / 2, 2 / 1, 1 / 4]))


@pytest.mark.parametrize("changes", [None, [1.0, 2.0, None, 4.0]])
def test_changes_that_are_not_known_are_none(changes, tmp_path):
    one = row(way(tmp_path, [0, 1, 3, 4], changes=changes))
    assert np.isnan(one["parameter_path"])
    assert np.isnan(one["per_change"]) == (changes is None)


def test_parameters_that_stand_still_give_no_drift_per_change(tmp_path):
    one = row(way(tmp_path, [0, 0, 2], changes=[1.0, 0.0, 4.0]))
    assert (one["parameter_path"], one["per_change"]) == pytest.approx((4, 0.5))


def test_a_window_without_the_site_is_passed_over_and_its_change_with_it(tmp_path):
    run = way(tmp_path, [0, 1, 3], changes=[1.0, 1.0, 1.0])
    (run.path / "windows" / "000002.rank0.parquet").unlink()
    one = row(icshift.open(run.path))
    assert (one["windows"], one["path"], one["displacement"]) == pytest.approx((2, 3, 3))
    assert np.isnan(one["per_change"])
    assert np.isnan(one["parameter_path"])


def test_near_constant_units_and_broken_ones_are_left_out(tmp_path):
    def window(shift):
        values = draw("normal", N, 6) + shift
        values[4], values[5] = 0.5 + 100 * shift, np.nan
        values[3] *= 1 if shift == 2 else 1e-3  # That far in the first comparison, and in no other.
        return {("probe", "fc"): probe(values)}

    one = row(icshift.open(write_run(tmp_path / "run", [window(shift) for shift in (0, 1, 2)])))
    np.testing.assert_allclose(one["path"], 2, rtol=1e-6)
    assert (one["units"], one["near_constant"]) == (6, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "psi"}, "psi gives no path: it grows with the square"),
        ({"metric": "cka_distance"}, "cka_distance gives no path: it grows with the square"),
        ({"metric": "marginal_share"}, "shares do not add up"),
        ({"metric": "w11"}, "no metric 'w11'; did you mean"),
        ({"phase": "prob"}, "no phase 'prob'; did you mean probe"),
        ({"sites": "fd"}, "no site 'fd'; did you mean fc"),
    ],
    ids=str,
)
def test_what_gives_no_path_is_refused(options, message, tmp_path):
    with pytest.raises(SelectionError, match=message):
        way(tmp_path, [0, 1]).paths(**options)


def test_a_path_takes_two_windows_and_examples_where_the_metric_does(tmp_path):
    with pytest.raises(SelectionError, match="at least two windows of a phase, phase probe has 1"):
        way(tmp_path / "one", [0]).paths()
    with pytest.raises(SelectionError, match=r"displacement compares the same examples .* record with a probe"):
        way(tmp_path / "stream", [0, 1], noiseless=False).paths("displacement")
    values = draw("normal", N)
    windows = [{("probe", "a"): replace(probe(values), examples=values[:, :n])} for n in (30, 40)]
    with pytest.raises(SelectionError, match="same probe"):
        trajectory(StoredRun(write_run(tmp_path / "probes", windows)), metric_name="displacement")


def test_every_site_has_its_row_in_order_of_the_model(tmp_path):
    one, two = probe(draw("normal", N)), probe(draw("normal", N) + 1)
    windows = [
        {("probe", "b"): one, ("probe", "a"): one, ("probe", "c"): one},
        {("probe", "b"): two, ("probe", "a"): two},
    ]
    run = icshift.open(write_run(tmp_path / "run", windows))
    assert run.paths()["site"].tolist() == ["b", "a"]
    assert run.paths(sites="a*")["site"].tolist() == ["a"]
