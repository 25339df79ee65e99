"""What names and manifests tell: ranks, units, and whether a directory holds a run."""

import numpy as np
import pytest

from icshift.runs.format import MANIFEST, MANIFEST_NAME, PART_NAME, QUANTILE_COLUMNS, Site, is_run, kept_units, rank_in
from tests.recorded import of_zoo, write_run


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("000001.rank0.parquet", 0),
        ("0.rank12.parquet", 12),
        ("000001.rank01.parquet", None),
        ("000001.rank-1.parquet", None),
        (".000001.rank0.parquet.77", None),
        ("000001.rank0.parquet.77", None),
        ("a.rank0.parquet", None),
        ("run.json", None),
    ],
)
def test_rank_of_a_part(name, rank):
    assert rank_in(name, PART_NAME) == rank


@pytest.mark.parametrize(
    ("name", "rank"),
    [("run.json", 0), ("run.rank1.json", 1), ("run.rank10.json", 10), ("run.rank0.json", None), ("runs.json", None)],
)
def test_rank_of_a_manifest(name, rank):
    assert rank_in(name, MANIFEST_NAME) == rank


def test_recorded_units_are_all_or_those_that_were_kept():
    assert kept_units(Site("fc", "Linear", 1, 4)).tolist() == [0, 1, 2, 3]
    kept = kept_units(Site("fc", "Linear", 1, 90, kept=(4, 17, 88)))
    assert kept.tolist() == [4, 17, 88]
    assert np.issubdtype(kept.dtype, np.integer)


def test_quantile_columns_are_named_by_their_percentage():
    assert QUANTILE_COLUMNS == ("q05", "q15", "q50", "q85", "q95")


def test_a_recorded_run_is_one(tmp_path):
    assert is_run(write_run(tmp_path / "run", [{("train", "fc"): of_zoo("normal", 9)}]))


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [(None, False), ("{", False), ("[1]", False), ("{}", False), ('{"format": "1"}', False), ('{"format": 99}', True)],
)
def test_a_directory_is_a_run_by_the_format_that_its_manifest_names(tmp_path, manifest, expected):
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)
    assert is_run(tmp_path) is expected
