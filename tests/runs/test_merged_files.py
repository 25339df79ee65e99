"""Merged windows lie in few files: put together as those of a recording are, and no number ever changes."""

import json
import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from icshift.errors import RunError
from icshift.runs import compaction, sealed
from icshift.runs.compacted import Compacted, source
from icshift.runs.encoding import encoding
from icshift.runs.format import MERGED, Window
from icshift.runs.merged import MADE_OF, digest
from icshift.runs.parts import name_of, part_of
from icshift.runs.reader import StoredRun
from icshift.runs.window_table import window_table
from icshift.runs.writer import Recording
from tests.recorded import distribution, site
from tests.runs.test_merged import assert_same
from tests.warm.starting import python
from tests.zoo.distributions import draw

RANKS, FAN, SMALL = 3, 4, 1 << 15


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Few files are many."""
    monkeypatch.setattr(compaction, "FAN", FAN)
    monkeypatch.setattr(compaction, "SMALL", SMALL)


class Growing:
    """A run of several processes that goes on."""

    def __init__(self, path):
        self.path = path
        where = [asdict(site("a", 4))]
        self.recordings = [Recording(path, {"sites": where}, rank=rank, ranks=RANKS) for rank in range(RANKS)]
        self.windows = 0

    def go_on(self, windows):
        for _ in range(windows):
            self.windows += 1
            for rank, recording in enumerate(self.recordings):
                window = Window(self.windows, str(self.windows), 8 * self.windows, 8 * self.windows + 7, closed=True)
                part = distribution(draw("normal", 30 + rank, 4, 10 * self.windows + rank))
                recording.write_window(window, {("train", site("a", 4)): part})
                recording.update({})
        return self


def unmerged(path):
    """The run as its processes wrote it, every window read."""
    aside = path.with_name(f"{path.name} aside")
    there = (path / MERGED).exists()
    if there:
        (path / MERGED).rename(aside)
    run = StoredRun(path)
    for window in run.window_list:
        run._load(window.index)
    if there:
        aside.rename(path / MERGED)
    return run


def merge(path):
    return [new for _, new in StoredRun(path).merge()]


def names(path):
    return sorted(file.name for file in (path / MERGED).iterdir())


def assert_all_merged(path, windows):
    """Nothing is left to be merged, each window is read from the files, and every number is as it was."""
    run = StoredRun(path)
    assert len(run.window_list) == windows
    assert all(run._place(window.index).file.parent.name == MERGED for window in run.window_list)
    assert_same(run, unmerged(path))


def test_there_are_few_files_however_many_windows(tmp_path):
    path = Growing(tmp_path / "run").go_on(5 * FAN * FAN).path
    assert merge(path) == [True] * 80
    assert len(names(path)) <= 3 * FAN
    assert_all_merged(path, 80)
    assert merge(path) == [False] * 80


def test_meanwhile_there_are_few_files_too(tmp_path):
    path = Growing(tmp_path / "run").go_on(40).path
    assert max(len(names(path)) for _ in StoredRun(path).merge()) <= 3 * FAN


def test_a_run_that_goes_on_is_merged_again_and_again(tmp_path):
    growing, path = Growing(tmp_path / "run"), tmp_path / "run"
    for windows in (1, 2, 10, 1, 17):
        before = growing.windows
        growing.go_on(windows)
        assert merge(path) == [False] * before + [True] * windows
        assert_all_merged(path, growing.windows)
    assert len(names(path)) <= 3 * FAN


def test_what_several_windows_were_put_into_is_read_by_site_and_by_window(tmp_path):
    path = Growing(tmp_path / "run").go_on(FAN).path
    expected = unmerged(path)
    merge(path)
    assert names(path) == ["000001-000004.rank0.parquet"]
    found = StoredRun(path).distribution("train", "a", 3)
    assert found.sampled.tolist() == expected.distribution("train", "a", 3).sampled.tolist()
    assert len(pq.read_table(path / MERGED, partitioning=None)) == 4 * FAN


def test_who_reads_goes_on_while_files_are_put_together(tmp_path):
    growing, path = Growing(tmp_path / "run").go_on(FAN - 1), tmp_path / "run"
    merge(path)
    run = StoredRun(path)
    before = [run.distribution("train", "a", window.index) for window in run.window_list]
    growing.go_on(3 * FAN)
    merge(path)
    assert len(names(path)) < FAN
    expected = unmerged(path)
    for index, one in enumerate(before, start=1):
        assert one.values.tobytes() == expected.distribution("train", "a", index).values.tobytes()
    assert run.distribution("train", "a", 1).mean.tolist() == expected.distribution("train", "a", 1).mean.tolist()


def test_who_read_before_a_merge_reads_what_was_merged(tmp_path):
    path = Growing(tmp_path / "run").go_on(FAN).path
    run = StoredRun(path)
    assert run._place(1) is None
    merge(path)
    assert run._place(1).file.parent.name == MERGED


@pytest.mark.usefixtures("bound")
def test_two_who_merge_at_once(tmp_path):
    path = Growing(tmp_path / "run").go_on(30).path
    code = f"""
from icshift.runs import compaction
from icshift.runs.reader import StoredRun
compaction.FAN, compaction.SMALL = {FAN}, {SMALL}
print(len(list(StoredRun({str(path)!r}).merge())))
"""
    both = [subprocess.Popen([python(), "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [one.communicate()[0].strip() for one in both] == ["30"] * 3
    assert [one.returncode for one in both] == [0] * 3
    assert_all_merged(path, 30)
    merge(path)
    merge(path)
    assert_all_merged(path, 30)
    assert len(names(path)) <= 3 * FAN
    assert not [name for name in names(path) if name.startswith(".")]


@pytest.mark.parametrize("seed", range(3))
def test_several_who_merge_in_turns(seed, tmp_path):
    """Each puts together what it wrote, with what others write between: these files overlap."""
    path = Growing(tmp_path / "run").go_on(30).path
    turns, who = random.Random(seed), [StoredRun(path).merge() for _ in range(3)]
    while who:
        one = turns.choice(who)
        for _ in range(turns.randint(1, 6)):
            if next(one, None) is None:
                who.remove(one)
                break
    assert_all_merged(path, 30)
    assert merge(path) == [False] * 30
    assert_all_merged(path, 30)
    assert len(names(path)) <= 3 * FAN


def held_by(path, singles, *numbers):
    """Put a file beside the merged ones that holds windows of these numbers, of which `singles` has one each."""
    parts = [part_of(singles / name_of(number, number, 0)) for number in numbers]
    one = Compacted([source(part) for part in parts], StoredRun(path)._ids[0], told_apart=False)
    while not one.go_on(1 << 20):
        pass
    one.aside.replace(path / MERGED / one.path.name)


@pytest.mark.parametrize(
    "files",
    [
        [(1, 2, 3, 4), (3, 4, 5, 6)],
        [(1, 2, 3, 8, 9), (4, 5), (5, 6, 7, 10)],
        [(1, 5, 9), (2, 6, 10), (3, 4, 7, 8)],
        [(1, 2), (2, 3), (5, 6), (6, 7, 8), (9, 10)],
    ],
)
def test_files_that_overlap_become_one_and_nothing_is_merged_again(files, tmp_path, monkeypatch):
    path = Growing(tmp_path / "run").go_on(10).path
    with monkeypatch.context() as patched:
        patched.setattr(compaction, "FAN", 100)
        merge(path)
    (singles := tmp_path / "singles" / MERGED).parent.mkdir()
    (path / MERGED).rename(singles)
    (path / MERGED).mkdir()
    for numbers in files:
        held_by(path, singles, *numbers)
    there = {number for numbers in files for number in numbers}
    assert merge(path) == [number not in there for number in range(1, 11)]
    assert_all_merged(path, 10)
    ranges = [part_of(path / MERGED / name) for name in names(path)]
    assert all(one.last < other.first for one, other in pairwise(ranges))


def test_what_is_there_twice_is_deleted(tmp_path):
    path = Growing(tmp_path / "run").go_on(FAN + 2).path
    [next(run) for run in [StoredRun(path).merge()] for _ in range(2)]
    single = (path / MERGED / "000002.rank0.parquet").read_bytes()
    merge(path)
    (path / MERGED / "000002.rank0.parquet").write_bytes(single)
    assert_all_merged(path, FAN + 2)
    assert merge(path) == [False] * (FAN + 2)
    assert names(path) == ["000001-000004.rank0.parquet", "000005.rank0.parquet", "000006.rank0.parquet"]


def test_threads_of_one_process_that_merge_at_once(tmp_path):
    path = Growing(tmp_path / "run").go_on(12).path
    with ThreadPoolExecutor(4) as pool:
        assert [len(new) for new in pool.map(merge, [path] * 4)] == [12] * 4
    assert_all_merged(path, 12)
    assert not [name for name in names(path) if name.startswith(".")]


def older(path, index):
    """A window as versions merged it that wrote a file for each."""
    run = StoredRun(path)
    window = run.window(index)
    here = {(phase, run.by_name[name]): found for (phase, name), found in run._load(index).items()}
    about = {b"icshift": json.dumps(asdict(window)).encode(), MADE_OF: digest(run._where.places(index)).encode()}
    table = window_table(index, here).replace_schema_metadata(about)
    (path / MERGED).mkdir(exist_ok=True)
    (path / MERGED / f"{index:06d}.parquet").write_bytes(sealed.parquet(table, compression="lz4"))


def test_windows_that_older_versions_merged_are_read_and_put_together(tmp_path):
    path = Growing(tmp_path / "run").go_on(2 * FAN + 1).path
    for index in range(1, 2 * FAN + 1):
        older(path, index)
    assert merge(path) == [False] * 2 * FAN + [True]
    assert names(path) == ["000001-000009.rank0.parquet"]
    assert_all_merged(path, 2 * FAN + 1)


@pytest.mark.parametrize("fault", ["out of date", "a bit", "cut short", "lost by a rank"])
def test_a_file_of_which_anything_is_not_as_it_should_be_is_merged_anew(fault, tmp_path):
    path = Growing(tmp_path / "run").go_on(FAN + 1).path
    merge(path)
    file = path / MERGED / "000001-000004.rank0.parquet"
    content = bytearray(file.read_bytes())
    if fault == "out of date":
        newer = path / "windows" / "000002.rank1.parquet"
        if not newer.exists():
            newer = next((path / "windows").glob("000001-*.rank1.parquet"))
        table = pq.read_table(newer, partitioning=None)
        entries = json.loads(table.schema.metadata[b"icshift"])
        for entry in entries if isinstance(entries, list) else [entries]:
            entry.pop("origin", None)
        about = {**table.schema.metadata, b"icshift": json.dumps(entries).encode()}
        newer.write_bytes(sealed.parquet(table.replace_schema_metadata(about), **encoding(table.schema)))
    elif fault == "a bit":
        content[200] ^= 1
        file.write_bytes(content)
    elif fault == "cut short":
        file.write_bytes(content[:-100])
    else:
        file_of_rank = next((path / "windows").glob("000001*.rank2.parquet"))
        file_of_rank.unlink()
    assert merge(path)[:FAN] == [True] * FAN
    assert_all_merged(path, FAN + 1)


def test_what_the_killed_left_is_deleted_after_a_while(tmp_path):
    path = Growing(tmp_path / "run").go_on(1).path
    merge(path)
    left = [path / MERGED / f".00000{number}.rank0.parquet.4711" for number in (2, 3)]
    for file in left:
        file.write_bytes(b"PAR1")
    os.utime(left[0], (time.time() - 7200, time.time() - 7200))
    merge(path)
    assert [file.exists() for file in left] == [False, True]


def test_where_nothing_more_can_be_written_what_is_there_is_read(tmp_path, monkeypatch):
    path = Growing(tmp_path / "run").go_on(FAN - 1).path
    merge(path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    Growing.go_on(_reopened(path), 1)
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(RunError, match="cannot be written"):
            merge(path)
    assert_same(StoredRun(path), unmerged(path))
    assert merge(path) == [False] * (FAN - 1) + [True]


def _reopened(path):
    growing = Growing.__new__(Growing)
    growing.path, growing.windows = path, FAN - 1
    manifest = {"sites": [asdict(site("a", 4))]}
    growing.recordings = [Recording.reopened(path, manifest, rank=rank, ranks=RANKS) for rank in range(RANKS)]
    return growing


def test_a_window_that_is_not_closed_is_not_merged(tmp_path):
    growing = Growing(tmp_path / "run").go_on(2)
    last = StoredRun(growing.path).window_list[-1]
    for recording in growing.recordings:
        recording.write_window(
            replace(last, closed=False), {("train", site("a", 4)): distribution(draw("normal", 9, 4))}
        )
    assert merge(growing.path) == [True]
    assert names(growing.path) == ["000001.rank0.parquet"]
