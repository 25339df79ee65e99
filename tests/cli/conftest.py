"""Commands in this process, as on a terminal of 80 columns without colours, and runs for them to read."""

import difflib
import os
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from icshift.cli.main import _run
from icshift.runs.format import GRADIENT_SHIFT, SMOOTHNESS, Site, StepRows, Window
from icshift.runs.writer import Recording
from tests.cli import measurements
from tests.recorded import distribution, of_zoo

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def command(capfd, monkeypatch):
    """Runs a command; returns its exit code, what it printed, and its errors."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments):
        capfd.readouterr()
        code = _run([str(one) for one in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def printed(command):
    """Runs a command that must end well; returns what it printed."""

    def run(*arguments):
        code, out, err = command(*arguments)
        assert code == 0, err
        return out

    return run


@pytest.fixture
def refused(command, tmp_path, monkeypatch):
    """Runs a command with a mistake in an empty folder; returns the one line that it must say, and leave nothing."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        code, out, err = command(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("icshift: ")
        assert not list(folder.iterdir())
        return err

    return run


@pytest.fixture(scope="session")
def with_measurements(tmp_path_factory):
    """A run of one window with gradient shift and smoothness, written in two parts."""
    path = tmp_path_factory.mktemp("measured") / "run"
    where = Site("fc1", "Linear", 1, 3)
    manifest = {
        "model": "Net",
        "sites": [asdict(where)],
        "ledger": [],
        "measured": {GRADIENT_SHIFT: {"every": 10, "counted": "all", "layers": ["fc1", "fc2"]}},
    }
    recording = Recording(path, manifest)
    recording.write_window(Window(1, "1", 0, 29, closed=True), {("train", where): of_zoo("normal", 100)})
    recording.append_measured(GRADIENT_SHIFT, measurements.SHIFT[:4])
    recording.append_measured(SMOOTHNESS, measurements.AROUND[:1])
    recording.flush()
    recording.append_measured(GRADIENT_SHIFT, measurements.SHIFT[4:])
    recording.append_measured(SMOOTHNESS, measurements.AROUND[1:])
    recording.finish({})
    return path


# Golden files: one small run, and what the commands printed of it; ICSHIFT_ACCEPT=1 accepts new output.
# The numbers are of a fixed set of distributions, not of a training, so that they are the same on every machine.

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


def steps_of_a_sine():
    level = np.sin(np.arange(30) / 5)[:, None] + np.zeros(12)
    return StepRows(
        steps=np.arange(30),
        count=np.full((30, 12), 64),
        nonfinite=np.zeros((30, 12), int),
        mean=level,
        std=level * 0 + 1,
        min=level - 3,
        max=level + 3,
        zero_share=level * 0,
        quantiles=np.stack([level + shift for shift in (-1.6, -1, 0, 1, 1.6)]),
    )


@pytest.fixture(scope="session")
def golden_run(tmp_path_factory):
    """The folder that holds the run of the golden files, `run`."""
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
    recording.append_steps("train", SITES[0], steps_of_a_sine())
    recording.finish({})
    return folder


def rounded(text):
    """The text with its long numbers to 4 digits: the last ones differ by processor and by kernel."""
    return re.sub(r"-?\d+\.\d{6,}(e-?\d+)?", lambda match: f"{float(match.group()):.4g}", text)


@pytest.fixture
def difference_from_golden(golden_run, monkeypatch, capfdbinary):
    """Runs a command; returns how its output differs from the golden file of that name, as lines of a diff."""
    monkeypatch.chdir(golden_run)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def difference(name, *arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert _run(list(arguments)) == 0
        out = rounded(capfdbinary.readouterr().out.decode())
        file = GOLDEN / f"{name}.txt"
        if os.environ.get("ICSHIFT_ACCEPT"):
            file.write_text(out)
        expected = file.read_text() if file.exists() else ""
        lines = difflib.unified_diff(expected.splitlines(True), out.splitlines(True), "golden", "printed")
        diff = "".join(lines)
        return f"{diff}\nICSHIFT_ACCEPT=1 accepts this output." if diff else ""

    return difference
