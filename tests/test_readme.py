"""What the README shows is executed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from icshift.analysis.drift import COLUMNS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


READING = [line for line in blocks("sh")[-1].splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the demo has run, as the README's first command runs it."""
    folder = tmp_path_factory.mktemp("readme")
    command = [sys.executable, "-m", "icshift", "demo", "--force", "--epochs", "20"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_python_runs_and_gives_drift(tmp_path, monkeypatch):
    (code,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code, found)
    assert set(found["drift"]["window"]) == {2, 3, 4, 5}
    assert tuple(found["drift"].columns[: len(COLUMNS)]) == COLUMNS


@pytest.mark.parametrize("line", READING)
def test_commands_run(line, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or "drift.csv" in done.stderr


def test_every_command_is_shown():
    shown = {line.split()[1] for line in READING} | {"demo"}
    listed = subprocess.run([sys.executable, "-m", "icshift", "--help"], capture_output=True, text=True, check=True)
    assert shown == set(re.findall(r"^  (\w+) {2,}", listed.stdout.split("Commands:")[1], re.M))


@pytest.mark.parametrize("marker", ["demo", "test"])
def test_install_commands_are_one_line_with_constraints(marker):
    command = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.S).group(1)
    assert command.count("\n") == 1
    assert "-c constraints.txt" in command


def test_what_it_refers_to_is_there():
    links = re.findall(r"\]\(([^)h][^)]*)\)", README)
    assert "docs/demo.svg" in links
    assert all((ROOT / link).exists() for link in links)


def test_columns_of_an_export_are_the_stated_ones():
    assert f"`{', '.join(COLUMNS)}`" in README
