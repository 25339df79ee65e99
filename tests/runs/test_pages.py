"""Lists that are read past Arrow are what Arrow reads, and what is another way is left to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icshift.runs import columns
from icshift.runs.arrow_arrays import lists
from icshift.runs.columns import Column
from icshift.runs.encoding import encoding
from icshift.runs.held import held
from icshift.runs.pages import Straight

WANTED = {"values": Column("real", 512)}


def written(path, values, *, groups, **options: Any):
    """A file of rows of values, a list each, in so many equal row groups."""
    column = lists([np.asarray(values)])
    table = pa.Table.from_arrays([column], schema=pa.schema([pa.field("values", column.type, nullable=False)]))
    usual = {**encoding(table.schema), "write_page_checksum": True, "row_group_size": len(values) // groups}
    pq.write_table(table, path, **{**usual, **options})
    return path


def read(path, straight):
    """What is read of each row group of a file past Arrow; None where it is left to it."""
    with pq.ParquetFile(path) as opened, pa.OSFile(str(path)) as file:
        placed, found = columns.places(opened.metadata, WANTED), []
        for group in range(opened.num_row_groups):
            taken, unknown = straight.read(file, opened.metadata, range(group, group + 1), placed)
            found.append(taken.get("values"))
            for levels in unknown.values():
                straight.learn(levels, held(opened.read_row_group(group)).lists["values"])
    return found


@pytest.mark.usefixtures("each_kernel")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"data_page_size": 500}, {"use_byte_stream_split": False}], ids=str)
@pytest.mark.parametrize("width", [1, 7, 128])
def test_lists_are_what_arrow_reads(dtype, options, width, tmp_path):
    values = np.random.default_rng(0).normal(size=(90, width)).astype(dtype)
    values[3] = np.nan
    first, *others = read(written(tmp_path / "a.parquet", values, groups=3, **options), Straight())
    assert first is None  # Whose levels nobody has seen yet.
    for number, found in enumerate(others, start=1):
        np.testing.assert_array_equal(found.matrix("values"), values[30 * number : 30 * (number + 1)])
        assert found.flat.dtype == dtype


def test_lists_of_other_lengths_have_other_levels(tmp_path):
    straight = Straight()
    for rows, width in ((20, 8), (20, 4), (40, 4), (20, 0), (20, 8)):
        found = read(written(tmp_path / "a.parquet", np.ones((rows, width), np.float32), groups=1), straight)
    assert found[0].matrix("values").shape == (20, 8)
    ragged = lists([np.ones((10, 4), np.float32), np.ones((10, 12), np.float32)])
    assert len(ragged.values) == found[0].flat.size
    table = pa.Table.from_arrays([ragged], schema=pa.schema([pa.field("values", ragged.type, nullable=False)]))
    pq.write_table(table, tmp_path / "b.parquet", write_page_checksum=True, **encoding(table.schema))
    assert read(tmp_path / "b.parquet", straight) == [None]


@pytest.mark.parametrize(
    "options",
    [
        {"write_page_checksum": False},
        {"compression": "snappy"},
        {"compression": "zstd", "use_dictionary": True, "use_byte_stream_split": False},
        {"data_page_version": "2.0"},
        {"write_statistics": True},
    ],
    ids=str,
)
def test_what_others_write_is_left_to_arrow(options, tmp_path):
    values = np.arange(120, dtype=np.float32).reshape(20, 6)
    assert read(written(tmp_path / "a.parquet", values, groups=2, **options), Straight()) == [None, None]


def test_damage_is_left_to_arrow(tmp_path):
    """Whichever bit is changed, of headers too: it reads what was written, or nothing."""
    path = written(tmp_path / "a.parquet", np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32), groups=2)
    straight = Straight()
    _, whole = read(path, straight)
    content, chunk = path.read_bytes(), pq.read_metadata(path).row_group(1).column(0)
    told = 0
    for bit in range(8 * chunk.total_compressed_size):
        changed = bytearray(content)
        changed[chunk.data_page_offset + bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pq.ParquetFile(path) as opened, pa.OSFile(str(path)) as file:
            placed = columns.places(opened.metadata, WANTED)
            taken, _ = straight.read(file, opened.metadata, range(1, 2), placed)
        told += "values" not in taken
        if "values" in taken:
            np.testing.assert_array_equal(taken["values"].flat, whole.flat)
    assert told > 8 * 0.9 * chunk.total_compressed_size
