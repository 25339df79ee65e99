"""Files of series that stand in another's place: rows would be there twice, and others gone, without a word."""

import json
import shutil
from pathlib import Path

import pytest

import icshift
from icshift.errors import RunError
from icshift.runs import compaction, writer
from icshift.runs import format as stored
from icshift.runs.format import GRADIENT_SHIFT, LOGGED, SMOOTHNESS, STEPS, Window
from icshift.runs.parts import parts_in
from icshift.runs.reader import StoredRun
from icshift.runs.resuming import past_of
from icshift.runs.writer import Recording
from tests.cli import measurements
from tests.conftest import record_small, small_network
from tests.recorded import change_table, of_zoo, put_together, site
from tests.runs.test_writer import numbered, start

WINDOWS = 4
READ_BY = {
    STEPS: ("report", "run", "-o", "page.html"),
    LOGGED: ("report", "run", "-o", "page.html"),
    GRADIENT_SHIFT: ("export", "run", "--table", "gradient-shift", "-o", "-"),
    SMOOTHNESS: ("export", "run", "--table", "smoothness", "-o", "-"),
}


def record(path, *, rank=0, ranks=1, finish=True):
    """A run of windows of ten steps with a segment of each series, as a recorder writes them."""
    recording = start(path, site("a"), rank=rank, ranks=ranks)
    for index in range(1, WINDOWS + 1):
        last = 10 * index - 1
        recording.states[index] = {"parameters": f"end {index}", "sampling": None}
        window = Window(index, str(index), 10 * index - 10, last, closed=True)
        recording.write_window(window, {("train", site("a")): of_zoo("normal", 50, seed=index)})
        recording.append_steps("train", site("a"), numbered(range(10 * index - 10, 10 * index)))
        recording.append_measured(LOGGED, [{"step": last, "window": index, "name": "loss", "value": 1 / index}])
        recording.append_measured(GRADIENT_SHIFT, [{**measurements.SHIFT[0], "step": last}])
        recording.append_measured(SMOOTHNESS, [{**measurements.AROUND[0], "step": last}])
        recording.flush()
    if finish:
        recording.finish({"steps": 10 * WINDOWS})
    else:
        recording.update({"model": "Net", "settings": {}, "ledger": []})
    return path


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return record(Path("run"))


@pytest.fixture
def told(command):
    """Sees that a file is refused by who reads it, and by `info --verify`; returns what is told of it."""

    def told(file, reader):
        code, out, err = command(*reader)
        assert (code, out, err.count("\n")) == (2, "", 1), (out, err)
        assert str(file) in err
        code, out, _ = command("info", "run", "--verify", "--json")
        assert code == 1
        problems = [one for one in json.loads(out)["problems"] if str(file) in one]
        assert len(problems) == 1
        assert problems[0] in err
        return problems[0]

    return told


def files(run, series):
    return sorted((run / series).iterdir())


@pytest.mark.parametrize("series", READ_BY)
def test_a_file_that_was_copied_over_another_is_refused(run, series, printed, told):
    printed(*READ_BY[series])
    Path("page.html").unlink(missing_ok=True)
    second, third = files(run, series)[1:3]
    number = int(second.name[:6])
    shutil.copy(second, third)
    assert f"it holds segment {number} of {series}, and stands in the place of another" in told(third, READ_BY[series])


@pytest.mark.parametrize("series", READ_BY)
def test_a_file_that_was_put_together_is_refused_in_another_place(run, series, told):
    put_together(run, 2)
    whole, alone, _ = files(run, series)
    first, last = (int(number) for number in whole.name[:13].split("-"))
    other = whole.with_name(f"{first:06d}-{last - 1:06d}.rank0.parquet")
    held = whole.read_bytes()
    whole.rename(other)
    expected = f"it holds segments {first} to {last} of {series}, and stands in the place of another"
    assert expected in told(other, READ_BY[series])
    other.rename(whole)
    shutil.copy(alone, whole)
    assert f"it holds segment {int(alone.name[:6])} of {series}, and" in told(whole, READ_BY[series])
    whole.write_bytes(held)
    shutil.copy(whole, alone)
    assert expected in told(alone, READ_BY[series])


def test_a_file_of_another_series_is_refused(run, told):
    logged, steps = files(run, LOGGED)[0], files(run, STEPS)[0]
    shutil.copy(logged, steps)
    assert f"it holds segment {int(logged.name[:6])} of logged, and stands" in told(steps, READ_BY[STEPS])
    steps.unlink()
    same = steps.with_name(logged.name)
    shutil.copy(logged, same)
    assert f"it holds segment {int(logged.name[:6])} of logged, and stands" in told(same, READ_BY[STEPS])


@pytest.mark.parametrize("series", [STEPS, LOGGED])
def test_a_file_of_another_process_is_refused(tmp_path, monkeypatch, series, told):
    monkeypatch.chdir(tmp_path)
    for rank in (0, 1):
        record(Path("run"), rank=rank, ranks=2)
    own, other = files(Path("run"), series)[:2]
    shutil.copy(other, own)
    assert "another recording wrote it than the manifest" in told(own, READ_BY[series])


def test_a_segment_that_was_thinned_says_still_which_it_is(tmp_path, monkeypatch, printed, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(writer, "STEP_ROWS", 60)
    run = record(Path("run"))
    assert StoredRun(run).manifest["step_stride"] > 1
    printed("info", "run", "--verify")
    first, second = files(run, STEPS)[:2]
    shutil.copy(first, second)
    assert f"it holds segment {int(first.name[:6])} of steps, and stands" in told(second, READ_BY[STEPS])


def test_files_of_older_versions_are_read_and_put_together_as_before(run, printed):
    """What they do not say nobody says for them."""
    before = StoredRun(run).steps()
    for file in files(run, STEPS):
        change_table(file, lambda table: table, {b"icshift_run": StoredRun(run).manifest["id"].encode()})
    printed("info", "run", "--verify")
    second, third = files(run, STEPS)[1:3]
    held = third.read_bytes()
    shutil.copy(second, third)
    printed("info", "run", "--verify")
    third.write_bytes(held)
    put_together(run, 1)
    printed("info", "run", "--verify")
    assert StoredRun(run).steps().equals(before)
    whole, _ = files(run, STEPS)
    whole.rename(whole.with_name("000000-000900.rank0.parquet"))
    assert StoredRun(run).steps()["step"].nunique() == 30


@pytest.mark.parametrize("said", [b"{", b"[]", b'{"series": "steps"}', b'{"series": "steps", "first": -1, "last": 1}'])
def test_what_it_says_may_be_damaged_too(run, said, told):
    file = files(run, STEPS)[0]
    run_id = StoredRun(run).manifest["id"].encode()
    change_table(file, lambda table: table, {b"icshift_run": run_id, b"icshift_segment": said})
    told(file, READ_BY[STEPS])


@pytest.mark.parametrize("series", [STEPS, LOGGED])
def test_a_training_does_not_go_on_with_it_and_deletes_nothing(tmp_path, series):
    run = record(tmp_path / "run", finish=False)
    second, third = files(run, series)[1:3]
    shutil.copy(second, third)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match=f"{third.name} .*it holds segment .* stands in the place of another"):
        past_of(run, 0)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("folder", [STEPS, stored.WINDOWS])
def test_a_training_does_not_go_on_with_a_file_of_another_process(tmp_path, folder):
    """Else its rows would be written anew as its own."""
    for rank in (0, 1):
        record(tmp_path / "run", rank=rank, ranks=2, finish=False)
    own, other = files(tmp_path / "run", folder)[:2]
    shutil.copy(other, own)
    with pytest.raises(RunError, match=f"{own.name} .*another recording wrote it than the manifest"):
        past_of(tmp_path / "run", 0)
    past_of(tmp_path / "run", 1)


def test_a_recorder_that_resumes_says_so_before_it_trains(tmp_path):
    path = record_small(tmp_path / "run")
    first, *_, last = files(path, STEPS)
    shutil.copy(first, last)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match=f"{last.name} .*stands in the place of another"):
        icshift.Recorder(small_network(), path, resume=True)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_what_goes_on_says_which_segments_it_holds(tmp_path, monkeypatch, printed, told):
    """Segments that were cut, and those that were written since."""
    monkeypatch.chdir(tmp_path)
    run = record(Path("run"), finish=False)
    put_together(run, 1)
    past = past_of(run, 0)
    recording = Recording.resumed(past, {"model": "Net", "settings": {}, "sites": past.manifest["sites"]}, 20)
    recording.append_steps("train", site("a"), numbered(range(20, 30)))
    recording.finish({"steps": 30})
    assert sorted(set(StoredRun(run).steps()["step"])) == list(range(30))
    printed("info", "run", "--verify")
    whole, last = files(run, STEPS)
    held = last.read_bytes()
    shutil.copy(whole, last)
    assert "it holds segments " in told(last, READ_BY[STEPS])
    last.write_bytes(held)
    shutil.copy(last, whole)
    assert f"it holds segment {int(last.name[:6])} of steps, and" in told(whole, READ_BY[STEPS])


def test_what_is_in_another_place_is_not_put_together_with_others(tmp_path, monkeypatch, told):
    """Else it would say of itself that it is what it was taken for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compaction, "FAN", 3)
    monkeypatch.setattr(compaction, "_KEPT", 0)  # Rows are read, not kept in memory.
    recording = start(Path("run"), site("a"))
    for step in range(9):
        recording.append_measured(LOGGED, [{"step": step, "window": 1, "name": "loss", "value": 1.0}])
        recording.flush()
        if step == 1:
            first, second = files(Path("run"), LOGGED)
            shutil.copy(first, second)
        recording.update({})
    recording.write_window(Window(1, "1", 0, 8, closed=True), {("train", site("a")): of_zoo("normal", 50)})
    recording.finish({"steps": 9})
    assert any(part.first < part.last for part in parts_in(Path("run") / LOGGED, 1))
    assert "it holds segment 0 of logged, and stands" in told(second, READ_BY[LOGGED])


def test_the_rows_of_every_series_are_as_before(run):
    """The metadata are of the file, not of what is read."""
    opened = StoredRun(run)
    assert sorted(set(opened.steps()["step"])) == list(range(10 * WINDOWS))
    assert opened.logged()["value"].tolist() == [1 / index for index in range(1, WINDOWS + 1)]
    assert len(opened.gradient_shift()) == len(opened.smoothness()) == WINDOWS


@pytest.mark.parametrize("folder", [STEPS, stored.WINDOWS])
def test_nor_with_one_of_another_run(tmp_path, folder):
    """As where a backup of another experiment was copied over a run: it has windows and segments of the same names."""
    path, other = record_small(tmp_path / "run"), record_small(tmp_path / "other")
    last = files(path, folder)[-1]
    shutil.copy(other / folder / last.name, last)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(RunError, match=f"{last.name} .*another recording wrote it than the manifest"):
        icshift.Recorder(small_network(), path, resume=True)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
