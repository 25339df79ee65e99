"""The step series on disk: what is kept of it, and where a new run may go."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icshift.errors import RunError
from icshift.runs import writer as module
from icshift.runs.format import MANIFEST, QUANTILE_COLUMNS, StepRows, Window
from icshift.runs.frames import FILED
from icshift.runs.owner import refuse_occupied
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import of_zoo, site, step_rows, write_run
from tests.zoo.distributions import ZOO, draw

FLOATS = ("mean", "std", "min", "max", "zero_share")


def start(path, *sites, **options):
    return Recording(path, {"sites": [asdict(one) for one in sites]}, **options)


def numbered(steps, units=3):
    """Step rows that tell their step and unit in every column."""
    steps = np.asarray(steps)
    code = steps[:, None] * 1000 + np.arange(units)[None]
    floats = {name: code + place / 8 for place, name in enumerate(FLOATS)}
    floats["zero_share"] = code / 2**20
    quantiles = np.stack([code + place / 8 for place in range(5, 10)])
    return StepRows(steps=steps, count=code, nonfinite=code + 1, quantiles=quantiles, **floats)


def assert_series(table, steps, units):
    """The table holds exactly these steps of these units, every column as `numbered` has it."""
    assert table["step"].tolist() == np.repeat(steps, len(units)).tolist()
    assert table["unit"].tolist() == list(units) * len(steps)
    place = np.tile(np.arange(len(units)), len(steps))
    code = table["step"].to_numpy() * 1000 + place
    assert (table["count"] == code).all()
    assert (table["nonfinite"] == code + 1).all()
    for number, name in enumerate((*FLOATS, *QUANTILE_COLUMNS)):
        told = code / 2**20 if name == "zero_share" else code + number / 8
        assert (table[FILED.get(name, name)] == told).all(), name


def in_bits(rows, number):
    """Rows of one step, as float32 where they are stored so."""
    return {FILED.get(name, name): getattr(rows, name)[number].astype(np.float32) for name in FLOATS}


@pytest.mark.some(6)
@pytest.mark.parametrize("name", ZOO)
def test_round_trip_of_steps(tmp_path, name):
    values = np.split(draw(name, 400), 20, axis=1)
    rows = step_rows([[step] for step in values])
    recording = start(tmp_path / "run", site("a"))
    recording.append_steps("train", site("a"), rows)
    recording.finish({})
    table = StoredRun(tmp_path / "run").steps()
    assert table["step"].tolist() == np.repeat(np.arange(20), 3).tolist()
    for number in range(20):
        found = table[table["step"] == number]
        np.testing.assert_array_equal(found["count"], rows.count[number])
        np.testing.assert_array_equal(found["nonfinite"], rows.nonfinite[number])
        for column, expected in in_bits(rows, number).items():
            np.testing.assert_array_equal(found[column], expected)
        for place, column in enumerate(QUANTILE_COLUMNS):
            np.testing.assert_array_equal(found[column], rows.quantiles[place, number].astype(np.float32))


def test_steps_come_in_order_of_phase_site_step_and_unit(tmp_path):
    kept = site("b", units=90, kept=(5, 50))
    recording = start(tmp_path / "run", site("a"), kept)
    for steps in ([1, 0], [3, 2]):
        recording.append_steps("train", kept, numbered(steps, units=2))
        recording.append_steps("train", site("a"), numbered(steps))
        recording.flush()
    recording.append_steps("tune", site("a"), numbered([0]))
    recording.finish({})
    run = StoredRun(tmp_path / "run")
    assert_series(run.steps("train", ["a"]), range(4), range(3))
    assert_series(run.steps("train", ["b"]), range(4), (5, 50))
    assert_series(run.steps("tune"), [0], range(3))
    assert run.steps()["site"].tolist() == ["a"] * 12 + ["b"] * 8 + ["a"] * 3
    assert run.steps("eval").empty


def test_run_without_steps_has_an_empty_series(tmp_path):
    start(tmp_path / "run").finish({})
    assert list(StoredRun(tmp_path / "run").steps().columns[:4]) == ["phase", "site", "step", "unit"]


def test_ranks_keep_their_own_steps(tmp_path):
    for rank in (0, 1, 10):
        recording = start(tmp_path / "run", site("a"), rank=rank, ranks=11)
        recording.append_steps("train", site("a"), numbered([0, 1]))
        recording.finish({})
    table = StoredRun(tmp_path / "run").steps()
    assert len(table) == 18
    for rank in (0, 1, 10):
        assert_series(table[table["rank"] == rank], [0, 1], range(3))


def steps_kept(path):
    return sorted(set(StoredRun(path).steps()["step"]))


@pytest.mark.some(2)
@pytest.mark.parametrize("flush_every", [1, 3, 7, 64])
def test_series_is_bounded_and_evenly_thinned(tmp_path, monkeypatch, flush_every):
    monkeypatch.setattr(module, "STEP_ROWS", 60)
    recording = start(tmp_path / "run", site("a"))
    for number in range(0, 200, 2):
        recording.append_steps("train", site("a"), numbered([number, number + 1]))
        if number // 2 % flush_every == 0:
            recording.flush()
    recording.finish({})
    run = StoredRun(tmp_path / "run")
    stride = run.manifest["step_stride"]
    assert stride == recording.stride == 16
    assert_series(run.steps(), range(0, 200, stride), range(3))
    assert len(run.steps()) <= 60


def test_stride_doubles_once_for_once_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STEP_ROWS", 30)
    recording = start(tmp_path / "run", site("a"))
    recording.append_steps("train", site("a"), numbered(range(10)))
    recording.flush()
    assert recording.stride == 1
    recording.append_steps("train", site("a"), numbered([10]))
    recording.flush()
    assert recording.stride == 2
    recording.finish({})
    assert_series(StoredRun(tmp_path / "run").steps(), range(0, 11, 2), range(3))


def test_steps_that_overfill_the_buffer_are_on_the_stride_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STEP_ROWS", 60)
    monkeypatch.setattr(module, "_BUFFERED_BYTES", 0)
    recording = start(tmp_path / "run", site("a"))
    for first in (0, 15, 30, 45):
        recording.append_steps("train", site("a"), numbered(range(first, first + 15)))
    recording.finish({})
    stride = StoredRun(tmp_path / "run").manifest["step_stride"]
    assert_series(StoredRun(tmp_path / "run").steps(), range(0, 60, stride), range(3))


def test_what_was_full_is_not_full_once_it_is_written(tmp_path, monkeypatch):
    """Else a large model, whose buffers have grown to the bound, would write a file after every step."""
    recording = start(tmp_path / "run", site("a"))
    recording.append_steps("train", site("a"), numbered(range(1)))
    one = recording._buffers["train", "a"].waiting
    monkeypatch.setattr(module, "_BUFFERED_BYTES", 64 * one)
    full = []
    for step in range(1, 200):
        recording.append_steps("train", site("a"), numbered([step]))
        assert recording._buffers["train", "a"].capacity <= 64
        if recording.full:
            full.append(step)
            recording.flush()
    assert full == list(range(21, 200, 22))


def test_more_rows_at_once_than_the_buffer_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BUFFERED_BYTES", 0)
    recording = start(tmp_path / "run", site("a"))
    recording.append_steps("train", site("a"), numbered(range(30)))
    recording.append_steps("train", site("a"), numbered([30]))
    recording.finish({})
    assert_series(StoredRun(tmp_path / "run").steps(), range(31), range(3))


def test_one_step_with_more_rows_than_the_bound_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STEP_ROWS", 2)
    recording = start(tmp_path / "run", site("a"))
    recording.append_steps("train", site("a"), numbered(range(4)))
    recording.finish({})
    assert_series(StoredRun(tmp_path / "run").steps(), [0], range(3))


def test_thinning_leaves_windows_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STEP_ROWS", 9)
    path = tmp_path / "run"
    recording = start(path, site("a"))
    recording.write_window(Window(1, "1", 0, 4, closed=True), {("train", site("a")): of_zoo("normal", 300)})
    before = {file: file.read_bytes() for file in (path / "windows").iterdir()}
    recording.append_steps("train", site("a"), numbered(range(50)))
    recording.finish({})
    assert recording.stride > 1
    assert {file: file.read_bytes() for file in (path / "windows").iterdir()} == before
    laws.assert_identical(StoredRun(path).distribution("train", "a", 1), of_zoo("normal", 300))


def test_appended_rows_may_be_overwritten(tmp_path):
    rows = numbered([0, 1])
    recording = start(tmp_path / "run", site("a"))
    recording.append_steps("train", site("a"), rows)
    for field in fields(StepRows):
        getattr(rows, field.name)[:] = 0
    recording.finish({})
    assert_series(StoredRun(tmp_path / "run").steps(), [0, 1], range(3))


def test_flush_writes_whole_segments_only(tmp_path):
    recording = start(tmp_path / "run", site("a"))
    recording.flush()
    assert list((tmp_path / "run" / "steps").iterdir()) == []
    for step in (0, 1):
        recording.append_steps("train", site("a"), numbered([step]))
        recording.flush()
    segments = sorted((tmp_path / "run" / "steps").iterdir())
    assert [segment.name for segment in segments] == ["000000.rank0.parquet", "000001.rank0.parquet"]
    assert [pq.read_metadata(segment).num_rows for segment in segments] == [3, 3]


def killed_while_writing(where, content):
    where.write_text(content[:14].hex())
    raise KeyboardInterrupt


def test_writer_killed_in_a_window_leaves_the_ones_before(tmp_path, monkeypatch):
    recording = start(tmp_path / "run", site("a"))
    recording.write_window(Window(1, "1", 0, 9, closed=True), {("train", site("a")): of_zoo("normal", 7)})
    monkeypatch.setattr(Path, "write_bytes", killed_while_writing)
    for index in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            recording.write_window(Window(index, "1", 0, 9, closed=True), {("train", site("a")): of_zoo("relu", 7)})
    run = StoredRun(tmp_path / "run")
    assert [window.index for window in run.window_list] == [1]
    laws.assert_identical(run.distribution("train", "a", 1), of_zoo("normal", 7))


def test_window_written_again_replaces_the_first(tmp_path):
    recording = start(tmp_path / "run", site("a"))
    window = Window(1, "1", 0, 4, closed=False)
    recording.write_window(window, {("train", site("a")): of_zoo("normal", 7)})
    recording.write_window(replace(window, last_step=9, closed=True), {("train", site("a")): of_zoo("relu", 300)})
    recording.write_window(replace(window, index=2), {})
    run = StoredRun(tmp_path / "run")
    assert run.window_list == [replace(window, last_step=9, closed=True)]
    laws.assert_identical(run.distribution("train", "a", 1), of_zoo("relu", 300))


def test_manifest_holds_what_was_given_last(tmp_path):
    recording = start(tmp_path / "run")
    recording.update({"model": "Net", "steps": 1})
    recording.finish({"steps": 2})
    manifest = StoredRun(tmp_path / "run").manifest
    assert (manifest["model"], manifest["steps"], manifest["finished"], manifest["step_stride"]) == ("Net", 2, True, 1)


def test_manifest_with_a_number_that_json_has_not_is_refused_and_the_old_one_stays(tmp_path):
    recording = start(tmp_path / "run")
    before = (tmp_path / "run" / MANIFEST).read_text()
    with pytest.raises(ValueError, match="JSON"):
        recording.update({"loss": float("nan")})
    assert (tmp_path / "run" / MANIFEST).read_text() == before


def a_run(path):
    write_run(path, [{("train", "a"): of_zoo("normal", 7)}])


def something_else(path):
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")


def a_file(path):
    path.write_text("years of work")


def an_empty_folder(path):
    path.mkdir()


@pytest.mark.parametrize("make", [a_run, something_else, a_file, an_empty_folder])
def test_whatever_exists_is_kept(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(RunError, match="exists and is kept") as caught:
        start(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)


def test_alone_nobody_else_can_have_made_the_directory(tmp_path):
    (tmp_path / "run" / "windows").mkdir(parents=True)
    with pytest.raises(RunError, match="exists and is kept"):
        refuse_occupied(tmp_path / "run", force=False)
    refuse_occupied(tmp_path / "run", force=False, ranks=2)


@pytest.mark.parametrize("make", [something_else, a_file])
def test_force_replaces_nothing_but_runs(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(RunError, match="even with force") as caught:
        start(tmp_path / "x", force=True)
    assert str(tmp_path / "x") in str(caught.value)
    assert "years of work" in {
        file.read_text() for file in (tmp_path / "x", *tmp_path.rglob("*.tex")) if file.is_file()
    }


@pytest.mark.parametrize("make", [a_run, an_empty_folder])
def test_force_replaces_a_run(tmp_path, make):
    make(tmp_path / "x")
    start(tmp_path / "x", site("b"), force=True)
    run = StoredRun(tmp_path / "x")
    assert run.window_list == []
    assert run.sites == [site("b")]


@pytest.mark.parametrize("force", [False, True])
def test_new_path_is_made_with_its_parents(tmp_path, force):
    refuse_occupied(tmp_path / "a" / "b", force=force)
    start(tmp_path / "a" / "b", force=force).finish({})
    assert StoredRun(tmp_path / "a" / "b").finished
