"""One file of a run that is damaged, or gone."""

import pytest

from icshift.errors import RunError
from icshift.runs.parts import Place, part_of
from icshift.runs.window_file import ChangedError, read_distributions, windows_in


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "000001.rank0.parquet"
    file.write_bytes(b"nothing of the kind")
    for read, where in ((windows_in, part_of(file)), (read_distributions, Place(file))):
        with pytest.raises(RunError, match="the run is damaged"):
            read(where)


def test_one_that_is_gone_was_replaced_meanwhile(tmp_path):
    file = tmp_path / "000001.rank0.parquet"
    for read, where in ((windows_in, part_of(file)), (read_distributions, Place(file))):
        with pytest.raises(ChangedError, match="a moment ago"):
            read(where)
