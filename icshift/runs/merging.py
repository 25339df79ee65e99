"""Merging what the processes of a distributed training wrote into one run.

Each of the `ranks` processes (1 where `run.json` does not say) of a distributed training writes its own
files, and they are merged here, when read; nothing is exchanged while recording. Files of ranks that
`run.json` does not count are left over from something else and are ignored. Merged are:

    distributions  of the same phase, site and window, as samples of the same units. Shards of a site
                   (tensor parallel) are refused where their numbers of units differ; otherwise nothing
                   tells them from samples.
    sites          rank 0's, then those that it lacks, by rank (pipeline parallel). What reads a site is
                   what reads it in any; what not all ranks say of it is not said. What a window holds of a
                   site that no manifest names is left out: its writer was killed between the two.
    windows        from the first step of any to the last; the examples that they saw are all those of all
                   ranks, and not known where one rank does not know its own.
    finished       where every rank says so; a rank without a manifest has not finished.
    stopped        the first one that any rank has, and so is `interrupted`; `gaps` are all that there are.
    ledger         by module, in the order of rank 0's, then of modules that it lacks: the entry of one that
                   observed it, or else excluded it, then all different ones that are neither. An entry that
                   not all ranks have says in `ranks` which ones do.
    step_stride    the largest. The rest of the manifest, overhead included, is rank 0's.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from icshift.distribution import Distribution
from icshift.errors import RunError
from icshift.runs.format import SEEN_BY_OLDER, Seen, Site, Window
from icshift.runs.pooling import pooled

_AS_MEANT = ("observed", "excluded")
"""States of modules that were recorded, or left out because somebody wanted it."""

_READERS = {"feeds", "others"}
"""What a site's entry says of who reads its output: names, and whoever reads it in one process does."""

_CLAIMS = {"normalises", "batch_statistics"}
"""What a site's entry says of its layer where it is so in all processes."""

LEDGER_ENTRY = operator.itemgetter("module", "state", "reason")
"""What makes two entries of ledgers the same. Raises `KeyError` for what is no entry."""


def merged_manifest(manifests: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Returns one manifest for all ranks, of the manifests that are there by rank, 0 first."""
    sites: dict[str, list[dict[str, Any]]] = {}
    for manifest in manifests.values():
        for entry in manifest["sites"]:
            sites.setdefault(entry["name"], []).append(entry)
    everyone = len(manifests) == manifests[0]["ranks"]
    return manifests[0] | {
        "sites": [_merged_site(entries) for entries in sites.values()],
        "ledger": _merged_ledger({rank: manifest["ledger"] for rank, manifest in manifests.items()}),
        "finished": everyone and all(manifest["finished"] for manifest in manifests.values()),
        "stopped": _first(manifests, "stopped"),
        "interrupted": _first(manifests, "interrupted"),
        "gaps": [gap for manifest in manifests.values() for gap in manifest.get("gaps", [])],
        "step_stride": max(manifest["step_stride"] for manifest in manifests.values()),
    }


def _merged_site(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns one entry for a site of that of each rank: ranks may have called different layers with what it gives."""
    merged = dict(entries[0])
    for other in entries[1:]:
        if other == entries[0]:
            continue
        for name in merged.keys() & _READERS:
            merged[name] = list(dict.fromkeys([*merged[name], *other.get(name, ())]))
        for name in merged.keys() & _CLAIMS:
            merged[name] = merged[name] and other.get(name, False)
        if merged.get("follows") != other.get("follows"):
            merged["follows"] = None
        merged["unseen"] = merged.get("unseen", SEEN_BY_OLDER) or other.get("unseen", SEEN_BY_OLDER)
    return merged


def _merged_ledger(ledgers: Mapping[int, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    told: dict[str, dict[Any, tuple[dict[str, Any], list[int]]]] = {}
    for rank, ledger in ledgers.items():
        for entry in ledger:
            told.setdefault(entry["module"], {}).setdefault(LEDGER_ENTRY(entry), (entry, []))[1].append(rank)
    merged = []
    for entries in told.values():
        as_meant = [one for state in _AS_MEANT for one in entries.values() if one[0]["state"] == state]
        missed = [one for one in entries.values() if one[0]["state"] not in _AS_MEANT]
        for entry, ranks in [*as_meant[:1], *missed]:
            merged.append(entry if len(ranks) == len(ledgers) else {**entry, "ranks": ranks})
    return merged


def _first(manifests: dict[int, dict[str, Any]], key: str) -> Any:
    return next((manifest[key] for manifest in manifests.values() if manifest.get(key)), None)


def merged_window(parts: list[Window]) -> Window:
    """Returns one window of what each process wrote of it: from the first step to the last, closed where all are."""
    first, last = min(part.first_step for part in parts), max(part.last_step for part in parts)
    closed = all(part.closed for part in parts)
    inputs = merged_inputs([part.inputs for part in parts])
    # Of several processes none leaves steps out; where one wrote several parts, each has its own.
    left_out = sum(part.left_out for part in parts)
    return replace(parts[0], first_step=first, last_step=last, closed=closed, inputs=inputs, left_out=left_out)


def merged_inputs(parts: Sequence[Mapping[str, Seen | None] | None]) -> dict[str, Seen | None] | None:
    """Returns the examples that several processes, or parts of a window, saw together; None where one is not known."""
    known = [inputs for inputs in parts if inputs is not None]
    if len(known) < len(parts):
        return None
    # Of a phase that a process does not name it saw nothing, as where the first one evaluates alone.
    phases = dict.fromkeys(phase for inputs in known for phase in inputs)
    return {phase: _together([inputs[phase] for inputs in known if phase in inputs]) for phase in phases}


def _together(parts: list[Seen | None]) -> Seen | None:
    seen = [part for part in parts if part is not None]
    if len(seen) < len(parts):
        return None
    total = sum(int(part.hash, 16) for part in seen) % (1 << 64)
    rows = {part.rows for part in seen}
    return Seen(sum(part.examples for part in seen), f"{total:016x}", rows.pop() if len(rows) == 1 else None)


def merged_distribution(site: Site, parts: dict[Path, Distribution]) -> Distribution:
    """Returns the distribution of a site in one window, of what each process wrote of it: `parts` by file.

    Raises `RunError` where they are not of the same units.
    """
    units = {part.units: file for file, part in parts.items()}
    if set(units) != {site.recorded}:
        by_file = ", ".join(f"{count} in {file}" for count, file in sorted(units.items()))
        raise RunError(
            f"site {site.name!r} has {site.recorded} units by the manifest, {by_file}: shards of a site "
            "(tensor parallel) cannot be merged; record each rank to a path of its own, or leave the site out"
        )
    return pooled(list(parts.values()))
