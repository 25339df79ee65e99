"""Columns in memory: parts of them are what the same rows of the table are."""

import numpy as np
import pyarrow as pa
import pytest

from icshift.runs.held import held

LISTS = [[1.0, 2.0], [3.0, 4.0], None, [5.0, 6.0], []]
TABLE = pa.table(
    {
        "site": pa.array(["a", "a", "b", "b", "b"]).dictionary_encode(),
        "count": pa.array([1, 2, 3, 4, 5]),
        "mean": pa.array([0.5, 1.5, float("nan"), 3.5, 4.5]),
        "values": pa.array(LISTS, pa.list_(pa.float32())),
    }
)


@pytest.mark.parametrize(
    "table", [TABLE, pa.concat_tables([TABLE[:2], TABLE[2:]]), TABLE[0:5], pa.concat_tables([TABLE, TABLE])[5:]]
)
def test_rows_are_those_of_the_table(table):
    whole = held(table)
    assert "site" not in whole
    assert {"count", "mean", "values"} == {*whole.numbers, *whole.lists}
    for start in range(5):
        for stop in range(start, 6):
            part = whole.part(start, stop)
            np.testing.assert_array_equal(part.numbers["count"], [1, 2, 3, 4, 5][start:stop])
            assert part.lists["values"].none.tolist() == [one is None for one in LISTS[start:stop]]
    assert whole.part(0, 2).lists["values"].matrix("values").tolist() == LISTS[:2]
    assert whole.part(3, 4).lists["values"].matrix("values").tolist() == LISTS[3:4]
    assert whole.part(1, 4).part(2, 3).lists["values"].matrix("values").tolist() == LISTS[3:4]
    assert whole.part(0, 0).lists["values"].matrix("values").shape == (0, 0)


def test_lists_of_several_lengths_are_no_matrix():
    for rows in ((0, 3), (3, 5), (0, 5)):
        with pytest.raises(ValueError, match="column values has lists of several lengths"):
            held(TABLE).part(*rows).lists["values"].matrix("values")


def test_nothing_is_copied():
    table = TABLE.combine_chunks()
    assert np.shares_memory(held(table).part(1, 3).numbers["mean"], table["mean"].chunk(0).to_numpy())


BYTES = [b"ab", b"cd", None, b"ab", b"ab", b""]


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("cut", [0, 2])
def test_bytes_are_those_of_the_table_whether_shared_or_not(coded, cut):
    def column(values):
        made = pa.array(values, pa.binary())
        return made.dictionary_encode() if coded else made

    table = pa.concat_tables([pa.table({"b": column(BYTES[:cut])}), pa.table({"b": column([b"x", *BYTES[cut:]])[1:]})])
    whole = held(table)
    assert "b" in whole
    assert whole.packed["b"].none.tolist() == [one is None for one in BYTES]
    for start, stop in ((0, 2), (3, 5), (4, 5), (5, 6), (1, 1)):
        found = whole.part(0, 6).part(start, stop).packed["b"].matrix("b", 9)
        assert [bytes(row) for row in found] == BYTES[start:stop]
    for start, stop in ((0, 6), (4, 6)):
        with pytest.raises(ValueError, match=r"column b has .* of several lengths"):
            whole.part(start, stop).packed["b"].matrix("b", 9)


def test_bytes_that_rows_share_are_there_once():
    shared = (
        held(pa.table({"b": pa.array(BYTES, pa.binary()).dictionary_encode()})).part(3, 5).packed["b"].matrix("b", 9)
    )
    assert shared.strides[0] == 0
