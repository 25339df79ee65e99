"""What can be said of a run in words: which sites moved beyond noise, since when, and what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from icshift.analysis.dependence import Dependence
from icshift.analysis.drift import by_site, movements
from icshift.runs.reader import StoredRun


@dataclass(frozen=True)
class Outcome:
    """What moved in the last window that has the reference; of windows in which nothing moved, 5 % say otherwise.

    `moved` are the sites that moved beyond noise, `still` those of which there is no evidence that they did, `unknown`
    those of which nothing can be told, by the reason. `since` is the name of the window from which on some site moved
    in every window up to the last one, empty where none moved in that; `always` says that it is the first of all.

    Going back from the last window, the search stops at the first window without a site that moved: so it is as seldom
    wrong as the statement about a single window, however many windows there are.
    """

    moved: tuple[str, ...]
    still: tuple[str, ...]
    unknown: Mapping[str, tuple[str, ...]]
    since: str
    always: bool
    dependence: Dependence


def outcome(run: StoredRun, *, reference: str | int = "previous", phase: str | None = None) -> Outcome | None:
    """Returns what can be said of all sites of a run; None where there is nothing to compare.

    Raises `SelectionError` for a phase or reference that is not there.
    """
    compared = by_site(run, reference=reference, phase=phase)
    windows = {comparison.window.index: comparison.window for _, each in compared for comparison in each}
    if not windows:
        return None
    back = sorted(windows, reverse=True)
    since, last = "", None
    for index in back:
        judged = movements(run, reference=reference, phase=phase, windows=[index])[index]
        last = last or judged
        if not judged.called:
            break
        since = windows[index].name
    assert last is not None
    unknown: dict[str, tuple[str, ...]] = {}
    for site, reason in last.unknown.items():
        unknown[reason] = (*unknown.get(reason, ()), site)
    still = tuple(site for site in last.moved if site not in last.called)
    return Outcome(last.called, still, unknown, since, since == windows[back[-1]].name, last.dependence)
