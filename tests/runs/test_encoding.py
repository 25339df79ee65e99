"""Columns are encoded after what they hold."""

import pyarrow as pa
import pyarrow.dataset as ds

from icshift.runs import sealed
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


def test_other_tools_read_the_row_groups_of_the_site_that_they_ask_for_alone(tmp_path):
    rows = {"site": ["a", "a", "b", "b"], "unit": [0, 1, 0, 1], "window": [1, 1, 1, 1], "mean": [0.0, 1.0, 2.0, 3.0]}
    table, file = pa.table(rows), tmp_path / "000001.rank0.parquet"
    file.write_bytes(sealed.parquet(table, (2, 2), **encoding(table.schema)))
    (fragment,) = ds.dataset(file).get_fragments()
    of_b, of_unit, of_2 = (
        [group.id for group in fragment.subset(wanted).row_groups]
        for wanted in (ds.field("site") == "b", ds.field("unit") > 0, ds.field("window") == 2)
    )
    assert (of_b, of_unit, of_2) == ([1], [0, 1], [])
    statistics = [fragment.metadata.row_group(0).column(place).is_stats_set for place in range(4)]
    assert statistics == [True, True, True, False]
