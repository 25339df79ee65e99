"""Whether a unit of one run and the unit of the same number of another are the same unit.

They are where the trainings began with the same weights, or where one went on where the other ended. Units of networks
that were initialised apart have no order in common: permuting the units of a layer, and the weights that read them,
gives the same function and another network. Compared by their numbers, such networks seem to differ by a permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icshift.errors import SelectionError, listed
from icshift.runs.format import FINAL_WEIGHTS, INITIAL_WEIGHTS, PROBE_FINGERPRINT
from icshift.runs.phases import is_probe
from icshift.runs.reader import StoredRun

RUN, PAIRED_RUN = "run", "paired-run"
"""How a reference names another run: units are paired by number where the runs share an ancestor, or in any case."""


def other_run(reference: str | int) -> StoredRun | None:
    """Returns the run that a reference names, None where it names none. Raises `RunError` where that is not there."""
    kind, _, path = str(reference).partition(":")
    return StoredRun(path) if kind in (RUN, PAIRED_RUN) and path else None


def strangers(run: StoredRun, reference: str | int) -> StoredRun | None:
    """Returns the run that a reference names if its units are not known to be those of `run`, and None otherwise.

    None too for a reference of the kind `PAIRED_RUN`.
    """
    other = other_run(reference) if str(reference).startswith(f"{RUN}:") else None
    return None if other is None or share_an_ancestor(run, other) else other


def share_an_ancestor(run: StoredRun, other: StoredRun) -> bool:
    """Returns whether both runs began with the same weights, one began with the last of the other, or both are one."""
    first, last = ((one.manifest.get(INITIAL_WEIGHTS), one.manifest.get(FINAL_WEIGHTS)) for one in (run, other))
    known = {(a, b) for a, b in ((first[0], last[0]), (first[0], last[1]), (first[1], last[0])) if a is not None}
    return run.path.resolve() == other.path.resolve() or any(a == b for a, b in known)


def refuse_strangers(run: StoredRun, other: StoredRun) -> None:
    """Raises `SelectionError` where units of both runs may not be paired by number."""
    if not share_an_ancestor(run, other):
        raise SelectionError(
            f"{run.path} and {other.path} are not known to share their initial weights, so unit 3 of one is no unit 3 "
            f"of the other: icshift report and export compare them without an order of units; {PAIRED_RUN}:{other.path}"
            " as reference pairs them by number all the same"
        )


def refuse_other_inputs(run: StoredRun, other: StoredRun, phase: str) -> None:
    """Raises `SelectionError` for a probe that is known to have other inputs in the other run."""
    if is_probe(phase) and same_inputs(run, other) is False:
        raise SelectionError(
            f"the probes of {run.path} and {other.path} have different inputs, so that phase {phase} of the two cannot "
            "be compared: choose --phase train, or record both with the same probe"
        )


def same_inputs(run: StoredRun, other: StoredRun) -> bool | None:
    """Returns whether the probes of two runs have the same inputs; None where that is not known."""
    first, second = (one.settings.get(PROBE_FINGERPRINT) for one in (run, other))
    # A recorder's probe and the inputs of `icshift analyze`, which lists its phases, are hashed in different ways.
    alike = ("phases" in run.settings) == ("phases" in other.settings)
    return None if first is None or second is None or not alike else bool(first == second)


def of_other_types(run: StoredRun, other: StoredRun) -> list[str]:
    """Returns in words which sites have one name in both runs but are of different types: they are not compared."""
    there = {site.name: site for site in other.sites}
    return [
        f"{site.name} ({site.type}, there {there[site.name].type})"
        for site in run.sites
        if site.name in there and there[site.name].type != site.type
    ]


def missing_there(reference: str | int) -> list[str]:
    """Returns sentences on files that are gone of the run that a reference names, each with its path."""
    other = other_run(reference)
    return [] if other is None else [f"{other.path}: {sentence}" for sentence in other.missing]


def ending_data(run: StoredRun, there: Sequence[str]) -> dict[str, Any]:
    """Returns what is to be told of the end of a run, with what is missing `there`, in the one it is compared with."""
    return run.ending.data | ({"missing": [*run.missing, *there]} if there else {})


def caveats(run: StoredRun, reference: str | int, phase: str) -> list[str]:
    """Returns sentences on what a comparison with another run takes for granted, and on sites that it leaves out."""
    other = other_run(reference)
    if other is None:
        return []
    apart = of_other_types(run, other)
    by_number = str(reference).startswith(f"{PAIRED_RUN}:") and not share_an_ancestor(run, other)
    notes = (
        (
            by_number,
            "Units are paired by number in networks that are not known to share initial weights: drift includes a "
            "permutation of units.",
        ),
        (
            is_probe(phase) and same_inputs(run, other) is None,
            "It is not known whether both probes have the same inputs; if not, drift includes their difference.",
        ),
        (bool(apart), f"Not compared, of another type there: {listed(apart)}."),
    )
    return [note for holds, note in notes if holds]
