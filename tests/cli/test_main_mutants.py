"""Every command on damaged and hostile runs: exit code 0, 1 or 2, at most one line on stderr, no escape on a screen.

`python -m benchmarks.mutants` makes thousands of these, each in a process of its own, with its time and memory.
"""

import random
import re
import shutil
from dataclasses import asdict, replace

import pytest

from icshift.errors import RunError
from icshift.runs.format import Window
from icshift.runs.writer import Recording
from tests import mutants
from tests.recorded import of_zoo, site, step_rows
from tests.zoo.distributions import draw

COMMANDS = (
    ("info", "run"),
    ("info", "run", "--verify"),
    ("report", "run"),
    ("report", "run", "--json"),
    ("report", "run", "-o", "page.html", "-f"),
    ("report", "run", "--reference", "run:other"),
    ("onset", "run"),
    ("units", "run", "--site", "fc1"),
    ("path", "run"),
    ("compare", "other", "run"),
    ("export", "run", "-o", "e.csv", "-f"),
    ("check", "run", "--fail-on", "drift > 0.5"),
    ("watch", "run"),
)


@pytest.fixture
def folder(two_windows, with_batch_norm, tmp_path, monkeypatch):
    shutil.copytree(two_windows, tmp_path / "run")
    shutil.copytree(with_batch_norm, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.some(20)
@pytest.mark.parametrize("seed", range(60))
def test_a_mutant_is_refused_in_one_line_or_read(folder, command, seed):
    chance = random.Random(f"mutant {seed}")
    change = mutants.mutate(folder / "run", chance)
    asked = COMMANDS[seed % (len(COMMANDS) - 1)]
    code, out, err = command(*asked)
    assert mutants.Outcome(code, out, err, 0.0, 0).faults() == [], (change, asked)


def test_a_flipped_bit_is_refused_or_harmless(folder):
    run = folder / "run"
    expected = mutants.numbers_of(run)
    files = sorted(file for file in run.rglob("*") if file.is_file())
    refused = 0
    for seed in range(60):
        chance = random.Random(seed)
        file = chance.choice(files)
        before = file.read_bytes()
        file.write_bytes(mutants.flip(before, chance))
        try:
            assert mutants.equal(mutants.numbers_of(run), expected), (seed, file)
        except RunError:
            refused += 1
        file.write_bytes(before)
    assert refused > 50


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "loop"])
@pytest.mark.parametrize("place", ["run.json", "windows/000001.rank0.parquet", "steps", "windows"])
def test_what_is_no_file_is_refused_at_once(folder, command, kind, place):
    file = folder / "run" / place
    if file.is_dir():
        shutil.rmtree(file)
        file.touch()
    mutants.replace_with(file, kind)
    for asked in (("info", "run"), ("report", "run"), ("onset", "run")):
        code, _, err = command(*asked)
        assert code == 2 or asked[0] != "report" or place == "steps"
        assert code in (0, 1, 2)
        assert err.count("\n") <= 1


def test_a_link_to_a_run_is_the_run(folder, command):
    (folder / "run").rename(folder / "elsewhere")
    (folder / "run").symlink_to("elsewhere")
    assert command("report", "run")[0] == 0


NAMES = (
    *("\x1b[31mred\x1b[0m", "bell\x07", "two\nlines", "[bold]markup[/bold]", "\u202eback", "\x9b2J"),
    *("<img src=x onerror=alert(1)>", "=cmd()|' /C calc'!A0"),
)


def named(path):
    """A run in which every kind of name is odd."""
    sites = [replace(site(name), type="Line\x1b]0;ar\x07") for name in NAMES]
    about = {"model": "Net\x1b[2J", "icshift": "\x07", "torch": "<b>", "created": "now\x1b[31m"}
    ledger = [{"module": NAMES[0], "type": NAMES[1], "state": "failed", "reason": NAMES[2]}]
    settings = {"samples": 64, "probe_examples": 0}
    recording = Recording(
        path, {**about, "sites": [asdict(one) for one in sites], "ledger": ledger, "settings": settings}
    )
    for index, name in ((1, NAMES[0]), (2, NAMES[3])):
        recording.write_window(
            Window(index, name, 20 * index - 20, 20 * index - 1, closed=True),
            {(phase, one): of_zoo("normal", 300, seed=index) for one in sites for phase in ("train", NAMES[1])},
        )
    rows = step_rows([[draw("normal", 30, seed=number)] for number in range(40)])
    for one in sites:
        recording.append_steps("train", one, rows)
    recording.append_measured("logged", [{"step": 1, "window": 1, "name": NAMES[0], "value": 1.0}])
    recording.finish({"steps": 40, "parameters": 9})


ON_NAMES = (
    *(one for one in COMMANDS if one[0] != "units"),
    ("units", "run", "--site", NAMES[0]),
    ("units", "run", "--site", NAMES[0], "--unit", "1"),
    ("units", "run", "--site", "fc"),
    ("report", "run", "--phase", NAMES[1]),
    ("report", "run", "--window", "all"),
    ("report", "run", "-o", "report.md", "-f"),
    ("check", "run", "--fail-on", "drift > 0.5", "--junit", "-"),
    ("export", "run", "-o", "run.json"),
)


@pytest.mark.some(8)
@pytest.mark.parametrize("asked", ON_NAMES, ids=" ".join)
def test_no_name_steers_a_terminal_or_a_page(tmp_path, monkeypatch, command, asked):
    named(tmp_path / "run")
    named(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*asked)
    assert mutants.Outcome(code, out, err, 0.0, 0).faults() == []
    assert "\u202e" not in out + err
    for page in (*tmp_path.glob("*.html"), *tmp_path.glob("*.md")):
        text = page.read_text()
        assert not any(sign in text for sign in "\x1b\x07\x9b")
        assert not re.search(r"(?<!\\)<img", text)
