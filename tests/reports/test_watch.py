"""What is said of a window that has just ended, as a line, as data and as a picture."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from icshift.analysis.landed import Landed, Logged, Lookout
from icshift.analysis.metrics import metric
from icshift.reports.tables import number, times
from icshift.reports.tabular import to_json_line
from icshift.reports.watch import QUIET, picture, quiet_for, window_data, window_line
from icshift.runs.format import Window

METRIC = metric("w1_sd")


@pytest.fixture(scope="module")
def look(with_batch_norm):
    return Lookout(with_batch_norm, "w1_sd").look()


def drawn(renderable, width=80):
    console = Console(width=width, no_color=True, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_a_line_says_what_moved_and_what_is_furthest(look):
    one = look.landed[2]
    moved = int(one.sites["moved"].sum())
    row = one.sites.sort_values("ratio", ascending=False).iloc[0]
    line = window_line(look.run, replace(one, logged=(Logged("loss", 0.25, 10),)), METRIC)
    assert line.startswith(
        f"window 3 (steps 20 to 29): {moved} of 3 sites moved, furthest {row['site']} (w1_sd {number(row['drift'])}, "
        f"{times(row['ratio'])} × floor), loss 0.250 (mean of 10), cost so far +"
    )
    assert "\n" not in line


def test_the_first_window_has_nothing_to_compare_with(look):
    assert "window 1 (steps 0 to 9): nothing to compare with yet" in window_line(look.run, look.landed[0], METRIC)


def test_what_is_not_known_is_said_not_to_be(look):
    unknown = look.landed[2].sites.assign(moved=pd.array([None] * 3, dtype="boolean"))
    assert "what moved cannot be told" in window_line(look.run, replace(look.landed[2], sites=unknown), METRIC)
    some = look.landed[2].sites.assign(moved=pd.array([True, False, None], dtype="boolean"))
    line = window_line(look.run, replace(look.landed[2], sites=some), METRIC)
    assert "1 of 2 sites moved, of 1 it cannot be told" in line
    assert [one["moved"] for one in window_data(look.run, replace(look.landed[2], sites=some), METRIC)["sites"]] == [
        True,
        False,
        None,
    ]
    other = Landed(Window(2, "2", 10, 9, True), "", pd.DataFrame(), ())
    assert "window 2 (no step): nothing of this phase" in window_line(look.run, other, METRIC)
    assert window_data(look.run, other, METRIC)["phase"] is None


def test_data_are_the_numbers_of_the_window(look):
    one = look.landed[1]
    text = to_json_line(window_data(look.run, one, METRIC))
    assert "\n" not in text
    data = json.loads(text)
    assert (data["window"], data["first_step"], data["last_step"], data["reference"]) == (2, 10, 19, "1")
    assert [site["drift"] for site in data["sites"]] == pytest.approx(one.sites["drift"].tolist())
    assert [site["floor"] for site in data["sites"]] == pytest.approx(one.sites["floor"].tolist())
    probe = Lookout(look.run.path, "w1_sd", "probe").look().landed[1]
    assert json.loads(to_json_line(window_data(look.run, probe, METRIC)))["sites"][0]["floor"] is None


def test_a_picture_has_the_sites_that_went_furthest_first(look):
    shown = drawn(picture(look.run, look.landed, METRIC, top=2))
    assert "Sequential, 4 windows, 40 steps, finished" in " ".join(shown.split())
    last = look.landed[-1].sites.sort_values("ratio", ascending=False)
    rows = [line.split() for line in shown.splitlines() if line.strip().split(" ")[0] in set(last["site"])]
    assert [row[0] for row in rows] == last["site"].tolist()[:2]
    assert [row[1:4] for row in rows] == [
        [number(one["drift"]), number(one["floor"]), times(one["ratio"])] for one in last.head(2).to_dict("records")
    ]
    assert "2 of 3 sites, those that drifted furthest." in shown
    assert "of 3 sites," not in drawn(picture(look.run, look.landed, METRIC, top=3))


def test_a_picture_of_no_window_and_of_one(look):
    assert "No window has ended yet." in drawn(picture(look.run, [], METRIC, top=3))
    assert "nothing to compare with yet" in drawn(picture(look.run, look.landed[:1], METRIC, top=3), 120)


def test_a_narrow_picture_keeps_its_sites(look):
    assert "norm1" in drawn(picture(look.run, look.landed, METRIC, top=3), width=40)


def test_silence_is_told_where_it_is_long():
    assert quiet_for(QUIET - 1) == ""
    assert quiet_for(75.4).startswith("no news for 75 s: ")


def test_a_picture_says_that_there_is_no_news(look):
    unfinished = Lookout(look.run.path, "w1_sd").look().run
    unfinished.manifest["finished"] = False
    assert "recording" in drawn(picture(unfinished, look.landed, METRIC, top=3)).splitlines()[1]
    assert "unfinished, no news for 75 s" in " ".join(
        drawn(picture(unfinished, look.landed, METRIC, top=3, silent=75)).split()
    )
