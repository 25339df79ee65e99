"""The lines of docs/reading.md run as they stand, and read the numbers that icshift reads."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import icshift
from tests.conftest import record_small

PAGE = (Path(__file__).parent.parent / "docs" / "reading.md").read_text()
LINES = {
    snippet.split()[1].split(".")[0]: snippet
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.split("## Drift in SQL")[0], re.S)
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run at the path that the page reads, with a file beside it that is being written."""
    folder = tmp_path_factory.mktemp("reading")
    record_small(folder / "runs" / "a", windows=3)
    record_small(folder / "runs" / "b", windows=3, rate=0.3)
    for name in ("windows", "steps"):
        (folder / "runs" / "a" / name / ".000009.rank0.parquet.77").write_bytes(b"half")
    return folder


def frame(table):
    """What a snippet made, as a data frame."""
    ways = [getattr(table, name) for name in ("to_pandas", "df", "reset_index") if hasattr(table, name)]
    return ways[0]() if ways else table


@pytest.fixture(params=LINES)
def made(request, folder, monkeypatch):
    """What the lines for a tool make, run as somebody types them."""
    pytest.importorskip(request.param)
    monkeypatch.chdir(folder)
    made = {"tool": request.param}
    exec(LINES[request.param], made)
    return made


def test_a_tool_makes_the_same_medians(made):
    if made["tool"] == "pyarrow":
        assert "median" not in LINES["pyarrow"]
        return
    run = icshift.open("runs/a")
    windows = run.windows().astype({"site": str})
    expected = windows[windows["phase"] == "train"].groupby(["site", "window"])["sd"].median()
    found = frame(made["sd"]).set_index(["site", "window"])
    found = found[found.columns[0]].sort_index()
    assert found.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    expected = run.steps(sites="fc1").groupby("step")["q50"].median()
    found = frame(made["medians"]).set_index("step").iloc[:, 0].sort_index()
    assert found.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_tool_reads_every_row(made):
    run = icshift.open("runs/a")
    for name, read in (("windows", run.windows()), ("steps", run.steps())):
        found = frame(made[name]).astype({"phase": str, "site": str}).rename(columns={"std": "sd"})
        key = [column for column in ("phase", "site", "window", "step", "unit") if column in found]
        columns = [*key, "count", "nonfinite", "mean", "sd", "min", "max", "zero_share"]
        found, expected = (
            table.astype({"site": str}).sort_values(key, ignore_index=True)[columns] for table in (found, read)
        )
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_every_tool_that_the_page_names_is_read_with():
    assert list(LINES) == ["pandas", "pyarrow", "duckdb", "polars"]


def test_windows_have_their_names_where_the_page_says(folder, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(folder)
    (query,) = re.findall(r"`(select decode.*?)`", PAGE)
    names = re.findall(r'"name": "(.*?)"', " ".join(value for (value,) in duckdb.sql(query).fetchall()))
    assert names == [window.name for window in icshift.open("runs/a").window_list]


DRIFT, JOIN = re.findall(r"```sql\n(.*?)```", PAGE, re.S)


def in_sql():
    duckdb = pytest.importorskip("duckdb")
    return duckdb.sql(DRIFT).df(), duckdb.sql(JOIN).df()


def in_polars():
    pytest.importorskip("polars")
    made = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.split("## Drift in SQL")[1], re.S)[0], made)
    return made["drift"].to_pandas(), made["means"].to_pandas()


@pytest.mark.parametrize(("column", "asked"), [("site", ["fc1"]), ("window", [3])])
def test_some_of_it_is_read_by_the_same_query(column, asked, folder, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(folder)
    (where,) = re.findall(rf"` (where \"?{column}\"? .*?)`", PAGE)
    (source,) = re.findall(r"from read_parquet\(.*?\)", DRIFT)
    found = duckdb.sql(DRIFT.replace(source, f"{source} {where}")).df()
    whole = duckdb.sql(DRIFT).df()
    pd.testing.assert_frame_equal(found, whole[whole[column].isin(asked)].reset_index(drop=True))
    assert len(found)


@pytest.mark.parametrize("queried", [in_sql, in_polars])
def test_drift_and_a_join_of_two_runs_are_queries(queried, folder, monkeypatch):
    monkeypatch.chdir(folder)
    drift, means = queried()
    runs = {name: icshift.open(f"runs/{name}") for name in "ab"}
    key = ["phase", "site", "window"]
    tables = [runs["a"].drift("w1", phase=phase).assign(phase=phase) for phase in runs["a"].phases]
    expected = pd.concat(tables).astype({"site": str}).groupby(key)["value"].median()
    found = drift.set_index(key)["w1"].sort_index()
    assert found.index.tolist() == expected.index.tolist()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    key = ["phase", "site", "unit", "window"]
    found = means.astype({"phase": str, "site": str}).set_index(key).sort_index()
    for name, run in runs.items():
        own = run.windows().astype({"phase": str, "site": str}).set_index(key)["mean"].sort_index()
        np.testing.assert_array_equal(found[f"mean_{name}"], own)
