"""`icshift run` on trainings as people write them: it changes nothing, and all that it keeps and says of them is true.

The truth is kept by plain hooks (`tests/oracles/trainings.py`), epochs are counted by the scripts themselves.
"""

import signal
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import icshift
from tests.launch.summary import untrue
from tests.launch.truths import STYLES_BY_NAME, in_windows, run_style

pytestmark = pytest.mark.usefixtures("interruptible")

UNTRUE = {}
"""What is known not to be true yet, by style and test."""

INTERRUPTED = 130

ELSEWHERE = ("spawned", "hogwild", "keras_fit")
"""Styles of whose models the oracle knows nothing: processes of their own, or layers that are no parts of modules."""


def styles(test, *, only=STYLES_BY_NAME, without=()):
    """The names of all styles as parameters of a test."""
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(
                name,
                marks=[
                    *([pytest.mark.skipif(style.missing, reason=f"{style.needs} is not installed")]),
                    *([pytest.mark.xfail(strict=True, reason=UNTRUE[name, test])] if (name, test) in UNTRUE else []),
                ],
            )
            for name, style in STYLES_BY_NAME.items()
            if name in only and name not in without
        ],
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A function from a style's name to what came of it."""
    done = {}

    def ran(name):
        if name not in done:
            done[name] = run_style(STYLES_BY_NAME[name], tmp_path_factory.mktemp(name))
        return done[name]

    return ran


@styles("unchanged")
def test_output_and_parameters_are_what_they_are_without(name, ran):
    run = ran(name)
    # The last line is a hash of all parameters.
    assert run.recorded.stdout == run.plain.stdout, run.recorded.stderr
    assert run.hooked.stdout == run.plain.stdout, run.hooked.stderr
    assert run.plain.stdout
    if run.style.code == INTERRUPTED:
        assert run.recorded.returncode in (INTERRUPTED, -signal.SIGINT)
    else:
        assert run.recorded.returncode == run.plain.returncode == run.style.code


@styles("windows", without=ELSEWHERE)
def test_windows_are_the_epochs_that_the_script_counts(name, ran):
    run = ran(name)
    assert set(run.names) == set(run.style.models), run.recorded.stderr
    assert {path.name for path in run.output.iterdir()} == set(run.names.values())
    for recorded, truth in run.pairs():
        spans = [(window.first_step, window.last_step) for window in recorded.window_list]
        assert recorded.finished
        assert all(window.closed for window in recorded.window_list)
        assert recorded.manifest["steps"] == truth.steps
        if run.style.epoch and run.style.epochs:
            assert spans == truth.windows()
        else:
            assert spans[0][0] == 0
            assert spans[-1][1] == truth.steps - 1
            assert all(before[1] + 1 == after[0] for before, after in pairwise(spans))
            assert max(1, min(10, truth.steps - truth.unheard)) <= len(spans) <= 20


@styles("activations", without=ELSEWHERE)
def test_every_activation_is_counted_in_its_phase_and_window(name, ran):
    run = ran(name)
    assert run.names
    for recorded, truth in run.pairs():
        spans = [(window.first_step, window.last_step) for window in recorded.window_list]
        table = recorded.windows()
        assert set(zip(table["phase"], table["site"], strict=True)) == set(truth.activations)
        for (phase, site), rows in table.groupby(["phase", "site"]):
            kept = in_windows(truth.activations[phase, site], truth, spans, phase)
            assert rows["window"].unique().tolist() == sorted(kept), (phase, site)
            for window, units in rows.groupby("window"):
                where = str((phase, site, window))
                own = kept[window]
                assert units["count"].tolist() == [len(own)] * own.shape[1], where
                np.testing.assert_allclose(units["min"], own.min(0), rtol=1e-6, atol=1e-6, err_msg=where)
                np.testing.assert_allclose(units["max"], own.max(0), rtol=1e-6, atol=1e-6, err_msg=where)
                np.testing.assert_allclose(units["mean"], own.mean(0), rtol=1e-5, atol=1e-6, err_msg=where)


@styles("distances", without=ELSEWHERE)
def test_drift_is_scipys_within_the_printed_bound(name, ran):
    run = ran(name)
    assert run.names
    for recorded, truth in run.pairs():
        spans = [(window.first_step, window.last_step) for window in recorded.window_list]
        compared = 0
        for phase in recorded.phases:
            table = recorded.drift(("w1",), reference="previous", phase=phase)
            for site in dict.fromkeys(table["site"]):
                kept = in_windows(truth.activations[phase, site], truth, spans, phase)
                # One comparison a site: what lies in the windows is another test's.
                rows = table[(table["site"] == site) & (table["window"] == table["window"].max())]
                window = rows["window"].iloc[0]
                reference = max(before for before in kept if before < window)
                for value, error, before, after in zip(
                    rows["value"], rows["error"], kept[reference].T, kept[window].T, strict=True
                ):
                    exact = wasserstein_distance(before, after)
                    assert abs(value - exact) <= error + 1e-6 * exact, (phase, site, window)
                    compared += 1
        # Of a training in which nothing can be heard there is one window.
        assert compared or truth.unheard == truth.steps


@styles("children", only=("spawned", "hogwild"))
def test_what_other_processes_train_is_recorded(name, ran):
    run = ran(name)
    found = {str(path.parent.relative_to(run.output)) for path in run.output.rglob("run.json")}
    assert found == set(run.style.declared), run.recorded.stderr
    for place, declared in run.style.declared.items():
        recorded = icshift.open(run.output / place)
        assert recorded.finished
        assert [(window.first_step, window.last_step) for window in recorded.window_list] == [*declared.windows]
        assert recorded.phases == ["train"]
        assert len(recorded.sites) == declared.sites
        assert set(recorded.windows()["count"]) == {declared.rows}


@styles("summary", without=("keras_fit",))
def test_every_line_of_the_summary_is_true(name, ran):
    assert untrue(ran(name)) == []
