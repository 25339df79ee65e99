"""The cost that `icshift run` tells against the cost that a clock shows, on the trainings of tests/launch/styles.

    python benchmarks/scripts.py [pairs] [script…]

Every script runs plainly and under `icshift run` in turn, each time in a new interpreter on one thread; what is
compared are medians over the pairs, so that both see the same state of the machine. Two costs are measured, in the
processor's time, which other programs disturb less: of the training, from the first step of an optimizer to the last,
in % of what it takes plainly; and of the process, from `import torch` to its end without the summary, in s, which has
finding the models and closing the runs in it. Told is what the summary says of all runs together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
STYLES = ROOT / "tests" / "launch" / "styles"
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
WITHOUT = ("fingerprint", "spawned", "hogwild")
"""No training, or one in other processes."""

WITHIN = 0.2
"""By so much of the measured may what is told differ, or by one hundredth of the plain time."""

TIMED = """
import atexit, json, os, runpy, sys, time
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
steps, started = [], time.process_time()
register_optimizer_step_post_hook(lambda *_: steps.append(time.process_time()))
times, way, *command = sys.argv[1:]

def write():
    if not os.path.exists(times):
        span = steps[-1] - steps[0] if len(steps) > 1 else None
        with open(times, "w") as file:
            json.dump({"training": span, "process": time.process_time() - started}, file)

try:
    if way == "plain":
        sys.argv, sys.path[0] = command, os.path.dirname(os.path.abspath(command[0]))
        runpy.run_path(command[0], run_name="__main__")
    else:
        import icshift.cli.run as cli
        report = cli._report
        cli._report = lambda *a, **k: (write(), report(*a, **k))
        from icshift.cli.main import main
        sys.argv = ["icshift", "run", *command]
        main()
finally:
    write()
"""


def once(way: str, name: str, folder: Path) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The seconds of one process, and what its runs say of the cost."""
    times, runs = folder / f"{way}.json", folder / "runs"
    script = [str(STYLES / f"{name}.py"), *([str(folder)] if name in WRITES else [])]
    options = [] if way == "plain" else ["-f", "-o", str(runs), *OPTIONS.get(name, [])]
    times.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TIMED, str(times), way, *options, *script]
    subprocess.run(command, env=environment, cwd=STYLES, capture_output=True, check=False, timeout=600)
    manifests = [json.loads(path.read_text()) for path in sorted(runs.glob("*/run.json"))] if way != "plain" else []
    return json.loads(times.read_text()), [m["overhead"] for m in manifests if "overhead" in m]


def measure(name: str, pairs: int) -> list[str]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        both = [(once("plain", name, Path(folder)), once("recorded", name, Path(folder))) for _ in range(pairs)]
    told_seconds = median(sum(cost["recording_seconds"] for cost in costs) for _, (_, costs) in both)
    measured_seconds = median(recorded["process"] - plain["process"] for (plain, _), (recorded, _) in both)
    spans = [(p["training"], r["training"]) for (p, _), (r, _) in both if p["training"] and r["training"]]
    if not spans:
        return [name, "–", "–", "–", f"{measured_seconds:.2f}", f"{told_seconds:.2f}", "–"]
    measured = median(recorded / plain - 1 for plain, recorded in spans)
    # Of several runs at the same time each tells its own part of the cost.
    shares = [
        sum(c["recording_seconds"] for c in costs) / max(c["wall_seconds"] for c in costs) for *_, (_, costs) in both
    ]
    told = median(share / (1 - share) for share in shares)
    verdict = "yes" if abs(told - measured) <= max(WITHIN * abs(measured), 0.01) else "no"
    plainly = median(plain for plain, _ in spans)
    seconds = [f"{measured_seconds:.2f}", f"{told_seconds:.2f}"]
    return [name, f"{plainly:.2f}", f"{100 * measured:+.0f}", f"{100 * told:+.0f}", *seconds, verdict]


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    there = sorted(path.stem for path in STYLES.glob("*.py") if path.stem not in WITHOUT)
    names = sys.argv[2:] or [n for n in there if n not in NEEDS or find_spec(NEEDS[n])]
    table = Table(title=f"Cost told and measured, medians of {pairs} pairs, load {os.getloadavg()[0]:.1f}")
    columns = ("script", "training, s", "measured, %", "told, %", "process, s more", "told, s", "within 20 %")
    for column in columns:
        table.add_column(column, justify="left" if column == "script" else "right")
    rows = []
    for name in names:
        rows.append(measure(name, pairs))
        print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
        table.add_row(*rows[-1])
    Console(width=110).print(table)
    print(f"{sum(row[-1] == 'yes' for row in rows)} of {sum(row[-1] != '–' for row in rows)} within 20 %")


if __name__ == "__main__":
    main()
