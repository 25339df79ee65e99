"""What commands print on screens of 40 to 200 columns, in UTF-8 and in ASCII: golden files of a small run.

`ICSHIFT_ACCEPT=1 pytest tests/cli/test_main_widths.py` accepts new output.
"""

import difflib
import os
import re
import sys
from dataclasses import asdict

import numpy as np
import pytest

from icshift.cli import output
from icshift.cli.main import _run
from icshift.runs.format import Site, Window
from icshift.runs.writer import Recording
from tests.cli.conftest import GOLDEN, rounded, steps_of_a_sine
from tests.recorded import distribution
from tests.reports.test_two_data_sets import report as of_two_data_sets

WIDTHS = (40, 60, 80, 120, 200)

SITES = [
    Site(f"transformer.encoder.layers.{layer}.{part}", "Linear", axis=2, units=12, feeds=("ReLU",))
    for layer in (0, 10)
    for part in ("attention.query_projection", "mlp")
]

COMMANDS = {
    "report": ["report", "plain"],
    "report_all": ["report", "plain", "--window", "all"],
    "analyze": ["report", "plain", "--phase", "probe"],
    "units": ["units", "plain", "--site", SITES[0].name, "--top", "3"],
    "unit": ["units", "plain", "--site", SITES[0].name, "--unit", "3"],
    "onset": ["onset", "plain"],
    "path": ["path", "plain"],
    "check": ["check", "plain", "--fail-on", "w1_sd > 3x floor", "--fail-on", "dead > 20%", "--window", "2"],
    "info": ["info", "plain"],
    "metrics": ["info", "--metrics"],
    "compare": ["compare", "plain", "other"],
}
"""Those of `analyze` are reports of a probe, which `report` prints too."""


def values(window, place, shift):
    random = np.random.default_rng([window, place])
    return random.normal(shift * place * window, 1 + 0.1 * window, (12, 320)) - (4 if place == 1 else 0)


def record(path, shift):
    manifest = {
        **{"icshift": "0.0.0", "torch": "0.0.0", "model": "Net", "parameters": 1234, "steps": 30, "ledger": []},
        **{"created": "2026-01-01", "settings": {"samples": 64, "probe_examples": 320}},
        "sites": [asdict(site) for site in SITES],
    }
    recording = Recording(path, manifest)
    for window in range(1, 5):
        kept = {
            (phase, site): distribution(values(window, place, shift), steps=10, blocks=phase == "train")
            for place, site in enumerate(SITES)
            for phase in ("train", "probe")
        }
        recording.write_window(Window(window, f"epoch {window}", 10 * window - 10, 10 * window - 1, True), kept)
    for site in SITES:
        recording.append_steps("train", site, steps_of_a_sine())
    recording.finish({})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("widths")
    record(folder / "plain", 0.1)
    record(folder / "other", 0.2)
    return folder


@pytest.fixture
def printed(folder, monkeypatch, capfdbinary):
    """What is printed on a screen of a width, in a locale."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FORCE_COLOR", "PYTHONIOENCODING", "PYTHONUTF8"):
        monkeypatch.delenv(name, raising=False)

    def printed(report, width, locale):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("LC_ALL", locale)
        before = sys.stdout.encoding, sys.stdout.errors
        try:
            output.show(report)
        finally:
            sys.stdout.reconfigure(encoding=before[0], errors=before[1])
        text = rounded(capfdbinary.readouterr().out.decode())
        return re.sub(r"\d+ kB", lambda size: "0" * (len(size[0]) - 3) + " kB", re.sub(r"\d\.\d MB", "0.0 MB", text))

    return printed


def report_of(name, monkeypatch):
    """The report that a command shows: it is made once, and drawn on every screen."""
    if name == "shift":
        return of_two_data_sets()
    reports = []
    with monkeypatch.context() as patch:
        patch.setattr(output, "show", lambda report, **_: reports.append(report))
        assert _run(COMMANDS[name]) in (0, 1)
    (report,) = reports
    return report


@pytest.mark.some(6)
@pytest.mark.parametrize("name", [*COMMANDS, "shift"])
def test_output_is_what_it_was_at_every_width(name, printed, monkeypatch):
    report = report_of(name, monkeypatch)
    sizes = [(width, locale) for locale in ("C.UTF-8", "C") for width in WIDTHS]
    screens = {size: printed(report, *size) for size in sizes}
    for (width, locale), screen in screens.items():
        assert screen.isascii() or locale != "C"
        table = [line for line in screen.splitlines() if line.startswith(" ")]
        assert all(len(line) <= width for line in table), (width, locale)
    out = "".join(f"== {width} columns, {locale}\n{screen}" for (width, locale), screen in screens.items())
    file = GOLDEN / "widths" / f"{name}.txt"
    if os.environ.get("ICSHIFT_ACCEPT"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(out)
    expected = file.read_text() if file.exists() else ""
    diff = "".join(difflib.unified_diff(expected.splitlines(True), out.splitlines(True), "golden", "printed"))
    assert not diff, f"{diff}\nICSHIFT_ACCEPT=1 accepts this output."
