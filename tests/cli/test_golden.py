"""Reports of one small run, compared with what they were; ICSHIFT_ACCEPT=1 accepts new output.

The numbers are of a fixed set of distributions, not of a training, so that they are the same on every machine.
"""

import difflib
import os
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from icshift.cli.main import _run
from icshift.runs.format import Site, StepRows, Window
from icshift.runs.writer import Recording
from tests.recorded import distribution

GOLDEN = Path(__file__).parent.parent / "golden"

SITES = [
    Site("fc1", "Linear", axis=1, units=12, feeds=("ReLU",)),
    Site("norm1", "BatchNorm1d", axis=1, units=12, normalises=True, batch_statistics=True, follows="fc1"),
    Site("a.very.long.name.of.a.layer.deep.in.the.model", "Linear", axis=2, units=12, feeds=("Sigmoid",)),
]


def activations(window, place):
    """[units, n]: drifting in mean, in spread, and not at all; unit 0 dead, unit 1 constant, unit 2 with a NaN."""
    random = np.random.default_rng([window, place])
    values = random.normal(0, 1, (12, 640))
    values = [values + 0.2 * window, values * (1 + 0.3 * window), values][place]
    values[0] = -np.abs(values[0])
    values[1] = 0.5
    values[2, 7] = np.nan
    return values


@pytest.fixture(scope="module")
def golden_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    manifest = {
        "icshift": "0.0.0",
        "torch": "0.0.0",
        "model": "Net",
        "parameters": 1234,
        "settings": {"samples": 64, "probe_examples": 0},
        "ledger": [
            {"module": "fc9", "type": "Linear", "state": "never called", "reason": "watched, but no tensor came"}
        ],
        "steps": 30,
        "sites": [asdict(site) for site in SITES],
    }
    recording = Recording(folder / "run", manifest)
    for window in range(1, 4):
        kept = {("train", site): distribution(activations(window, i), steps=10) for i, site in enumerate(SITES)}
        recording.write_window(Window(window, f"epoch {window}", 10 * window - 10, 10 * window - 1, True), kept)
    steps = np.arange(30)
    level = np.sin(steps / 5)[:, None] + np.zeros(12)
    rows = StepRows(
        steps=steps,
        count=np.full((30, 12), 64),
        nonfinite=np.zeros((30, 12), int),
        mean=level,
        std=level * 0 + 1,
        min=level - 3,
        max=level + 3,
        zero_share=level * 0,
        quantiles=np.stack([level + shift for shift in (-1.6, -1, 0, 1, 1.6)]),
    )
    recording.append_steps("train", SITES[0], rows)
    recording.finish({})
    return folder


COMMANDS = {
    "report": ["report", "run"],
    "report_wide": ["report", "run", "--reference", "first"],
    "units": ["units", "run", "--site", "fc1", "--top", "6"],
    "unit": ["units", "run", "--site", "fc1", "--unit", "4"],
    "export": ["export", "run", "-o", "-", "--site", "fc1"],
    "report_json": ["report", "run", "--json", "--site", "norm1"],
}


def rounded(text):
    """The text with its long numbers to 6 digits: the last ones differ from processor to processor."""
    return re.sub(r"-?\d+\.\d{6,}(e-?\d+)?", lambda match: f"{float(match.group()):.6g}", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_what_it_was(name, golden_run, monkeypatch, capfdbinary):
    monkeypatch.chdir(golden_run)
    monkeypatch.setenv("COLUMNS", "120" if name.endswith("wide") else "80")
    monkeypatch.setenv("NO_COLOR", "1")
    assert _run(COMMANDS[name]) == 0
    found = rounded(capfdbinary.readouterr().out.decode())
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("ICSHIFT_ACCEPT"):
        file.write_text(found)
    expected = file.read_text() if file.exists() else ""
    difference = "".join(difflib.unified_diff(expected.splitlines(True), found.splitlines(True), "golden", "found"))
    assert not difference, f"{difference}\nICSHIFT_ACCEPT=1 accepts this output."
