"""Which groups of runs are compared, and which are refused."""

import pandas as pd
import pytest

import icshift
from icshift.errors import SelectionError
from icshift.replicates.compare import compare, last_logged
from icshift.reports.comparison import comparison_report
from icshift.runs.format import Site
from icshift.runs.reader import StoredRun
from tests.replicates.trainings import NORMED, group, trained
from tests.reports.shown import words

ONE = {"fc1": [0.2], "fc2": [0.5]}


def test_two_runs_are_one_of_each(tmp_path):
    trained(tmp_path / "a", {"fc1": 0.2, "fc2": 0.5})
    trained(tmp_path / "b", {"fc1": 0.1, "fc2": 0.5})
    found = icshift.compare(tmp_path / "a", str(tmp_path / "b"))
    assert found.runs[["group", "number", "run", "steps"]].values.tolist() == [
        ["A", 1, str(tmp_path / "a"), 40],
        ["B", 1, str(tmp_path / "b"), 40],
    ]
    assert (found.phases, found.design.enough) == (("probe",), False)
    same = icshift.compare([icshift.open(tmp_path / "a")], [icshift.open(tmp_path / "b")])
    assert same.values.equals(found.values)


def test_phases_that_all_have(tmp_path):
    both, probed = group(tmp_path, "a", ONE, phases=("train", "probe")), group(tmp_path, "b", ONE)
    assert compare(both, probed).phases == ("probe",)
    assert compare(both, group(tmp_path, "c", ONE, phases=("train", "probe"))).phases == ("train", "probe")
    with pytest.raises(SelectionError, match="no phase that all runs have, 'train'"):
        compare(both, probed, phases=["train"])
    with pytest.raises(SelectionError, match=r"no phase that all runs have: .*b0 has probe; .*d0 has train"):
        compare(probed, group(tmp_path, "d", ONE, phases=("train",)))


def test_sites_are_chosen_by_name_in_either_group(tmp_path):
    plain = group(tmp_path, "a", ONE)
    normed = group(tmp_path, "b", ONE | {"norm1": [0.1]}, sites=NORMED)
    found = compare(plain, normed, sites=["norm*"])
    assert [pair.name for pair in found.alignment.roles] == ["fc1 : norm1"]
    assert found.alignment.layers == ()
    assert found.values.groupby("group")["site"].unique().apply(list).to_dict() == {"A": ["fc1"], "B": ["norm1"]}
    with pytest.raises(SelectionError, match="did you mean norm1"):
        compare(plain, normed, sites=["norm2"])


def test_a_run_is_one_replicate(tmp_path):
    (run,) = group(tmp_path, "a", ONE)
    with pytest.raises(SelectionError, match="is given twice, in A and in B"):
        compare([run], [run])


def test_a_group_is_of_one_network(tmp_path):
    plain, normed = group(tmp_path, "a", ONE), group(tmp_path, "b", ONE | {"norm1": [0.1]}, sites=NORMED)
    with pytest.raises(SelectionError, match=r"not the same sites \(norm1\)"):
        compare([*plain, *normed], group(tmp_path, "c", ONE))
    with pytest.raises(SelectionError, match="group B has no run"):
        compare(plain, [])


def test_networks_that_share_no_layer_are_refused(tmp_path):
    other = [Site("conv", "Conv2d", 1, 4)]
    with pytest.raises(SelectionError, match="compare networks that share layers"):
        compare(group(tmp_path, "a", ONE), group(tmp_path, "b", {"conv": [0.1]}, sites=other))


def test_paths_of_different_windows_are_refused(tmp_path):
    a, b = group(tmp_path, "a", ONE), group(tmp_path, "b", ONE, windows=3)
    with pytest.raises(SelectionError, match=r"b0 has 3 windows of phase probe, .*a0 has 4"):
        compare(a, b)
    with pytest.raises(SelectionError, match="has one window of phase probe"):
        compare(group(tmp_path, "c", ONE, windows=1), a)


class Logging(StoredRun):
    """A run whose training logged numbers of its own."""

    def logged(self):
        rows = [(0, 1, "loss", 9.0), (1, 2, "loss", 3.0), (2, 2, "loss", 1.0), (2, 1, "steps", 7.0)]
        return pd.DataFrame(rows, columns=["step", "window", "name", "value"])


def test_what_was_logged_is_the_mean_of_its_last_window(tmp_path):
    path = trained(tmp_path / "run", {"fc1": 0.2, "fc2": 0.5}).path
    assert last_logged(Logging(path)) == {"logged_loss": 2.0, "logged_steps": 7.0}
    found = compare([Logging(path)], group(tmp_path, "b", ONE))
    assert found.runs["logged_loss"].tolist()[0] == 2.0
    shown = words(comparison_report(found))
    assert "A loss B loss A steps B steps" in shown


def test_of_a_run_that_logged_nothing_there_is_nothing(tmp_path):
    assert last_logged(trained(tmp_path / "run", {"fc1": 0.2, "fc2": 0.5})) == {}
