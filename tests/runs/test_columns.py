"""Columns are what they are meant to be, and no small file takes much memory."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icshift.runs import columns
from icshift.runs.columns import REAL, TEXT, WHOLE, Column
from icshift.runs.format import RUN_ID
from icshift.runs.held import held

TABLE = pa.table({"name": ["a", "b"], "count": [1, 2], "mean": [0.5, 1.5], "values": [[1.0], [2.0]]})
COLUMNS = {"name": TEXT, "count": WHOLE, "mean": REAL, "values": Column("real", 2), "new": Column("real", needed=False)}


def written(path, table, **options):
    pq.write_table(table, path / "file.parquet", **options)
    return path / "file.parquet"


def test_columns_come_back_and_what_may_be_missing_is(tmp_path):
    found = columns.read(written(tmp_path, TABLE.append_column("more", pa.array([1, 2]))), COLUMNS, most_rows=2)
    assert found.column_names == ["name", "count", "mean", "values"]
    assert found["name"].to_pylist() == ["a", "b"]
    filtered = columns.read(written(tmp_path, TABLE), COLUMNS, most_rows=2, only=[("name", "==", "b")])
    assert filtered["count"].to_pylist() == [2]


def test_a_column_in_which_no_row_has_anything_is_read_where_rows_may_lack_it(tmp_path):
    nothing = pa.table({"step": [0, 1], "window": pa.nulls(2)})
    both = {"step": WHOLE, "window": Column("whole", nullable=True)}
    assert columns.read(written(tmp_path, nothing), both, most_rows=2)["window"].to_pylist() == [None, None]
    with pytest.raises(ValueError, match="column window holds null"):
        columns.read(written(tmp_path, nothing), {"window": WHOLE}, most_rows=2)


def test_what_is_remembered_of_one_file_is_not_taken_for_another(tmp_path):
    columns.read(written(tmp_path, TABLE), COLUMNS, most_rows=2)
    with pytest.raises(ValueError, match="column count holds double"):
        columns.read(written(tmp_path, TABLE.set_column(1, "count", pa.array([1.0, 2.0]))), COLUMNS, most_rows=2)
    large = TABLE.set_column(0, "name", TABLE["name"].cast(pa.large_string()))  # In Parquet of the same type.
    with pytest.raises(ValueError, match="column name holds large_string"):
        columns.read(written(tmp_path, large), COLUMNS, most_rows=2)
    with pytest.raises(ValueError, match="column mean holds double"):
        columns.read(written(tmp_path, TABLE), {**COLUMNS, "mean": WHOLE}, most_rows=2)
    assert columns.read(written(tmp_path, TABLE), COLUMNS, most_rows=2).num_rows == 2


PACKED = {
    "slices": Column("real", 4, nullable=True, packed=True),
    "steps": Column("whole", 4, nullable=True, packed=True),
}


def test_packed_numbers_are_bytes_or_lists(tmp_path):
    packed = pa.table({"slices": [b"1234" * 4, None], "steps": [b"abcd", b"abcd"]})
    found = columns.read(written(tmp_path, packed, use_dictionary=["steps"]), PACKED, most_rows=2)
    assert found["slices"].to_pylist() == [b"1234" * 4, None]
    assert pa.types.is_dictionary(found["steps"].type)
    listed = pa.table({"slices": [[1.0], None], "steps": [[1], [2]]})
    found = columns.read(written(tmp_path, listed), PACKED, most_rows=2)
    assert found["slices"].to_pylist() == [[1.0], None]
    with pytest.raises(ValueError, match="column steps holds string"):
        columns.read(written(tmp_path, pa.table({"slices": [[1.0]], "steps": ["abcd"]})), PACKED, most_rows=2)


def test_bytes_that_are_kept_once_are_read_once_and_no_longer_than_numbers_are(tmp_path):
    """A dictionary makes a few bytes a row of a megabyte."""
    one = pa.table({"slices": pa.array([b"x" * (1 << 20)] * 1000), "steps": pa.array([b""] * 1000)})
    file = written(tmp_path, one, use_dictionary=True)
    found = columns.read(file, PACKED, most_rows=1000)
    assert found.nbytes < 2 << 20
    with pytest.raises(ValueError, match="column slices has 1,048,576 bytes a row, where 32 are the most"):
        held(found).packed["slices"].matrix("slices", 32)


def test_bytes_that_are_kept_once_count_for_every_row(tmp_path):
    """As numbers they are there for each of them."""
    rows = 3_000_000
    one = pa.table({"slices": pa.array([b"x" * 32] * rows), "steps": pa.array([b""] * rows)})
    file = written(tmp_path, one, use_dictionary=True)
    with pytest.raises(ValueError, match="it unpacks to "):
        columns.read(file, PACKED, most_rows=rows)


CHANGES = {
    "a column is missing": (TABLE.drop_columns(["mean"]), "column mean is missing"),
    "another type": (TABLE.set_column(1, "count", pa.array(["x", "y"])), "column count holds string"),
    "no list": (TABLE.set_column(3, "values", pa.array([1.0, 2.0])), "column values holds double"),
    "longer lists": (
        TABLE.set_column(3, "values", pa.array([[1.0] * 4, [2.0]])),
        "column values has 5 numbers in 2 rows",
    ),
    "nothing in a row": (TABLE.set_column(1, "count", pa.array([1, None])), "column count lacks numbers"),
    "more rows": (pa.concat_tables([TABLE, TABLE]), "it has 4 rows, where the manifest leaves room for 2"),
    "another recording": (TABLE.replace_schema_metadata({RUN_ID: b"other"}), "another recording wrote it"),
}


@pytest.mark.parametrize(("table", "told"), CHANGES.values(), ids=CHANGES)
def test_other_columns_are_refused(tmp_path, table, told):
    with pytest.raises(ValueError, match=told):
        columns.read(written(tmp_path, table), COLUMNS, most_rows=2, run_id="own")


def test_a_small_file_of_very_many_rows_is_refused_unread(tmp_path):
    rows = 20_000_000
    zeros = pa.array(np.zeros(rows, np.int64))
    file = written(tmp_path, pa.table({"count": zeros}), compression="zstd")
    assert file.stat().st_size < 100_000
    with pytest.raises(ValueError, match="unpacks to 160,000,000 bytes"):
        columns.read(file, {"count": WHOLE}, most_rows=1 << 40)
