"""What can be said of a run: the last window's sites, since when some site moved, and what cannot be told."""

import numpy as np
import pytest

from icshift.analysis.drift import going_back
from icshift.analysis.outcome import outcome
from icshift.errors import SelectionError
from icshift.runs.reader import StoredRun
from tests.recorded import distribution, probe, site, write_run
from tests.zoo.distributions import draw

SEED = 1000
"""One of those with which nothing that stands still is called: of 100 there are some 5 with which something is."""


def run_of(path, *means, steps=16, sites=("fc1", "fc2"), **options):
    """A run of windows, each of the means of its sites; `steps` of each window may differ."""
    lengths = np.broadcast_to(steps, len(means)).tolist()
    windows = [
        {
            ("train", name): distribution(
                draw("normal", 16 * length, 30, SEED + 10 * index + place) + mean, steps=length
            )
            for place, (name, mean) in enumerate(zip(sites, window, strict=True))
        }
        for index, (window, length) in enumerate(zip(means, lengths, strict=True))
    ]
    return StoredRun(write_run(path, windows, names=[f"epoch{index + 1}" for index in range(len(means))], **options))


@pytest.mark.parametrize("probed", [False, True])
def test_whether_any_site_moved_is_known_before_what_moved(probed, tmp_path):
    if probed:
        windows = [{("probe", "a"): probe(draw("normal", 300) + mean)} for mean in (0, 0, 0.5)]
        run = StoredRun(write_run(tmp_path / "run", windows))
    else:
        run = run_of(tmp_path / "run", (0, 0), (0, 0), (0, 0.5), (0.02, 0.5))
    found = [(judged.any_site, bool(judged.movement.called), judged.any_site) for judged in going_back(run)]
    assert [one[0] for one in found] == ([True, False] if probed else [False, True, False])
    assert all(first == moved == again for first, moved, again in found)


def test_nothing_to_compare_is_no_outcome(tmp_path):
    assert outcome(run_of(tmp_path / "run", (0, 0))) is None


def test_what_stands_still(tmp_path):
    found = outcome(run_of(tmp_path / "run", (0, 0), (0, 0)))
    assert found.moved == ()
    assert found.still == ("fc1", "fc2")
    assert not found.unknown
    assert found.since == ""
    assert not found.always


def test_what_moved_in_the_last_window(tmp_path):
    found = outcome(run_of(tmp_path / "run", (0, 0), (0, 0), (0, 2)))
    assert (found.moved, found.still) == (("fc2",), ("fc1",))
    assert found.since == "epoch3"
    assert not found.always


@pytest.mark.parametrize(
    ("means", "since", "always"),
    [
        ([(0, 0), (1, 0), (2, 0), (3, 0)], "epoch2", True),
        ([(0, 0), (0, 0), (1, 0), (1, 2)], "epoch3", False),
        ([(0, 0), (1, 0), (1, 0), (2, 0)], "epoch4", False),
        ([(0, 0), (1, 0), (2, 0), (2, 0)], "", False),
    ],
    ids=["always", "since the third", "with a pause", "no more"],
)
def test_since_when(means, since, always, tmp_path):
    found = outcome(run_of(tmp_path / "run", *means))
    assert (found.since, found.always) == (since, always)
    assert bool(found.moved) == bool(since)


def test_of_another_reference(tmp_path):
    run = run_of(tmp_path / "run", (0, 0), (2, 0), (2, 0))
    assert outcome(run).moved == ()
    found = outcome(run, reference="first")
    assert found.moved == ("fc1",)
    assert found.since == "epoch2"
    assert found.always
    assert outcome(run, reference="epoch1") == found
    assert outcome(run, reference="epoch3").moved == ()  # The last window that is compared with it is the second.


def test_an_unknown_window_ends_the_search(tmp_path):
    """Of the third window nothing can be told: it says neither that some site moved since, nor that none did."""
    found = outcome(run_of(tmp_path / "run", (0, 0), (1, 0), (2, 0), (3, 0), steps=[16, 16, 5, 16], sites=("a", "b")))
    assert found.unknown == {"a window of 5 steps: it takes 6": ("a", "b")}
    assert found.moved == found.still == ()
    assert found.since == ""
    found = outcome(run_of(tmp_path / "more", (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), steps=[16, 16, 5, 16, 16]))
    assert found.since == "epoch5"


def test_of_a_probe_everything_is_known(tmp_path):
    windows = [{("probe", "fc"): probe(draw("normal", 300) + shift)} for shift in (0, 0, 0.01)]
    run = StoredRun(write_run(tmp_path / "run", windows, sites=[site("fc")]))
    found = outcome(run)
    assert found.moved == ("fc",)
    assert (found.since, found.always) == ("3", False)
    assert np.isnan(found.dependence.first)


@pytest.mark.parametrize("options", [{"phase": "evl"}, {"reference": "epoch9"}], ids=str)
def test_what_is_not_there_is_refused(options, tmp_path):
    with pytest.raises(SelectionError):
        outcome(run_of(tmp_path / "run", (0, 0), (0, 0)), **options)


def test_of_many_units_a_few_sites_tell_that_something_moved_and_all_where_they_do_not(tmp_path):
    """Twelve sites of 1,400 units: of the second window all, of the third one moved that is not among the few."""
    made = [distribution(draw("normal", 1024, 1400, SEED + place), steps=16) for place in range(3)]
    moved = [distribution(draw("normal", 1024, 1400, SEED + 3 + place) + 1, steps=16) for place in range(3)]
    windows = [
        {("train", f"s{site}"): after[(site + number) % 3] for site in range(12)}
        for number, after in enumerate((made, moved, moved, moved))
    ]
    windows[2]["train", "s7"] = made[2]
    windows[3] |= {("train", f"s{site}"): made[site % 3] for site in range(12)}
    run = StoredRun(write_run(tmp_path / "run", windows, sites=[site(f"s{place}", 1400) for place in range(12)]))
    assert [judged.any_site for judged in going_back(run)] == [True, True, True]
    assert [len(judged.movement.called) for judged in going_back(run)] == [11, 1, 12]
    assert (outcome(run).since, outcome(run).always) == ("2", True)
