"""The line and the card of a run hold what its manifest and its windows say, and read no window for it."""

from dataclasses import asdict

import icshift
from icshift.card import number
from icshift.runs.format import Site, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.cards import HOSTILE, Card
from tests.recorded import of_zoo


def test_a_run_is_one_line(two_windows):
    run = icshift.open(two_windows)
    assert repr(run) == f"<Run {two_windows}: Sequential, 2 sites, 2 windows (1 to 2)>"
    assert repr(StoredRun(two_windows)).startswith("<StoredRun ")


def test_a_card_holds_what_the_run_does(with_batch_norm):
    run = icshift.open(with_batch_norm)
    shown = Card(run._repr_html_())
    assert shown.facts["model"] == f"Sequential, {run.manifest['parameters']} parameters"
    assert shown.facts["sites"] == f"{len(run.sites)}: {', '.join(site.name for site in run.sites)}"
    assert shown.facts["windows"] == "4 windows (1 to 4)"
    assert shown.facts["steps"] == "40"
    assert shown.facts["finished"] == "yes"
    assert "recording" in shown.facts["cost"]
    changes = [f"{window.name}: {number(window.parameter_change)}" for window in run.window_list]
    assert shown.told == changes
    assert "take reading all windows" in shown.text


def test_no_window_is_read_for_it(two_windows):
    run = icshift.open(two_windows)
    assert not run._loaded
    assert not run._asked
    assert repr(run) + run._repr_html_()
    assert not run._loaded
    assert not run._asked


def test_a_run_that_says_little_shows_itself(tmp_path):
    name = HOSTILE.replace("/", "")
    site = Site(HOSTILE, HOSTILE, axis=1, units=3)
    recording = Recording(tmp_path / name.replace("\x00", ""), {"sites": [asdict(site)], "model": HOSTILE})
    run = icshift.open(recording.path)
    assert repr(run).count("\n") == 0
    assert "0 windows, unfinished" in repr(run)
    shown = Card(run._repr_html_())
    assert shown.facts["windows"] == "0 windows"
    assert shown.facts["steps"] == "–"
    assert shown.facts["finished"].startswith("no")
    assert "<script" not in run._repr_html_()


def test_of_many_windows_and_sites_some_are_shown_and_it_says_so(tmp_path):
    sites = [Site(f"fc{at}", "Linear", axis=1, units=3) for at in range(9)]
    recording = Recording(tmp_path / "run", {"sites": [asdict(site) for site in sites]})
    for index in range(1, 71):
        window = Window(index, f"epoch {index}", index, index, True, parameter_change=0.5 * index)
        recording.write_window(window, {("train", sites[0]): of_zoo("normal", 20)})
    shown = Card(icshift.open(tmp_path / "run")._repr_html_())
    assert shown.facts["windows"] == "70 windows (epoch 1 to epoch 70)"
    assert shown.facts["sites"].endswith("fc5, and 3 more")
    assert len(shown.told) == 60
    assert shown.told[-1] == "epoch 70: 35"
    assert "the last 60 of 70" in shown.text
