"""When sites leave the band of their past: by given series, and in recorded runs."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icshift.analysis.onset import (
    COLUMNS,
    FEWEST,
    MEDIAN,
    NOT_FINITE,
    SD,
    Steps,
    first_left,
    of_steps,
    onset,
    shortest,
    widened_by,
)
from icshift.errors import SelectionError
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun


def series(sd, median=None, nonfinite=None):
    """Steps of one unit."""
    sd = np.asarray(sd, float)
    zeros = np.zeros(len(sd))
    given = zeros if median is None else np.asarray(median, float)
    lost = zeros if nonfinite is None else np.asarray(nonfinite)
    return Steps(np.arange(len(sd)) * 2 + 100, sd[:, None], given[:, None], lost.astype(int), 64)


def wobble(count, by=0.1):
    return np.exp(by * np.resize([0.0, 1.0, 0.5], count))


def test_a_band_is_the_range_of_the_past_and_a_multiple_of_it():
    """After 40 steps: all but the last 10 are past; their logarithms go from 0 to 0.1."""
    reach = (1.2 + 12 / 30 * 1.2) * 0.1
    for beyond in (-1e-6, 1e-6):
        sd = wobble(41)
        sd[40] = np.exp(0.1 + reach + beyond)
        left = first_left(series(sd), 1)
        assert (left is not None) == (beyond > 0)
    assert (left.step, left.what, left.past_first, left.past_last) == (180, SD, 100, 158)
    assert left.value == pytest.approx(sd[40])
    assert (left.low, left.high) == pytest.approx((np.exp(-reach), np.exp(0.1 + reach)))


def test_downwards_counts_too():
    sd = wobble(50)
    sd[45:] = 0.5
    assert first_left(series(sd), 1).step == 190


def test_what_the_last_quarter_does_is_no_past_yet():
    """It grows by 4 % a step from step 40 on: the band stays where it was for a while."""
    sd = wobble(80, by=0.02)
    sd[40:] *= 1.04 ** np.arange(40)
    left = first_left(series(sd), 1)
    assert 40 < (left.step - 100) / 2 < 52
    assert left.past_last < 100 + 2 * 40
    assert left.outside > 0.9


def test_a_trend_that_goes_on_does_not_leave():
    assert first_left(series(np.exp(np.linspace(0, 3, 200))), 1) is None


def test_a_band_reaches_ten_percent_beyond_a_past_without_any_noise():
    for value, leaves in ((1.09, False), (1.11, True), (0.91, False), (0.9, True)):
        sd = np.ones(60)
        sd[50] = value
        assert (first_left(series(sd), 1) is not None) == leaves


def test_medians_count_in_sd_of_the_first_steps_and_whatever_their_sign():
    median = np.zeros((60, 2))
    median[50:] = 3.0, -3.0
    steps = Steps(np.arange(60), np.full((60, 2), 2.0), median, np.zeros(60, int), 64)
    left = first_left(steps, 1)
    assert (left.step, left.what, left.value, left.low) == (50, MEDIAN, 1.5, 0.0)


def test_what_is_not_finite_left_at_once_also_where_the_past_is_short():
    left = first_left(series(np.ones(4), nonfinite=[0, 0, 1, 1]), 1)
    assert (left.step, left.what, left.outside) == (104, NOT_FINITE, 1.0)
    assert np.isnan(left.value)


def test_of_one_step_what_is_not_finite_says_most():
    sd, lost = np.ones(60), np.zeros(60)
    sd[50:], lost[50:] = 9.0, 1
    assert first_left(series(sd, nonfinite=lost), 1).what == NOT_FINITE
    lost[50] = 0
    assert first_left(series(sd, nonfinite=lost), 1).what == SD


def test_later_steps_only():
    sd = wobble(100)
    sd[30], sd[80] = 20.0, 1e6
    assert first_left(series(sd), 1).step == 160
    assert first_left(series(sd), 1, after=160).step == 260
    assert first_left(series(sd), 1, after=260) is None


def test_it_takes_a_past():
    count = shortest()
    assert count - count // 4 >= FEWEST > (count - 1) - (count - 1) // 4
    sd = np.ones(count + 1)
    sd[count] = 9
    assert first_left(series(sd), 1).step == 100 + 2 * count
    sd = np.ones(count)
    sd[-1] = 9
    assert first_left(series(sd), 1) is None


def test_bands_are_wider_for_more_sites_and_shorter_pasts():
    past = np.array([9, 30, 1000])
    assert (np.diff(widened_by(past, 5)) < 0).all()
    assert (widened_by(past, 50) > widened_by(past, 5)).all()


def test_units_and_steps_that_are_not_finite_are_left_out():
    sd = np.ones((60, 3))
    sd[:, 0], sd[20:25] = np.nan, np.nan
    sd[50:, 1:] = 4
    left = first_left(Steps(np.arange(60), sd, np.zeros((60, 3)), np.zeros(60, int), 64), 1)
    assert (left.step, left.what) == (50, SD)


@pytest.fixture(scope="module")
def spiked(tmp_path_factory):
    """`fc1`, `fc2`, `fc3`: at step 60 the weights of the second are multiplied by ten."""
    path = tmp_path_factory.mktemp("onset") / "run"
    torch.manual_seed(3)
    model = nn.Sequential()
    for number, (wide, narrow) in enumerate(((6, 12), (12, 12), (12, 3)), 1):
        model.add_module(f"fc{number}", nn.Linear(wide, narrow))
        model.add_module(f"relu{number}", nn.ReLU())
    with Recorder(model, path) as recorder:
        for step in range(80):
            if step == 60:
                model.fc2.weight.data *= 10
            model(torch.randn(32, 6))
            recorder.step()
    return StoredRun(path)


def test_a_run_says_which_site_left_first(spiked):
    table = onset(spiked)
    assert table.columns.tolist() == [*COLUMNS, "steps", "unknown"]
    assert table["site"].tolist() == ["fc2", "fc3", "fc1"]
    assert table["step"].tolist()[:2] == [60, 60]
    assert np.isnan(table["step"][2])
    assert set(table["steps"]) == {80}
    assert table["what"].tolist() == [SD, table["what"][1], ""]


def test_a_site_is_judged_the_same_alone(spiked):
    alone = onset(spiked, sites=["fc2"]).iloc[0]
    among = onset(spiked).iloc[0]
    assert alone.to_dict() == among.to_dict()


def test_its_sd_is_the_median_over_units_of_the_series(spiked):
    row = onset(spiked).iloc[0]
    steps = spiked.steps(sites=["fc2"])
    at = steps[steps["step"] == 60]
    assert row["value"] == pytest.approx(at["sd"].median())
    past = steps[steps["step"] <= row["past_last"]].groupby("step")["sd"].median()
    assert row["low"] < past.min() <= past.max() < row["high"]
    assert row["past_last"] == 44


def test_series_of_several_processes_are_put_side_by_side(spiked):
    rows = spiked.steps(sites=["fc2"])
    both = of_steps(pd.concat([rows.assign(rank=0), rows.assign(rank=1)]))
    one = of_steps(rows)
    assert both.sd.shape == (80, 24)
    np.testing.assert_array_equal(np.median(both.sd, 1), np.median(one.sd, 1))


def test_short_series_and_sites_without_one_are_unknown(two_windows, one_window):
    assert set(onset(StoredRun(one_window))["unknown"]) == {"10 steps: it takes 12"}
    assert set(onset(StoredRun(two_windows), after=99)["unknown"]) == {"no step after 99"}


def test_what_is_not_there_is_refused(spiked):
    with pytest.raises(SelectionError, match="no phase with a step series 'eval'"):
        onset(spiked, phase="eval")
    with pytest.raises(SelectionError, match="no site 'fc9'"):
        onset(spiked, sites=["fc9"])
