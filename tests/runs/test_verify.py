"""Every file of a run is read, and every problem with it is told, not only the first."""

import random
import shutil

import pytest

from icshift.errors import RunError
from icshift.runs.verify import verify
from tests.mutants import flip


@pytest.fixture
def run(two_windows, tmp_path):
    return shutil.copytree(two_windows, tmp_path / "run")


def parts(run):
    return sorted(run.rglob("*.parquet"))


def test_a_sound_run_has_no_problem(run):
    found = verify(run)
    assert found.problems == ()
    assert (found.files, found.sealed) == (len(parts(run)),) * 2
    assert (found.manifests, found.manifests_sealed) == (1, 1)


def test_every_damaged_file_is_told(run):
    for seed, file in enumerate(parts(run)):
        file.write_bytes(flip(file.read_bytes(), random.Random(seed)))
    found = verify(run)
    assert len(found.problems) == len(parts(run))
    assert all(str(file) in told for file, told in zip(parts(run), sorted(found.problems), strict=True))


def test_files_that_are_exchanged_renamed_or_gone_are_told(run):
    first, second = sorted((run / "windows").iterdir())
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert "has the name of another" in verify(run).problems[0]
    first.write_bytes(held)
    second.rename(run / "windows" / "000003.rank0.parquet")
    assert "has the name of another" in verify(run).problems[0]
    (run / "windows" / "000003.rank0.parquet").unlink()
    assert verify(run).problems == ("1 of the 2 windows in windows/ is missing.",)


def test_a_manifest_that_cannot_be_read_ends_it(run):
    (run / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read as JSON"):
        verify(run)
