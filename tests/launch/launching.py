"""Starts scripts plainly, under `icshift run` and under the plain hooks, and what is known of every script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
SCRIPTS = FOLDER / "scripts"
HARNESS = FOLDER.parent / "oracles" / "scripts.py"

SECONDS = 240
"""No script takes so long, on whatever machine."""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80"}


@dataclass(frozen=True)
class Training:
    """A script or `-m` and a module, and what its author knows of it.

    `models` are the names of the variables that hold the models, and their classes; a window has `steps`
    optimizer steps, or forwards of the model where that is what is `counted`. TMP stands for a folder.
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
        Training("transformers", ("hf_trainer.py", "TMP"), {"model": "GPT2LMHeadModel"}, steps=5),
        Training("lightning", ("lightning_fit.py",), {"model": "Classifier"}, steps=8),
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


class Forks:
    """One process that has imported PyTorch and runs scripts in forks of itself, with or without the plain hooks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HARNESS],
            cwd=SCRIPTS,
            env=ENVIRONMENT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, output: Path, *arguments: object) -> None:
        """Have a script run; `ended` waits for it. Several are run in the order in which they are asked for."""
        job = {"arguments": arguments, "output": str(output), "seconds": SECONDS}
        print(json.dumps(job, default=str), file=self._process.stdin, flush=True)

    def ended(self, output: Path) -> subprocess.CompletedProcess[str]:
        """Wait for the end of the script that was asked for first."""
        code = int(self._process.stdout.readline())
        printed = [output.with_name(f"{output.name}.{kind}").read_text() for kind in ("out", "err")]
        return subprocess.CompletedProcess([], code, *printed)

    def close(self) -> None:
        self._process.communicate()


def train(training: Training, folder: Path, forks: Forks) -> Trained:
    """Run it three times, recorded beside the others."""
    command = [str(folder) if word == "TMP" else word for word in training.command]
    classes = ",".join(training.models.values())
    recorder = ["-m", "icshift", "run", "-q", "-o", folder / "runs", "--samples", "all", *training.options]
    if training.ranks > 1:
        return _train_processes(training, folder, [*recorder, *command], command, classes)
    recorded = start(*recorder, *command, cwd=SCRIPTS)
    forks.ask(folder / "without", None, classes, *command)
    forks.ask(folder / "hooked", folder / "plain.npz", classes, *command)
    plain, hooked = forks.ended(folder / "without"), forks.ended(folder / "hooked")
    return Trained(training, folder, plain, ended(recorded), hooked)


def _train_processes(
    training: Training, folder: Path, recorder: list[object], command: list[str], classes: str
) -> Trained:
    """The same, each way in as many processes as the training has ranks."""
    ways = {"plain": command, "recorded": recorder, "hooked": [HARNESS, folder / "plain.npz", classes, *command]}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", training.ranks]
    started = {way: start(*launcher, *arguments, cwd=SCRIPTS) for way, arguments in ways.items()}
    done = {way: ended(process) for way, process in started.items()}
    for way, arguments in ways.items():
        # Gloo sometimes aborts a process when another has closed its connections first, with or without us.
        if "SIGABRT" in done[way].stderr:
            if way == "recorded":
                shutil.rmtree(folder / "runs", ignore_errors=True)
            done[way] = ended(start(*launcher, *arguments, cwd=SCRIPTS))
    return Trained(training, folder, **done)


def start(*arguments: object, cwd: Path | None = None, program: Path | None = None) -> subprocess.Popen[str]:
    """Start Python, or a program, with these arguments."""
    command = [str(program or sys.executable), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@contextmanager
def limited(process: subprocess.Popen[Any]) -> Iterator[None]:
    """A block within which a process is killed after `SECONDS`, or at an error: nobody waits for it without end."""
    timer = Timer(SECONDS, process.kill)
    timer.start()
    try:
        yield
    except BaseException:
        process.kill()
        raise
    finally:
        timer.cancel()


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for the end of what was started."""
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run(*arguments: object, **options: Path) -> subprocess.CompletedProcess[str]:
    """Start and wait."""
    return ended(start(*arguments, **options))


def icshift_run(*arguments: object, **options: Path) -> subprocess.CompletedProcess[str]:
    """`icshift run` with these arguments."""
    return run("-m", "icshift", "run", *arguments, **options)
