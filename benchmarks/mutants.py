"""What damaged and hostile files do to commands: flipped bits in a run, and mutants of runs, saved models and data.

    python -m benchmarks.mutants [MUTANTS] [FLIPS] [SEED]

Every one of FLIPS single flipped bits in the files of a run must be refused in one line, or harmless: all numbers,
names and states that are read are the same. Every command on every one of MUTANTS must end with exit code 0, 1 or 2, at
most one line on stderr (where a file was written is not counted: `-q`), within 5 s of CPU time and 1 GB, and print no
escape. What fails is listed with its seed: `python -m benchmarks.mutants 1 0 SEED` shows it again. Mutants have the
seeds from SEED on, so that `python -m benchmarks.mutants 500 0 4500` is the tenth of ten slices.

Every command runs in a fork of one process that has imported all packages, which takes a tenth of the time. So the CPU
time is that of the command without these imports (about 2 s in a process of its own), and the memory is that of the
fork with all packages, also those that the command does not need: more than it takes alone.
"""

from __future__ import annotations

import functools
import gc
import os
import pkgutil
import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import typer.main
from torch import nn

import icshift
from icshift.cli.main import _run
from icshift.errors import IcshiftError
from icshift.record.recorder import Recorder
from tests import mutants
from tests.warm.server import import_heavy_packages

_NOT_IMPORTED = ("icshift.integrations.", "icshift.trackers.", "icshift.launch.startup", "icshift.__main__")
"""Modules that need packages of others, or do something when they are imported."""

RUNS = ("run", "shared", "merged")

MODEL = ("--model", "benchmarks.mutants:network")

ON_RUN = (
    ("info", "run"),
    ("info", "run", "--json"),
    ("info", "run", "--verify"),
    ("report", "run"),
    ("report", "run", "--json"),
    ("report", "run", "--window", "all"),
    ("report", "run", "-o", "page.html", "-f", "-q"),
    ("report", "run", "-o", "report.csv", "-f", "-q"),
    ("report", "run", "--reference", "run:other"),
    ("onset", "run"),
    ("units", "run", "--site", "fc1"),
    ("units", "run", "--site", "fc1", "--unit", "1"),
    ("path", "run"),
    ("compare", "run", "other"),
    ("compare", "other", "run", "-o", "-"),
    ("export", "run", "-o", "-"),
    ("export", "run", "-o", "e.parquet", "--metric", "all", "-f", "-q"),
    ("export", "run", "--table", "gradient-shift", "-o", "-"),
    ("export", "run", "--table", "smoothness", "-o", "s.json", "-f", "-q"),
    ("check", "run", "--fail-on", "drift > 0.5", "--fail-on", "nonfinite > 0"),
    ("ls", "."),
    ("ls", ".", "--fast", "--json"),
    ("watch", "run"),
    ("watch", "run", "--json"),
    ("report", "run", "-o", "report.md", "-f", "-q"),
    ("report", "run", "other", "-o", "pages.html", "-f", "-q"),
    ("export", "run", "--to", "tensorboard", "-o", "board", "-f", "-q"),
    ("info", "shared"),
    ("info", "shared", "--verify"),
    ("report", "shared"),
    ("onset", "shared"),
    ("merge", "shared"),
    ("report", "merged"),
    ("merge", "merged"),
)
"""On runs: of one process, of two (`shared`), and of two whose windows were merged."""

ON_SAVED = tuple(
    command
    for saved in ("model.pt", "legacy.pt", "model.safetensors", "whole.pt", "sharded.json", "distributed")
    for command in (
        ("analyze", saved, *MODEL, "--data", "data.npz", "-o", "analyzed", "-f"),
        ("shift", saved, *MODEL, "--reference", "data.npz", "--data", "data.npy", "--limit", "20"),
    )
)
_MEASURED = ("--data", "data.npz", "--loss", "cross_entropy", "--slice", "none", "--top", "1")
ON_DATA = (
    *(
        ("shift", "model.pt", *MODEL, "--reference", "data.npz", "--data", data, *limit)
        for data in ("data.npz", "data.npy", "data.csv", "data.parquet", "data.pt", "data.safetensors")
        for limit in ((), ("--limit", "10"))
    ),
    ("landscape", "model.pt", *MODEL, *_MEASURED),
    ("drift", "data.npy", "sound.npy"),
    ("drift", "sound.npy", "data.parquet"),
    ("drift", "data.npz", "data.npz", "-o", "-"),
)


def network() -> nn.Module:
    """Linear, batch norm, linear: what the saved models are of."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(4, 3))
    model.add_module("norm1", nn.BatchNorm1d(3))
    model.add_module("relu1", nn.ReLU())
    model.add_module("fc2", nn.Linear(3, 2))
    return model


def record(path: Path, seed: int) -> None:
    """Record a small training with everything that a run can hold."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    chance = torch.Generator().manual_seed(seed)
    inputs = torch.randn(48, 4, generator=chance)
    classes = (inputs[:, 0] > 0).long()
    with Recorder(model, path, optimizer=optimizer, probe=inputs[:12]) as recorder:
        for _ in range(3):
            model.train()
            for batch in torch.randperm(48, generator=chance).split(16):

                def loss(batch: torch.Tensor = batch) -> torch.Tensor:
                    return nn.functional.cross_entropy(model(inputs[batch]), classes[batch])

                if "RANK" not in os.environ:
                    recorder.gradient_shift(loss, every=2)
                    recorder.smoothness(loss, every=4)
                optimizer.zero_grad()
                value = loss()
                value.backward()
                optimizer.step()
                recorder.log(loss=value.item())
            recorder.epoch()


def sound(folder: Path) -> Path:
    """Returns a folder with two runs, saved models of every kind of file, and data of every kind."""
    import json

    import pandas as pd
    from torch.distributed import checkpoint

    record(folder / "run", 1)
    record(folder / "other", 2)
    for rank in ("0", "1"):
        os.environ |= {"RANK": rank, "WORLD_SIZE": "2"}
        record(folder / "shared", 3)
    del os.environ["RANK"], os.environ["WORLD_SIZE"]
    shutil.copytree(folder / "shared", folder / "merged")
    _run(["merge", str(folder / "merged"), "--quiet"])
    state = network().state_dict()
    torch.save({"epoch": 1, "model": state}, folder / "model.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(network(), folder / "whole.pt")
    _safetensors({name: value for name, value in state.items() if value.ndim}, folder / "model.safetensors")
    torch.save(state, folder / "flat.pt")
    checkpoint.save({"model": state}, checkpoint_id=folder / "distributed")
    shard = {"weight_map": dict.fromkeys(state, "flat.pt")}
    (folder / "sharded.json").write_text(json.dumps(shard))
    values = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    np.savez_compressed(folder / "data.npz", input=values.numpy(), target=(values[:, 0] > 0).long().numpy())
    np.save(folder / "data.npy", values.numpy())
    np.save(folder / "sound.npy", values.numpy())
    frame = pd.DataFrame(values.numpy(), columns=list("abcd"))
    frame.to_csv(folder / "data.csv", index=False)
    frame.to_parquet(folder / "data.parquet")
    torch.save(values, folder / "data.pt")
    _safetensors({"input": values}, folder / "data.safetensors")
    return folder


def _safetensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    import json

    header, body = {}, b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        ends = [len(body), len(body) + len(content)]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": ends}
        body += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def flipped(run: Path, flips: int, seed: int) -> Counter[str]:
    """Flips bits, one after another, in the files of a run; returns how often it was refused, harmless, or neither."""
    expected = mutants.numbers_of(run)
    files = [file for file in sorted(run.rglob("*")) if file.is_file()]
    found: Counter[str] = Counter()
    for number in range(flips):
        chance = random.Random(f"{seed}-{number}")
        file = chance.choice(files)
        before = file.read_bytes()
        file.write_bytes(mutants.flip(before, chance))
        try:
            same = mutants.equal(mutants.numbers_of(run), expected)
            found["harmless" if same else f"WRONG: {file.relative_to(run)}, flip {number}"] += 1
        except IcshiftError as error:
            found["refused" if "\n" not in str(error) else f"{number}: more than a line"] += 1
        except Exception as error:  # noqa: BLE001
            found[f"TRACEBACK: flip {number}, {file.relative_to(run)}: {type(error).__name__} {error}"] += 1
        file.write_bytes(before)
    return found


def warm() -> None:
    """Do once what every command would do at first: import packages, and build the command line."""
    import_heavy_packages()
    for module in pkgutil.walk_packages(icshift.__path__, "icshift."):
        if not module.name.startswith(_NOT_IMPORTED):
            import_module(module.name)
    typer.main.get_command = functools.cache(typer.main.get_command)  # type: ignore[assignment]
    with redirect_stderr(StringIO()):
        _run(["info", "nowhere"])
    gc.collect()
    gc.freeze()
    gc.disable()


def _files(path: Path) -> list[Path]:
    """The file at a path, or those in the directory that is there."""
    return [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []


def once(command: tuple[str, ...]) -> int:
    """Runs a command, in a fork of this process; one that goes on until Ctrl-C looks once."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    if command[0] == "watch":
        import_module("icshift.cli.watch").time = SimpleNamespace(sleep=interrupt)  # type: ignore[attr-defined]
    return _run(list(command))


def copy(base: Path, folder: Path, command: tuple[str, ...]) -> None:
    """Copies all that a command may read, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    others = {name for name in (*RUNS, "other") if name not in " ".join(command)} - (
        {"run", "other"} if "ls" in command else set()
    )
    shutil.copytree(base, folder, ignore=lambda path, _: others if Path(path) == base else ())


def mutant(base: Path, folder: Path, seed: str) -> tuple[str, tuple[str, ...], mutants.Outcome]:
    """Makes a mutant and runs a command on it; returns what was changed, the command, and how it ended."""
    chance = random.Random(seed)
    on_run = chance.random() < 0.75
    command = chance.choice(ON_RUN if on_run else (*ON_SAVED, *ON_DATA))
    copy(base, folder, command)
    told = folder.with_name("told")

    def run() -> int:
        if on_run:
            mutated = next((name for name in RUNS if name in command), "run")
            told.write_text(f"{mutated}/{mutants.mutate(folder / mutated, chance)}")
        else:
            file = chance.choice([file for name in command for file in _files(folder / name)])
            kind = chance.choice((mutants.of_bytes, mutants.of_bytes, mutants.of_place))
            told.write_text(f"{file.name}: {kind(file, chance)}")
        return once(command)

    ended = mutants.outcome(run, folder)
    return told.read_text(), command, replace(ended, raw="-" in command)


def main() -> None:
    count, flips, seed = (int(one) for one in (*sys.argv[1:], *("5000", "500", "0")[len(sys.argv) - 1 :]))
    torch.set_num_threads(1)
    warm()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "sound"
        base.mkdir()
        # In forks, as all that computes: threads that are started here would be missing in every fork.
        made = mutants.outcome(lambda: sound(base) is None, Path(name), wall=600)
        assert made.code == 0, made
        for command in (*ON_RUN, *ON_SAVED, *ON_DATA):
            copy(base, folder := Path(name) / "mutant", command)
            ended = mutants.outcome(lambda command=command: once(command), folder)  # type: ignore[misc]
            if ended.faults() or ended.code == 2:
                print(f"sound: {' '.join(command)}: exit {ended.code}, {ended.faults()}, {ended.err!a}")
        if flips:
            told = mutants.outcome(lambda: print(dict(flipped(base / "run", flips, seed))) is not None, base, wall=3600)
            print(f"{flips} flipped bits in a run: {told.out.strip()}{told.err}", flush=True)
        every(base, Path(name) / "mutant", range(seed, seed + count))


def every(base: Path, folder: Path, seeds: range) -> None:
    """Makes mutants and prints what fails, and how all ended."""
    codes: Counter[int] = Counter()
    slowest, largest, failed = 0.0, 0, 0
    for number in seeds:
        change, command, ended = mutant(base, folder, str(number))
        codes[ended.code] += 1
        slowest, largest = max(slowest, ended.seconds), max(largest, ended.memory)
        if faults := ended.faults():
            failed += 1
            print(f"seed {number}: {change!a}: {' '.join(command)}: {', '.join(faults)}")
            print("".join(f"    {line!a}\n" for line in ended.err.strip().splitlines()[-4:]), flush=True)
    print(
        f"{len(seeds)} mutants: {failed} failed; exit codes {dict(sorted(codes.items()))}; slowest {slowest:.1f} s of "
        f"CPU, largest {largest / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
