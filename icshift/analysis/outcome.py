"""What can be said of a run in words: which sites moved beyond noise, since when, and what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from icshift.analysis.comparison import Comparison
from icshift.analysis.drift import going_back
from icshift.analysis.same_examples import same_examples
from icshift.noise.dependence import Dependence
from icshift.noise.movement import FALSE_ALARMS
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
    same_examples: bool | None


def outcome(
    run: StoredRun, *, reference: str | int = "previous", phase: str | None = None, level: float = FALSE_ALARMS
) -> Outcome | None:
    """Returns what can be said of all sites of a run; None where there is nothing to compare.

    `level` is the share of windows in which nothing moved that may show a site: less than 5 % where the last window
    was looked for among several. Raises `SelectionError` for a phase or reference that is not there.
    """
    since, always, last, same = "", False, None, None
    for judged in going_back(run, reference=reference, phase=phase, level=level):
        if last is None:
            last, same = judged.movement, _same_examples(run, judged.comparisons[0])
        if not judged.any_site:
            break
        since = judged.window.name
    else:
        always = True
    if last is None:
        return None
    unknown: dict[str, tuple[str, ...]] = {}
    for site, reason in last.unknown.items():
        unknown[reason] = (*unknown.get(reason, ()), site)
    still = tuple(site for site in last.moved if site not in last.called)
    return Outcome(last.called, still, unknown, since, always, last.dependence, same)


def _same_examples(run: StoredRun, comparison: Comparison) -> bool | None:
    seen = comparison.window.seen(comparison.phase)
    named = [window for window in run.window_list if window.name == comparison.reference]
    return same_examples(named[0].seen(comparison.phase), seen) if len(named) == 1 else None
