"""Two groups of training runs compared: what is known of each run, and what all of them say about the two methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from icshift.errors import SelectionError, unknown
from icshift.replicates.alignment import GROUPS, Alignment, align
from icshift.replicates.inference import Design
from icshift.replicates.ratios import ratios
from icshift.replicates.values import values_of
from icshift.runs.phases import PROBE, TRAIN
from icshift.runs.reader import StoredRun

LOGGED = "logged_"
"""What the columns of `RunComparison.runs` begin with that hold what was logged."""


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two groups of runs compared; every table is a pandas `DataFrame`.

    `runs` has a row a run: its `group` (A or B), its `number` within that, from 1, its path as `run`, its number of
    `steps`, its `ending` in words where it is not whole or its training did not end by itself (else ""), a list of
    sentences on files of it that are `missing` and, as `logged_NAME`, everything that was logged (see `last_logged`).
    `values` has a row a run, site, phase, metric and span, as `icshift.replicates.values` describes, with `group` and
    `number`.

    `overall` has the values of every run over all sites. `ratios` has what all runs together say about the two methods;
    it is empty where a group has fewer than `inference.LEAST` runs, of which nothing can be said. The function `ratios`
    in `icshift.replicates.ratios` describes both.
    """

    design: Design
    alignment: Alignment
    phases: tuple[str, ...]
    runs: pd.DataFrame
    values: pd.DataFrame
    overall: pd.DataFrame
    ratios: pd.DataFrame


def compare(
    a: Sequence[StoredRun],
    b: Sequence[StoredRun],
    *,
    phases: Sequence[str] | None = None,
    sites: Iterable[str] | None = None,
) -> RunComparison:
    """Returns what the runs of group `a` and those of group `b` say about the drift of the two.

    `phases` are the training stream and the probe by default, as far as all runs have them. `sites` chooses pairs by
    name or glob of either site. Raises `SelectionError` where a group has no run, a run is given twice, runs of a group
    have different sites, or runs have different windows: a path grows with their number.
    """
    groups = dict(zip(GROUPS, (a, b), strict=True))
    if not a or not b:
        raise SelectionError(f"group {GROUPS[0] if not a else GROUPS[1]} has no run: give at least one of each")
    _refuse_other_networks(groups)
    chosen = _phases([*a, *b], phases)
    _refuse_other_windows([*a, *b], chosen)
    alignment = _chosen(align(a[0].sites, b[0].sites), sites)
    tables = []
    for group, number, run in _numbered(groups):
        names = [site.name for site in run.sites if site.name in alignment.names(group)]
        values = values_of(run, phases=chosen, sites=names)
        values.insert(0, "group", group)
        values.insert(1, "number", number)
        tables.append(values)
    values = pd.concat(tables, ignore_index=True)
    design = Design(len(a), len(b))
    table, overall = ratios(design, alignment, values)
    return RunComparison(
        design=design,
        alignment=alignment,
        phases=chosen,
        runs=pd.DataFrame([_of_run(*each) for each in _numbered(groups)]),
        values=values,
        overall=overall,
        ratios=table,
    )


def _numbered(groups: Mapping[str, Sequence[StoredRun]]) -> Iterator[tuple[str, int, StoredRun]]:
    for group, runs in groups.items():
        for number, run in enumerate(runs, start=1):
            yield group, number, run


def _of_run(group: str, number: int, run: StoredRun) -> dict[str, Any]:
    steps = run.window_list[-1].last_step + 1
    ending = run.ending.heading.removeprefix(" · ")
    about = {"group": group, "number": number, "run": str(run.path), "steps": steps, "ending": ending}
    return {**about, "missing": list(run.missing), **last_logged(run)}


def last_logged(run: StoredRun) -> dict[str, float]:
    """Returns what was logged while the run was recorded, each the mean over the last window that has it.

    Its names begin with `LOGGED`. Empty where nothing was logged.
    """
    table = run.logged()
    last = table[table["window"] == table.groupby("name")["window"].transform("max")]
    means = last.groupby("name", sort=False)["value"].mean()
    return {f"{LOGGED}{name}": float(value) for name, value in means.items()}


def _refuse_other_networks(groups: Mapping[str, Sequence[StoredRun]]) -> None:
    seen: dict[Path, str] = {}
    for group, number, run in _numbered(groups):
        where = run.path.resolve()
        if where in seen:
            raise SelectionError(f"{run.path} is given twice, in {seen[where]} and in {group}: a run is one replicate")
        seen[where] = group
        first = groups[group][0]
        if number > 1 and (other := {site.name for site in run.sites} ^ {site.name for site in first.sites}):
            raise SelectionError(
                f"{run.path} and {first.path} are both in group {group} and have not the same sites ({min(other)}): "
                "a group is of one network, trained several times"
            )


def _phases(runs: Sequence[StoredRun], wanted: Sequence[str] | None) -> tuple[str, ...]:
    common = [phase for phase in runs[0].phases if all(phase in run.phases for run in runs)]
    for phase in wanted or ():
        if phase not in common:
            raise unknown("phase that all runs have,", phase, common)
    chosen = wanted or [phase for phase in (TRAIN, PROBE) if phase in common] or common[:1]
    if not chosen:
        listed = "; ".join(f"{run.path} has {', '.join(run.phases) or 'none'}" for run in runs)
        raise SelectionError(f"there is no phase that all runs have: {listed}")
    return tuple(dict.fromkeys(chosen))


def _refuse_other_windows(runs: Sequence[StoredRun], phases: Sequence[str]) -> None:
    for phase in phases:
        windows = [_windows(run, phase) for run in runs]
        for run, of_run in zip(runs, windows, strict=True):
            if len(of_run) < 2:
                raise SelectionError(f"{run.path} has one window of phase {phase}: drift takes two")
            if of_run != windows[0]:
                raise SelectionError(
                    f"{run.path} has {len(of_run)} windows of phase {phase}, {runs[0].path} has {len(windows[0])}: a "
                    "path grows with their number; compare runs that have the same windows"
                )


def _windows(run: StoredRun, phase: str) -> list[int]:
    """Returns the numbers of the windows that have anything of a phase."""
    names = [site.name for site in run.sites]
    return [
        w.index for w in run.window_list if any(run.distribution(phase, name, w.index) is not None for name in names)
    ]


def _chosen(alignment: Alignment, sites: Iterable[str] | None) -> Alignment:
    """Returns the pairs in which a site matches one of the globs. Raises `SelectionError` where there is none."""
    if not alignment.layers:
        raise SelectionError("no site of A has the type and the place of one of B: compare networks that share layers")
    for glob in sites or ():
        if not alignment.only([glob]).layers and not alignment.only([glob]).roles:
            raise unknown("pair with a site", glob, sorted(alignment.names(GROUPS[0]) | alignment.names(GROUPS[1])))
    return alignment if sites is None else alignment.only(list(sites))
