"""The project's own settings of its tools."""

import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = Path(__file__).parent.parent / "pyproject.toml"


@pytest.mark.parametrize("options", [pytest.param([], marks=pytest.mark.thorough), ["-q"]], ids=str)
def test_pytest_says_how_many_passed(options, tmp_path):
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(SETTINGS),
        "--rootdir",
        str(tmp_path),
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run([*command, *options, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed in" in done.stdout.splitlines()[-1]
