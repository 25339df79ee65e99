"""Drift as Parquet, a row group at a time, is read as the table that is written whole."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from icshift.analysis.metrics import METRICS
from icshift.analysis.units import drift_of_phases, rows_of_phases
from icshift.errors import SelectionError
from icshift.reports import drift_parquet as streamed
from icshift.reports.drift_parquet import drift_parquet
from icshift.reports.in_pieces import Written
from icshift.reports.tabular import as_parquet
from icshift.runs.reader import StoredRun
from tests.recorded import of_zoo, write_run
from tests.reports.test_drift_csv import a_run


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("name", ["a", 'odd, "name"'])
def test_row_groups_are_the_whole(rows: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "_ROWS", rows)
    run, written = a_run(tmp_path / "run", name), Written()
    parts = list(drift_parquet(rows_of_phases(run, list(METRICS)), written, run.sites))
    table = drift_of_phases(run, list(METRICS))
    found = b"".join(parts)
    assert written.rows == len(table)
    assert "cka_distance" in written.missing
    pd.testing.assert_frame_equal(*(pd.read_parquet(io.BytesIO(file)) for file in (found, as_parquet(table))))
    schemas = [pq.read_schema(io.BytesIO(file)) for file in (found, as_parquet(table))]
    assert schemas[0].equals(schemas[1], check_metadata=False)
    groups = pq.ParquetFile(io.BytesIO(found)).num_row_groups
    assert (groups > 1) == (rows < len(table))
    assert len(parts) == groups + 1


def test_without_rows_there_are_columns(tmp_path: Path) -> None:
    run = StoredRun(write_run(tmp_path / "run", [{("train", "a"): of_zoo("normal", 300)}]))
    found = b"".join(drift_parquet(rows_of_phases(run, ["w1"]), Written(), run.sites))
    assert found == as_parquet(drift_of_phases(run, ["w1"]))


def test_what_is_not_there_is_told_before_anything_is_written(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    with pytest.raises(SelectionError, match="no reference 'nothing'"):
        next(drift_parquet(rows_of_phases(run, ["w1"], reference="nothing"), Written(), run.sites))
