"""Starts scripts plainly, under `icshift run` and under the plain hooks, and what is known of every script."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.bounded import bounded
from tests.covering import often
from tests.warm.starting import python

FOLDER = Path(__file__).parent
SCRIPTS = FOLDER / "scripts"
RECORDER = ("-m", "icshift", "run")
HARNESS = FOLDER.parent / "oracles" / "scripts.py"

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}


@dataclass(frozen=True)
class Training:
    """A script or `-m` and a module, and what its author knows of it.

    `models` are the names of the variables that hold the models, and their classes; a window has `steps`
    optimizer steps, or forwards of the model where that is what is `counted`. TMP stands for a folder.
    All are forks of an interpreter that has imported PyTorch, and these `packages`.
    `beside` are the examples a window, by model, whose forward no step of the model's own optimizer follows.
    """

    name: str
    command: tuple[str, ...]
    models: dict[str, str]
    steps: int
    windows: int = 3
    options: tuple[str, ...] = ()
    code: int = 0
    ranks: int = 1
    packages: tuple[str, ...] = ()
    counted: str = "step"
    beside: dict[str, int] = field(default_factory=dict)


TRAININGS = {
    training.name: training
    for training in (
        Training("plain", ("plain.py",), {"model": "Net"}, steps=22),
        Training(
            "arguments", ("argparse_main.py", "--lr", "0.02", "--epochs", "4"), {"model": "ConvNet"}, steps=5, windows=4
        ),
        Training("module", ("-m", "package.train"), {"model": "Network"}, steps=8),
        Training("package", ("-m", "package"), {"model": "Network"}, steps=8),
        # Both optimizers count. The discriminator judges the last fakes of an epoch for the generator alone.
        Training(
            "gan",
            ("gan.py",),
            {"generator": "Generator", "discriminator": "Discriminator"},
            steps=10,
            beside={"discriminator": 40},
        ),
        Training("language model", ("language_model.py",), {"model": "LanguageModel"}, steps=6),
        Training(
            "transformers",
            ("hf_trainer.py", "TMP"),
            {"model": "GPT2LMHeadModel"},
            steps=5,
            packages=("transformers.trainer", "transformers.models.gpt2.modeling_gpt2"),
        ),
        Training("lightning", ("lightning_fit.py",), {"model": "Classifier"}, steps=8, packages=("lightning",)),
        Training("ddp", ("ddp.py",), {"net": "Net"}, steps=10, ranks=2),
        Training("compiled", ("compiled.py",), {"model": "Mlp"}, steps=8),
        Training("compiled by autograd", ("compiled.py", "aot_eager"), {"model": "Mlp"}, steps=8),
        Training("exit code", ("exit_code.py",), {"net": "Net"}, steps=4, code=3),
        Training(
            "no optimizer",
            ("no_optimizer.py",),
            {"model": "Net"},
            steps=8,
            options=("--forwards",),
            counted="forward",
        ),
        Training(
            "no loader", ("no_loader.py",), {"net": "Sequential"}, steps=50, windows=4, options=("--window", "50")
        ),
        Training("workers", ("workers.py",), {"model": "Ears"}, steps=6, windows=2),
        Training("forks", ("forking.py",), {"model": "Net"}, steps=10),
    )
}

ALIKE = {
    "arguments": "plain",
    "module": "package",
    "no loader": "plain",
    "workers": "forks",
    "language model": "transformers",
    "compiled by autograd": "compiled",
    "lightning": "lightning_template of the styles",
}
"""Trainings that are `thorough`, and for each the one most like it, which always runs."""

APART = {"plain", "compiled by autograd", "exit code"}
"""Trainings whose plain run no other one stands for."""


@dataclass(frozen=True)
class Trained:
    """A training run three times: plainly, under `icshift run`, and under the plain hooks."""

    training: Training
    folder: Path
    plain: subprocess.CompletedProcess[str]
    recorded: subprocess.CompletedProcess[str]
    hooked: subprocess.CompletedProcess[str]

    @property
    def output(self) -> Path:
        """Where the runs are."""
        return self.folder / "runs"

    def activations(self, model: str) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """What the plain hooks kept of a class, all ranks': {(phase, site): ([n, units], the window of each [n])}."""
        parts: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
        for file in sorted(self.folder.glob("plain*.npz")):
            arrays = np.load(file)
            for key in arrays:
                kind, site, phase, what = key.split("/")
                if kind == model and what == "values":
                    done = arrays[f"{kind}/{site}/{phase}/{self.training.counted}"]
                    # What is seen in eval mode belongs to the steps before it.
                    done = done if phase == "train" else np.maximum(done - 1, 0)
                    parts.setdefault((phase, site), []).append((arrays[key], done // self.training.steps + 1))
        return {key: (np.concatenate([v for v, _ in p]), np.concatenate([w for _, w in p])) for key, p in parts.items()}


def train(training: Training, folder: Path) -> Trained:
    """Run it three times, one beside the other.

    By default the run under the plain hooks, which know nothing of icshift, stands for the plain one too: but of one
    training, which says that these hooks change nothing, and of those in which they do, or which end not well.
    """
    command = [str(folder) if word == "TMP" else word for word in training.command]
    ways = {
        "plain": command,
        "recorded": [*RECORDER, "-q", "-o", folder / "runs", "--samples", "all", *training.options, *command],
        "hooked": [HARNESS, folder / "plain.npz", ",".join(training.models.values()), *command],
    }
    if training.ranks > 1:
        return _train_processes(training, folder, ways)
    if not often(training.name in APART, thoroughly=True):
        del ways["plain"]
    program = python(*training.packages)
    started = {way: start(*arguments, cwd=SCRIPTS, program=program) for way, arguments in ways.items()}
    done = {way: ended(process) for way, process in started.items()}
    return Trained(training, folder, **{"plain": done["hooked"], **done})


def _train_processes(training: Training, folder: Path, ways: dict[str, list[object]]) -> Trained:
    """The same, each way in as many processes as the training has ranks."""

    def started(way: str) -> subprocess.Popen[str]:
        return torchrun(training.ranks, *ways[way], cwd=SCRIPTS, program=python(*training.packages))

    processes = {way: started(way) for way in ways}
    done = {way: ended(process) for way, process in processes.items()}
    for way in ways:
        # Gloo sometimes aborts a process when another has closed its connections first, with or without us.
        if "SIGABRT" in done[way].stderr:
            if way == "recorded":
                shutil.rmtree(folder / "runs", ignore_errors=True)
            done[way] = ended(started(way))
    return Trained(training, folder, **done)


def start(*arguments: object, cwd: Path | None = None, program: str | Path | None = None) -> subprocess.Popen[str]:
    """Start a fork of a warm Python, or a program, with these arguments."""
    command = [str(program or python()), *map(str, arguments)]
    environment = ENVIRONMENT | {"PYTHON_EXEC": command[0]}  # What torchrun starts its processes with.
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def torchrun(ranks: int, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start it in so many processes."""
    return start("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks, *arguments, **options)


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for the end of what was started."""
    try:
        with bounded():
            stdout, stderr = process.communicate()
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start and wait."""
    return ended(start(*arguments, **options))


def icshift_run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """`icshift run` with these arguments."""
    return run(*RECORDER, *arguments, **options)
