"""Every example runs."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_runs(example, tmp_path):
    """Those that record themselves end in a table; `train.py` is a script as others write it."""
    done = subprocess.run([sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("median" if "icshift.Recorder" in example.read_text() else "accuracy") in done.stdout
    assert done.stderr == ""
