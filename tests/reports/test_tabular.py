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
    assert shown(written_report(long, 0)) == [f"{long}: no rows: one window leaves nothing to compare"]
    assert "; cka_distance without values" in shown(written_report(long, 3, ["cka_distance"]))[0]


def test_why_there_are_no_rows():
    assert no_rows("drift") == "one window leaves nothing to compare"
    assert "recorder.gradient_shift(closure) was not called" in no_rows("gradient-shift")
