"""`icshift.open`: what is computed from a run, by the functions that say what their columns are."""

import pandas as pd
import pytest

import icshift
from icshift.analysis.by_site import summary
from icshift.analysis.drift import drift
from icshift.analysis.trajectory import trajectory
from icshift.errors import SelectionError
from icshift.runs.reader import StoredRun

same = pd.testing.assert_frame_equal


@pytest.fixture(scope="module")
def run(with_batch_norm):
    return icshift.open(with_batch_norm)


def test_drift_is_that_of_the_analysis(run):
    same(run.drift(), drift(run, metrics=("w1_sd",), reference="previous", phase=None, sites=None))
    asked = run.drift(["ks", "w1"], reference="first", phase="probe", sites=["fc*"])
    same(asked, drift(run, metrics=("ks", "w1"), reference="first", phase="probe", sites=["fc*"]))
    assert set(asked["metric"]) == {"ks", "w1"}
    assert set(asked["site"]) == {"fc1", "fc2"}


def test_report_is_that_of_the_analysis(run):
    same(run.report(), summary(run, metric_name="w1_sd", reference="previous", phase=None, sites=None))
    asked = run.report("ks", reference="first", phase="eval", sites=["norm1"])
    same(asked, summary(run, metric_name="ks", reference="first", phase="eval", sites=["norm1"]))
    assert asked["site"].tolist() == ["norm1"]


@pytest.mark.parametrize("sites", ["fc2", "*2", ["fc2"], ("fc[2]",)])
def test_steps_choose_sites_as_everything_does(run, sites):
    steps = run.steps(sites=sites)
    assert set(steps["site"]) == {"fc2"}
    same(steps, run.steps().query("site == 'fc2'").reset_index(drop=True))


@pytest.mark.parametrize("chosen", [{"sites": "fc9"}, {"sites": ["conv*"]}, {"phase": "validation"}], ids=str)
def test_steps_of_what_is_not_there_are_refused(run, chosen):
    with pytest.raises(SelectionError, match=r"no (site|phase)"):
        run.steps(**chosen)


def test_paths_are_those_of_the_analysis(run):
    same(run.paths(), trajectory(run, metric_name="w1_sd", phase=None, sites=None))
    asked = run.paths("displacement", phase="probe", sites=["fc2"])
    same(asked, trajectory(run, metric_name="displacement", phase="probe", sites=["fc2"]))


@pytest.mark.parametrize("ask", ["drift", "report", "paths"])
def test_a_single_glob_is_no_list_of_letters(ask, run):
    same(getattr(run, ask)(sites="fc*"), getattr(run, ask)(sites=["fc*"]))
    with pytest.raises(icshift.SelectionError, match="did you mean fc1"):
        getattr(run, ask)(sites="fc11")


def test_a_run_is_opened_by_its_path_or_by_the_folder_that_holds_it_alone(with_batch_norm, tmp_path):
    assert isinstance(icshift.open(str(with_batch_norm)), StoredRun)
    (tmp_path / "only").symlink_to(with_batch_norm, target_is_directory=True)
    alone = icshift.open(tmp_path)
    assert alone.path.name == "only"
    same(alone.drift().drop(columns="run"), icshift.open(with_batch_norm).drift().drop(columns="run"))
    with pytest.raises(icshift.RunError, match="no such run"):
        icshift.open(tmp_path / "nowhere")


def test_every_public_name_is_there():
    for name in icshift.__all__:
        assert getattr(icshift, name) is not None
    assert set(dir(icshift)) == set(icshift.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Recoder'"):
        _ = icshift.Recoder
