"""What is left of a recording whose process is killed, and of the same run once its training was resumed.

    python benchmarks/faults.py [kills]

A small training with a checkpoint after every epoch is killed (SIGKILL) at a random moment, 200 times by default; the
moments follow from a seed, where they fall in the process from the machine. After each the run must open, every window
must be there that `epoch()` had returned from, and no number of a window that ended or of a step may differ from the
run of a training that nobody killed, but for the last bits of deviations: steps are added up in other groups where the
open window is written, as it is every ten seconds, and on a busy machine a small training takes that long. Then the
training goes on from its checkpoint in the run (`resume=True`), and the whole run must be that of the other one. Half
as many are killed in trainings whose files are put together all the time, and half as many while they merge the
windows of several processes: whatever was merged by then, and once all is, no number may differ from those that the
processes wrote, and no window may be merged twice in vain. `tests/record/test_recorder_killed.py` does it a few times.

At the end it is measured what it costs that files reach the disk before they take their names (`fsync`): the time of a
flush, of a window, a segment of steps and the manifest, with it and without, in turn.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import icshift
from icshift.distribution import Distribution, Sample, from_sample
from icshift.runs import compaction, durable
from icshift.runs.format import MERGED, Site, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording

EPOCHS, STEPS, SEED = 5, 4, 20150211


class Training:
    """A network on inputs that follow from a seed, with a checkpoint at a path."""

    def __init__(self, checkpoint: Path, epochs: int = EPOCHS) -> None:
        torch.manual_seed(1)
        self.epochs = epochs
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 4))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.epoch = 0
        self.checkpoint = checkpoint
        if checkpoint.exists():
            saved = torch.load(checkpoint)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.epoch = saved["epoch"]

    def run(self, path: Path, tell: Callable[[int], None] = lambda _: None, *, resume: bool = False) -> None:
        """Train to the end, recorded; `tell` gets the number of each epoch once its window has ended."""
        probe = torch.linspace(-1, 1, 80).reshape(10, 8)
        options = {"optimizer": self.optimizer, "probe": probe, "resume": resume}
        with icshift.Recorder(self.model, path, **options) as recorder:
            for epoch in range(self.epoch, self.epochs):
                generator = torch.Generator().manual_seed(epoch)
                for _ in range(STEPS):
                    self.optimizer.zero_grad()
                    self.model(torch.randn(200, 8, generator=generator)).square().mean().backward()
                    self.optimizer.step()
                recorder.log(loss=float(epoch))
                recorder.epoch()
                self.save(epoch + 1)
                tell(epoch + 1)

    def save(self, epoch: int) -> None:
        """Write the checkpoint as a whole or not at all."""
        saved = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": epoch}
        torch.save(saved, aside := self.checkpoint.with_suffix(".aside"))
        aside.replace(self.checkpoint)


@dataclass
class Outcome:
    """Of one kill: windows that had ended, those that are there, numbers compared, and what is wrong."""

    ended: int
    there: int
    compared: int
    wrong: tuple[str, ...]


def killed(work: Callable[[Callable[[int], None]], object], told_of: int, after: float) -> tuple[int, list[str]]:
    """Do work in a process of its own that is killed so many seconds after it told of this number, or began; returns
    the last number that it told of, and what went wrong before.

    So kills fall evenly over a training, however busy the machine is.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(lambda number: os.write(writes, bytes([number])) and None)
            os._exit(0)
        finally:  # What is raised must not unwind the blocks of the parent, whose folder it would delete.
            traceback.print_exc()
            os._exit(1)
    os.close(writes)
    told = b"\0"
    while max(told) < told_of and (more := os.read(reads, 100)):
        told += more
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    told += os.read(reads, 100)
    os.close(reads)
    raised = os.WIFEXITED(status) and os.WEXITSTATUS(status)
    return max(told), ["the process itself failed"] if raised else []


def differing(path: Path, whole: StoredRun, others: pd.DataFrame, *, complete: bool) -> Iterator[str | int]:
    """Yields how many numbers were compared of each window, and a line for all that is not as in the whole run.

    `others` are the steps of that. Of every window that ended, all steps must be there.
    """
    run = StoredRun(path)
    windows = {window.index: window for window in whole.window_list}
    for window in run.window_list:
        if not window.closed or window.last_step > windows[window.index].last_step:
            continue
        if complete and (window.first_step, window.last_step) != _span(windows[window.index]):
            yield f"window {window.index} has steps {_span(window)}"
        for phase in run.phases:
            for site in run.sites:
                found, expected = (one.distribution(phase, site.name, window.index) for one in (run, whole))
                if found is None and expected is None:
                    continue
                if found is None or expected is None or not _same(found, expected):
                    yield f"window {window.index}, {phase}, site {site.name} differs"
                yield 0 if found is None else found.values.size + 7 * found.units
    steps = run.steps()
    covered = max((window.last_step for window in run.window_list if window.closed), default=-1)
    expected = others if complete else others[(others["step"] <= covered) | others["step"].isin(steps["step"].unique())]
    # Without any row, as where it was killed before the first window had ended, a table has fewer columns.
    if len(steps) != len(expected) or (len(expected) and not steps.equals(expected.reset_index(drop=True))):
        yield "the series of steps differs"
    yield steps.size


def _span(window: Window) -> tuple[int, int]:
    return window.first_step, window.last_step


def _same(found: Distribution, expected: Distribution) -> bool:
    names = ("count", "nonfinite", "mean", "min", "max", "zero_share", "sampled", "w1_error", "values")
    alike = all(getattr(found, name).tobytes() == getattr(expected, name).tobytes() for name in names)
    return alike and np.allclose(found.std, expected.std, rtol=1e-14, atol=0, equal_nan=True)


def outcome(folder: Path, whole: StoredRun, others: pd.DataFrame, when: tuple[int, float], epochs: int) -> Outcome:
    """Kill a training so many seconds after an epoch, look at what it left, resume it and look again."""
    ended, wrong = killed(lambda tell: Training(folder / "saved.pt", epochs).run(folder / "run", tell), *when)
    compared = there = 0
    if (folder / "run" / "run.json").exists():
        try:
            there = sum(window.closed for window in StoredRun(folder / "run").window_list)
            for found in differing(folder / "run", whole, others, complete=False):
                compared, wrong = _counted(found, compared, wrong)
        except icshift.IcshiftError as error:
            wrong.append(f"does not open: {error}")
    elif ended:
        wrong.append(f"is gone; there are {sorted(file.name for file in folder.rglob('*'))}")
    if there < ended:
        wrong.append(f"{ended} windows had ended, {there} are there")
    try:
        Training(folder / "saved.pt", epochs).run(folder / "run", resume=True)
        for found in differing(folder / "run", whole, others, complete=True):
            compared, wrong = _counted(found, compared, wrong)
    except icshift.IcshiftError as error:
        wrong.append(f"resumed: {error}")
    return Outcome(ended, there, compared, tuple(wrong))


def _counted(found: str | int, compared: int, wrong: list[str]) -> tuple[int, list[str]]:
    return (compared, [*wrong, found]) if isinstance(found, str) else (compared + found, wrong)


def kills(count: int, epochs: int = EPOCHS) -> list[Outcome]:
    """Returns what was found after each of so many kills."""
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        Training(folder / "first.pt", epochs).run(folder / "first")  # What is loaded and compiled once.
        begun = time.perf_counter()
        Training(folder / "whole.pt", epochs).run(folder / "whole")
        lasts, whole = time.perf_counter() - begun, StoredRun(folder / "whole")
        found, others = [], whole.steps()
        for number in range(count):
            (own := folder / str(number)).mkdir()
            when = moments.randrange(epochs), moments.uniform(0.0, 1.2 * lasts / epochs)
            found.append(outcome(own, whole, others, when, epochs))
            shutil.rmtree(own)
        return found


def kills_while_files_are_put_together(count: int) -> list[Outcome]:
    """Returns what was found after each of so many kills of trainings whose files are put together all the time."""
    known = compaction.FAN, compaction.SMALL
    compaction.FAN, compaction.SMALL = 3, 1 << 14
    try:
        return kills(count, epochs=12)
    finally:
        compaction.FAN, compaction.SMALL = known


def recorded_by_several(path: Path, ranks: int = 3, windows: int = 40) -> Path:
    """Returns the path of a run of several processes."""
    where = Site("fc", "Linear", 1, 16)
    for rank in range(ranks):
        numbers = np.random.default_rng(rank)
        recording = Recording(
            path, {"model": "Net", "steps": windows, "sites": [asdict(where)]}, rank=rank, ranks=ranks
        )
        for index in range(1, windows + 1):
            sample = np.sort(numbers.normal(0.05 * index, 1, (16, 100)).astype(np.float32), axis=1)
            part = from_sample(Sample(sample, np.full(16, 100)))
            recording.write_window(Window(index, str(index), index, index, closed=True), {("train", where): part})
        recording.finish({})
    return path


def kills_while_merging(count: int) -> list[Outcome]:
    """Returns what was found after each of so many kills of a merge: windows that it told of count as ended."""
    known = compaction.FAN, compaction.SMALL
    compaction.FAN, compaction.SMALL = 3, 1 << 14
    moments = random.Random(SEED)
    try:
        with tempfile.TemporaryDirectory() as directory:
            run = recorded_by_several(Path(directory) / "run")
            whole = StoredRun(run)
            expected = {window.index: whole.distribution("train", "fc", window.index) for window in whole.window_list}
            begun = time.perf_counter()
            list(StoredRun(shutil.copytree(run, Path(directory) / "first")).merge())
            lasts, found = time.perf_counter() - begun, []
            for number in range(count):
                own = shutil.copytree(run, Path(directory) / str(number))
                found.append(merge_killed(own, moments.uniform(0, 1.2 * lasts), expected))
                shutil.rmtree(own)
            return found
    finally:
        compaction.FAN, compaction.SMALL = known


def merge_killed(path: Path, after: float, expected: Mapping[int, Distribution | None]) -> Outcome:
    """Merge in a process of its own that is killed so many seconds after it began; look, merge all, and look again."""
    told, wrong = killed(lambda tell: [tell(window.index) for window, _ in StoredRun(path).merge()], 0, after)
    wrong += [f"after the kill, {line}" for line in other_than(path, expected)]
    merged = [window.index for window, new in StoredRun(path).merge() if not new]
    wrong += [f"window {index} was merged, and is not any more" for index in range(1, told + 1) if index not in merged]
    wrong += [f"merged again, {line}" for line in other_than(path, expected)]
    if any(new for _, new in StoredRun(path).merge()):
        wrong.append("something was merged that had been")
    files = [file.name for file in (path / MERGED).iterdir() if not file.name.startswith(".")]
    if len(files) > 3 * compaction.FAN:
        wrong.append(f"there are {len(files)} files: {sorted(files)}")
    return Outcome(told, len(merged), 2 * sum(one.values.size for one in expected.values() if one), tuple(wrong))


def other_than(path: Path, expected: Mapping[int, Distribution | None]) -> Iterator[str]:
    """Yields a line for each window whose numbers are others than expected."""
    run = StoredRun(path)
    if [window.index for window in run.window_list] != list(expected):
        yield f"there are the windows {[window.index for window in run.window_list]}"
    for index, one in expected.items():
        found = run.distribution("train", "fc", index)
        if found is None or one is None or not _same(found, one):
            yield f"window {index} differs"


def cost_of_reaching_the_disk(pairs: int = 40) -> str:
    """Returns in words what a flush takes, and what it would take if nothing waited for the disk."""
    took: dict[bool, list[float]] = {True: [], False: []}
    reach = durable._to_disk
    with tempfile.TemporaryDirectory() as directory:
        training = Training(Path(directory) / "saved.pt")
        with icshift.Recorder(training.model, Path(directory) / "run", optimizer=training.optimizer) as recorder:
            for number in range(2 * pairs):
                training.model(torch.randn(200, 8)).square().mean().backward()
                training.optimizer.step()
                durable._to_disk = reach if number % 2 else _without
                begun = time.perf_counter()
                recorder.epoch()
                took[number % 2 == 1].append(time.perf_counter() - begun)
        durable._to_disk = reach
    with_it, without = (1e3 * statistics.median(took[kind]) for kind in (True, False))
    return (
        f"the end of a window takes {with_it:.1f} ms, {without:.1f} ms where nothing waits for the disk (n = {pairs})"
    )


def _without(path: Path) -> os.stat_result:
    return path.stat()


def main() -> int:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    faults = told("kills", kills(count))
    faults += told("kills while files are put together", kills_while_files_are_put_together((count + 1) // 2))
    faults += told("kills while windows of several processes are merged", kills_while_merging((count + 1) // 2))
    print(cost_of_reaching_the_disk())
    return 1 if faults else 0


def told(what: str, found: Sequence[Outcome]) -> int:
    """Prints what was found after some kills; returns how many faults there were."""
    wrong = [(number, line) for number, one in enumerate(found) for line in one.wrong]
    for number, line in wrong:
        print(f"kill {number}: {line}")
    ended, there = (sum(getattr(one, name) for one in found) for name in ("ended", "there"))
    print(
        f"{len(found)} {what}: {ended} windows had ended, {there} are there; {sum(one.compared for one in found):,} "
        f"numbers compared; {len(wrong)} faults"
    )
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
