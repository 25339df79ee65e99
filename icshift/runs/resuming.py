"""What a run holds that a resumed training goes on with: its windows up to a step, and the state that they ended in.

The file of a window that ended holds, in its metadata under `icshift_resume`, a hash of the parameters and the state of
the samplers at its end. So a resumed run draws what an uninterrupted one would have drawn, and a model that was loaded
from a checkpoint is known by its parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icshift.errors import RecordingError
from icshift.runs import columns, sealed, segments
from icshift.runs.format import INITIAL_WEIGHTS, WINDOWS, Window
from icshift.runs.manifest import read_manifest
from icshift.runs.owner import FOLDERS, manifest_name, recorded_by
from icshift.runs.parts import parts_in
from icshift.runs.provisional import standing
from icshift.runs.window_file import damage, windows_of

STATE = b"icshift_resume"
"""The key of what a window's file holds for whoever goes on after it: `parameters` and `sampling`, as JSON."""


@dataclass(frozen=True)
class Past:
    """A run as one process wrote it: its manifest, the windows that ended, and the states in which they did."""

    path: Path
    manifest: Mapping[str, Any]
    windows: tuple[Window, ...]
    states: Mapping[int, Mapping[str, Any]]

    def until(self, steps: int) -> Past:
        """Returns it without the windows that ended after so many steps, or saw what came after them."""
        kept = tuple(window for window in self.windows if window.last_step < steps and window.first_step < steps)
        return replace(self, windows=kept)

    @property
    def covered(self) -> int:
        """Steps that its windows reach to."""
        return max((window.last_step + 1 for window in self.windows), default=0)

    @property
    def state(self) -> Mapping[str, Any]:
        """The state in which its last window ended; empty where there is none."""
        return self.states.get(self.windows[-1].index, {}) if self.windows else {}


def past_of(path: Path, rank: int) -> Past | None:
    """Returns what a process has recorded at a path, None where it has not begun.

    Raises `RunError` where that is damaged, and `RecordingError` where it is being recorded now.
    """
    file = path / manifest_name(rank)
    if not file.exists():
        return None
    if not rank and (whose := recorded_by(path)):
        raise RecordingError(f"{path} is being recorded now ({whose}): end that before it is resumed")
    manifest, filed = read_manifest(file), []
    states: dict[int, dict[str, Any]] = {}
    for part in parts_in(path / WINDOWS, rank + 1):
        if part.rank == rank:
            with damage(part.path):
                footer = sealed.footer(part.path)
                columns.refuse_foreign(footer, manifest.get("id"))
                found = windows_of(part, footer.metadata, footer.num_rows)
                states |= zip((window.index for window, _ in found), states_of(footer.metadata), strict=True)
            filed += [(window, place) for window, place in found if window.closed]
    _refuse_other_segments(path, rank, manifest.get("id"))
    return Past(path, manifest, tuple(window for window, _ in standing(filed)), states)


def _refuse_other_segments(path: Path, rank: int, run_id: str | None) -> None:
    """Raise `RunError` where a file of a series is not what its name says: before anything is deleted for it."""
    for series in FOLDERS:
        for part in parts_in(path / series, rank + 1) if series != WINDOWS else ():
            if part.rank == rank:
                with damage(part.path):
                    footer = sealed.footer(part.path)
                    columns.refuse_foreign(footer, run_id)
                    segments.refuse_other(footer.metadata or {}, part, series)


def states_of(metadata: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    """Returns the states in which the windows of a file ended; an empty one where it does not tell."""
    told = json.loads(metadata.get(STATE, b"{}"))
    return told if isinstance(told, list) else [told]


def refuse_other(past: Past, beginning: Mapping[str, Any], ranks: int) -> None:
    """Raise `RecordingError` where what begins is not recorded as what is there was."""
    now = {"model": beginning["model"], "processes": ranks, **beginning["settings"]}
    before = {"model": past.manifest["model"], "processes": past.manifest["ranks"], **past.manifest["settings"]}
    other = [f"{key} was {before.get(key)} and is {now.get(key)}" for key in now if now[key] != before.get(key)]
    other += [f"{key} was {before[key]} and is not given" for key in before if key not in now]
    if other:
        raise RecordingError(
            f"{past.path} cannot be resumed: {', '.join(other)}; record to another path, or as it was recorded"
        )


def steps_of(past: Past, parameters: str | None, beginning: Mapping[str, Any], told: int | None) -> int:
    """Returns how many steps a training has behind it that is resumed, as it says (`told`) or by its parameters.

    `parameters` is a hash of them, `beginning` the manifest that it would begin with. Where what it says is no end of a
    window, as where a trainer counts steps that were skipped, parameters that are those of one say more.
    """
    ends = {0, *(window.last_step + 1 for window in past.windows)}
    steps = told if told in ends else _known(past, parameters, beginning.get(INITIAL_WEIGHTS))
    steps = told if steps is None else steps
    if steps is None:
        raise RecordingError(f"{past.path} cannot be resumed: {_why_unknown(past, beginning)}")
    if steps < past.covered and past.manifest["finished"] and not past.manifest.get("interrupted"):
        how = "" if told is None or told == steps else f", by its parameters, though resume says {told:,}"
        raise RecordingError(
            f"{past.path} came to its end after {past.covered:,} steps, and this training has {steps:,} behind "
            f"it{how}: to resume it would delete the rest; record to another path"
        )
    return steps


def _why_unknown(past: Past, beginning: Mapping[str, Any]) -> str:
    before, now = past.manifest.get("parameters"), beginning.get("parameters")
    if None not in (before, now) and before != now:
        return (
            f"the model has {now:,} parameters, and that of the run had {before:,}; make the model as it was, and load "
            "its checkpoint before the recorder starts, or record to another path"
        )
    return (
        "the parameters of the model are those of the end of none of its windows; load the checkpoint before the "
        "recorder starts, or say how many steps it has behind it: resume=STEPS"
    )


def _known(past: Past, parameters: str | None, initial: str | None) -> int | None:
    for window in reversed(past.windows):
        if parameters is not None and past.states.get(window.index, {}).get("parameters") == parameters:
            return window.last_step + 1
    return 0 if initial is not None and initial == past.manifest.get(INITIAL_WEIGHTS) else None


def joined_state(past: Past, state: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries of a manifest that are of both: of what was seen before, and since.

    Raises `RecordingError` where a site is not what it was.
    """
    before = past.manifest
    known = {site["name"]: site for site in before["sites"]}
    for site in state["sites"]:
        was = known.get(site["name"], site)
        for key in ("type", "axis", "units", "kept", "in_steps"):
            if json.dumps(was.get(key)) != json.dumps(site.get(key)):
                raise RecordingError(
                    f"{past.path} cannot be resumed: site {site['name']} had {key} {was.get(key)}, now {site.get(key)}"
                )
        known[site["name"]] = site
    observed = {entry["module"]: entry for entry in before["ledger"] if entry["state"] == "observed"}
    return state | {
        "sites": list(known.values()),
        "ledger": [
            observed.get(entry["module"], entry) if entry["state"] == "never called" else entry
            for entry in state["ledger"]
        ],
        "measured": {**(before.get("measured") or {}), **state["measured"]},
        "overhead": _joined_overhead(before.get("overhead", {}), state["overhead"]),
        "gaps": [*before.get("gaps", []), *state["gaps"]],
    }


def _joined_overhead(before: dict[str, Any], since: dict[str, Any]) -> dict[str, Any]:
    joined = {key: round(since[key] + before.get(key, 0.0), 6) for key in ("recording_seconds", "wall_seconds")}
    return joined | ({"at_least": True} if before.get("at_least") or since.get("at_least") else {})


def cut_window(past: Past, steps: int) -> Window | None:
    """Returns the window that only ended since the training was interrupted, and stays as it is; None where none did.

    What it held for one that goes on is not kept, and so the next one begins where it ended.
    """
    kept = past.until(steps).windows
    interrupted = past.manifest.get("interrupted") or {}
    if not kept or kept[-1].index != interrupted.get("window"):
        return None
    return None if kept[-1].steps == past.manifest["settings"].get("window_steps") else kept[-1]


def resumption(past: Past, steps: int) -> dict[str, Any]:
    """Returns the entries that say that a run was resumed after so many steps, and which window was cut there."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept = {key: past.manifest[key] for key in ("created", "id", INITIAL_WEIGHTS) if key in past.manifest}
    resumed = [
        {**entry, "cut": None} if (entry.get("cut") or {}).get("step", 0) > steps else entry
        for entry in past.manifest.get("resumed", [])
    ]
    window = cut_window(past, steps)
    cut = None if window is None else {"window": window.index, "step": window.last_step + 1}
    return kept | {"resumed": [*resumed, {"step": steps, "time": now, "cut": cut}]}
