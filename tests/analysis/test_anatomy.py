"""The shares of location, scale and shape: of known changes what is known."""

import numpy as np
import pytest

from icshift.analysis.anatomy import shares
from icshift.analysis.drift import by_site
from icshift.runs.format import Site
from tests.recorded import distribution
from tests.reports.shown import run_of

pytestmark = pytest.mark.usefixtures("each_kernel")


def found(tmp_path, before, after):
    windows = [{("train", "fc"): distribution(values, dtype=values.dtype)} for values in (before, after)]
    run = run_of(tmp_path / "run", windows, sites=[Site("fc", "Linear", 1, len(before))])
    return shares(next(comparisons[-1] for _, comparisons in by_site(run, reference="previous", phase="train")))


VALUES = np.random.default_rng(0).normal(size=(3, 400)).astype("f4")


def test_a_move_is_location_and_a_stretch_is_scale(tmp_path):
    np.testing.assert_allclose(found(tmp_path / "a", VALUES, VALUES + 1), [1, 0, 0], atol=1e-3)
    centred = VALUES - VALUES.mean(1, keepdims=True)
    np.testing.assert_allclose(found(tmp_path / "b", centred, 3 * centred), [0, 1, 0], atol=1e-3)


def test_they_sum_to_one(tmp_path):
    assert found(tmp_path, VALUES, 2 * np.abs(VALUES) - 1).sum() == pytest.approx(1)


def test_of_what_did_not_change_nothing_is_known(tmp_path):
    assert np.isnan(found(tmp_path, VALUES, VALUES)).all()


@pytest.mark.parametrize("size", [1e154, 1e200])
def test_they_are_the_same_of_values_whose_squares_no_float_holds(tmp_path, size):
    plain = found(tmp_path / "plain", VALUES.astype(float), 2 * np.abs(VALUES.astype(float)) - 1)
    large = found(tmp_path / "large", size * VALUES.astype(float), size * (2 * np.abs(VALUES.astype(float)) - 1))
    np.testing.assert_allclose(large, plain, rtol=1e-6)
