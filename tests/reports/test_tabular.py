"""Tables as bytes in every format, and what is said when one was written."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from icshift.errors import SelectionError
from icshift.reports.tabular import by_suffix, no_rows, to_json, written_report
from tests.reports.shown import shown

FRAME = pd.DataFrame({"site": ["fc1", "fc2"], "value": [0.1 + 0.2, np.nan], "n": [3, 4]})
READERS = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_written_is_read_back(suffix):
    pd.testing.assert_frame_equal(READERS[suffix](io.BytesIO(by_suffix(suffix.upper())(FRAME))), FRAME)


def test_unknown_suffixes_are_refused():
    with pytest.raises(SelectionError, match="csv"):
        by_suffix(".cvs")


def test_json_has_no_infinities_and_plain_numbers():
    value = {"a": [np.float64("nan"), np.int64(3)], "b": (float("-inf"), np.bool_(True)), "c": None}
    assert json.loads(to_json(value)) == {"a": [None, 3], "b": [None, True], "c": None}


def test_what_is_said_of_a_written_table():
    long = Path("a" * 100 + ".csv")
    assert shown(written_report(long, 1234)) == [f"{long}: 1,234 rows"]
    assert shown(written_report(long, 0)) == [
        f"{long}: no rows: nothing to compare: no site is in a window and in its reference"
    ]
    assert "; cka_distance without values" in shown(written_report(long, 3, ["cka_distance"]))[0]


def test_why_there_are_no_rows():
    assert no_rows("drift") == "nothing to compare: no site is in a window and in its reference"
    assert "recorder.gradient_shift(closure) was not called" in no_rows("gradient-shift")


def test_csv_of_numbers_and_words_is_that_of_pandas_number_by_number():
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "site": pd.Categorical(["fc1", "été", None, "fc1"]),
            "value": [np.nan, 1e-300, 0.1 + 0.2, -1 / 3],
            "small": random.random(4).astype(np.float32),
            "whole": [0.0, -3.0, np.nan, 2.0],
            "unknown": np.full(4, np.nan),
            "n": [1, 2**53 + 1, 3, 4],
            "rank": pd.array([1, None, 3, 4], dtype="Int64"),
            "moved": pd.array([True, None, False, True], dtype="boolean"),
            "flag": [True, False, True, True],
            "run": ["a b", "a b", "c", None],
        }
    )
    found, expected = (
        pd.read_csv(io.BytesIO(text)) for text in (by_suffix(".csv")(frame), frame.to_csv(index=False).encode())
    )
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("word", ['a "b"', "a, b", "a\nb", ""])
def test_csv_of_other_words_has_quotes(word):
    frame = pd.DataFrame({"site": [word, "x"], "n": [1, 2]})
    assert by_suffix(".csv")(frame) == frame.to_csv(index=False, lineterminator="\n").encode()
    lists = pd.DataFrame({"trend": [[1, 2]], "n": [1]})
    assert by_suffix(".csv")(lists) == lists.to_csv(index=False, lineterminator="\n").encode()
