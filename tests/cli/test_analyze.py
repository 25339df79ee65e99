"""`icshift analyze` as a user meets it; what it records is tested in `tests/replay/test_checkpoints*.py`."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icshift.cli.main import _run
from icshift.errors import ModelError
from icshift.replay.batch_norm import precise_statistics
from icshift.runs.reader import StoredRun

TOO_SMALL = (
    "[1, 6] float32 is too small for batch norm by the batch: take more examples, or a larger batch size (--batch-size)"
)


def normed():
    """Two linear layers with batch norm between, for `--model`."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three saved models, and inputs with classes."""
    for epoch in range(3):
        model = normed()
        nn.init.constant_(model[0].bias, epoch)
        torch.save({"epoch": epoch, "model": model.state_dict()}, tmp_path / f"epoch-{epoch}.pt")
    torch.manual_seed(0)
    np.savez(tmp_path / "data.npz", input=torch.randn(30, 6).numpy(), target=torch.arange(30).numpy() % 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


MODEL = "--model", "tests.cli.test_analyze:normed", "--data", "data.npz"


def test_it_ends_with_the_report_of_its_run(folder, capsys):
    assert _run(["analyze", ".", *MODEL, "-o", "run"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert _run(["report", "run"]) == 0
    assert shown.out == capsys.readouterr().out
    assert [window.name for window in StoredRun(folder / "run").window_list] == ["epoch 0", "epoch 1", "epoch 2"]


@pytest.mark.usefixtures("folder")
def test_its_json_is_that_of_the_report(capsys):
    assert _run(["analyze", ".", *MODEL, "-o", "run", "--json"]) == 0
    shown = capsys.readouterr().out
    assert _run(["report", "run", "--json"]) == 0
    assert shown == capsys.readouterr().out
    assert [row["site"] for row in json.loads(shown)["sites"]] == ["0", "1", "2"]


@pytest.mark.usefixtures("folder")
def test_quiet_leaves_the_hint_out(capsys):
    assert _run(["analyze", ".", *MODEL, "-o", "run", "-q"]) == 0
    assert "Next: " not in capsys.readouterr().out


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("given", "said", "width"),
    [
        ([], "icshift: data.csv: column 'label' looks like a target: left out (--target none keeps it)\n", 6),
        (["--target", "c"], "icshift: data.csv: column 'c' is the target: left out\n", 6),
        (["--target", "none"], "", 7),
    ],
)
def test_the_column_of_a_table_that_is_no_input_is_left_out_and_told(given, said, width, folder, capsys):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 7)), columns=[*"abcdef", "label"])
    table.to_csv(folder / "data.csv", index=False)
    torch.save(nn.Linear(width, 3).state_dict(), folder / "net.pt")
    model = "--model", "torch.nn:Linear", "--model-arg", f"in_features={width}", "--model-arg", "out_features=3"
    assert _run(["analyze", "net.pt", *model, "--data", "data.csv", *given, "-o", "run", "-q"]) == 0
    assert capsys.readouterr().err == said
    shift = ["shift", "net.pt", *model, "--reference", "data.csv", "--data", "data.csv", *given, "--json"]
    assert _run(shift) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [said.removeprefix("icshift: ").strip()] * 2 * bool(said)


@pytest.mark.usefixtures("folder")
def test_a_target_that_is_no_column_is_a_mistake(capsys):
    pd.DataFrame(np.zeros((20, 6)), columns=[*"abcdef"]).to_csv("data.csv", index=False)
    assert _run(["analyze", "epoch-0.pt", *MODEL[:2], "--data", "data.csv", "--target", "labl", "-o", "run"]) == 2
    assert "no column 'labl'; known: a, b, c, d, e, f" in capsys.readouterr().err


def test_a_trainers_own_directory_has_a_window_for_each_moment_and_says_what_is_left_aside(folder, capsys):
    for epoch in range(3):
        saved = torch.load(folder / f"epoch-{epoch}.pt")
        average = {name: torch.ones_like(value) * epoch for name, value in saved["model"].items()}
        for name in (f"epoch-{epoch}.pt", "last.pt", *(["best.pt"] if epoch < 2 else [])):
            torch.save({**saved, "model_ema": average, "hparams": {"loss": nn.MSELoss()}}, folder / name)
    torch.save({}, folder / "criterion.pt")
    told = [
        "icshift: left aside, since no model is read from it: criterion.pt (holds no state dict: empty; save"
        " model.state_dict())",
        "icshift: one window for a model and its copy with the same weights: best.pt of epoch-1.pt, last.pt of"
        " epoch-2.pt",
        "icshift: taken: model; left aside: model_ema, which --key takes",
    ]
    assert _run(["analyze", ".", *MODEL, "-o", "run"]) == 0
    assert capsys.readouterr().err.splitlines() == told
    run = StoredRun(folder / "run")
    assert [window.name for window in run.window_list] == ["epoch 0", "epoch 1", "epoch 2"]
    assert _run(["analyze", ".", *MODEL, "-o", "ema", "--key", "model_ema"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "icshift: left aside, since no model is read from it: criterion.pt (has no state dict under 'model_ema'; it has"
        " none)",
        told[1],
    ]
    changes = [window.parameter_change for window in StoredRun(folder / "ema").window_list]
    number = sum(parameter.numel() for parameter in normed().parameters())
    assert changes == [None, pytest.approx(number**0.5), pytest.approx(number**0.5)]


def test_parts_of_one_file_are_chosen_by_key(folder, capsys):
    for epoch in range(2):
        torch.save({"netG": normed().state_dict(), "netD": nn.Linear(2, 2).state_dict()}, folder / f"gan{epoch}.pt")
    command = ["analyze", "gan0.pt", "gan1.pt", *MODEL, "-o", "gan"]
    assert _run(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds 2 state dicts (netG, netD) and nothing tells which is meant: choose one with --key" in said
    assert _run([*command, "--key", "netG"]) == 0
    assert _run([*command, "--key", "netQ", "--force"]) == 2
    assert "has no state dict under 'netQ'; it has netG, netD" in capsys.readouterr().err


def test_what_stays_at_its_initialisation_and_what_is_not_finite_is_told_on_stderr(folder, capsys):
    state = {name: value for name, value in normed().state_dict().items() if not name.startswith("2.")}
    torch.save({"epoch": 1, "model": state}, folder / "epoch-1.pt")
    inputs = np.load("data.npz")["input"]
    inputs[0, :2] = np.nan
    np.savez("data.npz", input=inputs)
    assert _run(["analyze", ".", *MODEL, "-o", "run", "--partial"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "icshift: epoch 1: 2 of 9 tensors stayed at their initialisation: 2.weight, 2.bias",
        "icshift: values of data.npz that are not finite: 2",
    ]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "command",
    [
        ("analyze", "epoch-0.pt", "-o", "run"),
        ("analyze", "epoch-0.pt", "-o", "run", "--train-mode"),
        ("analyze", "epoch-0.pt", "-o", "run", "--running"),
        ("landscape", "epoch-0.pt", "--loss", "cross_entropy"),
    ],
    ids=["probe", "train mode", "running averages", "landscape"],
)
def test_a_batch_of_one_is_refused_in_the_same_words_by_all_commands(command, capsys):
    assert _run([*command, *MODEL, "--batch-size", "1"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert TOO_SMALL in shown.err


def test_and_by_a_function():
    with pytest.raises(ModelError) as raised:
        precise_statistics(normed(), torch.randn(3, 6), batch_size=1)
    assert TOO_SMALL in str(raised.value)
