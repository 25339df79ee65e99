"""One training, saved in every format: the same drift in all of them, and SciPy's on raw activations."""

import pandas as pd
import pytest

from icshift.analysis.drift import drift
from icshift.cli.main import _run
from tests.oracles.scipys import assert_scipys, raw
from tests.replay import network
from tests.replay.writers import UNSAFE, WRITERS

AXES = {"conv": 1, "norm": 1, "fc1": 1, "fc2": 1}
UNITS = {"conv": 3, "norm": 3, "fc1": 12, "fc2": 10}


def table(run):
    """Drift from window to window, without the names of run and windows."""
    return drift(run, metrics=("w1", "w1_sd")).drop(columns=["run", "reference"])


@pytest.fixture(scope="module")
def expected():
    """Raw activations of the models that were saved, by epoch."""
    return [network.as_trained(model, network.images(), AXES) for model in network.epochs()]


@pytest.fixture(scope="module")
def tables():
    """Those of the formats that were analyzed, by name."""
    return {}


@pytest.mark.some(8)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WRITERS)
def test_the_same_drift_in_every_format(name, analyzed, tables, expected, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    WRITERS[name](folder)
    unsafe = ["--unsafe-pickle"] if name in UNSAFE else []
    run = analyzed(folder, options=["--samples", "all", *unsafe])
    assert run.finished
    assert run.phases == ["probe"]
    found = tables.setdefault(name, table(run))
    assert len(found) == 2 * (network.EPOCHS - 1) * sum(UNITS.values())
    agreement = assert_scipys(found, expected)
    assert agreement["exact"][1] == 2 * (network.EPOCHS - 1) * (UNITS["fc1"] + UNITS["fc2"])
    assert agreement["exact"][0] < 1e-6
    pd.testing.assert_frame_equal(found, next(iter(tables.values())), check_exact=True)


@pytest.mark.parametrize("name", ["pickled module", "torch.export"])
@pytest.mark.filterwarnings("ignore")
def test_without_model_where_the_file_has_it(name, analyzed, expected, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    WRITERS[name](folder)
    found = table(analyzed(folder, model=None, options=["--samples", "all", "--unsafe-pickle"]))
    assert set(found["site"]) == set(AXES)
    if name == "torch.export":  # It has no layers any more: running averages are constants of the program.
        expected = [raw(model, network.images(), AXES) for model in network.epochs()]
    assert_scipys(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_a_program_that_normalises_by_running_averages_is_not_said_to_be_without_noise(analyze, tmp_path, capfd):
    (tmp_path / "saved").mkdir()
    WRITERS["torch.export"](tmp_path / "saved")
    code, out, _ = analyze(tmp_path / "saved", model=None, options=["--unsafe-pickle"])
    assert code == 0
    assert _run(["path", str(tmp_path / "run")]) == 0
    for text in (out, capfd.readouterr().out):
        said = " ".join(text.split())
        assert "Paired: the same inputs in every window" in said
        assert "no sampling noise" not in said
        assert "by running averages, which it was exported with: their own noise shows as drift here" in said
