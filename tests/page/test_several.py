"""Pages of several runs: two are compared, of more nobody said which belong together."""

from dataclasses import replace

import pytest

from icshift.analysis.metrics import METRICS
from icshift.errors import SelectionError
from icshift.page.build import Asked, page_of
from icshift.page.pairs import pairs_of
from icshift.page.several import pages_of, pages_of_groups, tables
from icshift.replicates.compare import compare
from icshift.runs.reader import StoredRun
from tests.page.pages import pairs_of_groups
from tests.replicates.trainings import NORMED, trained

ASKED = Asked(METRICS["w1_sd"], "previous", None, None, "icshift report a b -o page.html")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    drifts = {"fc1": 0.2, "norm1": 0.1, "fc2": 0.5}
    return [
        trained(folder / name, drifts, phases=("probe", "train"), **options)
        for name, options in (("a", {}), ("b", {"sites": NORMED}), ("c", {}))
    ]


def test_two_runs_are_compared_and_each_has_its_page(runs):
    pages = pages_of(runs[:2], ASKED)
    assert [one.page.title for one in pages.runs] == ["a", "b"]
    assert [(one.group, one.number) for one in pages.runs] == [("A", 1), ("B", 1)]
    assert pages.pairs == pairs_of(compare(runs[:1], runs[1:2]))
    assert pages.title == "A: a · B: b"
    alone = page_of(runs[1], ASKED)
    assert pages.runs[1].page.sentences == alone.sentences
    assert pages.runs[1].page.sites[1].drift.tolist()[1:] == alone.sites[1].drift.tolist()[1:]


@pytest.mark.thorough
def test_of_groups_the_first_of_each_has_its_page_and_that_is_said(runs):
    groups = [[runs[0], runs[2]], [runs[1]]]
    pages = pages_of_groups(compare(*groups), runs[:2], ASKED)
    assert [one.page.title for one in pages.runs] == ["a", "b"]
    assert len(pages.pairs.groups[0]) == 2
    assert "Of each group the first run is below whole" in pages.notes[-1]


def test_more_than_two_runs_are_shown_one_at_a_time(runs):
    pages = pages_of(runs, ASKED)
    assert [one.name for one in pages.runs] == [str(run.path) for run in runs]
    assert pages.pairs is None
    assert "icshift compare A1 A2 --with B1 B2" in pages.notes[0]


def test_one_run_is_the_page_of_it(runs):
    pages = pages_of(runs[:1], ASKED)
    assert (len(pages.runs), pages.title, pages.pairs) == (1, "", None)


def test_runs_that_cannot_be_compared_are_refused(runs, two_windows):
    with pytest.raises(SelectionError):
        pages_of([runs[0], StoredRun(two_windows)], ASKED)


def test_sites_are_chosen_in_pairs_and_pages(runs):
    pages = pages_of(runs[:2], replace(ASKED, sites=["fc2"]))
    assert [pair.name for pair in pages.pairs.pairs] == ["fc2"]
    assert [site.name for site in pages.runs[0].page.sites] == ["fc2"]


def test_tables_hold_every_mark_and_no_interval_of_noise():
    paths, ratios = tables(pairs_of_groups(5))
    assert len(paths.rows) == 2 * 2 * 10
    assert paths.rows[0][4:] == (("2.000", 2.0), ("0.222", 2.0 / 9))
    assert ratios.rows[1][3:] == (("–", None),) * 3
    assert len(tables(pairs_of_groups(2))) == 1
