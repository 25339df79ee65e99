"""`icshift analyze` as a user meets it; what it records is tested in `tests/replay/test_checkpoints*.py`."""

import json

import numpy as np
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
