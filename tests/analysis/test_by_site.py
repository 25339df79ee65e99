"""One row a site: every number of a report against the drift table and the distributions that it sums up."""

from itertools import pairwise

import numpy as np
import pytest

import icshift
from icshift.analysis.by_site import ALONE, summary
from icshift.analysis.metrics import METRICS
from icshift.analysis.yardstick import with_one_sd
from icshift.errors import SelectionError
from tests.recorded import distribution, probe, site, write_run
from tests.zoo.distributions import draw

UNITS = 9
SITES = [site("fc1", UNITS, feeds=("ReLU",)), site("norm1", UNITS, batch_statistics=True), site("late", UNITS)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three windows of two sites, one that comes in the last alone, and the first of a probe too."""
    windows = []
    for window in range(3):
        values = draw("normal", 400, UNITS, seed=window) * (1 + 0.2 * window) + 0.3 * window
        kept = {("train", "fc1"): distribution(values), ("train", "norm1"): distribution(2 * values)}
        kept["probe", "fc1"] = probe(values)
        if window == 2:
            kept["train", "late"] = distribution(values)
        windows.append(kept)
    path = tmp_path_factory.mktemp("by_site") / "run"
    return icshift.open(write_run(path, windows, names=["one", "two", "three"], sites=SITES))


@pytest.mark.some(2)
@pytest.mark.parametrize("reference", ["previous", "first"])
@pytest.mark.parametrize("name", ["w1_sd", "ks", "log_sd_ratio"])
def test_drift_is_over_the_units_of_the_last_window(name, reference, run):
    table = summary(run, metric_name=name, reference=reference).set_index("site")
    drift = run.drift(name, reference=reference)
    for place in ("fc1", "norm1"):
        units = drift[(drift["site"] == place) & (drift["window"] == 3)]
        row, values = table.loc[place], units["value"].abs()
        assert row["drift"] == pytest.approx(values.median())
        assert row["p90"] == pytest.approx(values.quantile(0.9))
        assert row["max"] == pytest.approx(values.max())
        assert row["floor"] == pytest.approx(units["floor"].median())
        assert row["ratio"] == pytest.approx(values.median() / units["floor"].median())
        assert row["moved"] == pytest.approx(units["moved"].mean())
        windows = [run.distribution("train", place, window.index) for window in run.window_list]
        one_sd = with_one_sd(METRICS[name], windows)
        pairs = {"previous": pairwise(windows), "first": ((windows[0], after) for after in windows[1:])}[reference]
        assert row["trend"] == pytest.approx([np.median(np.abs(one_sd.function(*pair))) for pair in pairs])
        assert (row["name"], row["reference"]) == ("three", {"previous": "two", "first": "one"}[reference])
        assert not row["noiseless"]


def test_shares_of_location_scale_and_shape_add_up_to_1(run):
    row = summary(run, reference="first").iloc[0]
    assert row["location"] + row["scale"] + row["shape"] == pytest.approx(1)
    assert row["location"] > row["scale"] > row["shape"]


def test_numbers_of_the_last_window_are_medians_over_its_units(run):
    row, windows = summary(run).iloc[0], run.windows().query("phase == 'train' and site == 'fc1' and window == 3")
    for name in ("mean", "sd", "zero_share", "q05", "q50", "q95"):
        assert row[name] == pytest.approx(windows[name].median())
    assert (row["n"], row["units"], row["dead"]) == (400, UNITS, 0)


def test_a_site_with_nothing_to_compare_has_its_distribution_alone(run):
    late = summary(run).set_index("site").loc["late"]
    assert np.isnan(late["drift"])
    assert late["n"] == 400
    assert late["moved_unknown"] == "nothing in window two to compare window three with"


_HINT = "; --reference 'epoch 3' compares it with window epoch 3"


def seen_in(path, *seen, count=5):
    """A run of windows in which fc1 is always seen, and late in those with the numbers `seen`."""
    values = {window: distribution(draw("normal", 400, UNITS, seed=window)) for window in range(1, count + 1)}
    windows = [
        {("train", "fc1"): one} | ({("train", "late"): one} if window in seen else {}) for window, one in values.items()
    ]
    names = [f"epoch {window}" for window in values]
    return icshift.open(write_run(path, windows, names=names, sites=[SITES[0], SITES[2]]))


@pytest.mark.parametrize("sites", [None, "late"])
@pytest.mark.parametrize(
    ("seen", "reference", "why"),
    [
        (
            (1, 3, 5),
            "previous",
            "nothing in window epoch 4 to compare window epoch 5 with" + _HINT,
        ),
        ((5,), "previous", "nothing in window epoch 4 to compare window epoch 5 with"),
        (
            (3, 5),
            "first",
            "nothing in window epoch 1 to compare window epoch 5 with" + _HINT,
        ),
        ((1, 2, 4), "previous", "nothing in window epoch 5"),
    ],
)
def test_a_site_that_lacks_the_reference_says_so(sites, seen, reference, why, tmp_path):
    row = summary(seen_in(tmp_path / "run", *seen), reference=reference, sites=sites).set_index("site").loc["late"]
    assert row["moved_unknown"] == why
    assert np.isnan(row.get("drift", np.nan))


def test_windows_that_cannot_be_compared_say_why(tmp_path):
    assert summary(seen_in(tmp_path / "one", count=1)).loc[0, "moved_unknown"] == ALONE
    run = seen_in(tmp_path / "run", 5)
    assert summary(run, reference="5", sites="late").loc[0, "moved_unknown"] == "window epoch 5 is the reference itself"
    other = seen_in(tmp_path / "other", 1).path
    (why,) = summary(run, reference=f"paired-run:{other}", sites="late")["moved_unknown"]
    assert why == f"nothing of the same type in paired-run:{other} to compare window epoch 5 with"


def test_moments_that_the_layer_sets_itself_are_marked_in_training_alone(run):
    assert summary(run).set_index("site")["affine_moments"].to_dict() == {"fc1": False, "norm1": True, "late": False}


def test_a_probe_is_noiseless_and_metrics_by_example_say_of_how_many(run):
    row = summary(run, metric_name="displacement", phase="probe").iloc[0]
    assert row["noiseless"]
    assert (row["rows"], row["n"]) == (256, 400)
    whole = summary(run, metric_name="cka_distance", phase="probe").iloc[0]
    assert np.isfinite(whole["drift"])
    assert np.isnan([whole["p90"], whole["max"]]).all()
    with pytest.raises(SelectionError, match="phase train has none: choose --phase probe"):
        summary(run, metric_name="displacement")
