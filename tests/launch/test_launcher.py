"""`icshift run` on every kind of training: nothing changes for it, and SciPy finds the drift that was recorded."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

import icshift
from tests.launch.launching import ALIKE, SCRIPTS, TRAININGS, icshift_run

NAMES = [pytest.param(name, marks=pytest.mark.thorough) if name in ALIKE else name for name in TRAININGS]


@pytest.mark.parametrize("name", NAMES)
def test_training_is_what_it_is_without(name, trained):
    done = trained(name)
    # The last line is a hash of all parameters.
    assert done.recorded.stdout == done.plain.stdout, done.recorded.stderr
    assert done.recorded.returncode == done.plain.returncode == done.training.code
    if done.training.command != ("compiled.py", "aot_eager"):
        assert done.hooked.stdout == done.plain.stdout, done.hooked.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_recorded_under_its_name(name, trained):
    done = trained(name)
    assert sorted(path.name for path in done.output.iterdir()) == sorted(done.training.models), done.recorded.stderr
    for model in done.training.models:
        run = icshift.open(done.output / model)
        assert run.finished
        assert [window.index for window in run.window_list] == list(range(1, done.training.windows + 1))
        assert all(window.closed for window in run.window_list)


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_is_counted_in_its_window(name, trained):
    for recorded, kept in runs_and_activations(trained(name)):
        table = recorded.windows()
        assert set(zip(table["phase"], table["site"], strict=True)) == set(kept)
        for (phase, site), rows in table.groupby(["phase", "site"]):
            values, windows = kept[phase, site]
            assert rows["window"].unique().tolist() == np.unique(windows).tolist(), (phase, site)
            for window, units in rows.groupby("window"):
                own = values[windows == window]
                where = (phase, site, window)
                assert units["unit"].tolist() == list(range(own.shape[1])), where
                assert units["count"].tolist() == units["sampled"].tolist() == [len(own)] * own.shape[1], where
                np.testing.assert_array_equal(units["min"], own.min(0), err_msg=str(where))
                np.testing.assert_array_equal(units["max"], own.max(0), err_msg=str(where))
                np.testing.assert_allclose(units["mean"], own.mean(0), rtol=1e-5, atol=1e-6, err_msg=str(where))


@pytest.mark.parametrize("name", NAMES)
def test_the_step_series_counts_every_activation_once(name, trained):
    done = trained(name)
    for recorded, kept in runs_and_activations(done):
        beside = done.training.windows * done.training.beside.get(recorded.name, 0)
        counts = recorded.steps(phase="train").groupby(["site", "unit"])["count"].sum()
        for (phase, site), (values, _) in kept.items():
            if phase == "train":
                assert counts[site].tolist() == [len(values) - beside] * values.shape[1], site


@pytest.mark.parametrize("name", NAMES)
def test_drift_is_scipys_within_the_printed_bound(name, trained):
    for recorded, kept in runs_and_activations(trained(name)):
        for phase in dict.fromkeys(phase for phase, _ in kept):
            table = recorded.drift(("w1",), reference="previous", phase=phase)
            here = [both for (at, _), both in kept.items() if at == phase]
            assert len(table) == sum((len(np.unique(windows)) - 1) * values.shape[1] for values, windows in here)
            for (site, window), rows in table.groupby(["site", "window"]):
                values, windows = kept[phase, site]
                before, after = values[windows == window - 1], values[windows == window]
                truth = np.array([wasserstein_distance(x, y) for x, y in zip(before.T, after.T, strict=True)])
                wrong = np.abs(rows["value"] - truth)
                assert (wrong <= rows["error"] + 1e-6 * truth).all(), (phase, site, window, wrong.max())


def runs_and_activations(done):
    """Every recorded model's run with what the plain hooks kept."""
    for model, kind in done.training.models.items():
        yield icshift.open(done.output / model), done.activations(kind)


def test_what_a_script_measures_is_no_part_of_its_training(tmp_path):
    runs = []
    for arguments in ([], ["measure"]):
        output = tmp_path / f"runs{len(arguments)}"
        done = icshift_run("-q", "-o", output, "measuring.py", *arguments, cwd=SCRIPTS)
        assert done.returncode == 0, done.stderr
        runs.append(icshift.open(output / "model"))
    plain, measured = runs
    assert measured.phases == plain.phases
    pd.testing.assert_frame_equal(measured.windows(), plain.windows())
    pd.testing.assert_frame_equal(measured.steps(), plain.steps())
