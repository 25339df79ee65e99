"""Which steps were recorded of a training whose recording had a budget, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icshift.reports.added_time import added_share
from icshift.runs.format import OVERHEAD

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun

_LISTED = 3
"""Changes of the stride that are told one by one, the last ones; the manifest has all."""


def thinned(run: StoredRun) -> str:
    """Returns in words which steps were recorded, and whether the budget was held; empty where every step was."""
    thinning = run.manifest.get("thinned")
    if not thinning or not thinning["steps_left_out"]:
        return ""
    steps, left_out = run.manifest["steps"], thinning["steps_left_out"]
    return (
        f"Steps thinned to keep recording under {_percent(_budget(run))}: {_strides(thinning['strides'])}; "
        f"{steps - left_out - _missing(run):,} of {steps:,} recorded. {held(run)}"
    ).rstrip()


def held(run: StoredRun) -> str:
    """Returns a sentence that says what recording took where that was more than its budget, or that this is not known;
    empty elsewhere."""
    cost, budget = run.manifest.get("overhead"), _budget(run)
    if not cost or budget is None:
        return ""
    share = added_share(cost["recording_seconds"], cost["wall_seconds"])
    if share is None:
        return "The budget was not held: recording took nearly all of the time."
    more = "at least " if cost.get("at_least") else ""
    if share > 1.1 * budget:
        return f"The budget was not held: recording took {more}{_percent(share)} all the same."
    unknown = "Whether the budget was held is not known: recording took at least"
    return f"{unknown} {_percent(share)}." if more else ""


def budget_in_words(run: StoredRun) -> str:
    """Returns what `icshift info` shows of the budget; empty where there was none."""
    if _budget(run) is None:
        return ""
    every = f"{_percent(_budget(run))} of the training's time; every step was recorded. {held(run)}".rstrip()
    return thinned(run) or every


def _missing(run: StoredRun) -> int:
    """How many steps are in gaps: `steps_left_out` is without them."""
    return sum(gap["last_step"] - gap["first_step"] + 1 for gap in run.manifest.get("gaps", []))


def _budget(run: StoredRun) -> float | None:
    found: float | None = run.manifest["settings"].get(OVERHEAD)
    return found


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{float(f'{100 * share:.2g}'):,.9g} %"


def _strides(strides: list[dict[str, Any]]) -> str:
    told = [f"from step {one['from_step']:,} on {_one_of(one['stride'])}" for one in strides[-_LISTED:]]
    before = len(strides) - len(told)
    earlier = f"{before} change{'' if before == 1 else 's'} of this, then " if before > 0 else ""
    return earlier + ", ".join(told)


def _one_of(stride: int) -> str:
    return "every one" if stride == 1 else f"one in {stride:,}"
