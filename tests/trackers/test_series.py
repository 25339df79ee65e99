"""The series for dashboards hold the numbers of the reports, and every sampled activation once."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from icshift.api import Run
from icshift.errors import SelectionError
from icshift.runs.format import Site, Window
from icshift.runs.writer import Recording
from icshift.trackers.series import BINS, Asked, by_steps, histogram, place, sent
from tests.recorded import distribution, of_zoo

ASKED = Asked(metrics=("w1", "w1_sd"))


@pytest.fixture(scope="module")
def run(with_batch_norm):
    return Run(with_batch_norm)


@pytest.fixture(scope="module")
def by_phase(run):
    return {one.phase: one for one in sent(run, ASKED)}


def series(sent, name):
    (found,) = [one for one in sent.scalars if one.name == name]
    return pd.Series(found.values, index=found.steps)


def test_every_phase_and_site_is_there(run, by_phase):
    assert list(by_phase) == run.phases
    for one in by_phase.values():
        named = [each.name for each in one.scalars]
        assert len(named) == len(set(named))
        assert {name.partition("/")[2] for name in named} == {site.name for site in run.sites}
        assert [each.name for each in one.histograms] == [f"activations/{site.name}" for site in run.sites]


@pytest.mark.parametrize("phase", ["train", "probe"])
@pytest.mark.parametrize("metric", ["w1", "w1_sd"])
def test_drifts_are_those_of_the_table_of_units(phase, metric, run, by_phase):
    drifts = run.drift(metric, phase=phase)
    steady = drifts[~drifts["near_constant"]].assign(size=lambda rows: rows["value"].abs())
    for site in run.sites:
        of_site = steady[steady["site"] == site.name].groupby("window")
        ends = [window.last_step for window in run.window_list[1:]]
        expected = pd.Series(of_site["size"].median().to_numpy(), index=ends)
        pd.testing.assert_series_equal(series(by_phase[phase], f"drift_{metric}/{site.name}"), expected)
        names = [each.name for each in by_phase[phase].scalars]
        assert (f"floor_{metric}/{site.name}" in names) == (phase == "train")
        if phase == "train":
            floors = series(by_phase[phase], f"floor_{metric}/{site.name}")
            np.testing.assert_allclose(floors, of_site["floor"].median())
            np.testing.assert_allclose(series(by_phase[phase], f"ratio_{metric}/{site.name}"), expected / floors)


def test_steps_are_the_medians_over_units_of_the_step_series(run, by_phase):
    steps = run.steps(phase="train", sites="fc1").groupby("step")
    for name, column in (("step_sd/fc1", "sd"), ("step_median/fc1", "q50")):
        expected = steps[column].median().astype(float)
        pd.testing.assert_series_equal(
            series(by_phase["train"], name), expected, check_names=False, check_index_type=False
        )
    assert not [each.name for each in by_phase["probe"].scalars if each.name.startswith("step_")]


def test_units_that_are_dead_are_a_share_where_that_is_known(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 700))
    values[0] = -np.abs(values[0])
    sites = [Site("fc", "Linear", axis=1, units=4, feeds=("ReLU",)), Site("out", "Linear", axis=1, units=4)]
    recording = Recording(tmp_path / "run", {"sites": [asdict(site) for site in sites]})
    recording.write_window(Window(1, "1", 0, 9, True), {("train", site): distribution(values) for site in sites})
    (of_train,) = sent(Run(tmp_path / "run"), ASKED)
    assert series(of_train, "dead_share/fc").to_dict() == {9: 0.25}
    assert series(of_train, "n/fc").to_dict() == {9: 700}
    assert "dead_share/out" not in [one.name for one in of_train.scalars]


def test_phases_sites_and_metrics_are_chosen(run):
    (one,) = sent(run, Asked(("ks",), sites=("fc*",), phases=("eval",)))
    assert one.phase == "eval"
    assert {each.name for each in one.scalars if "drift" in each.name} == {"drift_ks/fc1", "drift_ks/fc2"}


def test_the_phase_that_others_are_compared_with_is_left_out(run):
    assert "eval" not in [one.phase for one in sent(run, replace(ASKED, reference="phase:eval"))]


def test_metrics_by_example_are_sent_of_probes_alone(run):
    shown = {one.phase: [each.name for each in one.scalars] for one in sent(run, Asked(("displacement",)))}
    assert "drift_displacement/fc1" in shown["probe"]
    assert "drift_displacement/fc1" not in shown["train"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(("w2p",)), "no metric 'w2p'"),
        (replace(ASKED, sites=("fc9",)), "no site 'fc9'"),
        (replace(ASKED, phases=("test",)), "no phase 'test'"),
        (replace(ASKED, reference="epoch 99"), "no reference 'epoch 99'"),
    ],
)
def test_what_is_not_there_is_said(asked, expected, run):
    with pytest.raises(SelectionError, match=expected):
        list(sent(run, asked))


# Where windows stand


def recorded(path, spans):
    site = Site("fc", "Linear", axis=1, units=2)
    recording = Recording(path, {"sites": [asdict(site)]})
    for index, (first, last) in enumerate(spans, 1):
        kept = {("train", site): distribution(np.ones((2, 4)) * np.arange(4) + index)}
        recording.write_window(Window(index, str(index), first, last, True), kept)
    recording.append_measured(
        "logged", [{"step": step, "window": 1, "name": "loss", "value": 1 / (1 + step)} for step in (5, 0)]
    )
    recording.finish({})
    return Run(path)


def test_windows_stand_at_their_last_step(tmp_path):
    run = recorded(tmp_path / "run", [(0, 9), (10, 14)])
    assert by_steps(run.window_list)
    assert place(run) == {1: 9, 2: 14}


@pytest.mark.parametrize("spans", [[(0, -1), (0, 9)], [(0, 9), (10, 9)]], ids=["first", "later"])
def test_a_window_without_steps_has_all_stand_at_their_numbers(spans, tmp_path):
    run = recorded(tmp_path / "run", spans)
    assert not by_steps(run.window_list)
    assert place(run) == {1: 1, 2: 2}
    assert series(next(sent(run, ASKED)), "drift_w1/fc").to_dict() == {2: pytest.approx(1)}


def test_what_was_logged_is_sent_in_the_order_of_steps(tmp_path):
    *_, logged = sent(recorded(tmp_path / "run", [(0, 9)]), ASKED)
    assert series(logged, "logged/loss").to_dict() == {0: 1, 5: 1 / 6}


# Histograms


@pytest.mark.parametrize("name", ["normal", "relu", "constant", "student_t3", "tiny", "huge", "one_unit_diverged"])
@pytest.mark.parametrize("n", [100, 5000])
def test_a_histogram_counts_every_sampled_activation(name, n):
    of = of_zoo(name, n)
    found = histogram(of, step=3)
    assert (found.step, len(found.counts), len(found.edges)) == (3, BINS, BINS + 1)
    assert found.counts.sum() == pytest.approx(of.sampled.sum())
    means = np.nansum(of.sampled * of.values.astype(float).mean(1))
    assert found.sum == pytest.approx(means, rel=1e-6, abs=1e-12)
    assert (np.diff(found.edges) > 0).all()


def test_a_histogram_of_exact_values_is_that_of_the_activations():
    values = np.random.default_rng(0).normal(size=(3, 40))
    values[0, 0] = np.nan
    found = histogram(distribution(values), step=0)
    counts, edges = np.histogram(values[np.isfinite(values)], BINS)
    np.testing.assert_allclose(found.edges, edges, atol=1e-6)
    assert found.counts.sum() == pytest.approx(counts.sum())
    np.testing.assert_allclose(found.counts, counts, atol=1.1)  # unit 0 has as many values as the others, of 39


def test_nothing_finite_has_no_histogram():
    assert histogram(distribution(np.full((2, 5), np.nan)), step=0) is None
