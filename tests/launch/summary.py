"""Whether every line of what `icshift run` says at the end is true of the training that it was said of.

`untrue` returns one line for every statement that is not, and for every line of the summary that it does not know: who
words a new one says here what makes it true.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import icshift
from icshift.cli.main import _run
from tests.launch.truths import Run, Truth

HEADER = ["run", "model", "sites", "steps", "windows", "time", "disk"]
NUMBER = re.compile(r"\+?([\d,.]+) ?(%|MB)?$")


def said(run: Run) -> list[str]:
    """The lines that icshift wrote: those on stderr that the script itself does not write there."""
    own = Counter(line.rstrip() for line in run.plain.stderr.splitlines())
    lines = []
    for line in map(str.rstrip, run.recorded.stderr.splitlines()):
        if line.strip(" ─") == "":
            continue
        if own[line]:
            own[line] -= 1
        elif not _of_a_traceback(line, run.plain.stderr):
            lines.append(line)
    return lines


def untrue(run: Run) -> list[str]:
    """What is not true of all that icshift said."""
    wrong = []
    lines = said(run)
    for line in lines:
        for pattern, check in KNOWN:
            if found := re.fullmatch(pattern, line):
                wrong += [f"{line!r}: {fault}" for fault in check(run, found)]
                break
        else:
            wrong.append(f"{line!r}: nobody knows what would make it true")
    return wrong + [f"nothing says that {silent}" for silent in _unsaid(run, lines)]


def _recorded_in(run: Run, found: re.Match[str]) -> Iterator[str]:
    if Path(found[1]) != run.output or not run.output.is_dir():
        yield f"the runs are in {run.output}"


def _header(_: Run, found: re.Match[str]) -> Iterator[str]:
    if found[0].split() != HEADER:
        yield f"the columns are {HEADER}"


def _row(run: Run, found: re.Match[str]) -> Iterator[str]:
    name, model, sites, steps, windows, time, disk = re.split(r"  +", found[0].strip())
    told = (model, int(sites), int(steps.replace(",", "")), windows)
    if (true := _true_row(run, name)) is None:
        yield f"no model of the script is called {name}: {[*run.style.models.items(), *run.style.declared]}"
        return
    yield from (
        f"{what} is {right}" for what, says, right in zip(HEADER[1:], told, true, strict=False) if says != right
    )
    size = sum(f.stat().st_size for f in (run.output / name).rglob("*") if f.is_file())
    if disk != f"{size / 1e6:.1f} MB":
        yield f"it has {size} bytes"
    number = NUMBER.fullmatch(time.removeprefix("at least "))  # Where a part of the cost is not known.
    if not number or number[2] != "%":
        yield "the time is no number of %"


def _true_row(run: Run, name: str) -> tuple[str, int, int, str] | None:
    """The model's class, sites, steps and windows; None where there is no such model."""
    if declared := run.style.declared.get(name):
        return declared.kind, declared.sites, declared.windows[-1][1] + 1, _in_words([*declared.windows])
    kind = next((kind for kind, known in run.names.items() if known == name), None)
    if kind is None:
        return None
    truth = run.truths[kind]
    spans = truth.windows() if run.style.epoch and run.style.epochs else _spans(icshift.open(run.output / name))
    # A site that no row came to is one all the same, and the line that says so another's.
    sites = {site for _, site in truth.activations} | truth.empty
    return kind.split("-")[0], len(sites), truth.steps, _in_words(spans)


def _in_words(spans: list[tuple[int, int]]) -> str:
    lengths = [last - first + 1 for first, last in spans]
    each = f"{min(lengths)}" if min(lengths) == max(lengths) else f"{min(lengths)} to {max(lengths)}"
    return f"{len(spans)} of {each} steps"


def _spans(recorded: icshift.api.Run) -> list[tuple[int, int]]:
    return [(window.first_step, window.last_step) for window in recorded.window_list]


def _no_step(run: Run, _: re.Match[str]) -> Iterator[str]:
    if _facts(run)["steps"]:
        yield f"there were {_facts(run)['steps']}"


def _none_trained(run: Run, _: re.Match[str]) -> Iterator[str]:
    if _facts(run)["trained"]:
        yield f"these were: {_facts(run)['trained']}"


def _missed(run: Run, found: re.Match[str]) -> Iterator[str]:
    kind = next((kind for kind, known in run.names.items() if known == found[1]), None)
    if kind is None:
        yield f"no model of the script is called {found[1]}"
        return
    told = Counter({state: int(count) for count, state in re.findall(r"(\d+) ([a-z0 ]+)", found[2])})
    if told != +run.truths[kind].missed:
        yield f"it is {+run.truths[kind].missed}"


def _masked(run: Run, found: re.Match[str]) -> Iterator[str]:
    truth = _truth_of(run, found[1])
    true = truth and (f"{truth.masked / truth.positions:.0%}", f"{truth.positions:,}")
    if true != (found[2], found[3]):
        yield f"it is {true}"


def _pooled(run: Run, found: re.Match[str]) -> Iterator[str]:
    truth = _truth_of(run, found[1])
    pooled = {site for _, site in truth.activations if site.endswith("+")} if truth else set()
    listed, _, more = found[2].partition(" and ")
    if not set(listed.split(", ")) <= pooled or len(listed.split(", ")) + int((more or "0").split()[0]) != len(pooled):
        yield f"it is {sorted(pooled)}"


def _truth_of(run: Run, name: str) -> Truth | None:
    return next((run.truths[kind] for kind, known in run.names.items() if known == name), None)


def _one_epoch(run: Run, _: re.Match[str]) -> Iterator[str]:
    if run.style.epoch and run.style.epochs and any(len(truth.windows()) > 1 for _, truth in run.pairs()):
        yield f"the script counts epochs: {run.style.epoch}"


def _some_windows(run: Run, found: re.Match[str]) -> Iterator[str]:
    yield from _one_epoch(run, found)
    few = [recorded for recorded, truth in run.pairs() if len(recorded.window_list) < min(10, truth.steps)]
    if any(len(recorded.window_list) > 20 for recorded, _ in run.pairs()):
        yield "there are more"
    if few and not found[1]:
        yield f"there are fewer in {few}"
    if found[1] and not all(_truth_of(run, recorded.name).unheard for recorded in few):
        yield f"every step has activations in {few}"


def _one_window(run: Run, found: re.Match[str]) -> Iterator[str]:
    alone = [truth for recorded, truth in run.pairs() if len(recorded.window_list) < 2]
    if not alone:
        yield "every run has several windows"
    if any(len(truth.windows()) > 1 for truth in alone if run.style.epoch and run.style.epochs):
        yield "there are several epochs"
    if bool(found[1]) != any(truth.steps - truth.unheard > 1 for truth in alone):
        yield f"steps, and those without activations, are {[(truth.steps, truth.unheard) for truth in alone]}"


def _unheard(run: Run, found: re.Match[str]) -> Iterator[str]:
    truth = _truth_of(run, found[1])
    if truth is None or (f"{truth.unheard:,}", f"{truth.steps:,}") != (found[2], found[3]):
        yield f"it is {truth and (truth.unheard, truth.steps)}"


def _next(run: Run, found: re.Match[str]) -> Iterator[str]:
    path = Path(found[1])
    if run.output not in path.parents or not path.is_dir():
        yield f"there is no run {path}"
    elif _run(["report", str(path)]):
        yield "the command fails"


def _copies(run: Run, found: re.Match[str]) -> Iterator[str]:
    truth = _truth_of(run, found[1])
    if truth is None or not run.style.copies or truth.models != int(found[2]):
        yield f"it is {truth and truth.models}, copies: {run.style.copies}"


def _cost(_: Run, found: re.Match[str]) -> Iterator[str]:
    share, cost, rest = (float(found[place].replace(",", "")) for place in (2, 3, 4))
    if (
        not (cost - 0.051) / (rest + 0.051) <= (share + 0.51) / 100
        or not (share - 0.51) / 100 * (rest - 0.051) <= cost + 0.051
    ):
        yield f"{cost} s are no {share} % of {rest} s"


def _ended_by(run: Run, found: re.Match[str]) -> Iterator[str]:
    truth = _truth_of(run, found[1])
    if truth is None or truth.steps != int(found[3].replace(",", "")):
        yield f"it had {truth and truth.steps} steps"
    if not run.plain.returncode or found[2] not in run.plain.stderr:
        yield f"the script ended with {run.plain.returncode}"


def _never_called(run: Run, found: re.Match[str]) -> Iterator[str]:
    facts = _facts(run)
    if Path(found[1]).name in run.names.values() or not facts["silent"]:
        yield f"models that were never called: {facts['silent']}"


def _facts(run: Run) -> dict:
    return json.loads((run.folder / "truth" / "training.json").read_text())


def _unsaid(run: Run, lines: list[str]) -> Iterator[str]:
    """What must be said where it is so: a model of the script is recorded, or it is said that it is not."""
    for kind, expected in run.style.models.items():
        if kind not in run.names and not any(kind.split("-")[0] in line for line in lines):
            yield f"{expected} ({kind}) is not recorded"
    for name in [*run.names.values(), *run.style.declared]:
        if not any(line.split()[0] == name for line in lines):
            yield f"{name} is recorded"
        truth = _truth_of(run, name)
        told = " ".join(line for line in lines if line.startswith(f"{name}: "))
        if truth is not None and truth.unheard and "followed no call" not in told:
            yield f"{truth.unheard} steps of {name} followed no forward"
        if truth is not None and +truth.missed and "Modules not recorded" not in told:
            yield f"modules of {name} are missed: {+truth.missed}"
        if truth is not None and truth.masked and "attention_mask" not in told:
            yield f"padding is counted in {name}"


def _of_a_traceback(line: str, plain: str) -> bool:
    """Whether a line is one of a traceback that the plain script shows too, where PyTorch's own frames may differ."""
    return "Traceback (most recent call last)" in plain and line.startswith(("  File ", "    "))


KNOWN = (
    (r"Recorded in (.+)", _recorded_in),
    (r" run +model +.*", _header),
    (r" \S+ +\S+ +\d+ +[\d,]+ +\d.* +\S+ %? +[\d.]+ MB", _row),
    (r"icshift: no optimizer step was seen in this process; .*--forwards makes each forward.* a step", _no_step),
    (r"icshift: nothing was recorded: no model was trained", _none_trained),
    (r"(\S+): attention_mask hides (\S+) of ([\d,]+) positions, which are counted: Recorder\(mask=.+", _masked),
    (r"(\S+): One site for all calls in a forward from the number in its name on: (.+)", _pooled),
    (r"(\S+): Modules not recorded(?:, or not in training)?: (.+) \(`icshift info .+` says which and why\)", _missed),
    (
        r"No DataLoader told of a second epoch: windows as long as leaves 10 to 20( where every step has activations)?;"
        r" choose with --window\.",
        _some_windows,
    ),
    (r"One window leaves nothing to compare(: choose shorter ones with --window)?\.", _one_window),
    (
        r"(\S+): ([\d,]+) of ([\d,]+) steps followed no call, of the model or of a watched module, in training mode "
        r"with gradients: nothing of theirs is in phase train",
        _unheard,
    ),
    (r"(\S+): (\d+) models in turn, each a copy of another; one run holds them all.", _copies),
    (r"Cost of it all: (at least|about) \+(\d+) %, ([\d.,]+) s beside ([\d.,]+) s of the script's own; .+", _cost),
    (r"(\S+): The training was ended by (\w+) after ([\d,]+) steps\.", _ended_by),
    (r"icshift: nothing was recorded in (\S+): .+", _never_called),
    (r"Next: icshift report (.+)", _next),
)
