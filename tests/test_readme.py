"""What the README shows is executed."""

import os
import re
import subprocess
from functools import partial
from pathlib import Path

import lightning.pytorch
import pytest
import torch
import transformers
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import icshift
from icshift.analysis.drift import COLUMNS
from tests.warm import starting as warm

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


RUNNING, SAVED, READING, CHECKING = (block.replace("\\\n", "").splitlines() for block in blocks("sh")[-4:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the demo has run, as the README's first command runs it."""
    folder = tmp_path_factory.mktemp("readme")
    command = [warm.icshift(), "demo", "--force", "--epochs", "20", "--seeds", "2"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    return folder


def bash(line, folder):
    path = f"{warm.folder()}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=600
    )


def test_python_runs_and_gives_drift(tmp_path, monkeypatch):
    code = blocks("python")[0]
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code, found)
    assert set(found["drift"]["window"]) == {2, 3, 4, 5}
    assert tuple(found["drift"].columns[: len(COLUMNS)]) == COLUMNS


def test_gradients_are_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for code in (blocks("python")[0], blocks("python")[3]):
        exec(code, found)
    assert found["shift"]["step"].unique().tolist() == [0, 4, 8, 12]
    assert found["shift"]["layer"].unique().tolist() == ["0", "2"]
    assert len(icshift.open("runs/gradients").smoothness()) == 4
    assert found["plane"].losses.shape == (21, 21)


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch):
        return self(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_lightning_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = torch.randn(64, 20)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = partial(lightning.pytorch.Trainer, **quiet, enable_model_summary=False)
    loader = DataLoader(TensorDataset(inputs), batch_size=16)
    exec(blocks("python")[1], {"inputs": inputs, "Trainer": trainer, "module": Module(), "loader": loader})
    assert len(icshift.open("runs/lightning").window_list) == 10


def test_transformers_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    size = {"n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 11, "n_positions": 8}
    ids = torch.randint(0, 11, (16, 6))
    arguments = transformers.TrainingArguments(
        "out", num_train_epochs=2, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True
    )
    given = {
        "Trainer": transformers.Trainer,
        "model": transformers.GPT2LMHeadModel(transformers.GPT2Config(**size)),
        "arguments": arguments,
        "data": [{"input_ids": row, "labels": row} for row in ids],
        "ids": ids,
    }
    exec(blocks("python")[2], given)
    assert len(icshift.open("runs/transformers").window_list) == 2


def test_a_script_runs(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for line in RUNNING:
        done = bash(line, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert "Recorded in" in bash(RUNNING[0].replace("run ", "run -f "), tmp_path).stderr


@pytest.mark.parametrize("line", [*SAVED, *READING])
def test_commands_run(line, folder):
    done = bash(line, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout or re.search(r"drift\.csv|page\.html", done.stderr)


def test_what_runs_long_is_run_elsewhere():
    """By tests/cli/test_selfcheck.py."""
    assert CHECKING == ["icshift selfcheck --quick"]


def test_every_command_is_shown():
    shown = {line.split()[1] for line in (*RUNNING, *SAVED, *READING, *CHECKING)} | {"demo"}
    listed = subprocess.run([warm.icshift(), "--help"], capture_output=True, text=True, check=True, timeout=600)
    assert shown == set(re.findall(r"^  (\w+) {2,}", listed.stdout.split("Commands:")[1], re.M))


@pytest.mark.parametrize("marker", ["demo", "test"])
def test_install_commands_are_one_line_with_constraints(marker):
    command = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.S).group(1)
    assert command.count("\n") == 1
    assert "-c constraints.txt" in command


def test_what_it_refers_to_is_there():
    links = re.findall(r"\]\(([^)h][^)]*)\)", README)
    assert "docs/demo.svg" in links
    assert all((ROOT / link).exists() for link in links)


def test_columns_of_an_export_are_the_stated_ones():
    assert f"`{', '.join(COLUMNS)}`" in README
