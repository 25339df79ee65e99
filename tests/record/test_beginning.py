"""A training that was stopped and goes on: its run is that of a training that nobody stopped."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import icshift
from icshift.errors import RecordingError, RunError
from icshift.runs.reader import StoredRun
from tests import laws

STEPS = 4


class Training:
    """A small training that can be saved after an epoch, and loaded."""

    def __init__(self, units: int = 5) -> None:
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(6, units), nn.ReLU(), nn.BatchNorm1d(units), nn.Linear(units, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.random = torch.Generator().manual_seed(2)

    def epoch(self, steps: int = STEPS) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            inputs = torch.randn(300, 6, generator=self.random)
            self.model(inputs).square().mean().backward()
            self.optimizer.step()

    def evaluate(self) -> None:
        self.model.eval()
        with torch.no_grad():
            self.model(torch.randn(2000, 6, generator=self.random))
        self.model.train()

    def saved(self) -> Any:
        return copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict(), self.random.get_state()))

    def load(self, saved: Any) -> Training:
        self.model.load_state_dict(saved[0])
        self.optimizer.load_state_dict(copy.deepcopy(saved[1]))
        self.random.set_state(saved[2])
        return self


def epochs(training: Training, recorder: icshift.Recorder, first: int, last: int) -> Iterator[Any]:
    """Trains; yields what is saved before each epoch and after the last."""
    for epoch in range(first, last):
        yield training.saved()
        training.epoch()
        training.evaluate()
        recorder.log(loss=float(epoch))
        recorder.epoch(f"epoch {epoch}")
    yield training.saved()


OPTIONS: dict[str, Any] = {"probe": torch.linspace(-1, 1, 60).reshape(10, 6)}


def whole(path: Path, last: int, **options: Any) -> list[Any]:
    training = Training()
    with icshift.Recorder(training.model, path, optimizer=training.optimizer, **OPTIONS, **options) as recorder:
        return list(epochs(training, recorder, 0, last))


def stopped(path: Path, copied: Path, kill: int, after: int) -> list[Any]:
    """Trains, and leaves at `copied` what a process leaves that is killed some steps into an epoch."""
    training = Training()
    with icshift.Recorder(training.model, path, optimizer=training.optimizer, **OPTIONS) as recorder:
        saved = list(epochs(training, recorder, 0, kill))
        training.epoch(after)
        recorder._journal.flush()
        recorder._journal._write_open(recorder.steps)
        recorder._journal.wait()
        shutil.copytree(path, copied)
    (copied / "windows" / ".000009.rank0.parquet.77").write_bytes(b"half a file")
    return saved


def assert_same(path: Path, other: Path) -> None:
    one, two = StoredRun(path), StoredRun(other)
    assert [(w.index, w.name, w.first_step, w.last_step) for w in one.window_list] == [
        (w.index, w.name, w.first_step, w.last_step) for w in two.window_list
    ]
    assert [w.inputs for w in one.window_list] == [w.inputs for w in two.window_list]
    assert one.phases == two.phases
    for window in one.window_list:
        for phase in one.phases:
            for site in one.sites:
                found, expected = (run.distribution(phase, site.name, window.index) for run in (one, two))
                assert (found is None) == (expected is None)
                if found is not None and expected is not None:
                    laws.assert_identical(found, expected)
        assert window.parameter_change == pytest.approx(two.window(window.index).parameter_change, rel=1e-6)
    assert one.steps().equals(two.steps())
    assert one.logged().equals(two.logged())
    assert one.sites == two.sites
    assert one.manifest["steps"] == two.manifest["steps"]
    assert (one.finished, one.ending.heading) == (True, "")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    whole(path, 5)
    return path


@pytest.mark.some(4)
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("kill", "after", "begin"), [(1, 0, 1), (2, 3, 2), (3, 1, 0), (4, 2, 2), (1, 2, 0)])
def test_a_resumed_run_is_an_uninterrupted_one(
    tmp_path: Path, uninterrupted: Path, kill: int, after: int, begin: int, said: bool
) -> None:
    """Killed some steps into an epoch, and resumed from the checkpoint of that or an earlier one."""
    folder = tmp_path
    saved = stopped(folder / "first", folder / "run", kill, after)
    training = Training().load(saved[begin])
    resume = begin * STEPS if said else True
    recorder = icshift.Recorder(training.model, folder / "run", optimizer=training.optimizer, resume=resume, **OPTIONS)
    with recorder:
        assert recorder.steps == begin * STEPS
        list(epochs(training, recorder, begin, 5))
    assert_same(folder / "run", uninterrupted)
    assert not list((folder / "run").rglob(".*"))
    manifest = StoredRun(folder / "run").manifest
    assert [one["step"] for one in manifest["resumed"]] == [begin * STEPS]
    assert manifest["initial_weights"] == StoredRun(uninterrupted).manifest["initial_weights"]


def test_without_a_run_one_begins(tmp_path: Path) -> None:
    whole(tmp_path / "run", 2, resume=True)
    whole(tmp_path / "whole", 2)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert "resumed" not in StoredRun(tmp_path / "run").manifest


def resumed(path: Path, saved: Any, *, resume: Any = True, units: int = 5, **options: Any) -> icshift.Recorder:
    training = Training(units)
    if saved is not None:
        training.load(saved)
    return icshift.Recorder(training.model, path, optimizer=training.optimizer, resume=resume, **{**OPTIONS, **options})


def test_what_does_not_agree_is_refused_and_the_run_stays(tmp_path: Path) -> None:
    saved = whole(tmp_path / "run", 2)
    before = {file: file.read_bytes() for file in sorted((tmp_path / "run").rglob("*")) if file.is_file()}
    for told, attempt in (
        ("samples was 64 and is 32", lambda: resumed(tmp_path / "run", saved[2], samples=32).start()),
        ("probe_fingerprint was", lambda: resumed(tmp_path / "run", saved[2], probe=torch.ones(10, 6)).start()),
        (
            "the model has 101 parameters, and that of the run had 57",
            lambda: resumed(tmp_path / "run", None, units=9).start(),
        ),
        (
            "resume is -3: expected True, False or a whole number from 0",
            lambda: resumed(tmp_path / "run", saved[2], resume=-3),
        ),
        ("take one of them", lambda: resumed(tmp_path / "run", saved[2], force=True)),
    ):
        with pytest.raises(RecordingError, match=told):
            attempt()
    assert before == {file: file.read_bytes() for file in sorted((tmp_path / "run").rglob("*")) if file.is_file()}


def record_one_step(recorder: icshift.Recorder) -> None:
    with recorder:
        recorder.model(torch.randn(9, 6)).sum().backward()
        recorder.step()
        recorder.epoch()


def test_another_model_ends_the_recording_and_not_the_training(tmp_path: Path) -> None:
    whole(tmp_path / "run", 2)
    with pytest.warns(RuntimeWarning, match="site 0 had units 5, now 9") as warned:
        record_one_step(resumed(tmp_path / "run", None, resume=2 * STEPS, units=9))
    assert len(warned) == 1
    assert len(StoredRun(tmp_path / "run").window_list) == 2


def test_steps_that_a_killed_process_trained_are_a_gap(tmp_path: Path) -> None:
    saved = whole(tmp_path / "run", 2)
    recorder = resumed(tmp_path / "run", saved[2], resume=2 * STEPS + 3)
    with pytest.warns(RuntimeWarning) as warned, recorder:
        assert recorder.steps == 2 * STEPS, "the parameters say more than the number"
    told, nothing = map(str, (one.message for one in warned))
    assert "11 steps are said to be behind this training, its parameters are those after 8 of" in told
    assert "no forward went through the model since" in nothing
    training = Training().load(saved[2])
    training.epoch(3)
    recorder = icshift.Recorder(
        training.model, tmp_path / "run", optimizer=training.optimizer, resume=2 * STEPS + 3, **OPTIONS
    )
    with recorder:
        training.epoch()
        recorder.epoch()
    run = StoredRun(tmp_path / "run")
    (gap,) = run.ending.gaps
    assert (gap["first_step"], gap["last_step"]) == (8, 10)
    assert [(w.first_step, w.last_step) for w in run.window_list] == [(0, 3), (4, 7), (11, 14)]


@pytest.mark.parametrize(("steps", "expected"), [(8, [1, 2, 3, 4]), (16, [1, 2, 5, 6]), (18, [1, 2, 5, 6])])
def test_windows_that_a_killed_process_did_not_write_keep_their_numbers(
    steps: int, expected: list[int], tmp_path: Path
) -> None:
    """So that a window has the number of that in a training which nobody stopped."""
    options: dict[str, Any] = {"window": STEPS, "force": True}
    training = Training()
    with icshift.Recorder(training.model, tmp_path / "run", optimizer=training.optimizer, **options):
        training.epoch(2 * STEPS)
    training.epoch(steps - 2 * STEPS)
    del options["force"]
    recorder = icshift.Recorder(training.model, tmp_path / "run", optimizer=training.optimizer, resume=steps, **options)
    with recorder:
        training.epoch(2 * STEPS)
    run = StoredRun(tmp_path / "run")
    assert [window.index for window in run.window_list] == expected
    assert [window.first_step for window in run.window_list] == [0, STEPS, steps, steps + STEPS]


@pytest.mark.parametrize(("ended", "cut"), [(False, {"window": 2, "step": 7}), (True, None)])
def test_a_window_that_an_exception_cut_is_told(ended: bool, cut: Any, tmp_path: Path) -> None:
    """What was under way is not kept for a window that goes on: who resumes there has one window more, and is told."""
    training = Training()
    options = {"optimizer": training.optimizer, **OPTIONS}
    with pytest.raises(KeyboardInterrupt), icshift.Recorder(training.model, tmp_path / "run", **options) as recorder:  # noqa: PT012
        training.epoch()
        recorder.epoch()
        training.epoch(3)
        if ended:
            recorder.epoch()
        raise KeyboardInterrupt
    recorder = icshift.Recorder(training.model, tmp_path / "run", resume=True, **options)
    with pytest.warns(RuntimeWarning, match="window 2 of .* ended after 7 steps") if cut else nullcontext():
        recorder.start()
    training.epoch(1)
    recorder.close()
    run = StoredRun(tmp_path / "run")
    assert [(one.first_step, one.last_step) for one in run.window_list] == [(0, 3), (4, 6), (7, 7)]
    assert run.manifest["resumed"][0]["cut"] == cut
    assert [sentence[:29] for sentence in run.ending.sentences] == (["Window 2 ended after 7 steps,"] if cut else [])


def test_a_run_that_is_being_recorded_is_not_resumed(tmp_path: Path) -> None:
    saved = whole(tmp_path / "run", 1)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    manifest.pop("checksum")
    manifest |= {"finished": False, "writer": {"host": "another machine", "process": 1, "started": 1}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordingError, match="is being recorded now"):
        resumed(tmp_path / "run", saved[1]).start()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="exists and is kept: choose another path; nothing but a run is"):
        resumed(tmp_path / "run", None)


def test_provisional_windows_stay_and_new_ones_are_as_long(tmp_path: Path) -> None:
    training = Training()
    with icshift.Recorder(training.model, tmp_path / "run", optimizer=training.optimizer, window="auto"):
        training.epoch(44)
    before = StoredRun(tmp_path / "run")
    kept = training.saved()
    training = Training().load(kept)
    recorder = icshift.Recorder(
        training.model, tmp_path / "run", optimizer=training.optimizer, window="auto", resume=True
    )
    with recorder:
        training.epoch(16)
    run = StoredRun(tmp_path / "run")
    lengths = [window.steps for window in run.window_list]
    assert lengths == [window.steps for window in before.window_list] + [4] * 4
    for window in before.window_list:
        for site in run.sites:
            laws.assert_identical(
                run.distribution("train", site.name, window.index),
                before.distribution("train", site.name, window.index),
            )
    assert np.isfinite(run.window(len(lengths)).parameter_change)


def test_what_a_process_left_that_was_killed_as_it_began_is_begun_anew(tmp_path: Path) -> None:
    for folder in ("windows", "steps"):
        (tmp_path / "run" / folder).mkdir(parents=True)
    (tmp_path / "run" / ".run.json.4711").write_text("{")
    record_one_step(resumed(tmp_path / "run", None))
    assert StoredRun(tmp_path / "run").finished
    assert [file.name for file in (tmp_path / "run").iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("left", ["windows/000001.rank0.parquet", "notes.txt"])
def test_what_is_there_without_a_manifest_is_not_deleted(left: str, tmp_path: Path) -> None:
    (tmp_path / "run" / "windows").mkdir(parents=True)
    (tmp_path / "run" / left).write_text("of somebody")
    with pytest.raises(RunError, match="exists and is kept"):
        resumed(tmp_path / "run", None)
    assert (tmp_path / "run" / left).read_text() == "of somebody"
