"""Drift as CSV, piece by piece, is the table as it is written whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.drift import ALL_COLUMNS
from icshift.analysis.units import drift_of_phases, rows_of_phases
from icshift.errors import SelectionError
from icshift.reports import drift_csv as streamed
from icshift.reports.drift_csv import drift_csv
from icshift.reports.in_pieces import Written
from icshift.reports.tabular import as_csv
from icshift.runs.reader import StoredRun
from tests.recorded import of_zoo, write_run

METRICS = ("w1", "zero_share", "displacement", "cka_distance")


def a_run(path: Path, name: str = "a") -> StoredRun:
    windows = [{("train", one): of_zoo("relu", 300, seed=seed) for one in (name, "b")} for seed in (1, 2, 3)]
    return StoredRun(write_run(path, windows))


@pytest.mark.parametrize("rows", [1, 5, 1000])
@pytest.mark.parametrize("name", ["a", 'odd, "name"'])
def test_pieces_are_the_whole(rows: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "_ROWS", rows)
    run, written = a_run(tmp_path / "run", name), Written()
    found = b"".join(drift_csv(rows_of_phases(run, METRICS), written))
    table = drift_of_phases(run, METRICS)
    assert written.rows == len(table)
    assert written.missing == ["displacement", "cka_distance"]
    pd.testing.assert_frame_equal(*(pd.read_csv(io.BytesIO(text)) for text in (found, as_csv(table))))
    if rows == 1000:
        assert found == as_csv(table)


def test_without_rows_there_is_a_header(tmp_path: Path) -> None:
    run = StoredRun(write_run(tmp_path / "run", [{("train", "a"): of_zoo("normal", 300)}]))
    assert b"".join(drift_csv(rows_of_phases(run, METRICS), Written())) == (",".join(ALL_COLUMNS) + "\n").encode()


def test_what_is_not_there_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="no reference 'nothing'"):
        next(drift_csv(rows_of_phases(a_run(tmp_path / "run"), METRICS, reference="nothing"), Written()))


def test_flags_and_whole_numbers_are_spelt_as_before(tmp_path: Path) -> None:
    lines = b"".join(drift_csv(rows_of_phases(a_run(tmp_path / "run"), ["w1"]), Written())).decode().splitlines()
    first = dict(zip(ALL_COLUMNS, lines[1].split(","), strict=True))
    assert first["near_constant"] == "False"
    assert first["error"] == "0.0"
    assert np.isfinite(float(first["value"]))
