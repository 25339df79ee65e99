"""Several processes that record into one directory, and the one run that is read from it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import reduce
from itertools import permutations
from threading import Barrier

import numpy as np
import pandas as pd
import pytest

from icshift.distribution import Distribution
from icshift.errors import RunError
from icshift.runs.format import MANIFEST, Seen, Window
from icshift.runs.merging import merged_window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import change_manifest, distribution, of_zoo, site, step_rows
from tests.zoo.distributions import ZOO, draw

A_SITE = (asdict(site("a")),)


def start(path, rank, ranks, *, sites=A_SITE, force=False, **manifest):
    return Recording(path, {"sites": list(sites), **manifest}, rank=rank, ranks=ranks, force=force)


def write(recording, part, *, name="a", phase="train", index=1):
    """One closed window of one site, and a step of it."""
    where = site(name, part.units)
    recording.write_window(Window(index, str(index), 0, 9, closed=True), {(phase, where): part})
    recording.append_steps(phase, where, step_rows([[draw("normal", 7, part.units)]]))


def merged_ranks(path, parts):
    """A finished run in which every rank recorded one of the parts; gives its path."""
    for rank, part in enumerate(parts):
        recording = start(path, rank, len(parts), sites=[asdict(site("a", part.units))])
        write(recording, part)
        recording.finish({})
    return path


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def files_of(rank):
    manifest = f"run.rank{rank}.json" if rank else MANIFEST
    return {manifest, f"windows/000001.rank{rank}.parquet", f"steps/000000.rank{rank}.parquet"}


def change(path, rank=0, **changes):
    file = path / (f"run.rank{rank}.json" if rank else MANIFEST)
    change_manifest(file, **changes)


@pytest.mark.some(2)
@pytest.mark.covering(1)
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("finishing", list(permutations(range(3))))
@pytest.mark.parametrize("beginning", list(permutations(range(3))))
def test_ranks_begin_and_finish_in_any_order(tmp_path, beginning, finishing, force):
    path = tmp_path / "deep" / "run"
    recordings = {}
    for rank in beginning:
        recordings[rank] = start(path, rank, 3, force=force)
        write(recordings[rank], of_zoo("normal", 300, seed=rank))
    for rank in finishing:
        assert not StoredRun(path).finished
        recordings[rank].finish({})
    assert set(files(path)) == files_of(0) | files_of(1) | files_of(2)
    run = StoredRun(path)
    assert run.finished
    assert run.ranks == 3
    assert run.distribution("train", "a", 1).count.tolist() == [900] * 3


@pytest.mark.some(1)
@pytest.mark.parametrize("force", [False, True])
def test_ranks_that_begin_at_the_same_moment(tmp_path, force):
    together = Barrier(4)

    def record(path, rank):
        together.wait()
        recording = start(path, rank, 4, force=force)
        write(recording, of_zoo("normal", 7))
        recording.finish({})

    for attempt in range(10):
        path = tmp_path / "runs" / str(attempt)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(record, [path] * 4, range(4)))
        assert StoredRun(path).finished
        assert StoredRun(path).distribution("train", "a", 1).count.tolist() == [28] * 3


@pytest.mark.some(6)
@pytest.mark.covering(1)
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("n", [300, 9000])
@pytest.mark.parametrize("ranks", [2, 3])
def test_recorded_by_several_is_recorded_by_one(tmp_path, name, n, ranks):
    values = draw(name, n)
    parts = [distribution(part) for part in np.split(values, [n // 6, n // 2][: ranks - 1], axis=1)]
    found = StoredRun(merged_ranks(tmp_path / "run", parts)).distribution("train", "a", 1)
    laws.split_is_whole([found], distribution(values))
    laws.assert_stands_for(found, values)


@pytest.mark.thorough
def test_stated_rank_error_grows_slower_than_the_number_of_ranks(tmp_path):
    parts = [of_zoo("lognormal", 600, seed=seed) for seed in range(32)]
    found = StoredRun(merged_ranks(tmp_path / "run", parts)).distribution("train", "a", 1)
    assert found.rank_error < reduce(Distribution.merge, parts).rank_error / 2
    laws.assert_stands_for(found, np.concatenate([draw("lognormal", 600, seed=seed) for seed in range(32)], axis=1))


def test_steps_tell_their_rank(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 7)] * 12)
    table = StoredRun(path).steps("train", ["a"])
    assert table["rank"].tolist() == np.repeat(np.arange(12)[None], 3, axis=0).ravel().tolist()
    assert table["unit"].tolist() == np.repeat(np.arange(3), 12).tolist()
    for rank in range(1, 12):
        (path / "steps" / f"000000.rank{rank}.parquet").unlink()
    assert StoredRun(path).steps()["rank"].tolist() == [0] * 3
    (path / "steps" / "000000.rank0.parquet").unlink()
    assert "rank" in StoredRun(path).steps().columns
    assert "rank" not in StoredRun(merged_ranks(tmp_path / "alone", [of_zoo("normal", 7)])).steps().columns


def test_sites_of_a_pipeline_follow_each_other(tmp_path):
    parts = {"a": of_zoo("normal", 300), "b": of_zoo("relu", 300, units=5), "c": of_zoo("normal", 7, units=2)}
    for rank in (2, 0, 1):
        name = "abc"[rank]
        sites = [asdict(site(one, parts[one].units)) for one in {"a", name}]
        recording = start(tmp_path / "run", rank, 3, sites=sites)
        write(recording, parts[name], name=name)
        recording.finish({})
    run = StoredRun(tmp_path / "run")
    assert [one.name for one in run.sites] == [one["name"] for one in run.manifest["sites"]] == ["a", "b", "c"]
    for name, part in parts.items():
        laws.assert_identical(run.distribution("train", name, 1), part)
    assert run.windows().groupby("site")["unit"].apply(list).to_dict() == {
        name: list(range(part.units)) for name, part in parts.items()
    }


def test_what_reads_a_site_is_what_reads_it_in_any_process(tmp_path):
    """Nothing that is said of a site is true of the first process alone."""
    first = replace(site("a"), feeds=("ReLU",), normalises=True, batch_statistics=True, follows="b", unseen="")
    second = replace(first, feeds=("GELU", "ReLU"), others=("add",), batch_statistics=False, follows="c")
    for rank, one in enumerate((first, second, replace(second, others=(), unseen="it was not traced"))):
        write(start(tmp_path / "run", rank, 3, sites=[asdict(one)]), of_zoo("normal", 7))
    (found,) = StoredRun(tmp_path / "run").sites
    assert (found.feeds, found.others, found.unseen) == (("ReLU", "GELU"), ("add",), "it was not traced")
    assert (found.normalises, found.batch_statistics, found.follows) == (True, False, None)


def test_a_site_that_all_processes_describe_alike_is_as_they_do(tmp_path):
    one = replace(site("a"), feeds=("ReLU",), follows="b", in_steps=(0, 2))
    for rank in range(3):
        write(start(tmp_path / "run", rank, 3, sites=[asdict(one)]), of_zoo("normal", 7))
    assert StoredRun(tmp_path / "run").sites == [one]


def entry(module, state, reason=""):
    return {"module": module, "type": "Linear", "state": state, "reason": reason}


def test_ledger_tells_what_only_other_ranks_missed(tmp_path):
    ledgers = [
        [entry("a", "observed"), entry("b", "excluded"), entry("c", "failed", "disk")],
        [entry("a", "failed", "full"), entry("b", "observed"), entry("c", "failed", "disk"), entry("d", "observed")],
        [entry("a", "failed", "full"), entry("d", "never called"), entry("e", "excluded")],
    ]
    for rank, ledger in enumerate(ledgers):
        start(tmp_path / "run", rank, 3, ledger=ledger)
    assert StoredRun(tmp_path / "run").manifest["ledger"] == [
        {**entry("a", "observed"), "ranks": [0]},
        {**entry("a", "failed", "full"), "ranks": [1, 2]},
        {**entry("b", "observed"), "ranks": [1]},
        {**entry("c", "failed", "disk"), "ranks": [0, 1]},
        {**entry("d", "observed"), "ranks": [1]},
        {**entry("d", "never called"), "ranks": [2]},
        {**entry("e", "excluded"), "ranks": [2]},
    ]


@pytest.mark.parametrize("calling", range(3))
def test_a_module_that_one_rank_alone_called_is_observed(tmp_path, calling):
    for rank in range(3):
        ledger = [entry("a", "observed"), entry("c", "observed" if rank == calling else "never called")]
        start(tmp_path / "run", rank, 3, ledger=ledger)
    others = [rank for rank in range(3) if rank != calling]
    assert StoredRun(tmp_path / "run").manifest["ledger"] == [
        entry("a", "observed"),
        {**entry("c", "observed"), "ranks": [calling]},
        {**entry("c", "never called"), "ranks": others},
    ]


def test_the_rest_of_the_manifest_is_rank_0s(tmp_path):
    for rank in (1, 0):
        recording = start(tmp_path / "run", rank, 2, model=f"Net{rank}")
        recording.stride = 4 if rank else 2
        recording.finish({"overhead": {"recording_seconds": rank, "wall_seconds": 9}})
    manifest = StoredRun(tmp_path / "run").manifest
    assert manifest["model"] == "Net0"
    assert manifest["overhead"]["recording_seconds"] == 0
    assert manifest["step_stride"] == 4


def test_run_of_a_killed_rank_is_readable_and_unfinished(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300), of_zoo("relu", 300)])
    change(path, rank=1, finished=False)
    assert not StoredRun(path).finished
    (path / "run.rank1.json").unlink()
    run = StoredRun(path)
    assert not run.finished
    assert run.distribution("train", "a", 1).count.tolist() == [600] * 3
    for file in path.rglob("*.rank1.*"):
        file.unlink()
    laws.assert_identical(StoredRun(path).distribution("train", "a", 1), of_zoo("normal", 300))
    assert not StoredRun(path).finished


def test_run_without_rank_0_is_none(tmp_path):
    start(tmp_path / "run", 1, 2)
    with pytest.raises(RunError, match=f"it has no {MANIFEST}"):
        StoredRun(tmp_path / "run")


def test_site_that_no_manifest_names_is_left_out(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300)])
    change(path, ranks=2)
    write(start(path, 1, 2, sites=()), of_zoo("relu", 7), name="b")
    run = StoredRun(path)
    assert run.distribution("train", "b", 1) is None
    assert set(run.windows()["site"]) == {"a"}


def test_run_from_before_ranks_is_rank_0s_alone(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300), of_zoo("relu", 300)])
    change_manifest(path / MANIFEST, without=["ranks", "files"])
    run = StoredRun(path)
    assert run.finished
    laws.assert_identical(run.distribution("train", "a", 1), of_zoo("normal", 300))


def test_files_of_ranks_that_the_run_has_not_are_ignored(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300), of_zoo("normal", 300)])
    before = StoredRun(path)
    for file in files_of(2) | files_of(11) | {"windows/000009.rank2.parquet"}:
        (path / file).write_bytes(b"of another run")
    run = StoredRun(path)
    assert run.finished
    assert run.window_list == before.window_list
    pd.testing.assert_frame_equal(run.windows(), before.windows())
    pd.testing.assert_frame_equal(run.steps(), before.steps())


def leave_nothing(_):
    pass


def leave_parents(path):
    path.mkdir()


def leave_folders(path):
    (path / "windows").mkdir(parents=True)


def leave_a_beginning(path):
    start(path, 2, 3)


def leave_all(path):
    write(start(path, 1, 3), of_zoo("normal", 7))
    (path / ".run.rank2.json.4711").write_text("{")
    (path / "windows" / ".000001.rank2.parquet.4711").write_bytes(b"PAR1 half")


@pytest.mark.parametrize("leave", [leave_nothing, leave_parents, leave_folders, leave_a_beginning, leave_all])
@pytest.mark.parametrize("force", [False, True])
def test_rank_0_comes_after_the_others(tmp_path, leave, force):
    path = tmp_path / "run"
    leave(path)
    before = files(path)
    start(path, 0, 3, force=force)
    assert files(path).items() >= before.items()


def older_run(path):
    merged_ranks(path, [of_zoo("normal", 7)])


def larger_run_without_rank_0(path):
    start(path, 3, 4)


def half_a_file_of_rank_0(path):
    path.mkdir()
    (path / ".run.json.4711").write_text("{")


def segments_of_rank_0(path):
    merged_ranks(path, [of_zoo("normal", 7)])
    (path / MANIFEST).unlink()


def other_work(path):
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")


def other_work_in_windows(path):
    (path / "windows").mkdir(parents=True)
    (path / "windows" / "houses.parquet").write_text("years of work")


def other_work_in_a_folder(path):
    (path / "steps" / "windows").mkdir(parents=True)
    (path / "steps" / "windows" / "000001.rank1.parquet").write_text("years of work")


def other_manifest(path):
    path.mkdir()
    (path / MANIFEST).write_text('{"scripts": "years of work"}')


def a_file(path):
    path.write_text("years of work")


OURS = [older_run, larger_run_without_rank_0, half_a_file_of_rank_0, segments_of_rank_0]
NOT_OURS = [other_work, other_work_in_windows, other_work_in_a_folder, other_manifest, a_file]


@pytest.mark.parametrize("make", OURS + NOT_OURS)
def test_rank_0_keeps_what_no_other_rank_of_this_run_made(tmp_path, make):
    make(tmp_path / "x")
    before = files(tmp_path)
    with pytest.raises(RunError, match="exists and is kept") as caught:
        start(tmp_path / "x", 0, 3)
    assert str(tmp_path / "x") in str(caught.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("make", NOT_OURS)
def test_rank_0_forces_nothing_but_runs(tmp_path, make):
    make(tmp_path / "x")
    before = files(tmp_path)
    with pytest.raises(RunError, match="even with force"):
        start(tmp_path / "x", 0, 3, force=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("make", OURS)
def test_rank_0_forces_what_a_run_left(tmp_path, make):
    make(tmp_path / "x")
    start(tmp_path / "x", 0, 3, force=True)
    assert set(files(tmp_path / "x")) == {MANIFEST}


@pytest.mark.parametrize("left", [*sorted(files_of(1)), ".run.rank1.json.4711"])
def test_other_ranks_keep_files_of_their_own(tmp_path, left):
    path = tmp_path / "run"
    start(path, 0, 3)
    for name in (left, "run.rank7.json"):
        (path / name).write_text("of an older run")
    before = files(path)
    with pytest.raises(RunError, match="exists and is kept"):
        start(path, 1, 3)
    assert files(path) == before
    start(path, 2, 3)
    start(path, 1, 3, force=True)
    assert set(files(path)) == {MANIFEST, "run.rank1.json", "run.rank2.json", "run.rank7.json"}


@pytest.mark.parametrize("force", [False, True])
def test_no_rank_writes_where_a_file_is(tmp_path, force):
    a_file(tmp_path / "x")
    for rank in (0, 1):
        with pytest.raises(RunError, match="exists and is"):
            start(tmp_path / "x", rank, 2, force=force)
    assert (tmp_path / "x").read_text() == "years of work"


@pytest.mark.parametrize(("rank", "ranks"), [(1, 1), (2, 2), (-1, 2), (0, 0)])
def test_ranks_that_cannot_be_are_refused(tmp_path, rank, ranks):
    with pytest.raises(RunError, match=f"rank {rank} of {ranks}"):
        start(tmp_path / "run", rank, ranks)
    assert not files(tmp_path)


def test_refused_attempt_of_several_leaves_an_older_run_as_it_was(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300)])
    write(start(path, 1, 2), of_zoo("relu", 300))
    with pytest.raises(RunError, match="exists and is kept"):
        start(path, 0, 2)
    run = StoredRun(path)
    assert run.finished
    laws.assert_identical(run.distribution("train", "a", 1), of_zoo("normal", 300))


@pytest.mark.some(1)
@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_force_replaces_an_older_larger_run(tmp_path, order):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300)] * 4)
    (path / "notes.txt").write_text("years of work")
    (path / ".run.rank3.json.4711").write_text("{")
    for rank in order:
        recording = start(path, rank, 2, force=True)
        write(recording, of_zoo("relu", 7, seed=rank))
        recording.finish({})
    assert set(files(path)) == files_of(0) | files_of(1) | {"notes.txt"}
    run = StoredRun(path)
    assert run.finished
    assert run.distribution("train", "a", 1).count.tolist() == [14] * 3
    assert len(run.steps()) == 6


def test_force_by_one_replaces_a_run_of_many(tmp_path):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300)] * 3)
    start(path, 0, 1, force=True)
    assert set(files(path)) == {MANIFEST}


def test_force_deletes_no_live_file_of_another_rank(tmp_path):
    path = tmp_path / "run"
    live = {}
    for rank in (2, 0, 1):
        write(start(path, rank, 3, force=True), of_zoo("normal", 7))
        assert files(path).items() >= live.items()
        live = files(path)


def test_examples_of_all_ranks_are_added_up_in_any_order():
    def window(inputs):
        return Window(1, "1", 0, 9, closed=True, inputs=inputs)

    first = Seen(3, "fffffffffffffff0", "0: float32 [4]")
    second = Seen(2, "0000000000000011", "0: float32 [4]")
    both = Seen(5, "0000000000000001", "0: float32 [4]")
    one, two = window({"train": first, "eval": second}), window({"train": second})
    assert merged_window([one, two]).inputs == {"train": both, "eval": second}
    assert merged_window([two, one]).inputs == {"train": both, "eval": second}
    assert merged_window([one, window({"train": None})]).inputs == {"train": None, "eval": second}
    assert merged_window([one, window(None)]).inputs is None
    padded = merged_window([one, window({"train": replace(second, rows="0: float32 [7]")})]).seen("train")
    assert padded == replace(both, rows=None)
