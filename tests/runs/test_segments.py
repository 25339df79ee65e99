"""What a file of a series says of itself is compared with its name and its folder."""

from pathlib import Path

import pytest

from icshift.runs.parts import Part
from icshift.runs.segments import SEGMENT, about, refuse_other

PART = Part(0, 3, 8, Path("run/steps/000003-000008.rank0.parquet"))


def test_what_a_file_says_is_what_its_name_says():
    refuse_other(about("steps", 3, 8), PART, "steps")


def test_a_file_that_says_nothing_is_of_an_older_version():
    refuse_other({}, PART, "steps")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (about("steps", 2, 8), "segments 2 to 8 of steps"),
        (about("steps", 3, 9), "segments 3 to 9 of steps"),
        (about("steps", 3, 3), "segment 3 of steps"),
        (about("logged", 3, 8), "segments 3 to 8 of logged"),
    ],
)
def test_other_numbers_and_another_series_are_refused(said, told):
    with pytest.raises(ValueError, match=f"it holds {told}, and stands in the place of another"):
        refuse_other(said, PART, "steps")


@pytest.mark.parametrize("said", [b"{", b"[]", b"\xff", b"{}", b'{"series": 1, "first": 3, "last": 8}'])
def test_what_is_no_such_entry_is_refused(said):
    with pytest.raises(ValueError, match=r"."):
        refuse_other({SEGMENT: said}, PART, "steps")
