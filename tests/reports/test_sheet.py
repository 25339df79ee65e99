"""Tables keep the name of every row, however narrow the screen is."""

import re

import pytest
from rich.text import Text

from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet, elided, of_rows, shared
from tests.reports.shown import shown

LONG = [f"encoder.layers.{layer}.{part}" for layer in (0, 1, 10) for part in ("attention.query", "mlp.out_projection")]


def lines(sheet, width):
    return [line.rstrip() for line in shown(Report(body=(sheet,)), width) if line.strip()]


def heads(sheet, width):
    return next(line for line in lines(sheet, width) if line.startswith(" site")).split()[1:]


def sheet(names, *, cell="0.123", count=5):
    return Sheet("site", names, [Column(f"c{rank}", [cell] * len(names), rank) for rank in range(count)])


def test_all_is_there_where_there_is_room():
    assert lines(sheet(["fc1", "b"], count=2), 40) == [
        " site     c0     c1",
        " " + "─" * 18,
        " fc1   0.123  0.123",
        " b     0.123  0.123",
    ]


@pytest.mark.parametrize("width", range(20, 130, 5))
def test_no_line_is_wider_than_the_screen(width):
    assert max(len(line) for line in lines(sheet(LONG), width) if not line.startswith("Before")) <= width


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_every_row_can_be_told_from_every_other(width):
    shown_lines = [line for line in lines(sheet(LONG), width) if line.endswith("0.123") or "." in line]
    named = [re.sub(r"\s+0\.123.*", "", line) for line in shown_lines if not line.startswith(("Before", "No room"))]
    assert len(set(named)) == len(named) >= len(LONG)


def test_what_all_names_begin_with_is_said_once_and_only_where_it_is_needed():
    narrow = lines(sheet(LONG), 60)
    assert narrow[0] == "Before each site: encoder.layers."
    assert sum("encoder" in line for line in narrow) == 1
    assert sum("encoder" in line for line in lines(sheet(LONG), 120)) == len(LONG)


def test_columns_of_the_largest_rank_go_first_and_those_of_rank_0_never():
    assert [len(heads(sheet(LONG), width)) for width in (60, 50, 40, 30, 20)] == [5, 4, 3, 1, 1]
    assert lines(sheet(LONG), 50)[-1] == "No room here for: c4."
    assert heads(sheet(LONG), 20) == ["c0"]


def test_a_narrow_column_stays_where_a_wider_one_of_less_rank_has_no_room():
    columns = [Column("a", ["1"]), Column("wide", ["w" * 30], 1), Column("b", ["2"], 2)]
    assert heads(Sheet("site", ["n" * 16], columns), 40) == ["a", "b"]


def test_the_middle_of_a_long_name_is_left_out():
    assert elided("encoder.layers.11.attention.out_proj", 20) == "encoder.l…n.out_proj"
    assert elided("fc1", 20) == "fc1"
    assert elided("数" * 20, 11) == "数数…数数"


def test_names_that_would_look_the_same_are_folded():
    names = ["x" * 30 + middle + "y" * 30 for middle in "ab"]
    folded = "".join(line.split()[0] for line in lines(sheet(names, count=1), 40)[2:])
    assert folded == "".join(names)


def test_a_dot_is_where_the_beginning_ends():
    assert shared(["a.b.c1", "a.b.c2"]) == "a.b."
    assert shared(["a.b", "a.b"]) == ""
    assert shared(["a.b", "", "a.c"]) == "a."


def test_a_heading_within_the_table_begins_with_nothing():
    rows = [[name, "1"] for name in LONG] + [["by layer:", ""]]
    assert lines(of_rows("site", [("n", 0)], rows), 34)[0] == "Before each site: encoder.layers."


def test_cells_that_may_be_folded_take_what_is_left():
    text = "one two three four five six seven"
    folding = Sheet("site", ["fc1"], [Column("says", [text], align="left", fold=8)])
    assert lines(folding, 60)[-1].endswith(text)
    assert " ".join(" ".join(lines(folding, 20)[2:]).split()[1:]) == text


def test_several_lines_in_a_cell_are_as_wide_as_the_longest():
    assert Column("n", ["1 dead\n12 constant", Text("ok")]).width == 11


def test_there_is_more_space_between_columns_with_a_gap():
    assert [len(lines(of_rows("a", [("b", 0)], [["1", "2"]], gap=gap), 40)[0]) for gap in (1, 2)] == [5, 6]
