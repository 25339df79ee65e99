"""Provisional windows as a reader finds them: some joined, some not yet, in one process and in several."""

from pathlib import Path

from icshift.runs.format import Seen, Window
from icshift.runs.provisional import by_window, joined_distributions, joined_windows, standing
from tests.recorded import distribution, probe
from tests.zoo.distributions import draw


def windows(*spans, provisional=True):
    return [
        (Window(index, str(index), first, last, True, provisional=provisional), Path(f"{index}"))
        for index, (first, last) in enumerate(spans, start=1)
    ]


def spans(found):
    return {
        index: {rank: [(window.first_step, window.last_step) for window, _ in files] for rank, files in ranks.items()}
        for index, ranks in found.items()
    }


def test_windows_that_are_joined_into_another_one_are_left_aside():
    files = windows((0, 1), (2, 3), (2, 2), (3, 3), (4, 4))
    assert [file.name for _, file in standing(files)] == ["1", "2", "5"]
    [whole] = windows((0, 9), provisional=False)
    assert standing([whole, *windows((0, 1), (2, 3), (4, 9))[1:]]) == [whole]


def test_true_windows_stand_whatever_their_steps():
    files = windows((0, 9), (10, 9), provisional=False)
    assert standing(files) == files


def test_windows_of_several_processes_are_as_long_as_the_longest():
    found = by_window({0: windows((0, 3), (4, 7)), 1: windows((0, 1), (2, 3), (4, 5), (6, 7), (8, 8))})
    assert spans(found) == {
        1: {0: [(0, 3)], 1: [(0, 1), (2, 3)]},
        2: {0: [(4, 7)], 1: [(4, 5), (6, 7), (8, 8)]},
    }


def test_a_process_that_knows_of_an_epoch_is_ahead_of_one_that_does_not_yet():
    [whole] = windows((0, 7), provisional=False)
    found = by_window({0: [whole], 1: windows((0, 3), (4, 7))})
    assert spans(found) == {1: {0: [(0, 7)], 1: [(0, 3), (4, 7)]}}


def test_two_neighbours_are_one_window():
    seen = [Seen(3, f"{n:016x}", "0: float32 [4]") for n in (1, 2)]
    first, following = (Window(n, str(n), n, n, True, 1.0, {"train": seen[n - 1]}, provisional=True) for n in (1, 2))
    both = joined_windows(first, following)
    assert (both.index, both.first_step, both.last_step, both.parameter_change) == (1, 1, 2, None)
    assert both.seen("train") == Seen(6, f"{3:016x}", "0: float32 [4]")


def test_of_a_probe_the_last_one_stays_and_blocks_follow_one_another():
    a, b = draw("normal", 80), draw("shifted", 80)
    first = {("train", "fc"): distribution(a), ("eval", "fc"): distribution(a), ("probe", "fc"): probe(a)}
    following = {("train", "fc"): distribution(b), ("probe", "fc"): probe(b)}
    both = joined_distributions(first, following)
    assert both["train", "fc"].count.tolist() == [160] * 3
    assert both["train", "fc"].blocks.steps.tolist() == [1] * 16
    assert both["probe", "fc"] is following["probe", "fc"]
    assert both["eval", "fc"] is first["eval", "fc"]
    assert ("probe", "fc") not in joined_distributions(first, {})
