"""A run whose files were put together is read as it was before, by every function and of every format."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from icshift.runs import sealed
from icshift.runs.compacted import Compacted, source
from icshift.runs.format import RUN_ID, Site
from icshift.runs.parts import parts_in
from icshift.runs.reader import StoredRun
from icshift.runs.verify import verify
from tests import laws
from tests.conftest import record_small
from tests.recorded import distribution, of_zoo, probe, put_together, write_run
from tests.runs.test_reader_written_before import WRITTEN

TABLES = ("windows", "steps", "logged", "smoothness", "gradient_shift")


def assert_read_alike(path, before):
    """What is read at a path is what a run read before."""
    run = StoredRun(path)
    assert run.window_list == before.window_list
    assert run.phases == before.phases
    assert run.missing == before.missing
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(run, name)(), getattr(before, name)(), check_exact=True)
    for window in before.window_list:
        for phase in before.phases:
            for site in before.sites:
                found, expected = (one.distribution(phase, site.name, window.index) for one in (run, before))
                assert (found is None) == (expected is None)
                if found is not None:
                    laws.assert_identical(found, expected)


def loaded(path):
    """A run with all that it holds in memory."""
    run = StoredRun(path)
    for window in run.window_list:
        run._load(window.index)
    frames = {name: getattr(run, name)() for name in TABLES}
    for name, frame in frames.items():
        setattr(run, name, lambda frame=frame: frame)
    return run


@pytest.fixture(params=[*WRITTEN, "recorded", "processes", "uneven"])
def path(request, tmp_path):
    """Runs of every format, one just recorded, one of two processes, and one whose windows differ in what they hold."""
    if request.param in WRITTEN:
        return Path(shutil.copytree(WRITTEN[request.param], tmp_path / "run"))
    if request.param == "recorded":
        record_small(tmp_path / "run", windows=4)
        return tmp_path / "run"
    uneven = [
        {("train", "a"): of_zoo("normal", 300), ("eval", "b"): of_zoo("relu", 7, units=5)},
        {("probe", "a"): probe(np.arange(30.0).reshape(3, 10))},
        {("train", "b"): of_zoo("student_t3", 900, units=5)},
    ]
    sites = [Site("a", "Linear", 1, 3), Site("b", "Linear", 1, 5)]
    if request.param == "uneven":
        return write_run(tmp_path / "run", [*uneven, *uneven], sites=sites)
    same = [{("train", "a"): distribution(np.random.default_rng(k).normal(size=(3, 40)))} for k in range(4)]
    for rank in (0, 1):
        write_run(tmp_path / "run", same[rank:] + same[:rank], rank=rank, ranks=2)
    return tmp_path / "run"


@pytest.mark.parametrize("few", [0, 1])
def test_it_is_read_as_before(path, few):
    before, files = loaded(path), len(list(path.rglob("*.parquet")))
    put_together(path, few)
    assert_read_alike(path, before)
    assert len(list(path.rglob("*.parquet"))) < files or before.manifest.get("id") == "5" * 32  # It is put together.
    assert all("are missing" not in told for told in verify(path).problems if "windows" in told)


def test_what_is_put_together_again_is_read_as_before(path):
    before = loaded(path)
    for few in (2, 1, 0):
        put_together(path, few)
    assert_read_alike(path, before)
    assert len(parts_in(path / "windows", 1)) <= 2


def test_its_files_are_sealed_and_of_its_run(path):
    put_together(path, 0)
    for file in path.rglob("*-*.parquet"):
        sealed.verify(file)
        assert RUN_ID in pq.read_schema(file).metadata


def test_a_row_group_holds_many_small_windows_and_a_large_site_has_its_own(tmp_path):
    small = write_run(tmp_path / "small", [{("train", "a"): of_zoo("normal", 30)}] * 40)
    put_together(small, 0)
    assert pq.ParquetFile(next((small / "windows").iterdir())).num_row_groups == 1
    large = {("train", "a"): of_zoo("normal", 9, units=1500), ("train", "b"): of_zoo("normal", 9)}
    put_together(write_run(tmp_path / "large", [large] * 3), 0)
    found = pq.ParquetFile(next((tmp_path / "large" / "windows").iterdir()))
    assert found.metadata.row_group(0).num_rows == 1500


def test_a_part_of_a_file_is_its_windows_and_no_other(tmp_path):
    run = write_run(tmp_path / "run", [{("train", "a"): of_zoo("normal", 30 + k)} for k in range(6)])
    put_together(run, 0)
    (whole,) = parts_in(run / "windows", 1)
    one = Compacted([source(whole, 2, 4)], StoredRun(run).manifest["id"], told_apart=False)
    assert one.go_on(1 << 30)
    one.aside.rename(one.path)
    whole.path.unlink()
    assert one.path.name == "000002-000004.rank0.parquet"
    found = StoredRun(run)
    assert [window.index for window in found.window_list] == [2, 3, 4]
    laws.assert_identical(found.distribution("train", "a", 3), of_zoo("normal", 32))
