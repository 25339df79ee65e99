"""Where a recording cannot be written the training goes on bit for bit, with one warning, and the run says so."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import icshift
from icshift.cli.main import _run
from icshift.record import faults, journal
from icshift.runs.behind import pause_all
from icshift.runs.reader import StoredRun

EPOCHS, STEPS = 12, 3


def trained(recorded: Callable[[nn.Module, Any], Any], fault: Callable[[int], None] = lambda _: None) -> list[Any]:
    """The weights after twelve epochs, `fault(epoch)` being called before each, and what was warned of."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with warnings.catch_warnings(record=True, action="always") as caught, recorded(model, optimizer) as recorder:
        for epoch in range(EPOCHS):
            fault(epoch)
            for _ in range(STEPS):
                optimizer.zero_grad()
                model(torch.randn(16, 6)).square().mean().backward()
                optimizer.step()
            if recorder:
                recorder.epoch()
        fault(EPOCHS)
    return [*[value.clone() for value in model.state_dict().values()], [str(one.message) for one in caught]]


def recording(path: Path, **options: Any) -> Callable[[nn.Module, Any], Any]:
    return lambda model, optimizer: icshift.Recorder(model, path, optimizer=optimizer, **options)


def of(first: int, last: int, begin: Callable[[], None], end: Callable[[], None]) -> Callable[[int], None]:
    """A fault that lasts from before the first epoch to before the last one."""
    return lambda epoch: begin() if epoch == first else end() if epoch == last else None


@contextmanager
def small_disk(folder: Path, size: str = "400k") -> Iterator[Path]:
    """A file system of its own, with little room."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def no_descriptors() -> Callable[[int], None]:
    """Nothing can be opened during epochs 6 to 8."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    return of(
        5,
        8,
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1])),
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before),
    )


def no_long_files() -> Callable[[int], None]:
    """No file can be longer than a manifest's first lines during epochs 6 to 8."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    return of(
        5,
        8,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1])),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
    )


def filled(folder: Path) -> Callable[[int], None]:
    """The disk is full during epochs 6 to 8."""
    hog = folder / "hog"

    def fill() -> None:
        with suppress(OSError), hog.open("wb") as file:
            while True:
                file.write(bytes(1024))
                file.flush()

    return of(5, 8, fill, hog.unlink)


EXPECTED: list[Any] = []


def expected() -> list[Any]:
    if not EXPECTED:
        EXPECTED.extend(trained(lambda *_: nullcontext())[:-1])
    return EXPECTED


def assert_undisturbed(found: list[Any], warned: int = 1) -> str:
    assert all(torch.equal(one, other) for one, other in zip(found[:-1], expected(), strict=True))
    assert len(found[-1]) == warned, found[-1]
    return found[-1][0] if warned else ""


PASSING = {"descriptors": no_descriptors, "length of files": no_long_files}


@pytest.mark.some(1)
@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_leaves_a_gap(name: str, tmp_path: Path) -> None:
    told = assert_undisturbed(trained(recording(tmp_path / "run"), PASSING[name]()))
    assert "it goes on once that has passed" in told
    run = StoredRun(tmp_path / "run")
    indices = [window.index for window in run.window_list]
    assert indices[:6] == [1, 2, 3, 4, 5, 6], "the window that could not be written waits until it can be"
    assert indices[-3:] == [10, 11, 12]
    assert run.finished
    (gap,) = run.ending.gaps
    assert gap["first_step"] == 18
    assert gap["last_step"] in range(23, 27)
    recorded = set(run.steps("train")["step"])
    assert recorded == set(range(36)) - set(range(18, gap["last_step"] + 1))
    assert sum(window.steps for window in run.window_list) == len(recorded)


def test_what_is_written_around_a_gap_is_what_it_would_have_been(tmp_path: Path) -> None:
    trained(recording(tmp_path / "run"), no_descriptors())
    trained(recording(tmp_path / "whole"))
    run, whole = StoredRun(tmp_path / "run"), StoredRun(tmp_path / "whole")
    for index in (1, 6):
        for site in whole.sites:
            one, other = (each.distribution("train", site.name, index) for each in (run, whole))
            assert (one.values == other.values).all()
            assert (one.mean == other.mean).all()


def test_a_full_disk_that_is_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        assert_undisturbed(trained(recording(disk / "run"), filled(disk)))
        run = StoredRun(disk / "run")
        assert run.ending.gaps[0]["reason"] == "No space left on device"
        assert [window.index for window in run.window_list][:6] == [1, 2, 3, 4, 5, 6]
        assert _run(["check", str(disk / "run"), "--fail-on", "nonfinite > 0"]) == 1


def test_a_disk_that_stays_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:

        def fault(epoch: int) -> None:
            if epoch == 5:
                with suppress(OSError):
                    (disk / "hog").write_bytes(bytes(1 << 20))

        assert_undisturbed(trained(recording(disk / "run"), fault))
        assert not StoredRun(disk / "run").finished
        assert not list((disk / "run").rglob(".*")), "nothing is left aside, where there is no room"
        assert _run(["check", str(disk / "run"), "--fail-on", "nonfinite > 0"]) == 1


def deleted(path: Path) -> Callable[[int], None]:
    return of(5, 99, lambda: shutil.rmtree(path), lambda: None)


def replaced_by_a_file(path: Path) -> Callable[[int], None]:
    def begin() -> None:
        shutil.rmtree(path)
        path.write_text("somebody else's")

    return of(5, 99, begin, lambda: None)


def taken(path: Path) -> Callable[[int], None]:
    """Another training takes the path: here its manifest, which its writer would put there first."""

    def begin() -> None:
        manifest = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps({**manifest, "id": "0" * 32}))

    return of(5, 99, begin, lambda: None)


@pytest.mark.some(1)
@pytest.mark.parametrize("fault", [deleted, replaced_by_a_file, taken])
def test_a_path_that_is_lost_ends_the_recording(fault: Callable[[Path], Callable[[int], None]], tmp_path: Path) -> None:
    told = assert_undisturbed(trained(recording(tmp_path / "run"), fault(tmp_path / "run")))
    assert "it goes on" not in told
    if fault is taken:
        assert "another recording has taken" in told
        assert len(list((tmp_path / "run" / "windows").iterdir())) == 5, "nothing is written into the other's run"
        assert json.loads((tmp_path / "run" / "run.json").read_text())["id"] == "0" * 32


def test_what_ends_a_recording_is_in_the_run(tmp_path: Path) -> None:
    calls = []

    def mask(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        if len(calls) > 14:
            raise ValueError("no mask any more")
        return x[:, 0] > 9

    assert_undisturbed(trained(recording(tmp_path / "run", mask=mask)))
    run = StoredRun(tmp_path / "run")
    assert run.ending.stopped is not None
    assert "no mask any more" in run.ending.stopped["reason"]
    assert run.ending.stopped["step"] == 14
    assert not run.finished
    assert run.ending.heading.startswith(" · stopped at step 14: ")
    assert _run(["check", str(tmp_path / "run"), "--fail-on", "nonfinite > 0"]) == 1


def test_provisional_windows_outlast_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that had ended stay; the one under way goes on, and says how many of its steps it lacks."""
    monkeypatch.setattr(journal, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(faults, "_FIRST", 0.0)
    fault = no_descriptors()
    model = nn.Linear(6, 2)
    recorder = icshift.Recorder(model, tmp_path / "run", window="auto")
    with warnings.catch_warnings(record=True, action="always") as caught, recorder:
        for step in range(60):
            fault(step // 5)
            model(torch.randn(16, 6))
            recorder.step()
    assert len(caught) == 1
    run = StoredRun(tmp_path / "run")
    (gap,) = run.ending.gaps
    missing = set(range(gap["first_step"], gap["last_step"] + 1))
    assert 10 <= len(missing) <= 16
    assert set(run.steps("train")["step"]) == set(range(60)) - missing
    assert sum(window.left_out for window in run.window_list) == len(missing)
    assert sum(int(run.distribution("train", "(model)", window.index).count[0]) for window in run.window_list) == (
        16 * (60 - len(missing))
    )
    assert sum(window.steps for window in run.window_list) == 60


def test_the_last_window_of_a_training_that_ends_in_a_fault_is_there(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lasting = of(11, 12, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1])), lambda: None)

    def fault(epoch: int) -> None:
        lasting(epoch)
        if epoch == EPOCHS:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert_undisturbed(trained(recording(tmp_path / "run"), fault))
    run = StoredRun(tmp_path / "run")
    assert [window.index for window in run.window_list] == list(range(1, 13))
    assert run.ending.complete


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ended_the_training_is_told(error: type[BaseException], tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    with pytest.raises(error), icshift.Recorder(model, tmp_path / "run") as recorder:  # noqa: PT012
        model(torch.ones(3, 4))
        recorder.step()
        raise error
    run = StoredRun(tmp_path / "run")
    assert run.finished
    assert run.ending.heading == f" · ended by {error.__name__}"
    assert run.ending.interrupted["step"] == 1


def test_a_normal_end_and_exit_0_are_no_interruption(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    for name, end in (("a", None), ("b", SystemExit(0))):
        with pytest.raises(SystemExit) if end else nullcontext():  # noqa: SIM117
            with icshift.Recorder(model, tmp_path / name) as recorder:
                model(torch.ones(3, 4))
                recorder.step()
                if end:
                    raise end
        assert StoredRun(tmp_path / name).ending.heading == ""


def test_as_root_a_directory_that_is_read_only_is_no_fault_and_else_it_is(tmp_path: Path) -> None:
    run = tmp_path / "run"

    def read_only() -> None:
        for folder in (run, run / "windows", run / "steps"):
            folder.chmod(0o500)

    def writable() -> None:
        for folder in (run, run / "windows", run / "steps"):
            folder.chmod(0o700)

    if os.getuid() == 0:
        pytest.skip("root writes everywhere")
    assert_undisturbed(trained(recording(run), of(5, 8, read_only, writable)))
    assert StoredRun(run).ending.gaps


def test_a_window_is_not_there_before_its_steps_are(tmp_path: Path) -> None:
    """A training may be resumed from the end of any window that is there: its steps would be missing for good."""

    def no_folder_of_steps(epoch: int) -> None:
        if epoch == 2:
            shutil.rmtree(tmp_path / "run" / "steps")
            (tmp_path / "run" / "steps").write_text("")

    trained(recording(tmp_path / "run"), no_folder_of_steps)
    there = sorted(file.name for file in (tmp_path / "run" / "windows").iterdir())
    assert there == ["000001.rank0.parquet", "000002.rank0.parquet"]


def by_steps(path: Path, fault: Callable[[int], None] = lambda _: None) -> StoredRun:
    """The run of 36 steps in windows of three, which end while the training goes on, `fault(window)` before each."""
    torch.manual_seed(3)
    model = nn.Linear(6, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with icshift.Recorder(model, path, optimizer=optimizer, window=STEPS):
        for window in range(EPOCHS):
            pause_all()
            fault(window)
            for _ in range(STEPS):
                optimizer.zero_grad()
                model(torch.randn(16, 6)).square().mean().backward()
                optimizer.step()
    return StoredRun(path)


def test_a_fault_while_the_training_goes_on_loses_no_window_that_had_ended(tmp_path: Path) -> None:
    whole = by_steps(tmp_path / "whole")
    with pytest.warns(RuntimeWarning, match="it goes on once that has passed"):
        run = by_steps(tmp_path / "run", no_long_files())
    assert run.finished
    (gap,) = run.manifest["gaps"]
    assert (gap["first_step"], gap["last_step"] < 36) == (18, True), "it is found when the next window ends"
    ended = [window for window in run.window_list if window.last_step < gap["first_step"]]
    assert ended == whole.window_list[:6]
    for window in ended:
        one, other = (each.distribution("train", run.sites[0].name, window.index) for each in (run, whole))
        assert (one.values == other.values).all()
        assert (one.mean == other.mean).all()
    assert sorted(run.steps("train").step.unique()) == [*range(18), *range(gap["last_step"] + 1, 36)]


def test_a_fault_that_passes_before_the_next_window_ends_is_none(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    fault = of(
        5,
        6,
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1])),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before),
    )
    with warnings.catch_warnings(action="error"):
        run = by_steps(tmp_path / "run", fault)
    assert run.window_list == by_steps(tmp_path / "whole").window_list
    assert run.manifest["gaps"] == []


def test_a_run_is_read_where_it_is_recorded_with_all_windows_that_ended(tmp_path: Path) -> None:
    seen = []
    by_steps(tmp_path / "run", lambda _: seen.append([window.closed for window in _windows(tmp_path / "run")]))
    assert seen == [[True] * max(number - 1, 0) for number in range(EPOCHS)]


def _windows(path: Path) -> list[Any]:
    return StoredRun(path).window_list
