"""Reading every byte of a run, to tell whether it is what was written; a report reads no more than it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from icshift.errors import RunError
from icshift.runs import sealed, series
from icshift.runs.format import (
    GRADIENT_SHIFT,
    LOGGED,
    SMOOTHNESS,
    SMOOTHNESS_IN_FORMAT_1,
    STEPS,
    WINDOWS,
    Window,
)
from icshift.runs.inventory import FILES, missing
from icshift.runs.manifest import read_manifests, site_of
from icshift.runs.merging import merged_manifest
from icshift.runs.parts import Part, parts_in
from icshift.runs.reader import locate
from icshift.runs.window_file import ChangedError, damage, read_distributions, windows_in


@dataclass(frozen=True)
class Verified:
    """What was found of the run at `path`: how many `files` were read, beside its manifests, and how many of them are
    `sealed`, which is to say have checksums, as `manifests_sealed` of `manifests` have. `problems` are sentences."""

    path: Path
    manifests: int
    manifests_sealed: int
    files: int
    sealed: int
    problems: tuple[str, ...]


def verify(path: Path) -> Verified:
    """Returns what is wrong with a run. Raises `RunError` where there is none, or its manifest cannot be read."""
    path = locate(path)
    manifests = read_manifests(path)
    sites = {site.name: site for site in map(site_of, merged_manifest(manifests)["sites"])}
    ranks = manifests[0]["ranks"]
    windows: dict[int, Window] = {}
    written: set[tuple[int, int]] = set()
    problems: list[str] = []
    files = sealed_files = 0
    unread: set[int] = set()
    for kind, part in _every_part(path, ranks):
        files += 1
        run_id = manifests.get(part.rank, {}).get("id")
        try:
            with damage(part.path):
                sealed_files += sealed.is_sealed(part.path)
                if kind == WINDOWS:
                    sealed.verify(part.path)
                    for window, place in windows_in(part, run_id):
                        read_distributions(place, sites=sites, run_id=run_id)
                        windows[window.index] = window
                        written.add((part.rank, window.index))
                else:
                    series.segment(part, kind, run_id)
        except RunError as error:
            if isinstance(error, ChangedError) and not part.path.exists() and not manifests[0]["finished"]:
                files -= 1  # What it held is in another one now.
                continue
            problems.append(str(error))
            unread |= {part.rank} if kind == WINDOWS else set()
    counted = Counter(rank for rank, _ in written)
    # Where one of them cannot be read it is not known how many windows there are.
    counted |= Counter({rank: manifests[rank].get(FILES, {}).get(WINDOWS, 0) for rank in unread & set(manifests)})
    problems += missing(path, manifests, [windows[index] for index in sorted(windows)], counted)
    with_checksum = sum("checksum" in manifest for manifest in manifests.values())
    return Verified(path, len(manifests), with_checksum, files, sealed_files, tuple(problems))


def _every_part(path: Path, ranks: int) -> Iterator[tuple[str, Part]]:
    """Yields each of the files of a run, and what is in it; those too that others are put into meanwhile."""
    folders = {WINDOWS: WINDOWS, STEPS: STEPS, SMOOTHNESS_IN_FORMAT_1: SMOOTHNESS}
    for folder, kind in (folders | {kind: kind for kind in (GRADIENT_SHIFT, SMOOTHNESS, LOGGED)}).items():
        given: set[Part] = set()
        while found := [part for part in parts_in(path / folder, ranks) if part not in given]:
            given.update(found)
            yield from ((kind, part) for part in found)
