"""The table of figures: each is drawn, and what cannot be is told before any work."""

import pytest

from icshift.errors import SelectionError
from icshift.figures.figure import FIGURES, Source, Wanted, check, drawn, drawn_comparison
from icshift.replicates.compare import compare
from tests.figures.reading import labels
from tests.replicates.trainings import trained


@pytest.mark.some(2)
@pytest.mark.parametrize("name", [name for name in FIGURES if name != "compare"])
def test_each_figure_of_one_run_is_drawn(name, normed):
    run, page = normed
    svg = drawn(Source([run], lambda _: page, Wanted(name)), ".svg").decode()
    assert svg.startswith("<svg")
    assert any("fc1" in label for label in labels(svg)) or name == "units"


def test_compare_is_of_two_runs_or_of_groups(tmp_path):
    runs = [trained(tmp_path / name, {"fc1": move, "fc2": 0.5}) for name, move in (("a", 0.1), ("b", 0.4))]
    of_runs = drawn(Source(runs, lambda _: None, Wanted("compare")), ".svg")
    assert of_runs == drawn_comparison(compare(runs[:1], runs[1:]), ".svg")
    assert any(label.startswith("fc1, A run 1: path") for label in labels(of_runs.decode()))


@pytest.mark.parametrize(
    ("wanted", "runs", "said"),
    [
        (Wanted("atlass"), 1, "no figure 'atlass'"),
        (Wanted(theme="grey"), 1, "no theme 'grey'"),
        (Wanted("atlas", unit="3"), 1, "--unit is for the figures fan and units"),
        (Wanted("compare"), 1, "figure compare is of two runs, one run is given"),
        (Wanted("compare"), 3, "icshift compare A1 A2 --with B1 B2"),
        (Wanted("onset"), 2, "figure onset is of one run, 2 are given"),
    ],
)
def test_what_cannot_be_drawn_is_told(wanted, runs, said):
    with pytest.raises(SelectionError, match=said):
        check(wanted, runs)
