"""A row a site, a column a window: at every width, with names that say which."""

import pytest

from icshift.analysis.metrics import METRICS
from icshift.analysis.windows import by_window, uncompared
from icshift.reports.windows import _shared_words, windows_report
from tests.recorded import distribution, site
from tests.reports.shown import run_of, shown, words
from tests.zoo.distributions import draw

SITES = [site("encoder.layers.0.attention.output.dense"), site("fc")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Twelve windows; fc jumps in window `epoch 5`."""
    windows = [
        {
            ("train", one.name): distribution(draw("normal", 200, seed=2 * at + place) + 3 * place * (at > 3), steps=12)
            for place, one in enumerate(SITES)
        }
        for at in range(12)
    ]
    return run_of(tmp_path_factory.mktemp("windows") / "run", windows, sites=SITES)


def report(run, **options):
    return report_of(run, by_window(run), **options)


def report_of(run, drifts, **options):
    return windows_report(run, drifts, METRICS["w1_sd"], "train", **{"top": 200, **options})


@pytest.mark.some(1)
@pytest.mark.parametrize(("width", "windows"), [(40, 2), (60, 5), (80, 7), (120, 11), (200, 11)])
def test_the_last_windows_that_fit_are_shown_and_how_many_are_not(run, width, windows):
    lines = shown(report(run), width)
    (head,) = [line for line in lines if line.split()[:1] == ["site"]]
    assert head.split() == ["site", *map(str, range(13 - windows, 13))]
    assert max(map(len, lines[1:])) <= width
    rows = [line.split() for line in lines if line.startswith(" fc")]
    assert [len(row) for row in rows] == [windows + 1]
    assert all(cell.rstrip("*").replace(".", "").isdigit() for cell in rows[0][1:])
    assert (f"the last {windows} of 11 windows" in words(report(run), width)) == (windows < 11)


def test_what_moved_is_marked_and_the_worst_window_comes_first(run):
    told = report(run)
    assert "windows epoch 2 to epoch 12 · furthest in epoch 5 (fc)" in told.heading
    assert told.next_step == f"Next: icshift report {run.path} --window 'epoch 5'"
    (fc,) = [line.split() for line in shown(told, 200) if line.startswith(" fc")]
    marked = [number for number, cell in enumerate(fc[1:], start=2) if cell.endswith("*")]
    assert 5 in marked
    assert {row["window"] for row in told.data["windows"] if row["site"] == "fc" and row["moved"]} == set(marked)


def test_sites_that_are_not_shown_are_counted(run):
    told = report(run, top=1)
    assert "1 of 2 sites are shown, those that drifted furthest in any window: --top 2 shows all." in words(told)
    assert {row["site"] for row in told.data["windows"]} == {"fc"}


def test_too_short_to_tell_is_a_question_mark(tmp_path):
    windows = [{("train", "fc"): distribution(draw("normal", 30, seed=at), steps=3)} for at in range(3)]
    told = report(run_of(tmp_path / "run", windows, sites=SITES[1:]))
    assert "? cannot be told" in words(told)
    assert all(row["moved"] is None for row in told.data["windows"])
    (fc,) = [line.split() for line in shown(told) if line.startswith(" fc")]
    assert all(cell.endswith("?") for cell in fc[1:])


def test_one_window_says_that_there_is_nothing_to_compare(tmp_path):
    run = run_of(tmp_path / "run", [{("train", "fc"): distribution(draw("normal", 30))}], sites=SITES[1:])
    told = report(run, uncompared=uncompared(run, by_window(run), phase="train"))
    assert "one window, nothing to compare" in told.heading
    assert "Drift needs two windows" in words(told)
    assert told.next_step.startswith("Next: icshift info")


@pytest.mark.parametrize("sites", [None, "fc"])
def test_a_site_in_no_window_with_its_reference_is_told_of(sites, tmp_path):
    one = distribution(draw("normal", 30))
    windows = [{("train", site.name): one for site in SITES[: at % 2 + 1]} for at in range(1, 6)]
    run = run_of(tmp_path / "run", windows, sites=SITES)
    drifts = by_window(run, sites=sites)
    told = report_of(run, drifts, uncompared=uncompared(run, drifts, phase="train", sites=sites))
    (why,) = told.data["notes"]
    assert why == "Not shown: fc: recorded, but in no window together with its reference."
    assert why in words(told)
    assert "one window" not in told.heading
    assert "Drift needs two windows" not in words(told)
    assert uncompared(run, by_window(run, reference="first"), phase="train") == []


@pytest.mark.parametrize(
    ("phase", "blocks", "said"),
    [
        ("train", True, "* moved beyond noise; so do at most 5 % of windows in which nothing moved."),
        ("probe", False, "* moved beyond the sketch's error."),
        ("probe-running", True, "* moved beyond what running averages do."),
    ],
)
def test_what_a_mark_means_is_said_by_phase(tmp_path, phase, blocks, said):
    windows = [{("train", "fc"): distribution(draw("normal", 60, seed=at), steps=12, blocks=blocks)} for at in range(2)]
    run = run_of(tmp_path / "run", windows, sites=SITES[1:])
    assert said in words(windows_report(run, by_window(run), METRICS["w1_sd"], phase, top=9))


def test_names_without_common_words_stay_whole():
    assert _shared_words(["epoch 1", "epoch 10"]) == "epoch "
    assert _shared_words(["epoch 1", "epochs 2"]) == ""
    assert _shared_words(["1", "10"]) == ""
    assert _shared_words(["after step 1", "after warm up"]) == "after "
    assert _shared_words(["warm up"]) == ""
