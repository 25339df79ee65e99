"""`icshift compare`: what it takes, prints and writes."""

import html
import json
import re

import numpy as np
import pandas as pd
import pytest

import icshift
from tests.replicates.trainings import group

A = {"fc1": np.array([0.2, 0.25, 0.22, 0.3, 0.21]), "fc2": np.array([0.5, 0.4, 0.6, 0.5, 0.55])}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Paths of five runs of each group; B goes half as far."""
    folder = tmp_path_factory.mktemp("compare")
    half = {site: drifts / 2 for site, drifts in A.items()}
    return [[run.path for run in group(folder, name, of)] for name, of in (("a", A), ("b", half))]


def test_two_groups(runs, printed):
    a, b = runs
    text = printed("compare", *a, "--with", *b, "-q")
    lines = text.splitlines()
    assert lines[2].startswith("Path, probe: A went ")
    assert max(map(len, lines[2:])) <= 80
    assert "Next:" not in text
    assert f"Next: icshift path {a[0]} --phase probe" in printed("compare", *a, "--with", *b)


@pytest.mark.thorough
def test_options_may_stand_anywhere(runs, printed):
    a, b = runs
    expected = printed("compare", "-q", "--site", "fc1", *a, "--with", *b)
    assert printed("compare", *a, "--with", *b, "--site", "fc1", "-q") == expected
    assert printed("compare", "--with", *b, "-q", "--site", "fc1", *a) == expected
    each = [word for path in b for word in ("--with", path)]
    assert printed("compare", *each, "-q", "--site=fc1", *a) == expected


def test_two_runs_are_one_of_each_and_no_statement(runs, printed):
    (one, *_), (other, *_) = runs
    text = printed("compare", one, other)
    assert text == printed("compare", one, "--with", other)
    assert "One seed: no statement about the method." in text
    assert "A / B" not in text


def test_json_is_the_api(runs, printed):
    a, b = runs
    found = json.loads(printed("compare", *a, "--with", *b, "--json"))
    expected = icshift.compare(a, b)
    assert [row["ratio"] for row in found["ratios"]] == pytest.approx(expected.ratios["ratio"].tolist())
    assert [row["value"] for row in found["values"]] == pytest.approx(expected.values["value"].tolist())
    assert found["test"]["a"] == 5


def test_a_table_is_written(runs, tmp_path, command):
    a, b = runs
    code, out, err = command("compare", *a, "--with", *b, "-o", tmp_path / "c.csv")
    assert (code, out.splitlines()[0].startswith("A: 5 runs")) == (0, True)
    assert err == f"{tmp_path / 'c.csv'}: {len(pd.read_csv(tmp_path / 'c.csv'))} rows\n"
    assert pd.read_csv(tmp_path / "c.csv")["ratio"].tolist() == icshift.compare(a, b).ratios["ratio"].tolist()
    assert command("compare", *a, "--with", *b, "-o", tmp_path / "c.csv")[0] == 2
    code, out, _ = command("compare", *a[:2], "--with", *b[:2], "-o", "-")
    assert (code, out.splitlines()[0]) == (0, "group,number,phase,site,metric,metric_unit,span,window,value,floor")


MISTAKES = {
    "one group": (["A", "B", "A2"], "3 runs are one group: give the other one, --with B1 B2"),
    "one run": (["A"], "1 run is no comparison"),
    "the same run": (["A", "A"], "is given twice"),
    "no such run": (["A", "nowhere"], "no such run: nowhere"),
    "no ratios": (["A", "B", "-o", "c.csv", "--table", "ratios"], "there are no ratios of so few runs"),
    "two outputs": (["A", "B", "--json", "-o", "-"], "both go to stdout"),
    "no format": (["A", "B", "-o", "c.txt"], "no export format '.txt'"),
    "no phase": (["A", "B", "--phase", "trian"], "no phase that all runs have, 'trian'"),
    "nothing behind it": (["A", "--with"], "1 run is no comparison"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, runs, refused):
    arguments, expected = MISTAKES[mistake]
    places = {"A": runs[0][0], "B": runs[1][0], "A2": runs[0][1]}
    assert expected in refused("compare", *[places.get(word, word) for word in arguments])


def test_a_figure_tells_the_ratios_of_the_table(runs, command, tmp_path):
    a, b = runs
    code, _, err = command("compare", *a, "--with", *b, "-o", tmp_path / "compare.svg")
    assert (code, err) == (0, f"{tmp_path / 'compare.svg'}: written\n")
    svg = (tmp_path / "compare.svg").read_text()
    told = re.findall(r"(\w+): A / B ([\d.]+), 95 % interval ([\d.]+) to ([\d.]+)", svg)
    ratios = icshift.compare(*([icshift.open(path) for path in group] for group in runs)).ratios
    rows = ratios[(ratios["by"] == "role") & (ratios["span"] == "path") & (ratios["metric"] == "w1_sd")]
    rows = rows[(rows["phase"] == "probe") & rows["site_a"].isin(A) & (rows["window"] == rows["window"].max())]
    expected = {row["site_a"]: [row["ratio"], row["low"], row["high"]] for row in rows.to_dict(orient="records")}
    assert set(expected) == set(A)
    assert {site for site, *_ in told} == set(A)
    for site, *numbers in told:
        assert [*map(float, numbers)] == pytest.approx(expected[site], rel=1e-6)


def payload(file):
    """What the page in a file holds."""
    return json.loads(re.search(r'id="meta">(.*?)</script>', file.read_text(), re.DOTALL)[1])


def test_a_page_and_a_figure_of_groups_tell_the_same(runs, command, tmp_path):
    a, b = runs
    for name in ("both.html", "both.svg"):
        assert command("compare", *a, "--with", *b, "-o", tmp_path / name)[0] == 0
    page = payload(tmp_path / "both.html")
    told = {html.unescape(text) for text in re.findall(r'aria-label="([^"]*)"', (tmp_path / "both.svg").read_text())}
    words = [mark["words"] for panel in page["pairs"]["panels"] for mark in panel["marks"]]
    assert len(words) == len(A) * (len(a) + len(b) + 1)
    assert set(words) <= told
    assert [run["title"] for run in page["runs"]] == [a[0].name, b[0].name]


def test_a_report_of_two_runs_is_the_page_of_their_comparison(runs, command, tmp_path):
    a, b = runs[0][0], runs[1][0]
    code, _, err = command("report", a, b, "-o", tmp_path / "both.html")
    assert (code, err) == (0, f"{tmp_path / 'both.html'}: open it in a browser\n")
    command("compare", a, b, "-o", tmp_path / "compared.html")
    assert payload(tmp_path / "both.html")["pairs"] == payload(tmp_path / "compared.html")["pairs"]


@pytest.mark.parametrize("file", ["x.svg", "x.html"])
def test_a_figure_and_a_page_have_no_rows_to_choose(file, runs, refused):
    a, b = runs
    assert "--table chooses rows" in refused("compare", *a, "--with", *b, "-o", file, "--table", "values")
