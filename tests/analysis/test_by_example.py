"""Measures of the same examples against POT, SciPy, other formulas and closed forms, and the laws that they obey."""

from dataclasses import replace

import numpy as np
import ot
import pytest
from scipy import stats

from icshift.analysis.by_example import PROJECTIONS, directions, projected_w2_squared
from icshift.analysis.by_site import summary
from icshift.analysis.checks import evaluate
from icshift.analysis.conditions import parse
from icshift.analysis.distances import effective_std
from icshift.analysis.drift import WHOLE_SITE, drift
from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS, metric
from icshift.distribution import EXAMPLES
from icshift.errors import SelectionError
from icshift.runs.reader import StoredRun
from tests import laws
from tests.recorded import distribution, of_zoo, probe, write_run
from tests.zoo.distributions import BROKEN, FINITE, ZOO, draw, scale

N, UNITS = 200, 5
BY_EXAMPLE = [name for name, one in METRICS.items() if one.by_example]
OF_UNITS = [name for name in BY_EXAMPLE if METRICS[name].of == "unit"]
OF_SITES = [name for name in BY_EXAMPLE if METRICS[name].of == "site"]
ANIMALS = [(one, FINITE[(place + 3) % len(FINITE)]) for place, one in enumerate(FINITE)]
ANIMALS += [(one, "normal") for one in BROKEN] + [("normal", one) for one in BROKEN]
ANIMALS += [("with_nan", "with_inf"), ("normal", "normal")]


def value(name, a, b):
    found = METRICS[name].function(a, b)
    assert found.shape == (1,)
    return found[0]


def both(before, after, n=N, units=UNITS):
    return draw(before, n, units), draw(after, n, units, seed=1)


def slow(of_pairs):
    """What a function of two lists gives for the finite pairs of every unit; NaN where there are none."""

    def found(first, second):
        kept = [np.isfinite(x) & np.isfinite(y) for x, y in zip(first, second, strict=True)]
        pairs = [(x[k], y[k]) for x, y, k in zip(first, second, kept, strict=True)]
        return np.array([of_pairs(x, y) if len(x) else np.nan for x, y in pairs])

    return found


def slow_displacement(x, y):
    return sum(abs(float(b) - float(a)) for a, b in zip(x, y, strict=True)) / len(x)


def slow_share(x, y):
    moved = slow_displacement(x, y)
    return stats.wasserstein_distance(x, y) / moved if moved else np.nan


def complete(first, second):
    """Rows [rows, units] that are finite in both."""
    kept = np.isfinite(first).all(0) & np.isfinite(second).all(0)
    return first.T[kept], second.T[kept]


def by_pot(first, second, onto=None):
    """Sliced W2 times sqrt(units) by POT."""
    x, y = complete(first, second)
    onto = directions(x.shape[1]) if onto is None else onto
    return np.sqrt(x.shape[1]) * ot.sliced_wasserstein_distance(x, y, projections=onto, p=2) if len(x) else np.nan


def sliced_by_pot(first, second):
    """The change of the mean, and POT's distance of what is left of the rows without it."""
    x, y = complete(first, second)
    if not len(x):
        return np.array([np.nan])
    shift = np.linalg.norm(y.mean(0) - x.mean(0))
    return np.array([np.hypot(shift, by_pot((x - x.mean(0)).T, (y - y.mean(0)).T))])


def hsic(k, m):
    n = len(k)
    h = np.eye(n) - 1 / n
    return np.trace(k @ h @ m @ h) / (n - 1) ** 2


def cka_by_hsic(first, second):
    x, y = complete(first, second)
    if not len(x):
        return np.array([np.nan])
    k, m = (rows @ rows.T for rows in ((x - x.mean(0)) / scale(x), (y - y.mean(0)) / scale(y)))
    spread = hsic(k, k) * hsic(m, m)
    return np.array([1 - hsic(k, m) / np.sqrt(spread) if spread > 1e-40 else np.nan])


ORACLES = {
    "displacement": slow(slow_displacement),
    "displacement_sd": lambda x, y: slow(slow_displacement)(x, y) / effective_std(distribution(x), distribution(y)),
    "marginal_share": slow(slow_share),
    "sliced_w2": sliced_by_pot,
    "cka_distance": cka_by_hsic,
}


def test_every_metric_of_examples_has_an_oracle():
    assert set(ORACLES) == set(BY_EXAMPLE)


@pytest.mark.some(40)
@pytest.mark.parametrize(("before", "after"), ANIMALS)
@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_oracle(name, before, after):
    first, second = both(before, after)
    found, expected = METRICS[name].function(probe(first), probe(second)), ORACLES[name](first, second)
    size = max(scale(first), scale(second)) if METRICS[name].unit == "activation" else 1
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * size)


@pytest.mark.some(24)
@pytest.mark.parametrize("animal", ZOO)
@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_nothing_changed_is_0_to_the_last_bit(name, animal):
    """But a share of no movement is none, and rows that do not differ do not lie in any way to one another."""
    values = draw(animal, N, UNITS)
    found = METRICS[name].function(probe(values), probe(values))
    rows = len(complete(values, values)[0])
    undefined = np.isnan(values).all(1) if name in OF_UNITS else not rows
    undefined |= name == "marginal_share" or (name == "cka_distance" and animal in ("constant", "all_zero"))
    np.testing.assert_array_equal(found, np.where(undefined, np.nan, np.zeros(len(found))))


@pytest.mark.some(30)
@pytest.mark.parametrize(("before", "after"), ANIMALS)
@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_symmetric(name, before, after):
    laws.symmetric(METRICS[name], *map(probe, both(before, after)))


@pytest.mark.some(24)
@pytest.mark.parametrize(("before", "after"), ANIMALS)
@pytest.mark.parametrize("name", [name for name in BY_EXAMPLE if name != "sliced_w2"])
def test_order_of_units_is_nothing_to_it(name, before, after):
    """Sliced W2 has other directions for them, which its error covers."""
    a, b = map(probe, both(before, after))
    backwards = np.arange(UNITS)[::-1]
    found, there = METRICS[name].function(a.take(backwards), b.take(backwards)), METRICS[name].function(a, b)
    np.testing.assert_allclose(found, there[backwards] if name in OF_UNITS else there, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_the_order_of_the_rows_counts_only_as_that_of_both(name):
    first, second = both("normal", "lognormal")
    order = np.random.default_rng(2).permutation(N)
    there, shuffled = (
        METRICS[name].function(probe(x), probe(y)) for x, y in ((first, second), (first[:, order], second[:, order]))
    )
    np.testing.assert_allclose(shuffled, there, rtol=1e-6)


@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_nan_where_no_rows_belong_together(name):
    values, length = draw("normal", N, UNITS), UNITS if name in OF_UNITS else 1
    one, none, other = probe(values), distribution(values, blocks=False), probe(values[:, :-1])
    for a, b in ((one, none), (none, one), (none, none), (one, other), (of_zoo("normal", N, UNITS),) * 2):
        np.testing.assert_array_equal(METRICS[name].function(a, b), np.full(length, np.nan))
        np.testing.assert_array_equal(METRICS[name].n(a, b), np.zeros(length))
        np.testing.assert_array_equal(floor(METRICS[name], a, b), np.full(length, np.nan))
        if METRICS[name].error is not None:
            assert np.isnan(METRICS[name].error(a, b)).all()


@pytest.mark.parametrize(("animal", "rows"), [("with_nan", None), ("one_unit_diverged", 0), ("normal", N)])
def test_n_is_of_the_finite_rows(animal, rows):
    first, second = both("normal", animal)
    a, b = probe(first), probe(second)
    finite = np.isfinite(second)
    np.testing.assert_array_equal(METRICS["displacement"].n(a, b), finite.sum(1))
    assert METRICS["cka_distance"].n(a, b) == [finite.all(0).sum() if rows is None else rows]


@pytest.mark.parametrize(("before", "after"), ANIMALS)
def test_displacement_is_at_least_w1_of_the_same_rows(before, after):
    first, second = both(before, after)
    a, b = probe(first), probe(second)
    moved, share = (METRICS[name].function(a, b) for name in ("displacement", "marginal_share"))
    w1 = slow(stats.wasserstein_distance)(first, second)
    known = np.isfinite(moved)
    assert (moved[known] >= w1[known] * (1 - 1e-9)).all()
    assert ((share[np.isfinite(share)] >= 0) & (share[np.isfinite(share)] <= 1)).all()
    if before in FINITE and after in FINITE:
        assert (moved >= METRICS["w1"].function(a, b) * (1 - 1e-6)).all()


def test_a_shift_is_marginal_and_a_swap_is_not():
    values = draw("normal", N, UNITS)
    swapped = np.random.default_rng(0).permuted(values, axis=1)
    shifted, exchanged = (
        {name: METRICS[name].function(probe(values), probe(after)) for name in ("displacement", "marginal_share")}
        for after in (values + 0.5, swapped)
    )
    np.testing.assert_allclose(shifted["displacement"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(shifted["marginal_share"], 1, rtol=1e-6)
    np.testing.assert_array_equal(exchanged["marginal_share"], 0)
    # Two independent normals differ by 2/sqrt(pi) = 1.128 in the mean.
    np.testing.assert_allclose(exchanged["displacement"].mean(), 2 / np.sqrt(np.pi), rtol=0.1)


@pytest.mark.parametrize("units", [1, 3, 64, 700])
@pytest.mark.parametrize("animal", ["normal", "relu", "student_t3", "off_centre"])
def test_a_pure_shift_gives_its_length_whatever_the_width(animal, units):
    values = np.round(draw(animal, 60, units) * 1024) / 1024
    shift = np.round(np.random.default_rng(units).normal(size=(units, 1)) * 1024) / 1024
    a, b = probe(values, dtype=np.float64), probe(values + shift, dtype=np.float64)
    np.testing.assert_allclose(value("sliced_w2", a, b), np.linalg.norm(shift), rtol=1e-12)
    np.testing.assert_allclose(METRICS["sliced_w2"].error(a, b), 0, atol=1e-9)


def test_sliced_w2_of_one_unit_is_w2():
    a, b = (probe(draw(name, N, 1)) for name in ("normal", "lognormal"))
    np.testing.assert_allclose(value("sliced_w2", a, b), METRICS["w2"].function(a, b)[0], rtol=1e-6)


@pytest.mark.parametrize("units", [4, 30, 300])
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_sliced_w2_of_a_scaling_is_its_closed_form(factor, units):
    """Projected rows are scaled too: d times the mean squared W2 is (s - 1)^2 times the sum of the variances."""
    rows = draw("normal", N, units)
    rows = rows - rows.mean(1, keepdims=True)
    a, b = probe(rows, dtype=np.float64), probe(factor * rows, dtype=np.float64)
    expected = abs(factor - 1) * np.sqrt((rows**2).mean(1).sum())
    assert abs(value("sliced_w2", a, b) - expected) <= 1.5 * METRICS["sliced_w2"].error(a, b)[0]


def test_two_standard_errors_are_what_the_choice_of_directions_adds():
    off = []
    for seed, units in enumerate([2, 3, 5, 8, 13, 20, 40, 80] * 4):
        x, y = draw("normal", 80, units, seed).T, draw("lognormal", 80, units, seed + 1).T
        many = np.random.default_rng(seed).normal(size=(units, 4000))
        many /= np.linalg.norm(many, axis=0)
        rest = projected_w2_squared(x - x.mean(0), y - y.mean(0), many).mean()
        truth = np.sqrt(np.sum((x.mean(0) - y.mean(0)) ** 2) + units * rest)
        a, b = probe(x.T), probe(y.T)
        off.append((value("sliced_w2", a, b) - truth) / METRICS["sliced_w2"].error(a, b)[0])
    assert np.mean(np.abs(off) <= 1) >= 0.8
    assert np.abs(off).max() < 2.5
    assert 0.3 < np.std(off) < 0.8


@pytest.mark.parametrize(("before", "after"), [pair for pair in ANIMALS if set(pair) <= set(FINITE)])
def test_sliced_w2_is_never_more_than_the_rows_moved(before, after):
    first, second = both(before, after)
    a, b = probe(first), probe(second)
    distance = np.sqrt(((second - first) ** 2).sum(0).mean())
    assert value("sliced_w2", a, b) <= distance * (1 + 1e-6) + METRICS["sliced_w2"].error(a, b)[0]


def test_projections_are_those_of_pot_and_always_the_same():
    first, second = both("normal", "bimodal")
    squared = projected_w2_squared(first.T, second.T, directions(UNITS))
    assert squared.shape == (PROJECTIONS,)
    np.testing.assert_allclose(np.sqrt(UNITS * squared.mean()), by_pot(first, second), rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(directions(UNITS), axis=0), 1)
    directions.cache_clear()
    np.testing.assert_array_equal(projected_w2_squared(first.T, second.T, directions(UNITS)), squared)


@pytest.mark.parametrize("units", [3, 300])
def test_cka_is_that_of_columns_too(units):
    """Kornblith's form by columns, where it is cheap and where units outnumber rows."""
    x, y = (draw(name, 50, units).T for name in ("normal", "lognormal"))
    x, y = (rows - rows.mean(0) for rows in (x, y))
    cka = np.sum((y.T @ x) ** 2) / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    np.testing.assert_allclose(value("cka_distance", probe(x.T), probe(y.T)), 1 - cka, rtol=1e-5)


def test_cka_is_blind_to_rotation_one_scale_and_shifts_but_not_to_a_scale_a_unit():
    values = draw("lognormal", N, UNITS)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(UNITS, UNITS)))
    a = probe(values, dtype=np.float64)
    for same in (rotation @ values, 1e6 * values, values + np.arange(UNITS)[:, None]):
        assert value("cka_distance", a, probe(same, dtype=np.float64)) < 1e-12
    assert value("cka_distance", a, probe(values * 4.0 ** np.arange(UNITS)[:, None])) > 0.1


def test_cka_and_drift_answer_different_questions():
    values = draw("normal", N, UNITS)
    moved, swapped = probe(100 * values + 7), probe(values[:, ::-1])
    a = probe(values)
    assert value("cka_distance", a, moved) < 1e-9
    assert (METRICS["w1_sd"].function(a, moved) > 0.5).all()
    assert value("cka_distance", a, swapped) > 0.5
    np.testing.assert_array_equal(METRICS["w1_sd"].function(a, swapped), 0)
    assert value("sliced_w2", a, swapped) < 1e-6


@pytest.mark.parametrize(("rows", "units"), [(200, 20), (100, 100), (50, 400)])
def test_cka_of_unrelated_rows_is_biased_by_the_width(rows, units):
    found = [value("cka_distance", *map(probe, both("normal", "normal", rows, units)))]
    np.testing.assert_allclose(found, rows / (rows + units), rtol=0.07)


def test_huge_activations_are_measured():
    values = 1e25 * draw("normal", N, UNITS)
    a, b = probe(values), probe(2 * values)
    np.testing.assert_allclose(METRICS["displacement"].function(a, b), np.abs(values).mean(1), rtol=1e-5)
    assert np.isfinite(value("sliced_w2", a, b))
    assert value("cka_distance", a, b) < 1e-12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three windows of a probe that shifts by 1 and then swaps examples, with a stream beside it; site b as wide."""
    values, other = draw("normal", EXAMPLES, UNITS), draw("relu", EXAMPLES, 2)
    after = [values, values + 1, (values + 1)[:, ::-1]]
    windows = [
        {("train", "fc.a"): distribution(one), ("probe", "fc.a"): probe(one), ("probe", "fc.b"): probe(other)}
        for one in after
    ]
    return StoredRun(write_run(tmp_path_factory.mktemp("relational") / "run", windows))


def test_a_whole_site_has_one_row_in_the_drift_table(run):
    table = drift(run, metrics=["w1", "sliced_w2"], phase="probe")
    whole = table[table["metric"] == "sliced_w2"]
    assert whole["unit"].tolist() == [WHOLE_SITE] * 4
    assert whole["site"].tolist() == ["fc.a", "fc.a", "fc.b", "fc.b"]
    np.testing.assert_allclose(whole["value"], [np.sqrt(UNITS), 0, 0, 0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(whole["error"], 0, atol=1e-9)
    assert whole[["floor", "ratio"]].isna().all(axis=None)
    assert whole["n"].tolist() == [EXAMPLES] * 4
    assert whole["moved"].tolist() == [True, False, False, False]
    assert not whole["near_constant"].any()
    assert table["unit"].dtype.kind == "i"
    assert table["moved"].dtype == "boolean"


def test_a_phase_without_examples_has_nan_in_the_drift_table(run):
    table = drift(run, metrics=BY_EXAMPLE)
    assert table["value"].isna().all()
    assert (table["n"] == 0).all()
    assert len(table) == 2 * (len(OF_UNITS) * UNITS + len(OF_SITES))


@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_summary_is_of_the_last_window(name, run):
    found = summary(run, metric_name=name, phase="probe", reference="first").set_index("site").loc["fc.a"]
    a, b = (run.distribution("probe", "fc.a", window) for window in (1, 3))
    np.testing.assert_allclose(found["drift"], np.median(METRICS[name].function(a, b)))
    assert found["rows"] == EXAMPLES
    assert np.isnan(found["p90"]) == np.isnan(found["max"]) == (name in OF_SITES)
    assert np.isnan(found["floor"])
    assert len(found["trend"]) == 2


@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_summary_of_a_phase_without_examples_says_what_it_takes(name, run, tmp_path):
    with pytest.raises(SelectionError, match=f"{name} compares the same .* phase train has none: choose --phase probe"):
        summary(run, metric_name=name)
    values = draw("normal", 300)
    stream = StoredRun(write_run(tmp_path / "stream", [{("train", "a"): distribution(values)}] * 2))
    with pytest.raises(SelectionError, match="record with a probe"):
        summary(stream, metric_name=name)
    windows = [{("probe", "a"): replace(probe(values), examples=values[:, :n])} for n in (30, 40)]
    with pytest.raises(SelectionError, match="both windows must be of the same probe"):
        summary(StoredRun(write_run(tmp_path / "probes", windows)), metric_name=name, phase="probe")


def test_other_examples_are_refused_by_name():
    assert metric("w1", among="data sets") is METRICS["w1"]
    with pytest.raises(SelectionError, match="cka_distance compares the same examples twice, data sets are of diff"):
        metric("cka_distance", among="data sets")


def verdict(run, text):
    return evaluate(run, [parse(text)], phase="probe", reference="first")[0]


def test_conditions_on_examples(run):
    assert verdict(run, "fc.a sliced_w2 > 1").state == "failed"
    assert verdict(run, "fc.a displacement > 100").state == "ok"
    found = verdict(run, "fc.a cka_distance > 0.01")
    assert (found.state, found.measurement.n, found.measurement.units) == ("failed", EXAMPLES, UNITS)
    assert np.isnan(found.measurement.floor)


def test_what_did_not_move_has_no_share_and_is_not_measured(run):
    found = verdict(run, "fc.b marginal_share < 10%")
    assert found.state == "unmeasured"
    assert "2 of 2 units" in found.reason
    with pytest.raises(SelectionError, match="choose --phase probe"):
        evaluate(run, [parse("displacement > 1")])
