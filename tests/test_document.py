"""A report as a file, by its suffix."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from icshift.analysis.by_site import summary
from icshift.analysis.metrics import METRICS
from icshift.document import OF_ONE_RUN, PAGE, check, content
from icshift.errors import SelectionError
from icshift.figures.figure import Wanted
from icshift.page.build import Asked
from icshift.runs.format import Site
from icshift.runs.reader import StoredRun
from tests.recorded import of_zoo
from tests.reports.shown import run_of

ASKED = Asked(METRICS["w1_sd"], "previous", None, None, "icshift report run -o run.md")


@pytest.fixture(scope="module")
def run(with_batch_norm):
    return StoredRun(with_batch_norm)


def written(suffix, run, asked=ASKED):
    return content([run], asked, None, suffix).decode()


def test_csv_is_the_table(run, tmp_path):
    (tmp_path / "run.csv").write_text(written(".csv", run))
    found, expected = pd.read_csv(tmp_path / "run.csv"), summary(run)
    assert found["site"].tolist() == expected["site"].tolist()
    assert found["drift"].tolist() == pytest.approx(expected["drift"].tolist())
    assert "trend" not in found


def test_json_is_what_json_prints(run):
    found = json.loads(written(".json", run))
    assert [row["drift"] for row in found["sites"]] == pytest.approx(summary(run)["drift"].tolist())
    assert found["metric"] == "w1_sd"


def test_markdown_has_a_row_a_site_and_the_command(run):
    text = written(".md", run)
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| site")]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["fc1", "norm1 †", "fc2"]
    assert {row.count(" | ") for row in rows} == {7}
    assert f"{summary(run)['drift'].iloc[0]:.3f}" in rows[0]
    assert "`icshift report run -o run.md`" in text
    assert "sampling noise alone" in text


def test_markdown_of_one_window_shows_no_drift(one_window):
    text = written(".md", StoredRun(one_window))
    assert re.search(r"\| fc1 \| 8 \| – \| – \| – \| – \| – \| – \|", text)


def test_names_are_no_markup(tmp_path):
    name = "<b>|x|*`"
    one = {("train", name): of_zoo("normal", 128)}
    run = run_of(tmp_path / "run", [one, one], sites=[Site(name, "Linear", 1, 3)])
    row = next(line for line in written(".md", run).splitlines() if line.startswith("| \\<"))
    assert row.startswith("| \\<b\\>\\|x\\|\\*\\` | 3 |")


def test_a_page_is_one_file(run):
    assert written(".html", run).startswith("<!doctype html>")


def test_upper_case_is_the_same(run):
    check(".HTML", 1, None)
    assert content([run], ASKED, None, ".CSV").decode() == written(".csv", run)


@pytest.mark.parametrize("suffix", ["", ".xlsx", ".htm"])
def test_an_unknown_suffix_names_the_known_ones(suffix):
    with pytest.raises(SelectionError, match=r"take \.html, \.md, \.csv, \.json, \.svg, \.png or \.pdf"):
        check(suffix, 1, None)


@pytest.mark.parametrize("suffix", [PAGE, *OF_ONE_RUN])
def test_what_is_for_figures_is_told(suffix):
    with pytest.raises(SelectionError, match=r"--figure, --unit and --theme are for \.svg, \.png or \.pdf"):
        check(suffix, 1, Wanted())


@pytest.mark.parametrize("suffix", OF_ONE_RUN)
def test_what_is_of_one_run_is_told(suffix):
    with pytest.raises(
        SelectionError, match=r"is of one run, 2 are given: \.html is of several, as is icshift compare"
    ):
        check(suffix, 2, None)


def test_a_picture_is_the_atlas_and_of_two_runs_their_comparison(run):
    assert b"fc1, window" in content([run], ASKED, None, ".svg")
    check(".svg", 2, None)
    with pytest.raises(SelectionError, match="figure compare is of two runs"):
        check(".svg", 3, None)


def test_a_window_is_the_one_of_the_terminal(run):
    first = run.window_list[1].name
    found = json.loads(written(".json", run, replace(ASKED, window=first)))
    expected = summary(run.until(run.window(first)))
    assert [row["drift"] for row in found["sites"]] == pytest.approx(expected["drift"].tolist())
    assert {row["name"] for row in found["sites"]} == {first}


def test_all_windows_are_rows(run):
    rows = written(".csv", run, replace(ASKED, window="all")).splitlines()
    assert len(rows) == 1 + 3 * 3
    assert len(json.loads(written(".json", run, replace(ASKED, window="all")))["windows"]) == 9
    with pytest.raises(SelectionError, match="Markdown holds one window"):
        written(".md", run, replace(ASKED, window="all"))
