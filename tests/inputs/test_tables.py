"""Tables of numbers: what they hold, in part and as a whole, and that no small one takes all memory."""

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.inputs import tables
from icshift.inputs.data import Reading, as_data, read_data
from icshift.inputs.tables import of_csv, of_parquet

VALUES = np.arange(300, dtype=np.float32).reshape(100, 3)


@pytest.mark.parametrize(
    ("text", "rows"), [("1,2\n3,4\n", 2), ("a,b\n1,2\n", 1), ("1,b\n3,4\n", 1)], ids=["no header", "header", "mixed"]
)
def test_a_first_line_of_numbers_is_data(text, rows, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert of_csv(path).shape == (rows, 2)


def test_what_a_table_lacks_is_not_a_number(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,\n3,4\n")
    np.testing.assert_array_equal(of_csv(path), np.array([[1, np.nan], [3, 4]], np.float32))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("limit", [1, 7, 99, 100, 200, None])
def test_a_table_gives_the_examples_that_its_array_gives(tmp_path, monkeypatch, limit, header):
    monkeypatch.setattr(tables, "_AT_ONCE", 60)
    file = tmp_path / "a.csv"
    pd.DataFrame(VALUES, columns=list("abc")).to_csv(file, index=False, header=header)
    file.write_text(file.read_text().replace("\n", "\n\n", 3))
    model, reading = nn.Linear(3, 1), Reading(batch_size=16, limit=limit)
    found, expected = read_data(str(file), model, reading), as_data(VALUES, model, reading)
    assert found.examples == expected.examples
    assert all(torch.equal(a, b) for a, b in zip(found.tensors(), expected.tensors(), strict=True))


def test_of_a_long_table_few_rows_take_little_memory(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("1,2,3,4\n" * 1_000_000)
    tracemalloc.start()
    found = of_csv(file, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (10, 4)
    assert peak < 60e6


BOMBS = {
    "short lines": (",".join(map(str, range(40_000))) + "\n" + "1\n" * 40_000, "damaged, or made to deceive"),
    "many columns": ("1," * 70_000 + "1\n", "more than 65,536 columns"),
    "text": ("a,b\n" + "x,y\n" * 10, "column a holds"),
    "a row on two lines": ('1,"2\n"\n3,4\n', "one row a line"),
}


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("kind", BOMBS)
def test_a_table_made_to_deceive_is_refused(tmp_path, kind, limit):
    content, expected = BOMBS[kind]
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ModelError, match=expected):
        of_csv(tmp_path / "a.csv", limit)


def test_a_large_table_is_read_in_part_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_LARGEST", 100)
    (tmp_path / "a.csv").write_text("1,2\n" * 50)
    with pytest.raises(ModelError, match="read a part of it with a limit"):
        of_csv(tmp_path / "a.csv")
    assert of_csv(tmp_path / "a.csv", 5).shape == (5, 2)


def test_an_index_of_pandas_is_left_out(tmp_path):
    frame = pd.DataFrame(VALUES, columns=list("abc"), index=pd.Index([f"row {n}" for n in range(100)], name="row"))
    frame.to_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(of_parquet(tmp_path / "a.parquet"), VALUES)


PARQUET = {
    "zeros": (lambda: pa.table({"a": pa.array(np.zeros(40_000_000))}), "unpacks from"),
    "text": (lambda: pa.table({"a": pa.array(["x" * 20_000]).dictionary_encode().take([0] * 1000)}), "column a holds"),
    "many columns": (lambda: pa.table({f"c{number}": [1] for number in range(9000)}), "has 9,000 columns"),
}


@pytest.mark.parametrize("kind", PARQUET)
def test_no_small_file_of_parquet_takes_all_memory(tmp_path, kind):
    make, expected = PARQUET[kind]
    pq.write_table(make(), tmp_path / "a.parquet")
    with pytest.raises(ModelError, match=expected):
        of_parquet(tmp_path / "a.parquet")
