"""Reading manifests: every entry checked once, so that nobody after this asks whether a number is one.

`docs/format.md` says what the entries mean. Entries that older versions did not write get the value that says so; those
of newer versions stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

from icshift import regular
from icshift.errors import RunError
from icshift.runs import typed
from icshift.runs.behind import pause_all
from icshift.runs.format import (
    FORMAT,
    MANIFEST,
    MANIFEST_NAME,
    MOST_BYTES,
    SEEN_BY_OLDER,
    SMOOTHNESS,
    SMOOTHNESS_IN_FORMAT_1,
    WORDED_ANEW,
    Seen,
    Site,
    Window,
    of_ranks,
)
from icshift.runs.typed import UnexpectedError, by_name, each, entries, or_null, or_text, whole

_MOST_RANKS = 1 << 20
_MOST_INT32 = (1 << 31) - 1

_SITE = entries(
    {"name": typed.text, "type": typed.text, "axis": whole(-1000, 1000), "units": whole(0, _MOST_INT32)},
    {
        "kept": or_null(each(whole())),
        "in_steps": or_null(each(whole())),
        "normalises": typed.flag,
        "batch_statistics": typed.flag,
        "feeds": each(typed.text),
        "others": each(typed.text),
        "unseen": typed.text,
        "follows": or_null(typed.text),
    },
)
_SETTINGS = entries(
    {},
    {
        "samples": or_text(whole(1), "all"),
        "window_steps": or_null(whole(1)),
        "max_units": or_null(whole()),
        "max_total_units": or_null(whole()),
        "max_step_units": or_null(whole()),
        "probe_examples": whole(),
        "probe_fingerprint": or_null(typed.text),
        "probe_statistics": or_null(typed.text),
        "overhead_budget": or_null(typed.number),
        "phases": each(typed.text),
        "seed": typed.anything,
    },
)
_MANIFEST = entries(
    {"format": whole(1), "sites": each(_SITE)},
    {
        "created": typed.text,
        "finished": typed.flag,
        "stopped": or_null(entries({"reason": typed.text, "step": whole(), "time": typed.text})),
        "interrupted": or_null(
            entries({"by": typed.text, "step": whole(), "time": typed.text}, {"window": or_null(whole(1))})
        ),
        "resumed": each(
            entries(
                {"step": whole(), "time": typed.text},
                {"cut": or_null(entries({"window": whole(1), "step": whole()}))},
            )
        ),
        "gaps": each(
            entries({"first_step": whole(), "last_step": whole(-1), "reason": typed.text}, {"time": typed.text})
        ),
        "id": typed.text,
        "writer": or_null(entries({}, {"host": typed.text, "process": whole(), "started": or_null(whole())})),
        "ranks": whole(1, _MOST_RANKS),
        **dict.fromkeys(("icshift", "torch", "python", "kernel", "model"), typed.text),
        "parameters": whole(),
        "settings": _SETTINGS,
        "ledger": each(
            entries({"module": typed.text, "state": typed.text, "reason": typed.text}, {"type": typed.text})
        ),
        "steps": whole(),
        "unheard_steps": whole(),
        "step_stride": whole(1),
        "thinned": or_null(
            entries(
                {"steps_left_out": whole(), "strides": each(entries({"from_step": whole(), "stride": whole(1)}))},
            )
        ),
        "unmasked": by_name(entries({"hidden": whole(), "positions": whole(1), "hiding": typed.flag})),
        "measured": or_null(by_name(by_name(typed.anything))),
        "initial_weights": or_null(typed.text),
        "final_weights": or_null(typed.text),
        "overhead": (
            entries({"recording_seconds": typed.number, "wall_seconds": typed.number}, {"at_least": typed.flag})
        ),
        "files": by_name(whole()),
        "checksum": typed.text,
    },
)
_WINDOW = entries(
    {
        "index": whole(1, _MOST_INT32),
        "name": typed.text,
        "first_step": whole(),
        "last_step": whole(-1),
        "closed": typed.flag,
    },
    {
        "parameter_change": or_null(typed.measured),
        "inputs": or_null(
            by_name(or_null(entries({"examples": whole(), "hash": typed.text, "rows": or_null(typed.text)})))
        ),
        "provisional": typed.flag,
        "left_out": whole(),
    },
)

_OF_OLDER: Mapping[str, Any] = {
    "finished": False,
    "ranks": 1,
    "ledger": [],
    "step_stride": 1,
    "settings": {},
    **dict.fromkeys(("model", "icshift", "torch", "created"), "–"),
    **dict.fromkeys(("steps", "parameters"), None),
}
"""Entries that a manifest lacks, and what stands for what is not known. (Every recorder so far wrote all of these.)"""

_SUMMED = re.compile(rb'(.*),\n "checksum": "([0-9a-f]{8})"\n\}\n', re.DOTALL)


def with_checksum(text: str) -> str:
    """Returns the text of a manifest, an object with a line for each entry, with one entry more: that of its checksum.

    >>> with_checksum('{\\n "format": 3\\n}\\n')
    '{\\n "format": 3,\\n "checksum": "152c239a"\\n}\\n'
    """
    before = text.removesuffix("\n}\n")
    return f'{before},\n "checksum": "{crc32(before.encode()):08x}"\n}}\n'


def read_manifests(path: Path) -> dict[int, dict[str, Any]]:
    """Returns the manifests that are there, by rank, 0 first, and all that this process was to write beside them."""
    pause_all()
    first = read_manifest(path / MANIFEST)
    files = of_ranks(path, MANIFEST_NAME, first["ranks"])
    return {0: first} | {rank: read_manifest(file) for rank, file in files if rank}


def read_manifest(file: Path) -> dict[str, Any]:
    """Returns a manifest in which every known entry is of its type and in its range.

    Raises `RunError`, in one line that begins with the file, for any other, and for one of a newer format.
    """
    content = _content(file)
    manifest = _parsed(file, content)
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise RunError(f"{file} names no format: is it an icshift run?")
    try:
        whole(1)(manifest["format"], "format")
        if manifest["format"] > FORMAT:
            raise RunError(
                f"{file} has format {manifest['format']}, this icshift reads up to {FORMAT}: upgrade icshift"
            )
        _MANIFEST(manifest, "")
        _refuse_contradictions(manifest)
    except UnexpectedError as error:
        raise RunError(f"{file} is damaged: {error}") from error
    _refuse_changed(file, content, manifest)
    manifest = {**_OF_OLDER, **manifest}
    _rename_since_format_1(manifest)
    return manifest


def site_of(entry: Mapping[str, Any]) -> Site:
    """Returns the site that an entry of a manifest describes, without what this version does not know of."""
    known = {field.name for field in fields(Site)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key in known
    }
    said = values.get("unseen", SEEN_BY_OLDER)
    return Site(**values | {"unseen": WORDED_ANEW.get(said, said)})


def window_of(entry: Any) -> Window:
    """Returns the window that an entry in a file's metadata describes, without what this version does not know of.

    Raises `ValueError` for what is none.
    """
    _WINDOW(entry, "window")
    entry = {field.name: entry[field.name] for field in fields(Window) if field.name in entry}
    if entry["last_step"] < entry["first_step"] - 1 or entry.get("left_out", 0) > _steps(entry):
        raise UnexpectedError(f"window {entry['index']} has fewer steps than it says")
    inputs = entry.get("inputs")
    if inputs is not None:
        inputs = {phase: None if seen is None else _seen(seen, phase) for phase, seen in inputs.items()}
    return Window(**{**entry, "inputs": inputs})


def _steps(entry: Mapping[str, Any]) -> int:
    return int(entry["last_step"] - entry["first_step"] + 1)


def _seen(entry: Mapping[str, Any], phase: str) -> Seen:
    if not re.fullmatch("[0-9a-f]{16}", entry["hash"]):
        raise typed.unexpected(f"window.inputs.{phase}.hash", entry["hash"], "16 hexadecimal digits")
    return Seen(entry["examples"], entry["hash"], entry["rows"])


def _content(file: Path) -> bytes:
    try:
        return regular.content(file, MOST_BYTES)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}") from error


def _parsed(file: Path, content: bytes) -> Any:
    try:
        return regular.parsed(content)
    except ValueError as error:
        raise RunError(f"{file} cannot be read as JSON ({error}): is it an icshift run?") from error


def _refuse_contradictions(manifest: Mapping[str, Any]) -> None:
    """Raises `UnexpectedError` where entries that are right by themselves do not go together."""
    names = set()
    for number, site in enumerate(manifest["sites"]):
        where = f"sites[{number}]"
        if site["name"] in names:
            raise UnexpectedError(f"{where}.name is {site['name'][:60]!r} as is that of another")
        names.add(site["name"])
        kept, in_steps = site.get("kept"), site.get("in_steps")
        _refuse_unordered(kept, site["units"], f"{where}.kept")
        _refuse_unordered(in_steps, site["units"], f"{where}.in_steps")
        if kept is not None and in_steps is not None and not set(in_steps) <= set(kept):
            raise UnexpectedError(f"{where}.in_steps has units that are not in {where}.kept")
    for name, seen in (manifest.get("unmasked") or {}).items():
        if seen["hidden"] > seen["positions"]:
            raise UnexpectedError(f"unmasked.{name[:60]} hides more positions than there are")
    for name, count in (
        ("unheard_steps", manifest.get("unheard_steps", 0)),
        ("thinned.steps_left_out", (manifest.get("thinned") or {}).get("steps_left_out", 0)),
    ):
        if count > manifest.get("steps", 0):
            raise UnexpectedError(f"{name} is {count}, of {manifest.get('steps', 0)} steps")
    if manifest.get("stopped") is not None and manifest.get("finished"):
        raise UnexpectedError("it is stopped and finished at once")


def _refuse_unordered(units: list[int] | None, count: int, where: str) -> None:
    if units is not None and (any(a >= b for a, b in pairwise(units)) or (units and units[-1] >= count)):
        raise UnexpectedError(f"{where} lists units that are not in order, or not among the {count:,} there are")


def _refuse_changed(file: Path, content: bytes, manifest: Mapping[str, Any]) -> None:
    """Raises `RunError` where a manifest has a checksum and is not what it was written as. Older ones have none."""
    if "checksum" in manifest:
        written = _SUMMED.fullmatch(content)
        if written is None or crc32(written[1]) != int(written[2], 16):
            raise RunError(
                f"{file} is damaged: its checksum differs from its content; where you changed it yourself, delete the "
                "entry checksum"
            )


def _rename_since_format_1(manifest: dict[str, Any]) -> None:
    """Put the settings of an older run's measurements under the name that they have now."""
    measured = manifest.get("measured")
    if isinstance(measured, dict) and manifest["format"] == 1 and SMOOTHNESS_IN_FORMAT_1 in measured:
        measured[SMOOTHNESS] = measured.pop(SMOOTHNESS_IN_FORMAT_1)
