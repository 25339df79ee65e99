"""A file that is written a row group after another has the checksums of one that was written at once."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from icshift.runs import sealed
from icshift.runs.stream import Stream, row_groups
from tests.mutants import flip

TABLE = pa.table({"a": np.arange(50), "b": np.arange(50) / 7}, metadata={b"k": b"v"})


def written(path, groups=5):
    stream = Stream(path, TABLE.schema)
    for start in range(0, len(TABLE), len(TABLE) // groups):
        stream.write(TABLE.slice(start, len(TABLE) // groups))
    stream.close()
    return path


def test_it_comes_back_by_row_groups_and_is_sealed(tmp_path):
    file = written(tmp_path / "file")
    sealed.verify(file)
    assert sealed.is_sealed(file)
    assert sealed.footer(file).metadata[b"k"] == b"v"
    found = list(row_groups(file))
    assert [len(one) for one in found] == [10] * 5
    assert pa.concat_tables(found).equals(TABLE)
    assert next(row_groups(written(tmp_path / "empty", 1))).equals(TABLE)


@pytest.mark.parametrize("seed", range(40))
def test_every_flipped_bit_is_found_by_whoever_reads_it_all(tmp_path, seed):
    import random

    file = written(tmp_path / "file")
    file.write_bytes(flip(file.read_bytes(), random.Random(seed)))
    with pytest.raises((ValueError, OSError)):
        sealed.verify(file)
    with pytest.raises((ValueError, OSError)):
        list(row_groups(file))


def test_one_that_is_abandoned_or_forgotten_is_deleted(tmp_path):
    for forget in (Stream.abandon, id):
        stream = Stream(tmp_path / "file", TABLE.schema)
        stream.write(TABLE)
        forget(stream)
        del stream
        assert not (tmp_path / "file").exists()


def test_one_under_way_as_the_interpreter_ends_is_deleted_without_a_word(tmp_path):
    """Its writer closed itself after its file was deleted: "Exception ignored in ParquetWriter.__del__"."""
    code = f"""
import pathlib, pyarrow
from icshift.runs.stream import Stream
table = pyarrow.table({{"a": [1.0]}})
stream = Stream(pathlib.Path({str(tmp_path / "file")!r}), table.schema)
stream.write(table)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not (tmp_path / "file").exists()


def test_a_child_of_the_process_changes_nothing(tmp_path):
    stream = Stream(tmp_path / "file", TABLE.schema)
    stream.write(TABLE)
    before = (tmp_path / "file").read_bytes()
    if not (child := os.fork()):
        stream.write(TABLE)
        stream.abandon()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "file").read_bytes() == before
    stream.close()
    sealed.verify(tmp_path / "file")
    assert next(row_groups(tmp_path / "file")).equals(TABLE)
