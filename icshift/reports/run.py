"""The content of a run, the modules of its model that were not recorded, and the cost of the recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from icshift.reports.report import Report
from icshift.reports.tables import facts, listing

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from icshift.runs.reader import StoredRun


def run_report(run: StoredRun) -> Report:
    """Returns the report of `icshift info`: facts about a run, its sites, and the modules that were not recorded."""
    windows = [asdict(window) for window in run.window_list]
    return Report(
        body=(facts(_facts(run)), _sites(run)),
        warnings=tuple(map(_missed_in_words, _missed(run))),
        data={**run.manifest, "path": str(run.path), "phases": run.phases, "windows": windows},
    )


def _sites(run: StoredRun) -> Table:
    rows = []
    for site in run.sites:
        kept = f"{site.units}" if site.kept is None else f"{site.units}, {len(site.kept)} recorded"
        read_by = ", ".join((*site.feeds, *site.others)) or "–"
        rows.append([site.name, site.type, kept, str(site.axis), read_by, site.follows or "–"])
    return listing(["site", "type", "units", "axis", "feeds", "follows"], rows)


def _facts(run: StoredRun) -> list[tuple[str, str]]:
    manifest = run.manifest
    windows = run.window_list
    span = f"{len(windows)}" + (f" ({windows[0].name} to {windows[-1].name})" if len(windows) > 1 else "")
    ledger = Counter(entry["state"] for entry in manifest.get("ledger", []))
    stride = manifest.get("step_stride", 1)
    return [
        ("run", f"{run.path}{'' if run.finished else '  (unfinished: still recording, or the process was killed)'}"),
        ("model", f"{manifest['model']}, {manifest['parameters']:,} parameters"),
        ("recorded", f"{manifest['created']} · icshift {manifest['icshift']} · torch {manifest['torch']}"),
        ("steps", f"{manifest['steps']:,}" + (f", series of every {stride}th" if stride > 1 else "")),
        ("windows", span),
        ("phases", ", ".join(run.phases) or "none"),
        *([("processes", f"{run.ranks}")] if run.ranks > 1 else []),
        ("samples", f"{manifest['settings']['samples']} a unit and step for quantiles; moments of every activation"),
        (
            "probe",
            f"{manifest['settings']['probe_examples']} examples" if manifest["settings"]["probe_examples"] else "none",
        ),
        ("modules", ", ".join(f"{count} {state}" for state, count in ledger.items()) or "–"),
        ("cost", overhead(run)),
    ]


def coverage(run: StoredRun, path: Path | None = None) -> str:
    """Returns a warning with the number of modules that should have been watched and were not, by state; empty if none.

    It names the run by `path` if that is given, else by its own path.
    """
    states = Counter(entry["state"] for entry in _missed(run))
    if not states:
        return ""
    listed = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"Modules not recorded: {listed} (`icshift info {path or run.path}` says which and why)"


def _missed(run: StoredRun) -> list[dict[str, str]]:
    return [entry for entry in run.manifest.get("ledger", []) if entry["state"] not in ("observed", "excluded")]


def _missed_in_words(entry: dict[str, str]) -> str:
    where = f" in process {entry['rank']}" if "rank" in entry else ""
    return f"{entry['module']} ({entry['type']}): {entry['state']}{where} – {entry['reason']}"


def overhead(run: StoredRun) -> str:
    """Returns in words the time spent recording, in s and in % of the rest of the time, and the size on disk."""
    cost = run.manifest.get("overhead")
    if not cost:
        return size(run)
    recording, wall = cost["recording_seconds"], cost["wall_seconds"]
    return f"{recording:.2f} s of {wall:.2f} s spent recording ({added_time(run)}), {size(run)}"


def added_time(run: StoredRun) -> str:
    """Returns the time spent recording, in % of the rest of the time between start and end."""
    cost = run.manifest["overhead"]
    recording, wall = cost["recording_seconds"], cost["wall_seconds"]
    return f"+{100 * recording / max(wall - recording, 1e-9):.0f} %"


def size(run: StoredRun) -> str:
    """Returns the size of all files of a run, in MB."""
    return f"{sum(file.stat().st_size for file in run.path.rglob('*') if file.is_file()) / 1e6:.1f} MB"


def recorded_report(target: Path, runs: Sequence[StoredRun], automatic: int | None) -> Report:
    """Returns the report of what `icshift run` recorded in `target`, with one row per model.

    `automatic` is the number of steps a window if icshift chose it, for want of `--window` and of a DataLoader whose
    passes could be windows; else None.
    """
    hints: list[RenderableType] = []
    if automatic is not None:
        hints = [Text(f"No DataLoader told of epochs: windows of {automatic} steps; choose with --window.")]
    elif any(len(run.window_list) < 2 for run in runs):
        hints = [Text("One window leaves nothing to compare: choose shorter ones with --window.", no_wrap=True)]
    missed = [f"{run.name}: {warning}" for run in runs if (warning := coverage(run, target / run.name))]
    return Report(
        heading=f"Recorded in {target}",
        body=(
            listing(["run", "model", "sites", "steps", "windows", "time", "disk"], [_recorded(run) for run in runs]),
            Report(warnings=tuple(missed)),
            *hints,
        ),
        next_step=f"Next: icshift report {target / runs[0].name}",
    )


def _recorded(run: StoredRun) -> list[str]:
    manifest = run.manifest
    counts = [str(len(run.sites)), f"{manifest['steps']:,}", _windows(run)]
    return [run.name, manifest["model"], *counts, added_time(run), size(run)]


def _windows(run: StoredRun) -> str:
    """Returns in words how many windows there are, and of how many steps."""
    spans = [window.last_step - window.first_step + 1 for window in run.window_list]
    if not spans:
        return "0"
    each = f"{min(spans)}" if min(spans) == max(spans) else f"{min(spans)} to {max(spans)}"
    return f"{len(spans)} of {each} steps"


def unrecorded(problems: Sequence[str], *, imported: bool = True, stepped: bool = False, models: int = 0) -> list[str]:
    """Returns one line for each reason why `icshift run` recorded less than there was; empty where it recorded all.

    `problems` are the reasons that concern single models. `imported` says whether the script imported torch, `stepped`
    whether it stepped an optimizer, `models` how many models were recorded.
    """
    if not imported:
        return ["nothing was recorded: the script did not import torch"]
    if not stepped:
        return [
            "no optimizer step was seen in this process; "
            "if the script steps by itself, --forwards makes each forward in training a step",
            *problems,
        ]
    return list(problems) or ([] if models else ["nothing was recorded: no model was trained"])
