"""The drift of dumped activations: its columns, its floor, what is said to have moved, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

import icshift
from icshift.arrays.drift import drift
from icshift.errors import SelectionError
from icshift.reports.arrays import arrays_report

RANDOM = np.random.default_rng(11)
BEFORE = RANDOM.normal(size=(1600, 40)).astype(np.float32)
AFTER = RANDOM.normal(size=(1600, 40)).astype(np.float32)
AFTER[:, :10] += np.float32(0.3)


def test_a_row_a_unit_with_floor_and_n():
    found = icshift.drift(BEFORE, AFTER, metric="w1")
    units = found.units
    expected = [wasserstein_distance(x, y) for x, y in zip(BEFORE.T, AFTER.T, strict=True)]
    assert units["value"].tolist() == pytest.approx(expected)
    assert units["unit"].tolist() == list(range(40))
    assert (units["n"] == 1600).all()
    assert (units["error"] == 0).all()
    assert units["moved"][:10].all()
    assert units["moved"][10:].sum() <= 2
    assert found.called == ("",)
    assert units["ratio"].tolist() == pytest.approx((units["value"] / units["floor"]).tolist())
    in_sd = icshift.drift(BEFORE, AFTER).units
    sd = np.sqrt((units["sd"] ** 2 + units["reference_sd"] ** 2) / 2)
    assert in_sd["value"].tolist() == pytest.approx((units["value"] / sd).tolist())
    assert in_sd["ratio"].tolist() == pytest.approx(units["ratio"].tolist())


def test_the_floor_is_what_fresh_rows_show():
    fresh = icshift.drift(BEFORE, AFTER[:, ::-1]).units[:30]
    assert fresh["ratio"].median() == pytest.approx(1, abs=0.25)
    assert not icshift.drift(BEFORE[:, 10:], AFTER[:, 10:]).units["moved"].any()


def test_unequal_numbers_of_rows():
    found = icshift.drift(BEFORE, AFTER[:700])
    assert (found.units["n"] == 700).all()
    assert found.units["moved"][:10].all()
    assert found.rows == {"": (1600, 700)}


def test_rows_that_depend_on_each_other_are_said_to():
    walks = np.cumsum(RANDOM.normal(size=(2, 1600, 20)), axis=1) / 40
    found = icshift.drift(*walks)
    assert found.dependence.large
    assert found.unknown == {"": "rows depend on each other"} or found.called


def test_what_cannot_be_told_is_not_told():
    found = icshift.drift(BEFORE[:5], AFTER[:5])
    assert found.unknown == {"": "an array of 5 rows: it takes 6"}
    assert found.units["moved"].isna().all()
    assert found.units["floor"].isna().all()
    assert found.units["value"].notna().all()
    empty = icshift.drift(BEFORE, np.where(np.arange(40) == 3, np.nan, AFTER)).units
    assert np.isnan(empty.loc[3, ["value", "floor", "error"]].astype(float)).all()
    assert (empty.loc[3, "n"], empty.loc[3, "nonfinite"]) == (0, 1600)
    assert np.isfinite(empty["value"].drop(3)).all()


def test_arrays_are_paired_by_name():
    both = icshift.drift({"fc1": BEFORE, "fc2": BEFORE, "x": BEFORE}, {"fc2": BEFORE, "fc1": AFTER})
    assert list(both.rows) == ["fc1", "fc2"]
    assert both.only == ("x",)
    assert both.called == ("fc1",)
    assert (both.units.loc[both.units["array"] == "fc2", "value"] == 0).all()
    assert len(icshift.drift({"p": BEFORE}, {"q": AFTER}).units) == 40


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (BEFORE, AFTER[:, 1:], "40 units in the first array and 39 in the second array"),
        ({"p": BEFORE, "r": BEFORE}, {"q": AFTER}, "no array has the same name"),
        ({}, {}, "both: the first array has none and the second array has none$"),
        (dict.fromkeys(map(str, range(20)), BEFORE), {}, "'11', and 8 more and the second array has none$"),
        (pd.DataFrame({"p": [1.0]}), pd.DataFrame({"q": [1.0]}), "column 0 is 'p' in the first array and 'q'"),
    ],
)
def test_what_is_no_pair_is_refused(a, b, said):
    with pytest.raises(SelectionError, match=said):
        icshift.drift(a, b)


def test_a_metric_that_is_none():
    with pytest.raises(SelectionError, match="no metric of arrays 'ks'"):
        icshift.drift(BEFORE, AFTER, metric="ks")


def test_the_page_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/arrays.md").read_text(), re.S)
    found = {}
    exec(code, found)
    assert found["found"].units["moved"].all()


@pytest.mark.parametrize(("n", "m"), [(1000, 100), (100, 1000), (1000, 300)])
def test_sparse_units_of_unequal_numbers_of_rows_that_did_not_move(n, m):
    """Of 20 pairs, one may be called by chance; blocks of other sizes called all of them."""
    random = np.random.default_rng(7)

    def rows(count):
        return np.maximum(random.normal(size=(count, 64)) - 2, 0)

    assert sum(bool(drift(rows(n), rows(m)).units["moved"].any()) for _ in range(20)) <= 3


@pytest.mark.parametrize("far", [1e6, 1e9])
def test_noise_is_the_same_far_from_zero(far):
    random = np.random.default_rng(0)
    a, b = random.normal(size=(1000, 4)), random.normal(0.5, 1, (800, 4))
    near, away = drift(a, b).units, drift(a + far, b + far).units
    np.testing.assert_allclose(away["floor"], near["floor"], rtol=1e-5)
    assert away["moved"].all()


def test_units_without_a_finite_value_are_unknown():
    a = np.random.default_rng(0).normal(size=(1000, 4))
    b = a.copy()
    b[:, 1:] = np.nan
    units = drift(a, b).units
    assert units["moved"].isna().tolist() == [False, True, True, True]
    assert not units["near_constant"].any()
    assert "Whether 3 units moved cannot be told" in arrays_report("a", "b", drift(a, b), 10).data["verdict"]


def test_a_masked_value_is_no_value():
    a = np.random.default_rng(0).normal(size=(1000, 2))
    masked = drift(np.ma.masked_greater(a, 0), a).units
    np.testing.assert_array_equal(masked["value"], drift(np.where(a > 0, np.nan, a), a).units["value"])


@pytest.mark.filterwarnings("error")
def test_values_whose_squares_have_no_number():
    a = np.random.default_rng(0).normal(size=(1000, 2)) * 1e300
    assert drift(a, a).units["value"].isna().all()
