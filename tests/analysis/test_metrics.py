"""The table of metrics: what it says of each, and its look-up."""

import re

import numpy as np
import pytest

import icshift
from icshift.analysis.metrics import DEFAULT, METRICS, metric
from icshift.errors import SelectionError
from tests.recorded import probe, write_run
from tests.zoo.distributions import draw


def test_unknown_metric_names_near_ones():
    assert metric("w1_sd") is METRICS["w1_sd"]
    with pytest.raises(SelectionError, match=r"no metric 'w1sd'; did you mean .*w1_sd"):
        metric("w1sd")


def test_metrics_by_example_are_refused_where_examples_differ():
    assert metric(DEFAULT, among="data sets") is METRICS[DEFAULT]
    with pytest.raises(
        SelectionError, match=r"displacement compares .* data sets are of different ones; choose w1_sd, "
    ):
        metric("displacement", among="data sets")


@pytest.mark.parametrize("name", METRICS)
def test_values_are_as_many_as_the_table_says(name):
    one, (a, b) = METRICS[name], (probe(draw("normal", 300, units=5, seed=seed)) for seed in range(2))
    expected = 5 if one.of == "unit" else 1
    values, n, steady = one.function(a, b), one.n(a, b), one.near_constant(a, b)
    assert len(values) == len(n) == len(steady) == expected
    assert n.tolist() == [256 if one.by_example else 300] * expected
    assert not steady.any()
    if one.error is not None:
        assert len(one.error(a, b)) == expected


@pytest.mark.parametrize("name", METRICS)
def test_what_does_not_add_up_is_refused_as_a_path_with_its_reason(name, tmp_path):
    one, values = METRICS[name], draw("relu", 300, units=5)
    windows = [{("probe", "fc"): probe(values + shift)} for shift in (0, 0.1, 0.2)]
    run = icshift.open(write_run(tmp_path / "run", windows))
    if one.adds_up:
        assert np.isfinite(run.paths(name)["path"]).all()
    else:
        with pytest.raises(SelectionError, match=f"{name} gives no path: {one.not_additive}; choose another"):
            run.paths(name)


def test_a_small_change_of_what_adds_up_is_linear():
    """psi and cka_distance shrink with its square: a sum of them over ever shorter windows would vanish."""
    values = np.sort(draw("normal", 512, units=8))
    there = draw("shifted", 512, units=8)
    for name, one in METRICS.items():
        if (one.by_example and one.of == "site") or name in ("psi", "w1", "displacement", "mean_shift_sd"):
            half, whole = (one.function(probe(values), probe(values + size * (1 + there))) for size in (0.2, 0.4))
            ratio = np.median(whole / half)
            assert (ratio < 2.6) == one.adds_up, (name, ratio)


def test_the_note_on_cka_is_its_bias():
    random = np.random.default_rng(0)
    first, second = (probe(random.normal(size=(64, 200))) for _ in range(2))
    shown = METRICS["cka_distance"].function(first, second)[0]
    said = re.search(r"Biased: 200 rows .* about (0\.\d\d) of 1 in 64 units", METRICS["cka_distance"].note(200, 64))
    assert float(said[1]) == pytest.approx(shown, abs=0.02)
    assert [name for name, one in METRICS.items() if one.note] == ["cka_distance"]


def test_every_error_of_a_metric_by_example_has_a_source():
    for one in METRICS.values():
        assert bool(one.error_source) == (one.by_example and one.error is not None)
    assert METRICS["marginal_share"].hint != METRICS["w1"].hint
