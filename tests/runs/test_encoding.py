"""Columns are encoded after what they hold."""

import pyarrow as pa

from icshift.runs.encoding import encoding


def test_names_have_a_dictionary_and_floats_are_split_by_bytes():
    floats = pa.list_(pa.field("element", pa.float32()))
    found = encoding(
        pa.schema([("site", pa.string()), ("unit", pa.int32()), ("mean", pa.float64()), ("values", floats)])
    )
    assert found["use_dictionary"] == ["site"]
    assert found["use_byte_stream_split"] == ["mean", "values.list.element"]


def test_bytes_that_many_rows_share_have_a_dictionary_but_lists_of_older_versions_have_none():
    bytes_ = pa.schema([("block_slices", pa.binary()), ("block_steps", pa.binary())])
    assert encoding(bytes_)["use_dictionary"] == ["block_steps"]
    assert encoding(pa.schema([("block_steps", pa.list_(pa.int32()))]))["use_dictionary"] == []
