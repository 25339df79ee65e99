"""What `pip install` gives: the sdist is whole, and the wheel that is made of it holds the package and works alone."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.covering import often

ROOT = Path(__file__).parent.parent
BESIDE = {"build", "dist", "docs", "tests", "examples", "benchmarks", "runs", "icshift-demo"}
"""Folders beside the sources. Of an earlier build setuptools would take what it left for a part."""


def sources(folder):
    """A copy of all that is built from."""
    made = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.so", "*.pyd")

    def left_out(path, names):
        return made(path, names) | (BESIDE & {*names} if Path(path) == ROOT else set())

    return shutil.copytree(ROOT, folder, ignore=left_out)


COMPILER = often({"CC": "/bin/false", "CXX": "/bin/false"}, {})
"""None by default: the kernel takes half a minute, and the tests of it have built it where they are installed."""


def built(what, source, into):
    """The file that setuptools makes of a folder of sources."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{what}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(into)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={**os.environ, **COMPILER},
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


def files(folder):
    """Files of the package, by their path."""
    found = (path.relative_to(folder) for path in (folder / "icshift").rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts and path.suffix not in (".so", ".pyd")}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """What is in the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    sdist = built("sdist", sources(folder / "sources"), folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    """The wheel, made of the sdist alone."""
    return built("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed in, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder),
        str(wheel),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def alone(installed, tmp_path):
    """Runs what is installed, in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "80"}

    def run(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False, timeout=250
        )

    return run


def test_the_sdist_holds_all_that_the_kernel_is_built_from(unpacked):
    of_kernel = {file.name for file in (ROOT / "kernel").iterdir() if file.suffix in (".c", ".cc", ".h")}
    assert of_kernel
    assert of_kernel <= {file.name for file in (unpacked / "kernel").iterdir()}
    assert (unpacked / "setup.py").is_file()


def test_the_wheel_holds_every_file_of_the_package(wheel, installed):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("icshift/")}
    assert files(ROOT) <= held
    assert files(ROOT) == files(installed)
    for name in ("py.typed", "page/assets/page.js", "launch/startup/sitecustomize.py"):
        assert f"icshift/{name}" in held


def test_it_works_alone(alone, installed, two_windows, tmp_path):
    assert alone("-c", "import icshift; print(icshift.__file__)").stdout == f"{installed / 'icshift' / '__init__.py'}\n"
    done = alone(installed / "bin" / "icshift", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"icshift \d+\.\d+\S*, kernel (native|numpy .+)\n", done.stdout)
    done = alone("-m", "icshift", "report", two_windows, "-o", "page.html", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_extras_that_errors_name_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra
        for file in (ROOT / "icshift").rglob("*.py")
        for extra in re.findall(r"pip install ['\"]icshift\[(\w+)\]", file.read_text())
    }
    assert named
    assert named <= extras.keys()


def test_the_demo_is_installed_as_users_install():
    demo = re.search(r"<!-- demo -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    assert " -e " not in demo
