"""The values that a run is compared by."""

import numpy as np
import pytest

import icshift
from icshift.errors import SelectionError
from icshift.replicates.values import METRICS, values_of
from tests.replicates.trainings import WINDOWS, trained


def test_values_of_a_known_way(tmp_path):
    found = values_of(trained(tmp_path / "run", {"fc1": 0.25, "fc2": 2.0}), phases=["probe"])
    known = found[(found["metric"] == "w1") & (found["span"] != "window")].set_index(["site", "span"])["value"]
    assert known.to_dict() == pytest.approx(
        {("fc1", "path"): 0.75, ("fc1", "last"): 0.25, ("fc2", "path"): 6, ("fc2", "last"): 2}
    )
    windows = found[(found["span"] == "window") & (found["metric"] == "w1") & (found["site"] == "fc1")]
    assert windows["window"].tolist() == list(range(2, WINDOWS + 1))
    assert windows["value"].tolist() == pytest.approx([0.25] * (WINDOWS - 1))
    assert set(found["floor"]) == {0.0}
    assert found.groupby("metric")["metric_unit"].first().to_dict() == {"w1": "activation", "w1_sd": "sd"}


@pytest.mark.parametrize("phase", ["train", "probe"])
def test_values_are_those_of_path_and_report(phase, with_batch_norm):
    run = icshift.open(with_batch_norm)
    found = values_of(run, phases=[phase])
    for metric in METRICS:
        here = found[found["metric"] == metric]
        path, last = (here[here["span"] == span].set_index("site") for span in ("path", "last"))
        expected = run.paths(metric, phase=phase).set_index("site")
        np.testing.assert_array_equal(path["value"], expected["path"])
        np.testing.assert_array_equal(path["floor"], expected["floor"])
        expected = run.report(metric, phase=phase).set_index("site")
        np.testing.assert_array_equal(last["value"], expected["drift"])
        np.testing.assert_array_equal(last["floor"], expected["floor"])
        windows, trends = here[here["span"] == "window"], run.paths(metric, phase=phase)["trend"]
        assert windows.groupby("site", sort=False)["value"].apply(list).tolist() == trends.tolist()
        assert (windows["floor"] > 0).all() == (phase == "train")


def test_one_window_gives_no_values(one_window):
    with pytest.raises(SelectionError, match="at least two windows"):
        values_of(icshift.open(one_window), phases=["train"])
