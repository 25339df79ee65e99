"""The content of a run, the modules of its model that were not recorded, and the cost of the recording."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.reports.added_time import in_percent
from icshift.reports.next_step import typed
from icshift.reports.report import Report
from icshift.reports.sheet import Column, Sheet, of_rows
from icshift.reports.tables import Facts
from icshift.reports.thinned import budget_in_words, thinned
from icshift.runs.disk import in_words, used

if TYPE_CHECKING:
    from rich.console import RenderableType

    from icshift.runs.format import Site
    from icshift.runs.reader import StoredRun


_MOST_SHOWN = 2000
"""Sites, and modules that were not recorded, in `icshift info`: a table of many takes minutes."""


_RANKS_NAMED = 4
"""Processes that a sentence names; of more it says how many."""


def run_report(run: StoredRun) -> Report:
    """Returns the report of `icshift info`: facts about a run, its sites, and the modules that were not recorded."""
    windows = [_renamed(asdict(window), index="window") for window in run.window_list]
    sites = [_renamed(site, name="site") for site in run.manifest["sites"]]
    return Report(
        body=(Facts(_facts(run)), _sites(run)),
        warnings=tuple(_missed_in_words(entry, thinned=bool(thinned(run))) for entry in _missed(run)[:_MOST_SHOWN]),
        notes=tuple(filter(None, [*_more(run), *run.ending.lacking, pooled(run), *unmasked(run)])),
        data={"run": str(run.path), **run.manifest, "sites": sites, "phases": run.phases, "windows": windows}
        | {"disk": _disk_in_bytes(run), "missing": list(run.missing)},
    )


def _disk_in_bytes(run: StoredRun) -> dict[str, Any]:
    taken, windows = used(run.path), max(len(run.window_list), 1)
    return {"bytes": taken.all, "window_bytes": taken.windows / windows, "windows": taken.windows, "steps": taken.steps}


def _renamed(entry: Mapping[str, Any], **words: str) -> dict[str, Any]:
    """Returns an entry of a file under the words that all reports use."""
    return {words.get(name, name): value for name, value in entry.items()}


def _more(run: StoredRun) -> list[str]:
    """Returns a sentence where there are more sites, or modules that were not recorded, than are shown."""
    return [
        f"The first {_MOST_SHOWN:,} of {len(entries):,} {what} are shown; --json has all."
        for what, entries in (("sites", run.sites), ("modules that were not recorded", _missed(run)))
        if len(entries) > _MOST_SHOWN
    ]


def _sites(run: StoredRun) -> Sheet:
    shown = run.sites[:_MOST_SHOWN]
    kept = [_units(site) for site in shown]
    columns = [
        Column("type", [site.type for site in shown], 2, align="left", fold=8),
        Column("units", kept, 0, align="left"),
        Column("axis", [str(site.axis) for site in shown], 3, align="left"),
        Column("feeds", [", ".join((*site.feeds, *site.others)) or "–" for site in shown], 1, "left", fold=8),
        Column("follows", [site.follows or "–" for site in shown], 4, align="left", fold=12),
    ]
    return Sheet("site", [site.name for site in shown], columns)


def _units(site: Site) -> str:
    """Returns how many units a site has, and of how many there are windows and steps where these are not all."""
    recorded = [] if site.kept is None else [f"{len(site.kept)} recorded"]
    return ", ".join(
        [f"{site.units}", *recorded, *([] if site.in_steps is None else [f"{len(site.in_steps)} in steps"])]
    )


def _facts(run: StoredRun) -> list[tuple[str, str]]:
    manifest = run.manifest
    windows = run.window_list
    span = f"{len(windows)}" + (f" ({windows[0].name} to {windows[-1].name})" if len(windows) > 1 else "")
    ledger = _states(run, manifest.get("ledger", []))
    stride, settings = manifest["step_stride"], run.settings
    versions = [f"icshift {manifest['icshift']}", f"torch {manifest['torch']}"]
    versions += [f"kernel {manifest['kernel']}"] if "kernel" in manifest else []
    return [
        ("run", f"{run.path}{_ending(run)}"),
        ("model", f"{manifest['model']}, {_number(manifest['parameters'])} parameters"),
        ("recorded", " · ".join([manifest["created"], *versions])),
        ("steps", _steps(manifest) + (f", series of every {stride}th" if stride > 1 else "")),
        ("windows", span),
        ("phases", ", ".join(run.phases) or "none"),
        *([("processes", f"{run.ranks}")] if run.ranks > 1 else []),
        ("samples", f"{settings.get('samples', '–')} a unit and step for quantiles; moments of every activation"),
        ("probe", f"{settings['probe_examples']} examples" if settings.get("probe_examples") else "none"),
        ("modules", ", ".join(f"{count} {state}" for state, count in ledger.items()) or "–"),
        ("cost", overhead(run)),
        *([("budget", told)] if (told := budget_in_words(run)) else []),
        ("disk", _disk(run)),
    ]


def _ending(run: StoredRun) -> str:
    told = run.ending.heading.removeprefix(" · ")
    if told == "unfinished":
        told = "unfinished: still recording, or the process was killed"
    return f"  ({told})" if told else ""


def _disk(run: StoredRun) -> str:
    """Returns in words what the run takes on disk, and of which of its parts."""
    taken = used(run.path)
    each = f" ({in_words(taken.windows / len(windows))} each)" if (windows := run.window_list) else ""
    return f"{in_words(taken.all)}: windows {in_words(taken.windows)}{each}, steps {in_words(taken.steps)}"


def _steps(manifest: dict[str, Any]) -> str:
    """Returns in words how many steps there were, and how many of them followed no forward that could be heard."""
    unheard = manifest.get("unheard_steps", 0)
    return _number(manifest["steps"]) + (
        f" ({unheard:,} of them after no forward with gradients that was heard)" if unheard else ""
    )


def _number(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def coverage(run: StoredRun, path: Path | None = None) -> str:
    """Returns a warning with the number of modules that should have been watched and were not, by state; empty if none.

    It names the run by `path` if that is given, else by its own path.
    """
    states = _states(run, _missed(run))
    if not states:
        return ""
    listed = ", ".join(f"{count} {state}" for state, count in states.items())
    what = "Modules not recorded" + (", or not in training" if any("in training" in state for state in states) else "")
    return f"{what}: {listed} (`icshift info {path or run.path}` says which and why)"


def unmasked(run: StoredRun) -> list[str]:
    """Returns in words what arguments told the model of padding that was counted all the same; none where none did."""
    return [
        f"{name} hides {seen['hidden'] / seen['positions']:.0%} of {seen['positions']:,} positions, which are counted: "
        f"Recorder(mask=lambda {name}: {name}{'' if seen['hiding'] else ' == 0'}) leaves them out"
        for name, seen in run.manifest.get("unmasked", {}).items()
    ]


def pooled(run: StoredRun) -> str:
    """Returns in words which sites hold many calls of their module in a forward; empty where none does."""
    names = [site.name for site in run.sites if re.search(r"#\d+\+", site.name)]
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"One site for all calls in a forward from the number in its name on: {listed}" if names else ""


def unheard(run: StoredRun) -> str:
    """Returns in words how many steps followed no forward that they were computed from; empty where each did."""
    steps = run.manifest.get("unheard_steps", 0)
    return (
        f"{steps:,} of {run.manifest['steps']:,} steps followed no call, of the model or of a watched module, "
        "in training mode with gradients: nothing of theirs is in phase train"
        if steps
        else ""
    )


def _states(run: StoredRun, entries: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Returns the number of modules by state, which is of some processes alone where another observed the module."""
    observed = {entry["module"] for entry in run.manifest.get("ledger", []) if entry["state"] == "observed"}
    partly = " in some processes"
    found = {
        (
            entry["module"],
            entry["state"] + partly * (entry["state"] != "observed" and entry["module"] in observed),
        ): None
        for entry in entries
    }
    return Counter(state for _, state in found)


def _missed(run: StoredRun) -> list[dict[str, Any]]:
    return [entry for entry in run.manifest.get("ledger", []) if entry["state"] not in ("observed", "excluded")]


def _missed_in_words(entry: dict[str, Any], *, thinned: bool) -> str:
    some = " (in the steps that were recorded)" if thinned and entry["state"] == "never called" else ""
    where = _of_processes(entry["ranks"]) if "ranks" in entry else ""
    return f"{entry['module']} ({entry['type']}): {entry['state']}{where} – {entry['reason']}{some}"


def _of_processes(ranks: Sequence[int]) -> str:
    if len(ranks) > _RANKS_NAMED:
        return f" in {len(ranks)} processes ({', '.join(map(str, ranks[:3]))}, …)"
    *others, last = map(str, ranks)
    return f" in processes {', '.join(others)} and {last}" if others else f" in process {last}"


def overhead(run: StoredRun) -> str:
    """Returns in words the time spent recording, in s and in % of the rest of the time, and the size on disk."""
    cost = run.manifest.get("overhead")
    if not cost:
        return size(run)
    recording, wall = cost["recording_seconds"], cost["wall_seconds"]
    more = "at least " if cost.get("at_least") else ""
    return f"{more}{recording:.2f} s of {wall:.2f} s spent recording ({added_time(run)}), {size(run)}"


def added_time(run: StoredRun) -> str:
    """Returns the time spent recording, in % of the rest of the time between start and end.

    Where it is not known what its interruptions cost beside the time within them, it says that it was at least that,
    and where next to nothing is left beside it, that it was nearly all of the time.
    """
    cost = run.manifest["overhead"]
    return in_percent(
        cost["recording_seconds"], cost["wall_seconds"], sign="at least +" if cost.get("at_least") else "+"
    )


def size(run: StoredRun) -> str:
    """Returns the size of all files of a run, in MB."""
    return f"{used(run.path).all / 1e6:.1f} MB"


@dataclass(frozen=True)
class Cost:
    """What `icshift run` took of the time of a process, in seconds; `whole` says whether that is all.

    `once` is the part of it that is the same however many `steps` are trained. `copies` says how many models, each a
    copy made in turn, are in one run, by its name.
    """

    seconds: float
    elapsed: float
    copies: dict[str, int] = field(default_factory=dict)
    whole: bool = True
    once: float = 0.0
    steps: int = 0

    def in_words(self) -> str:
        """Returns the time in % of the rest, and in s; how much of it is not a step's; and what a step takes."""
        rest = max(self.elapsed - self.seconds, 0.0)
        share = in_percent(self.seconds, self.elapsed, sign="about +" if self.whole else "at least +")
        each = f", {float(f'{1e3 * (self.seconds - self.once) / self.steps:.2g}'):g} ms a step" if self.steps else ""
        return (
            f"Cost of it all: {share}, {self.seconds:.1f} s beside {rest:.1f} s of the script's own; "
            f"{self.once:.1f} s once (start, end, this summary){each}."
        )


_RECORDED = (("model", 5), ("sites", 4), ("steps", 3), ("windows", 0), ("time", 1), ("disk", 2))
"""Heads of the columns on a run that was recorded, and their ranks: which go first where the screen is narrow."""


def recorded_report(target: Path, runs: Sequence[StoredRun], cost: Cost | None = None) -> Report:
    """Returns the report of what `icshift run` recorded in `target`, with one row per model.

    `cost` is that of the process whose script it was, if it recorded anything.
    """
    hints: list[RenderableType] = [Text(hint) for hint in _of_windows(runs)]
    undone = [window for run in runs for window in run.window_list if window.name.startswith("undone-")]
    if undone:
        steps = ", ".join(f"{window.first_step} to {window.last_step}" for window in undone)
        hints.append(Text(f"Steps {steps} were undone: parameters were put back. They are compared with nothing."))
    if cost is not None:
        hints += [
            *(
                Text(f"{name}: {count} models in turn, each a copy of another; one run holds them all.")
                for name, count in cost.copies.items()
            ),
            Text(cost.in_words()),
        ]
    names = {run: _name(target, run) for run in runs}
    missed = [f"{name}: {warning}" for run, name in names.items() if (warning := coverage(run, target / name))]
    told = {name: (thinned(run), unheard(run), pooled(run), *unmasked(run)) for run, name in names.items()}
    missed += [f"{name}: {note}" for name, notes in told.items() for note in notes if note]
    missed += [f"{name}: {sentence}" for run, name in names.items() for sentence in run.ending.sentences]
    return Report(
        heading=f"Recorded in {target}",
        body=(
            of_rows("run", _RECORDED, [_recorded(run, name) for run, name in names.items()]),
            Report(warnings=tuple(missed)),
            *hints,
        ),
        next_step=f"Next: icshift report {typed(target / _name(target, runs[0]))}",
    )


def _of_windows(runs: Sequence[StoredRun]) -> list[str]:
    """Returns in words why windows are as long as they are where nobody said so, and what to do where one is alone."""
    chosen = [run for run in runs if any(window.provisional for window in run.window_list)]
    if chosen:
        few = any(len(run.window_list) < min(10, run.manifest["steps"]) for run in chosen)
        where = " where every step has activations" if few else ""
        return [
            f"No DataLoader told of a second epoch: windows as long as leaves 10 to 20{where}; choose with --window."
        ]
    alone = [run.manifest["steps"] - run.manifest.get("unheard_steps", 0) for run in runs if len(run.window_list) < 2]
    advice = ": choose shorter ones with --window" if max(alone, default=0) > 1 else ""
    return [f"One window leaves nothing to compare{advice}."] if alone else []


def _name(target: Path, run: StoredRun) -> str:
    """A run's name; after that of its process's directory where it is in one."""
    above = run.path.parent
    return (
        run.name if above.name == target.name or not above.name.startswith("process-") else f"{above.name}/{run.name}"
    )


def _recorded(run: StoredRun, name: str) -> list[str]:
    manifest = run.manifest
    counts = [str(len(run.sites)), f"{manifest['steps']:,}", _windows(run)]
    time = added_time(run) if "overhead" in manifest else "–"
    return [name, manifest["model"], *counts, time, size(run)]


def _windows(run: StoredRun) -> str:
    """Returns in words how many windows there are, and of how many steps."""
    spans = [window.last_step - window.first_step + 1 for window in run.window_list]
    if not spans:
        return "0"
    each = f"{min(spans)}" if min(spans) == max(spans) else f"{min(spans)} to {max(spans)}"
    return f"{len(spans)} of {each} steps"


def unrecorded(
    problems: Sequence[str],
    *,
    imported: bool = True,
    stepped: bool = False,
    others: bool = False,
    children: bool = False,
) -> list[str]:
    """Returns one line for each reason why `icshift run` recorded less than there was; empty where it recorded all.

    `problems` are the reasons that are known. `imported` says whether the script imported torch, `stepped` whether it
    stepped an optimizer, `children` whether it started processes, and `others` whether there is a run of one of these.
    """
    if stepped or others:
        return list(problems)
    if not imported:
        first = "nothing was recorded: the script did not import torch"
    else:
        first = (
            "no optimizer step was seen in this process; "
            "if the script steps by itself, --forwards makes each forward in training a step"
        )
    unknown = (
        "of the processes that it started none was seen to train; Pythons of another environment, or with the options "
        "-I, -E or -S, cannot be followed: start `python -m icshift run SCRIPT` in their place"
    )
    return [first, *([unknown] if children else []), *problems]
