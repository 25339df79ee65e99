"""What reports and exports say of measurements with gradients."""

import json
from dataclasses import asdict

import pandas as pd
import pytest
import torch

from icshift.cli.main import _run
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.format import GRADIENT_SHIFT, SMOOTHNESS, Site, Window
from icshift.runs.reader import Run
from icshift.runs.writer import Recording
from tests.recorded import of_zoo

SHIFT = [
    {
        "step": step,
        "layer": layer,
        "parameters": parameters,
        "l2": l2 * (1 + step / 10),
        "cosine": cosine,
        "norm": 2.0,
        "norm_after": 2.0,
    }
    for step in (0, 10, 20)
    for layer, parameters, l2, cosine in (("fc1", 6400, 0.0, 1.0), ("fc2", 1010, 0.5, 0.25))
]
AROUND = [
    {
        "step": step,
        "rate": 0.1,
        "loss": 2.0,
        "gradient_norm": 1.5,
        "loss_min": 1.0,
        "loss_max": 2.5,
        "predictiveness_min": 0.1,
        "predictiveness_max": 0.75,
        "beta_rate": beta,
        "beta_step": 0.5,
    }
    for step, beta in ((0, 1.5), (10, 1.75), (20, 2.25))
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("measured") / "run"
    where, kept = Site("fc1", "Linear", 1, 3), of_zoo("normal", 100)
    manifest = {
        "model": "Net",
        "sites": [asdict(where)],
        "ledger": [],
        "measured": {GRADIENT_SHIFT: {"every": 10, "counted": "all", "layers": ["fc1", "fc2"]}},
    }
    recording = Recording(path, manifest)
    recording.write_window(Window(1, "1", 0, 29, closed=True), {("train", where): kept})
    recording.append_measured(GRADIENT_SHIFT, SHIFT[:4])
    recording.append_measured(SMOOTHNESS, AROUND[:1])
    recording.flush()
    recording.append_measured(GRADIENT_SHIFT, SHIFT[4:])
    recording.append_measured(SMOOTHNESS, AROUND[1:])
    recording.finish({})
    return path


def test_round_trip(measured):
    assert Run(measured).gradient_shift().to_dict(orient="records") == SHIFT
    assert Run(measured).smoothness().to_dict(orient="records") == AROUND


def test_a_report_shows_them_apart_from_drift(measured, capsys):
    assert _run(["report", str(measured), "--no-color", "-q"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[1:])) <= 80  # The first holds a path.
    drift, shift = printed.split("Gradient shift (Santurkar et al. 2018, Def. 2.1)")
    assert "One window" in drift
    row = next(line for line in shift.splitlines() if line.strip().startswith("fc2")).split()
    assert row[:6] == ["fc2", "1,010", "1.000", "0.500", "0.250", "0.250"]
    assert "Medians of 3 steps" in shift
    assert "Counted of each layer: all parameters." in " ".join(shift.split())
    assert "β·lr (reference: 2)        1.750, at most 2.250; attained mostly at 0.5 lr" in shift
    assert "range of the loss          1.500" in shift


def test_globs_choose_layers_too(measured, capsys):
    assert _run(["report", str(measured), "--site", "fc1", "--no-color", "-q"]) == 0
    shift = capsys.readouterr().out.split("Gradient shift (Santurkar et al. 2018, Def. 2.1)")[1]
    assert [line.split()[0] for line in shift.splitlines() if line.strip().startswith("fc")] == ["fc1"]
    assert _run(["report", str(measured), "--site", "fc1", "--json"]) == 0
    assert [row["layer"] for row in json.loads(capsys.readouterr().out)["gradient_shift"]] == ["fc1"]


def test_json_holds_them(measured, capsys):
    assert _run(["report", str(measured), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["layer"], row["l2"], row["n"]) for row in found["gradient_shift"]] == [
        ("fc1", 0.0, 3),
        ("fc2", 1.0, 3),
    ]
    assert found["smoothness"]["beta_rate_max"] == 2.25


@pytest.mark.parametrize(("table", "rows"), [("gradient-shift", SHIFT), ("smoothness", AROUND)])
def test_export(table, rows, measured, tmp_path, capsys):
    path = tmp_path / "table.csv"
    assert _run(["export", str(measured), "--table", table, "-o", str(path)]) == 0
    assert f"{len(rows)} rows" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_csv(path), pd.DataFrame(rows))


def test_export_of_nothing_says_why(two_windows, tmp_path, capsys):
    assert _run(["export", str(two_windows), "--table", "smoothness", "-o", str(tmp_path / "table.csv")]) == 0
    assert "recorder.smoothness(closure) was not called" in capsys.readouterr().err
    assert "beta_rate" in (tmp_path / "table.csv").read_text()


def test_what_chooses_among_drifts_chooses_nothing_else(measured, tmp_path, capsys):
    assert (
        _run(["export", str(measured), "--table", "smoothness", "--metric", "w1", "-o", str(tmp_path / "t.csv")]) == 2
    )
    assert "smoothness has none of them" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_rows_that_a_killed_process_left_without_saying_how_they_were_measured(tmp_path, capsys):
    """And of values that are not numbers nothing is said but that."""
    where = Site("fc1", "Linear", 1, 3)
    recording = Recording(tmp_path / "run", {"model": "Net", "sites": [asdict(where)], "ledger": []})
    recording.write_window(Window(1, "1", 0, 9, closed=True), {("train", where): of_zoo("normal", 100)})
    unknown = float("nan")
    recording.append_measured(GRADIENT_SHIFT, [SHIFT[1] | {"l2": unknown, "cosine": unknown, "norm": unknown}])
    recording.append_measured(SMOOTHNESS, [AROUND[0] | {"beta_rate": unknown, "beta_step": unknown}])
    recording.flush()
    assert _run(["report", str(tmp_path / "run"), "--no-color"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "fc2 1,010 – – – –" in printed
    assert "Counted of each layer" not in printed
    assert "β·lr (reference: 2) –, at most – Medians of 1 steps" in printed
    assert "nan" not in printed


@pytest.mark.parametrize("command", ["report", "path"])
def test_a_probe_in_training_mode_is_not_said_to_be_without_noise(command, tmp_path, capsys):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 3))
    with Recorder(model, tmp_path / "run", probe=Probe(torch.randn(16, 4), train_mode=True)) as recorder:
        for _ in range(2):
            model(torch.randn(5, 4))
            recorder.epoch()
    said = {}
    for phase in ("probe", "probe-train"):
        assert _run([command, str(tmp_path / "run"), "--phase", phase]) == 0
        said[phase] = "dropout and other draws of the model differ by window" in " ".join(
            capsys.readouterr().out.split()
        )
    assert said == {"probe": False, "probe-train": True}
