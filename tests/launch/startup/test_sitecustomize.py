"""It leaves nothing of itself, and another `sitecustomize` its place."""

import os
import subprocess
import sys
from pathlib import Path

import icshift

STARTUP = Path(icshift.__file__).parent / "launch" / "startup"


def test_another_one_is_imported_in_its_place(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (STARTUP, tmp_path))), "ICSHIFT_RUN": "x"}
    asked = "import sys, sitecustomize; print(sitecustomize.__file__, [p for p in sys.path if 'startup' in p])"
    done = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"theirs\n{tmp_path / 'sitecustomize.py'} []\n"
    assert done.stderr == ""
