"""How a run shows itself: from its manifest and the list of its windows alone, so that it costs nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from icshift.card import bars, card, number, one_line

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun

_DRAWN = 60
"""Windows that are drawn, at most: the last ones."""


def run_line(run: StoredRun) -> str:
    """Returns a run in one line."""
    facts = [str(run.manifest.get("model", "–")), _counted(len(run.sites), "site"), _windows(run)]
    facts += [ending.removeprefix(" · ")] if (ending := run.ending.heading) else []
    return one_line(f"<{type(run).__name__} {run.path}: {', '.join(facts)}>")


def run_card(run: StoredRun) -> str:
    """Returns a run as a card for a notebook."""
    manifest = run.manifest
    recorded = ", ".join(
        word
        for word in (str(manifest.get("created", "")), _version(manifest, "icshift"), _version(manifest, "torch"))
        if word
    )
    facts = [
        ("model", f"{manifest.get('model', '–')}{_parameters(manifest)}"),
        ("sites", f"{len(run.sites):,}: {_some([site.name for site in run.sites])}"),
        ("windows", _windows(run)),
        ("steps", f"{manifest['steps']:,}" if isinstance(manifest.get("steps"), int) else "–"),
        *([("processes", f"{run.ranks}")] if run.ranks > 1 else []),
        ("recorded", recorded or "–"),
        (
            "finished",
            " ".join(("yes." if run.finished else "no.", *run.ending.sentences)) if run.ending.heading else "yes",
        ),
        *_cost(manifest),
    ]
    note = "Drift, phases and health take reading all windows: report(), drift(), phases."
    return card(f"{type(run).__name__} {run.path}", facts, _changes(run), note)


def _changes(run: StoredRun) -> str:
    shown = run.window_list[-_DRAWN:]
    changes = [float("nan") if one.parameter_change is None else one.parameter_change for one in shown]
    if not any(map(math.isfinite, changes)):
        return ""
    few = f", the last {_DRAWN} of {len(run.window_list):,}" if len(shown) < len(run.window_list) else ""
    return bars(changes, [one.name for one in shown], f"change of all parameters by window (L2 norm){few}")


def _windows(run: StoredRun) -> str:
    names = [window.name for window in run.window_list]
    span = f" ({names[0]} to {names[-1]})" if len(names) > 1 else f" ({names[0]})" if names else ""
    return _counted(len(names), "window") + span


def _counted(number_of: int, what: str) -> str:
    return f"{number_of:,} {what}{'' if number_of == 1 else 's'}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f", and {len(names) - 6:,} more" if len(names) > 6 else "")


def _version(manifest: dict[str, Any], package: str) -> str:
    return f"{package} {manifest[package]}" if package in manifest else ""


def _parameters(manifest: dict[str, Any]) -> str:
    count = manifest.get("parameters")
    return f", {count:,} parameters" if isinstance(count, int) else ""


def _cost(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    cost = manifest.get("overhead")
    if not isinstance(cost, dict) or not {"recording_seconds", "wall_seconds"} <= set(cost):
        return []
    more = "at least " if cost.get("at_least") else ""
    return [
        ("cost", f"{more}{number(cost['recording_seconds'])} s of {number(cost['wall_seconds'])} s spent recording")
    ]
