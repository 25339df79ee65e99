"""Runs whose files somebody wrote anew, by pyarrow as it comes: the same numbers, and none that cannot be."""

from __future__ import annotations

import shutil
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icshift.runs import planes
from tests.recorded import change_table, distribution, probe, write_run
from tests.zoo.distributions import draw

FILE = "windows/000002.rank0.parquet"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Runs of a type, written once: two windows of a site large enough for its bytes to outgrow a dictionary of
    pyarrow's, one of few units and a probe."""

    @cache
    def of(dtype):
        def window(seed):
            return {
                ("train", "large"): distribution(draw("normal", 800, 1500, seed), steps=16, dtype=dtype),
                ("train", "small"): distribution(draw("with_nan", 700, 3, seed), dtype=dtype),
                ("probe", "small"): probe(draw("normal", 40, 3, seed), dtype=dtype),
            }

        return write_run(tmp_path_factory.mktemp("written") / "run", [window(1), window(2)])

    return of


@pytest.fixture(params=[np.float32, np.float64])
def run(written, tmp_path, request):
    """A copy of one of them."""
    return shutil.copytree(written(request.param), tmp_path / "run")


def test_files_written_anew_by_pyarrow_are_read_as_before(run, printed):
    asked = [("report", run), ("units", run, "--site", "small"), ("export", run, "-o", "-")]
    before = [printed(*one) for one in asked]
    for file in sorted((run / "windows").iterdir()):
        change_table(file, lambda table: table)
        of = pq.read_metadata(file).row_group(0)
        assert any(of.column(place).path_in_schema == "block_slices" for place in range(of.num_columns))
        assert all(of.column(place).has_dictionary_page for place in range(of.num_columns))
    assert [printed(*one) for one in asked] == before


def floats(column, change):
    """Changes the numbers [rows, n] of the rows in which a binary column has any."""

    def changed(table):
        found = table[column].to_pylist()
        sampled = [max(len(row or b"") // 4, 1) for row in table["block_sampled"].to_pylist()]
        for place, row in enumerate(found):
            if not row:
                continue
            n = 32 if column == "tail_values" else 8 * sampled[place]
            kind = np.dtype(f"<f{len(row) // n}")
            numbers = planes.joined(np.frombuffer(row, np.uint8)[None], kind)
            found[place] = planes.split(change(numbers).astype(kind)).tobytes()
        return replaced(table, column, found)

    return changed


def replaced(table, column, rows):
    place = table.schema.get_field_index(column)
    return table.set_column(place, column, pa.array(rows, table.schema.field(column).type))


def counts(column, change):
    def changed(table):
        rows = [
            None if row is None else change(np.frombuffer(row, "<i4")).astype("<i4").tobytes()
            for row in table[column].to_pylist()
        ]
        return replaced(table, column, rows)

    return changed


def emptied_somewhere(table):
    rows = table["block_slices"].to_pylist()
    rows[1] = None
    return replaced(table, "block_slices", rows)


DAMAGE = {
    "tails far off": (floats("tail_values", lambda found: found * 0 + 1e9), "tail_values are not between min and max"),
    "tails falling": (floats("tail_values", lambda found: found[:, ::-1]), "tail_values are not in ascending order"),
    "no tails": (lambda table: table.drop_columns(["tail_values"]), "column tail_values is missing"),
    "slices too high": (floats("block_slices", lambda found: found + 1e9), "block_slices are not between min and max"),
    "slices too low": (floats("block_slices", lambda found: found - 1e9), "block_slices are not between min and max"),
    "samples too many": (counts("block_sampled", lambda found: found * 0 + 2**30), "block_sampled does not add up"),
    "samples too few": (counts("block_sampled", lambda found: found - 1), "block_sampled does not add up"),
    "no blocks of one unit": (emptied_somewhere, "columns of blocks lack numbers in some rows"),
    "bytes without end": (
        counts("block_steps", lambda found: np.resize(found, 1 << 16)),
        "column block_steps has 262,144 bytes a row",
    ),
}


def test_values_far_off_are_found_where_all_is_read(run, command):
    change_table(
        run / FILE, lambda table: replaced(table, "values", [[1e9] * len(row) for row in table["values"].to_pylist()])
    )
    code, out, _ = command("info", run, "--verify")
    assert code == 1
    assert "values are not between min and max" in " ".join(out.split())


@pytest.mark.covering(1)
@pytest.mark.parametrize(("change", "told"), DAMAGE.values(), ids=DAMAGE)
def test_numbers_that_cannot_be_are_refused_in_one_line(change, told, run, refused, command):
    change_table(run / FILE, change)
    assert told in refused("report", run)
    code, out, _ = command("info", run, "--verify")
    assert code == 1
    assert told in " ".join(out.split())
