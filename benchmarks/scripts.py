"""The cost that `icshift run` tells against the cost that a clock shows.

    python benchmarks/scripts.py [pairs] [name…]

A name is one of `benchmarks/trainings.py` or of `tests/launch/styles`; without any, all of both are measured. Every
script runs plainly and under `icshift run` in turn, each time in a new interpreter on one thread. Measured is the
processor's time, which other programs disturb less than that of the clock on the wall, in % of what the plain script
takes: of the whole process, from before Python starts until it is gone, and (of this folder's trainings) from the first
step of an optimizer to the last. Told is the last line of the summary, and the time of the runs in its table. All are
medians over the pairs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
STYLES = ROOT / "tests" / "launch" / "styles"
TRAININGS = Path(__file__).with_name("trainings.py")
NAMES = ("tiny_mlp", "short", "wide_mlp", "conv_net", "resnet20", "nano_gpt", "transformer", "episodes", "graph")
NEEDS = {
    "lightning_template": "lightning",
    "fabric_loop": "lightning",
    "accelerate_no_trainer": "accelerate",
    "ignite_evaluators": "ignite",
    "skorch_classifier": "skorch",
    "keras_fit": "keras",
}
WRITES = ("imagenet", "timm_train")
OPTIONS = {"word_language_model": ["--forwards"]}
WITHOUT = ("fingerprint", "spawned", "hogwild", "notebook")
"""No training, or one in other processes."""

WITHIN = 0.2
"""By so much of the measured may what is told differ, or by one hundredth of the plain time."""

TOLD = re.compile(r"Cost of it all: .*?%, ([\d.]+) s beside ([\d.]+) s")


@dataclass(frozen=True)
class Process:
    """What a script took in seconds of the processor's time, plainly or recorded."""

    whole: float
    steps: float | None
    """From the first step of an optimizer to the last; None where the script does not say."""
    told: float | None = None
    """The cost of it all as told, in parts of the rest."""
    told_steps: float | None = None
    """The same of all runs in its table together, of the longest one's time."""

    @classmethod
    def of(cls, name: str, folder: Path, *, recorded: bool) -> Process:
        """Runs a script."""
        times, runs, said = (folder / part for part in ("times", "runs", "said"))
        times.unlink(missing_ok=True)
        script = [str(TRAININGS), name, str(times)]
        if name not in NAMES:
            script = [str(STYLES / f"{name}.py"), *([str(folder)] if name in WRITES else [])]
        command = ["-m", "icshift", "run", "-f", "-o", str(runs), *OPTIONS.get(name, [])] if recorded else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        with said.open("w") as stderr:
            started = subprocess.Popen(
                [sys.executable, *command, *script],
                **{"env": environment, "cwd": STYLES, "stdout": subprocess.DEVNULL, "stderr": stderr},
            )
            _, code, used = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(code)
        took = used.ru_utime + used.ru_stime, float(times.read_text()) if times.exists() else None
        told = TOLD.search(said.read_text())
        return cls(*took) if told is None else cls(*took, float(told[1]) / float(told[2]), _told_of_runs(runs))


def _told_of_runs(runs: Path) -> float | None:
    manifests = [json.loads(path.read_text()) for path in runs.glob("*/run.json")]
    costs = [manifest["overhead"] for manifest in manifests if "overhead" in manifest]
    if not costs:
        return None
    # Of several runs at the same time each tells its own part of the cost.
    share = sum(cost["recording_seconds"] for cost in costs) / max(cost["wall_seconds"] for cost in costs)
    return share / (1 - share)


def measure(name: str, pairs: int) -> list[str]:
    """A row of the table."""
    both: list[tuple[Process, Process]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(pairs):
            plainly, recorded = (Process.of(name, Path(folder), recorded=way) for way in (False, True))
            both.append((plainly, recorded))
    plain = median(p.whole for p, _ in both)
    measured = median(r.whole / p.whole for p, r in both) - 1
    told = [r.told for _, r in both if r.told is not None]
    row = [name, f"{plain:.2f}", f"{100 * measured:+.0f}", *_against(measured, told)]
    spans = [(p.steps, r.steps) for p, r in both if p.steps and r.steps]
    if not spans:
        return [*row, "–", "–", "–", "–"]
    plain = median(p for p, _ in spans)
    measured = median(r / p for p, r in spans) - 1
    told = [r.told_steps for _, r in both if r.told_steps is not None]
    return [*row, f"{plain:.2f}", f"{100 * measured:+.0f}", *_against(measured, told)]


def _against(measured: float, told: list[float]) -> list[str]:
    """What is told, and whether it is within `WITHIN` of what was measured."""
    if not told:
        return ["–", "–"]
    close = abs(median(told) - measured) <= max(WITHIN * abs(measured), 0.01)
    return [f"{100 * median(told):+.0f}", "yes" if close else "no"]


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    styles = sorted(path.stem for path in STYLES.glob("*.py") if path.stem not in WITHOUT)
    names = sys.argv[2:] or [*NAMES, *(name for name in styles if name not in NEEDS or find_spec(NEEDS[name]))]
    table = Table(title=f"Cost told and measured, medians of {pairs} pairs, load {os.getloadavg()[0]:.1f}")
    whole = ("whole process plain, s", "measured, %", "told, %", "within 20 %")
    for column in ("script", *whole, "steps plain, s", *whole[2:]):
        table.add_column(column, justify="left" if column == "script" else "right")
    rows = []
    for name in names:
        rows.append(measure(name, pairs))
        print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
        table.add_row(*rows[-1])
    Console(width=130).print(table)
    print(f"{sum(row[4] == 'yes' for row in rows)} of {sum(row[4] != '–' for row in rows)} within 20 %")


if __name__ == "__main__":
    main()
