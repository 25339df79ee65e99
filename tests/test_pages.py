"""What the README and the pages in docs/ show is executed: every command, every line of Python, every output."""

import inspect
import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lightning.pytorch
import numpy as np
import pytest
import torch
import transformers
import typer
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import icshift
from icshift.cli.main import _run, app
from tests.warm import starting as warm

ROOT = Path(__file__).parent.parent
PAGES = {page.name: page.read_text() for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
SHORTER = {"icshift landscape": " --limit 200 --points 7"}
"""What is added to a command to have it done sooner."""

INSTALLING = ("python3 -m venv", "pip install")
ELSEWHERE = {
    "icshift selfcheck --quick": "takes half a minute; tests/cli/test_selfcheck.py runs it",
    "icshift export icshift-runs/train --to tensorboard -o logs/train": "tests/cli/test_export_tracker.py does",
}


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.S)


def commands(page):
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", "").splitlines()]
    return [re.sub(r" +", " ", line.split("  #")[0]) for line in lines if not line.startswith(INSTALLING)]


def shown():
    """Every command of every page; one that reads the demo, and it alone, runs where it is shown first.

    Where the same is written to a file of another kind, tests of the command do.
    """
    seen = set()
    for page in PAGES:
        for number, line in enumerate(commands(page)):
            asked = re.sub(r" (-o \S+\.\w+|--figure \w+)", "", line)
            again = "icshift-demo" in asked and asked in seen
            seen.add(asked)
            yield pytest.param(page, number, marks=[pytest.mark.thorough] if again else [])


SHOWN = [*shown()]


@pytest.fixture(scope="module")
def demo(demo_run, tmp_path_factory):
    """Where the demo has run, as the README's first command runs it, and a script was recorded."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "icshift-demo").symlink_to(demo_run / "icshift-demo")
    assert bash(f"icshift run {ROOT}/examples/train.py --epochs 2", folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def folders(demo, tmp_path_factory):
    """A folder for each page, in which its commands follow one another."""
    made = {}
    for page in PAGES:
        made[page] = tmp_path_factory.mktemp("page")
        (made[page] / "examples").symlink_to(ROOT / "examples")
        (made[page] / "train.py").symlink_to(ROOT / "examples" / "train.py")
        (made[page] / "icshift-demo").symlink_to(demo / "icshift-demo")
        if not any(line.startswith("icshift run") for line in commands(page)):
            (made[page] / "icshift-runs").symlink_to(demo / "icshift-runs")
    return made


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def shell(monkeypatch, capfd):
    """Runs a line in a folder. What reads runs in this process, which has imported all: as bash gives it its words."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(line, folder):
        if not line.startswith("icshift ") or line.startswith("icshift run "):
            return bash(line, folder)
        monkeypatch.chdir(folder)
        words = [name for word in WORD.findall(line) for name in expanded(word, folder)]
        capfd.readouterr()
        code = _run(words[1:])
        return Done(code, *capfd.readouterr())

    return run


WORD = re.compile(r"(?:[^\s'\"]|'[^']*'|\"[^\"]*\")+")


def expanded(word, folder):
    """A word as bash gives it to the program: without its quotes, or what it stands for where it has a `*`."""
    if "*" in word and not re.search("['\"]", word):
        return sorted(str(path.relative_to(folder)) for path in Path(folder).glob(word)) or [word]
    return shlex.split(word)


def bash(line, folder):
    environment = {**os.environ, "PATH": f"{warm.folder()}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "80"}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=600
    )


@pytest.mark.parametrize(("page", "number"), SHOWN)
def test_commands_run(page, number, folders, shell):
    line = commands(page)[number]
    if line in ELSEWHERE:
        pytest.skip(ELSEWHERE[line])
    done = shell(line + SHORTER.get(" ".join(line.split()[:2]), ""), folders[page])
    assert done.returncode == (1 if line.startswith("icshift shift") and "--fail-on" in line else 0), done.stderr
    assert done.stdout or done.stderr, line  # of what is written to a file, where it is


def words(line, *, exact):
    """Of a line; numbers are rounded, since their last digits are another machine's, or where not `exact` left out.

    So are bars, which are numbers too.
    """
    for word in re.sub(r"[▁-▏]+", "", line).split():
        number = re.fullmatch(r"([-(]*)(\d[\d,.]*(?:e[+-]?\d+)?)(\D*)", word)
        if number is None:
            yield word
        elif exact:
            yield f"{number[1]}{float(number[2].rstrip(',.').replace(',', '')):.1g}{number[3]}"
        else:
            yield "0"


def assert_shown(shown, printed, *, exact):
    """Every line that is shown was printed, in that order; `…` stands for lines that are left out."""
    lines = iter([[*words(line, exact=exact)] for line in printed.splitlines()])
    for line in shown.splitlines():
        if line.strip() != "…" and line.strip():
            assert [*words(line, exact=exact)] in lines, line


EXCERPTS = [(page, *found) for page in PAGES for found in re.findall("```sh\n([^`]*)```\n```\n([^`]*)```", PAGES[page])]


@pytest.mark.parametrize(("page", "command", "shown"), EXCERPTS, ids=map(str, range(len(EXCERPTS))))
def test_what_a_command_prints_is_shown(page, command, shown, folders, shell):
    """Numbers of the demo are not compared: that of the tests is a shorter training."""
    line = command.replace("\\\n", "").strip().splitlines()[-1]
    done = shell(f"{line} -f" if " -o " in line else line, folders[page])  # Another test may have written it.
    assert_shown(shown, done.stdout, exact="icshift-demo" not in line)


def test_the_five_questions_of_the_readme_are_answered():
    questions = PAGES["README.md"].split("\n## Five questions\n")[1].split("\n## ")[0].split("\n**")[1:]
    assert len(questions) == 5
    assert all(re.search("```\n```\n|!\\[", question) for question in questions)


def test_every_command_is_shown():
    shown = {line.split()[1] for page in PAGES for line in commands(page)} | {"demo"}
    listed = subprocess.run([warm.icshift(), "--help"], capture_output=True, text=True, check=True, timeout=600)
    assert shown >= set(re.findall(r"^  (\w+) {2,}", listed.stdout.split("Commands:")[1], re.M))


def test_an_own_loop_gives_drift(tmp_path, monkeypatch, capsys):
    """As the README shows it, twice: a cell of a notebook is run again."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("README.md", "python")
    (shown,) = re.findall("```python\n[^`]*```\n```\n([^`]*)```", PAGES["README.md"])
    for _ in range(2):
        found = {}
        capsys.readouterr()
        exec(code, found)
        assert_shown(shown, capsys.readouterr().out, exact=False)
        assert set(found["drift"]["window"]) == {2, 3, 4, 5}
        assert set(found["drift"]["site"]) == {"0"}


def test_gradients_are_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for code in (blocks("recording.md", "python")[0], *blocks("gradients.md", "python")):
        exec(code, found)
    assert set(found["drift"]["window"]) == {2, 3, 4, 5}
    assert found["shift"]["step"].unique().tolist() == [0, 4, 8, 12]
    assert found["shift"]["layer"].unique().tolist() == ["0", "2"]
    assert len(icshift.open("runs/gradients").smoothness()) == 4
    assert found["plane"].losses.shape == (21, 21)


MODEL = "--model icshift.demo:network --model-arg batch_norm=True"
WITH_JSON = {
    "info": "icshift-demo/plain",
    "report": "icshift-demo/plain",
    "report of all windows": "icshift-demo/plain --window all",
    "report of strangers": "icshift-demo/plain --reference run:icshift-demo/batch-norm",
    "onset": "icshift-demo/plain",
    "watch": "icshift-demo/plain",
    "units": "icshift-demo/plain --site fc3",
    "units of one": "icshift-demo/plain --site fc3 --unit 6",
    "path": "icshift-demo/plain --phase probe",
    "compare": "icshift-demo/plain icshift-demo/batch-norm",
    "ls": "icshift-demo",
    "merge": "icshift-demo/plain",
    "drift": "before.npy after.npy",
    "check": "icshift-demo/plain --fail-on 'drift > 99'",
    "shift": f"icshift-demo/batch-norm.pt {MODEL} --reference icshift-demo/probe.npz --data icshift-demo/dimmed.npz "
    "--fail-on 'drift > 99'",
    "landscape": f"icshift-demo/batch-norm.pt {MODEL} --data icshift-demo/train.npz --loss cross_entropy --lr 0.1 "
    "--limit 100 --points 3 --top 1",
}
"""A command line for every command that prints JSON; selfcheck, which takes half a minute, has keys of its own."""

NAMES_OF_THEIR_OWN = {"logged", "inputs", "settings", "measured", "alone", "overhead"}
"""Keys whose own keys are names, of phases or of what was logged."""

OF_THE_MANIFEST = {"writer", "stopped", "interrupted", "gaps", "files"}
ELSEWHERE_DESCRIBED = {"along_gradient", "slice", "eigenvalues", "gradient_shift", "smoothness"} | OF_THE_MANIFEST


def keys(value):
    """All keys in it, however deep."""
    if isinstance(value, list):
        return {key for one in value for key in keys(one)}
    if not isinstance(value, dict):
        return set()
    within = {name: one for name, one in value.items() if name not in NAMES_OF_THEIR_OWN | ELSEWHERE_DESCRIBED}
    return {*value, *keys(list(within.values()))}


def test_keys_of_json_are_those_of_the_table(demo, shell):
    rows = re.search(r"\n## JSON\n(.*?)\n## ", PAGES["reports.md"], re.S).group(1)
    described = [key for row in re.findall(r"^\| (`.*?) \|", rows, re.M) for key in re.findall("`(.*?)`", row)]
    assert len(described) == len(set(described))
    random = np.random.default_rng(0)
    for name in ("before", "after"):
        np.save(demo / f"{name}.npy", random.normal(size=(100, 3)))
    found = {}
    for name, arguments in WITH_JSON.items():
        done = shell(f"icshift {name.split()[0]} {arguments} --json", demo)
        assert done.returncode == 0, done.stderr
        printed = done.stdout.splitlines() if name == "watch" else [done.stdout]
        found[name] = {key for key in keys([*map(json.loads, printed)]) if not key.startswith("logged_")}
        assert found[name] <= {*described}, name
    of_five_runs = {"site_a", "site_b", "p_adjusted", "noise"}
    measured = {"gradient_shift", "smoothness"}
    assert {*described} - {key for name in found for key in found[name]} == of_five_runs | measured | {
        "thinned",
        "resumed",
    }


def test_every_command_with_json_is_asked_for_its_keys():
    shown = {name.split()[0] for name in WITH_JSON} | {"analyze", "selfcheck"}  # analyze prints what report prints.
    with_json = {
        name
        for name, command in typer.main.get_command(app).commands.items()
        if "json" in inspect.signature(command.callback).parameters
    }
    assert with_json == shown


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
    (code,) = (block for block in blocks("recording.md", "python") if "lightning" in block)
    inputs = torch.randn(64, 20)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = partial(lightning.pytorch.Trainer, **quiet, enable_model_summary=False)
    loader = DataLoader(TensorDataset(inputs), batch_size=16)
    exec(code, {"inputs": inputs, "Trainer": trainer, "module": Module(), "loader": loader})
    assert len(icshift.open("runs/lightning").window_list) == 10


def test_transformers_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = (block for block in blocks("recording.md", "python") if "transformers" in block)
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
    exec(code, given)
    assert len(icshift.open("runs/transformers").window_list) == 2
