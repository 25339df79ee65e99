"""Install icshift with the versions that pyproject.toml promises, and try it: what it promises is what passes.

    python .ci/combinations.py                  every combination: needs uv, and a Python of each version on the PATH
    python .ci/combinations.py 3.11-lowest      one of them
    python .ci/combinations.py --list

`lowest` is the oldest release with a wheel for that Python of everything that pyproject.toml names (which are newer
than promised is said), `newest` what a user gets today, `old-torch` the oldest torch beside the newest of the rest.
`UV_TORCH_BACKEND=cpu` takes torch without CUDA from its own index. Each environment is removed again, unless `--keep`
says where they go.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [name.split()[-1] for name in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", name)]
EXTRAS = ("demo", "charts")
NEEDED = [*PROJECT["dependencies"], *(r for extra in EXTRAS for r in PROJECT["optional-dependencies"][extra])]
LOWEST = dict(requirement.split(">=") for requirement in NEEDED)
"""The lowest version that is promised, by package."""

SETS = {
    "lowest": ["--resolution", "lowest-direct"],
    "newest": [],
    "old-torch": [f"torch=={LOWEST['torch']}"],
}
COMBINATIONS = [f"{python}-{versions}" for python in PYTHONS for versions in SETS]

TESTS = [
    "tests/model/test_torch_private.py",
    "tests/model/test_plain.py",
    "tests/hooks/test_hook.py",
    "tests/hooks/test_padding.py",
    "tests/launch/test_passes.py",
    "tests/reports/test_tabular.py",
    "tests/cli/test_main.py",
]
"""What depends on other packages most: private names of torch, modes, loaders, Parquet, the command line."""


def main() -> int:
    """Try the combinations that are asked for; returns how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("combinations", nargs="*", metavar="COMBINATION", choices=[*COMBINATIONS, []])
    parser.add_argument("--list", action="store_true", help="print the combinations and leave")
    parser.add_argument("--keep", type=Path, help="folder in which the environments stay")
    options = parser.parse_args()
    if options.list:
        print("\n".join(COMBINATIONS))
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for combination in options.combinations or COMBINATIONS:
            said = tried(combination, (options.keep or Path(temporary)) / combination)
            failed += said != "passed"
            print(f"{combination}: {said}", flush=True)
    return failed


def tried(combination: str, environment: Path) -> str:
    """Install a combination and try it; returns "passed", or what did not."""
    version, _, versions = combination.partition("-")
    python = environment / "bin" / "python"
    wanted = ["-e", f".[{','.join(EXTRAS)}]", "pytest>=8", "pytest-timeout>=2.4", *SETS[versions]]
    install = ["uv", "pip", "install", "-q", "--python", python, "--only-binary", ":all:", "--no-binary", "icshift"]
    steps = {
        "no such Python": ["uv", "venv", "-q", "--clear", "--python", version, environment],
        "cannot be installed": [*install, *wanted],
        "the commands failed": [python, ROOT / ".ci" / "smoke.py"],
        "tests failed": [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
    }
    for failure, command in steps.items():
        if subprocess.run([str(word) for word in command], cwd=ROOT, env=alone(), check=False).returncode:
            return failure
        if failure == "cannot be installed":
            found = installed(python)
            print(f"{combination}: {', '.join(f'{name} {of}' for name, of in found.items())}", flush=True)
            if versions == "lowest" and (higher := above_the_lowest(found)):
                print(f"{combination}: no wheels for Python {version}, so newer ones are tried: {higher}", flush=True)
    return "passed"


def alone() -> dict[str, str]:
    """The environment variables without those that have other packages imported, or all of torch parsed every time."""
    without = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in without}


def installed(python: Path) -> dict[str, str]:
    """The versions of what icshift needs in an environment, by package."""
    listed = f"import importlib.metadata as m; print(*(m.version(name) for name in {list(LOWEST)!r}))"
    found = subprocess.run([python, "-c", listed], capture_output=True, text=True, check=True, env=alone()).stdout
    return dict(zip(LOWEST, found.split(), strict=True))


def above_the_lowest(found: dict[str, str]) -> str:
    """The promised versions that are not the installed ones, each with the one that is installed."""
    return ", ".join(
        f"{name} {lowest} ({found[name]})"
        for name, lowest in LOWEST.items()
        if not f"{found[name]}.0.0".startswith(f"{lowest}.")
    )


if __name__ == "__main__":
    sys.exit(main())
