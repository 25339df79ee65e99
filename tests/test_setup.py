"""What `pip install` makes of the kernel: built where there is a compiler, left out where there is none."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("icshift", "kernel", "setup.py", "pyproject.toml", "README.md", "LICENSE")


def built(what, folder, **environment):
    """The file that setuptools makes of a copy of the sources."""
    source = folder / "source"
    source.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, source)
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{what}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


def test_without_a_compiler_the_wheel_is_whole_and_numpy_does_it(tmp_path):
    wheel = built("wheel", tmp_path, CC="/bin/false", CXX="/bin/false")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "_kernel" in Path(name).name and ".py" not in name]
        archive.extractall(tmp_path / "installed")
    # An editable installation would find the module that it was built with.
    alone = "import sys; sys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in str(one).lower()]"
    imports = (
        f"{alone}; import numpy as np; from icshift import kernel_choice; from icshift.sketch import kernel as one"
    )
    code = f"{imports}; print(one.kernel(np.float32), kernel_choice.in_use())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
    )
    assert "NumPy object" in done.stdout, done.stderr
    assert "the native kernel was not built" in done.stdout


def test_the_sdist_holds_all_that_the_kernel_is_built_from(tmp_path):
    with tarfile.open(built("sdist", tmp_path)) as archive:
        held = {Path(name).name for name in archive.getnames() if "/kernel/" in name}
    assert held == {path.name for path in (ROOT / "kernel").iterdir()}


@pytest.mark.parametrize("path", sorted((ROOT / "kernel").iterdir()), ids=lambda path: path.name)
def test_no_flag_or_pragma_changes_what_comparisons_with_nan_say(path):
    forbidden = ("fast-math", "finite-math", "GCC optimize", "fp_contract")
    assert not [
        word for word in forbidden if word in path.read_text() + (ROOT / "setup.py").read_text().split("FLAGS")[1]
    ]
