"""Arrays of Arrow from memory of NumPy: what pyarrow's own way makes, without loading pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from icshift.runs import arrow_arrays
from icshift.runs.arrow_arrays import binaries, flags, lists, names, numbers, words


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 4)])
def test_numbers_are_those_that_pyarrow_makes(dtype: type, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    assert numbers(values).equals(pa.array(values.ravel()))
    assert numbers(values.T).equals(pa.array(values.T.ravel()))


def test_words_of_any_letters_are_repeated() -> None:
    expected = ["ä", "ä", "", "layer.0"]
    assert words(["ä", "", "layer.0", "none"], [2, 1, 1, 0]).to_pylist() == expected
    assert names(["ä", "", "layer.0"], [2, 1, 1]).to_pylist() == expected


@pytest.mark.parametrize("rows", [0, 1, 8, 9])
def test_flags(rows: int) -> None:
    values = np.arange(rows) % 3 == 0
    assert flags(values).to_pylist() == values.tolist()


def test_lists_have_the_width_of_their_part() -> None:
    parts = [np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), np.empty((2, 0), np.float32), np.array([[5.0]])]
    made = lists(parts)
    assert made.to_pylist() == [[1.0, 2.0], [3.0, 4.0], [], [], [5.0]]
    assert made.type.value_type == pa.float64(), "float32 beside float64 loses nothing"
    assert lists(parts[:1]).type == pa.list_(pa.field("element", pa.float32(), nullable=False))


@pytest.mark.parametrize("most", [1 << 30, 3, 1])
def test_bytes_have_the_width_of_their_part_and_are_null_where_absent(most: int, monkeypatch) -> None:
    """However few of them one array may hold."""
    monkeypatch.setattr(arrow_arrays, "_MOST_BYTES", most)
    parts = [np.array([[97, 98], [99, 100], [101, 102]], np.uint8), np.empty((2, 0), np.uint8)]
    parts += [np.array([[103]], np.uint8)]
    made = binaries(parts, np.array([False, False, False, True, False, False]))
    assert made.to_pylist() == [b"ab", b"cd", b"ef", None, b"", b"g"]
    assert made.type == pa.binary()


WITHOUT_PANDAS = """
import sys
from pathlib import Path
import numpy as np
from icshift.distribution import empty
from icshift.runs.format import Site, StepRows, Window
from icshift.runs.window_file import read_distributions
from icshift.runs.writer import Recording

site, rows = Site("a", "Linear", 1, 3), np.zeros((4, 3))
recording = Recording(Path(sys.argv[1]), {})
recording.write_window(Window(1, "1", 0, 3, closed=True), {("train", site): empty(3)})
steps = StepRows(np.arange(4), rows.astype(int), rows.astype(int), *[rows] * 5, np.zeros((5, 4, 3)))
recording.append_steps("train", site, steps)
recording.finish({})
print("pandas" in sys.modules)
"""


def test_a_recording_imports_no_pandas(tmp_path: Path) -> None:
    """It takes half a second, at the start or in the middle of a training."""
    command = [sys.executable, "-c", WITHOUT_PANDAS, tmp_path / "run"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"
