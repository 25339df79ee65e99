"""One file of a run that is damaged, or gone."""

import pytest

from icshift.errors import RunError
from icshift.runs.window_file import ChangedError, read_distributions, windows_in


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "000001.rank0.parquet"
    file.write_bytes(b"nothing of the kind")
    for read in (windows_in, read_distributions):
        with pytest.raises(RunError, match="the run is damaged"):
            read(file)


def test_one_that_is_gone_was_replaced_meanwhile(tmp_path):
    for read in (windows_in, read_distributions):
        with pytest.raises(ChangedError, match="a moment ago"):
            read(tmp_path / "000001.rank0.parquet")
